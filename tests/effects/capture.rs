//! What options of change data capture do for the commands that copy: names, limits, and what is refused.

use std::time::Duration;

use nix::sys::signal::Signal::SIGTERM;

use crate::support::follow::Follow;
use crate::support::{PATIENCE, Running, run, start, within};

/// A table of which every update tells both rows, one that nothing tells the rows of, and a publication.
const SOURCE: &str = "
    create table t (id integer primary key, v text); alter table t replica identity full;
    insert into t values (1, 'a'), (2, 'b');
    create table bare (i integer); create publication mine for all tables;";

fn line(follow: &Follow, command: &str, more: &[&str]) -> Vec<String> {
    let (source, target) = (follow.pair.source(), follow.pair.target());
    let dir = follow.work.dir();
    let mut line = vec![command, "--follow", "--dir", &dir, "--source", &source];
    if command == "clone" {
        line.extend(["--target", &target, "--origin", &follow.slot]);
    }
    line.extend(["--slot-name", &follow.slot, "--plugin", follow.plugin]);
    line.extend(more);
    line.into_iter().map(str::to_owned).collect()
}

fn begin(follow: &Follow, command: &str, more: &[&str]) -> Running {
    let line = line(follow, command, more);
    start(&line.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A clone that follows, its copy done.
fn applying(follow: &Follow, more: &[&str]) -> Running {
    let run = begin(follow, "clone", more);
    let is_enabled = || {
        let got = follow.command(&["sentinel", "get"], &["--apply"]);
        got.stdout.trim_end() == "enabled"
    };
    assert!(within(PATIENCE * 6, is_enabled), "{}", run.said());
    run
}

fn publications(follow: &Follow) -> String {
    let names = "select string_agg(pubname, ' ') from pg_publication";
    follow.pair.in_source(names)
}

#[test]
fn a_clone_follows_the_publication_that_it_is_told_and_updates_that_change_nothing_on_request() {
    let given = ["--publication", "mine", "--create-slot"];
    for (more, row_versions) in [(&[][..], "1"), (&["--replay-no-op-updates"], "2")] {
        let follow = Follow::bare("pgoutput", SOURCE).unwrap();
        let more = [&given[..], &["--allow-no-identity"], more].concat();
        let run = applying(&follow, &more);
        assert_eq!(publications(&follow), "mine");
        let slot = "select count(*) from pg_replication_slots where slot_name = ";
        let slot = format!("{slot}'{}'", follow.slot);
        assert_eq!(follow.pair.in_source(&slot), "1");
        follow
            .pair
            .in_source("update t set v = v where id = 1; insert into t values (3, 'c')");
        follow.end_here();
        run.wait().exits(0);
        let versions = "select count(distinct xmin::text) from t where id < 3";
        assert_eq!(follow.pair.in_target(versions), row_versions, "{more:?}");
        assert_eq!(follow.pair.in_target("select count(*) from t"), "3");
        follow.cleanup(&[]).exits(0);
        assert_eq!(publications(&follow), "mine");
    }
}

#[test]
fn a_clone_that_follows_receives_no_more_than_it_is_told() {
    let follow = Follow::bare(
        "pgoutput",
        "create table t (id integer primary key, v text)",
    )
    .unwrap();
    let run = applying(&follow, &["--max-cdc-size", "1kB"]);
    follow
        .pair
        .in_source("insert into t select i, repeat('x', 1000) from generate_series(1, 2000) i");
    let pauses = || run.said().contains("pauses for want of room");
    assert!(within(PATIENCE, pauses), "{}", run.said());
    run.kill(SIGTERM);
    run.wait();
    follow.cleanup(&[]).exits(0);
}

#[test]
fn numbers_as_strings_are_for_wal2json_alone() {
    let follow = Follow::bare("pgoutput", SOURCE).unwrap();
    for command in ["clone", "snapshot"] {
        let more = ["--wal2json-numeric-as-string", "--allow-no-identity"];
        let line = line(&follow, command, &more);
        run(&line.iter().map(String::as_str).collect::<Vec<_>>())
            .exits(1)
            .says(&["--wal2json-numeric-as-string", "--plugin wal2json"]);
    }
    let slots = "select count(*) from pg_replication_slots where slot_name = ";
    let slots = format!("{slots}'{}'", follow.slot);
    assert_eq!(follow.pair.in_source(&slots), "0");
}

#[test]
fn a_snapshot_of_a_slot_has_the_publication_that_it_is_told_and_names_tables_without_identity() {
    let follow = Follow::bare("pgoutput", SOURCE).unwrap();
    begin(&follow, "snapshot", &[])
        .wait()
        .exits(6)
        .says(&["public.bare", "--allow-no-identity"]);
    let more = ["--publication", "mine", "--allow-no-identity"];
    let holder = begin(&follow, "snapshot", &more);
    let is_held = || follow.work.path().join("snapshot").exists();
    assert!(
        within(Duration::from_secs(60), is_held),
        "{}",
        holder.said()
    );
    assert_eq!(publications(&follow), "mine");
    holder.kill(SIGTERM);
    holder.wait().exits(0);
    follow.cleanup(&[]).exits(0);
    assert_eq!(publications(&follow), "mine");
}
