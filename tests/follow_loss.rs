//! What users of such tools lost, each with every output plugin: the numbers are those of the promises.

use nix::sys::signal::Signal;

use crate::follow_apply::{assert_same_rows, catchup, ready};
use crate::support::PATIENCE;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{Running, signal, start};
use crate::support::within;

/// Both databases with that schema, set up and allowed to apply, with each plugin that is there.
fn with_each(schema: &str, test: fn(&Follow)) {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        test(&follow);
        follow.cleanup(&[]).exits(0);
    }
}

/// All that was committed is brought over, by the single commands.
fn bring_over(follow: &Follow) {
    follow.receive_all();
    catchup(follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
}

fn start_follow(follow: &Follow) -> Running {
    let (source, target) = (follow.pair.source(), follow.pair.target());
    start(&[
        "follow",
        "--dir",
        &follow.work.dir(),
        "--source",
        &source,
        "--target",
        &target,
        "--slot-name",
        &follow.slot,
        "--origin",
        &follow.slot,
        "--resume",
    ])
}

fn wait_for(follow: &Follow, query: &str) {
    let (to, db) = (follow.pair.to, &follow.pair.db);
    assert!(to.wait_until(db, query, PATIENCE), "{query}");
}

#[test]
fn dl_27_a_file_that_is_read_again_does_not_take_one_statement_for_another() {
    with_each(
        "create table a (id int primary key); create table b (id int primary key)",
        |follow| {
            let mut run = start_follow(follow);
            follow.pair.in_source("insert into a values (1)");
            wait_for(follow, "select count(*) = 1 from a");
            // In the next file, b comes first.
            follow
                .pair
                .in_source("select pg_switch_wal(); insert into b values (1)");
            wait_for(follow, "select count(*) = 1 from b");
            let before = run.children_named("transform");
            for pid in &before {
                signal(*pid, Signal::SIGKILL);
            }
            let replaced = || {
                !run.children_named("transform")
                    .iter()
                    .all(|pid| before.contains(pid))
            };
            assert!(within(PATIENCE, replaced), "{}", run.said());
            follow.pair.in_source("insert into b values (2)");
            follow.end_here();
            run.wait_within(PATIENCE).exits(0);
            assert_same_rows(&follow.pair);
        },
    );
}
