//! `clone --follow`, `snapshot --follow`: the copy and all that was committed since, on the target once.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::follow_random::connect;
use crate::support::PATIENCE;
use crate::support::cluster::client;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{self, Running, run, start};
use crate::support::servers::GATED;
use crate::support::within;

const SCHEMA: &str = "
    create table t (id serial primary key, v text not null, at timestamptz default now());
    create index on t (v);
    create table big (id bigint primary key, payload text);
    insert into big select i, repeat(md5(i::text), 10) from generate_series(1, 30000) i;
    create table child (id int primary key, t_id int references t, n numeric);
    create publication theirs for table t;
    insert into t (v) select 'before ' || i from generate_series(1, 500) i;
    insert into child select i, i, i / 3.0 from generate_series(1, 500) i;";

fn words(follow: &Follow, command: &str, more: &[&str]) -> Vec<String> {
    let (source, target, dir) = (
        follow.pair.source(),
        follow.pair.target(),
        follow.work.dir(),
    );
    let mut all = vec![command, "--dir", &dir, "--source", &source];
    if command != "snapshot" {
        all.extend(["--target", &target, "--origin", &follow.slot]);
    }
    all.extend(["--slot-name", &follow.slot, "--plugin", follow.plugin]);
    all.extend(more);
    all.into_iter().map(str::to_owned).collect()
}

fn begin(follow: &Follow, command: &str, more: &[&str]) -> Running {
    let words = words(follow, command, more);
    start(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Writers that insert, update and delete, several statements a transaction, for so many seconds.
fn writers(follow: &Follow, seconds: u32) -> Child {
    let script = follow.work.file(
        "writers.sql",
        "\\set id random(1, 30000)
         \\set t random(1, 500)
         begin;
         insert into t (v) values ('meanwhile');
         update big set payload = payload || 'x' where id = :id;
         update child set n = n + 1, t_id = :t where id = :t;
         commit;
         begin;
         delete from big where id = :id;
         insert into big values (:id, 'again');
         commit;\n",
    );
    let seconds = seconds.to_string();
    Command::new(client("pgbench"))
        .args(["-n", "-c", "3", "-R", "200", "-T", &seconds, "-f", &script])
        .arg(follow.pair.source())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for_file(follow: &Follow, name: &str, run: &Running) {
    let path = follow.work.path().join(name);
    let there = within(PATIENCE * 2, || path.exists());
    assert!(there, "no {name}\n{}", run.said());
}

fn wait_for_apply(follow: &Follow, run: &Running) {
    let enabled = within(PATIENCE * 6, || is_applying(follow));
    assert!(enabled, "{}", run.said());
}

fn is_applying(follow: &Follow) -> bool {
    let got = follow.command(&["sentinel", "get"], &["--apply"]);
    got.stdout.trim_end() == "enabled"
}

#[test]
fn what_is_written_during_a_clone_arrives_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(plugin, SCHEMA) else {
            continue;
        };
        let run = begin(&follow, "clone", &["--follow"]);
        wait_for_file(&follow, "cdc/slot", &run);
        let mut load = writers(&follow, 6);
        wait_for_apply(&follow, &run);
        load.wait().unwrap();
        let last = "select setval('t_id_seq', (select max(id) + 77 from t))";
        follow.pair.in_source(last);
        follow.end_here();
        run.wait().exits(0).says(&[
            "Updating the pgcopydb.sentinel to enable applying changes",
            "Follow mode is now done",
            "Reset 1 sequences",
        ]);
        let names = "select string_agg(pubname, ',') from pg_publication";
        assert_eq!(follow.pair.in_target(names), "theirs");
        follow.cleanup(&[]).exits(0);
        follow.pair.assert_equal();
    }
}

#[test]
fn dl_41_a_table_that_is_made_and_filled_while_the_slot_is_made_is_copied_and_followed() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(plugin, "create table t (id int primary key)") else {
            continue;
        };
        let mut writer = connect(&follow.pair.source());
        writer
            .batch_execute("begin; insert into t values (0)")
            .unwrap();
        let run = begin(&follow, "clone", &["--follow"]);
        // The slot waits for the writer; the publications are there by now.
        let waits = format!(
            "select count(*) = 1 from pg_replication_slots where slot_name = '{}' and active",
            follow.slot
        );
        let (from, db) = (follow.pair.from, &follow.pair.db);
        assert!(from.wait_until(db, &waits, PATIENCE), "{}", run.said());
        follow.pair.in_source(
            "create table late (id int primary key, v text); insert into late values (1, 'a'), (2, 'b')",
        );
        writer.batch_execute("commit").unwrap();
        wait_for_apply(&follow, &run);
        follow
            .pair
            .in_source("insert into late values (3, 'c'); update late set v = 'd' where id = 1; delete from late where id = 2");
        follow.end_here();
        run.wait().exits(0);
        follow.cleanup(&[]).exits(0);
        follow.pair.assert_equal();
    }
}

#[test]
fn dl_03_processes_that_are_killed_during_and_after_the_copy_come_back() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    let run = begin(&follow, "clone", &["--follow"]);
    wait_for_file(&follow, "cdc/slot", &run);
    let mut load = writers(&follow, 8);
    let mut kills = 0;
    while load.try_wait().unwrap().is_none() {
        within(Duration::from_millis(1100), || false);
        for title in ["follow receive", "follow transform", "follow apply"] {
            for pid in run.children_named(title) {
                program::signal(pid, Signal::SIGKILL);
                kills += 1;
            }
        }
    }
    assert!(kills > 5, "{kills}");
    follow.end_here();
    run.wait().exits(0);
    follow.cleanup(&[]).exits(0);
    follow.pair.assert_equal();
}

#[test]
fn a_clone_that_is_copied_and_stopped_or_killed_goes_on_with_resume() {
    let follow = Follow::bare("test_decoding", SCHEMA).unwrap();
    let run = begin(&follow, "clone", &["--follow"]);
    wait_for_apply(&follow, &run);
    follow.pair.in_source("insert into t (v) values ('a')");
    run.kill(Signal::SIGTERM);
    run.wait().exits(0);
    follow.pair.in_source("insert into t (v) values ('b')");
    let run = begin(&follow, "clone", &["--follow", "--resume"]);
    let query = "select count(*) = 502 from t";
    let (to, db) = (follow.pair.to, &follow.pair.db);
    assert!(
        to.wait_until(db, query, Duration::from_secs(20)),
        "{}",
        run.said()
    );
    run.kill(Signal::SIGKILL);
    run.wait();
    follow.pair.in_source("insert into t (v) values ('c')");
    let endpos = follow.end_here();
    let more = [
        "--follow",
        "--resume",
        "--not-consistent",
        "--endpos",
        &endpos,
    ];
    begin(&follow, "clone", &more).wait().exits(0);
    // Once more: nothing is left to do.
    begin(&follow, "clone", &more)
        .wait()
        .exits(0)
        .says(&["previously reached"]);
    follow.cleanup(&[]).exits(0);
    follow.pair.assert_equal();
}

#[test]
fn a_copy_that_is_not_complete_begins_anew_with_restart() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    let run = begin(&follow, "clone", &["--follow"]);
    wait_for_file(&follow, "cdc/slot", &run);
    run.kill(Signal::SIGKILL);
    run.wait();
    let run = begin(
        &follow,
        "clone",
        &["--follow", "--restart", "--drop-if-exists"],
    );
    wait_for_apply(&follow, &run);
    follow.pair.in_source("insert into t (v) values ('c')");
    follow.end_here();
    run.wait().exits(0);
    follow.cleanup(&[]).exits(0);
    follow.pair.assert_equal();
}

/// Parents are copied before the gate; kids wait there.
const FAMILY: &str = "
    create table parent (id int primary key, v text);
    insert into parent select i, repeat('p', 100) from generate_series(1, 5000) i;
    create table kid (id int primary key, parent_id int references parent, v text, check (gate(id)));
    insert into kid select i, i, repeat('k', 100) from generate_series(1, 5000) i;";

#[test]
fn dl_48_a_copy_that_was_killed_under_load_is_resumed_exactly_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(plugin, &format!("{SCHEMA}{GATED}{FAMILY}")) else {
            continue;
        };
        let gate = follow.pair.gate();
        let run = begin(&follow, "clone", &["--follow"]);
        let mut load = writers(&follow, 12);
        follow.pair.wait_for_gate(&run);
        let dir = follow.work.dir();
        let copied = || {
            let out = program::run(&["list", "progress", "--json", "--dir", &dir]).stdout;
            let progress: serde_json::Value = serde_json::from_str(&out).unwrap_or_default();
            progress["tables"]["done"].as_u64().unwrap_or(0) >= 3
        };
        assert!(within(PATIENCE * 2, copied), "{}", run.said());
        run.kill(Signal::SIGKILL);
        run.wait();
        drop(gate);
        // Kids will be copied with parents that the target does not have yet.
        follow.pair.in_source(
            "insert into parent select i, 'new' from generate_series(5001, 5100) i;
             insert into kid select i, i, 'new' from generate_series(5001, 5100) i;
             delete from kid where id <= 50; delete from parent where id <= 50;
             update gated set t = 'changed' where id <= 100; update before set t = 'changed' where id <= 100;",
        );
        let run = begin(&follow, "clone", &["--follow", "--resume"]);
        load.wait().unwrap();
        wait_for_apply(&follow, &run);
        follow.pair.in_source("insert into t (v) values ('last')");
        follow.end_here();
        run.wait().exits(0).says(&[
            "Tables that are left are copied as of",
            "after the changes",
            "Follow mode is now done",
        ]);
        follow.cleanup(&[]).exits(0);
        follow.pair.assert_equal();
    }
}

#[test]
fn by_hand_snapshot_setup_clone_and_follow_come_to_the_same() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    let holder = begin(&follow, "snapshot", &["--follow"]);
    wait_for_file(&follow, "snapshot", &holder);
    follow.pair.in_source("insert into t (v) values ('since')");
    // A second one has no snapshot to print.
    let second = begin(&follow, "snapshot", &["--follow"]).wait().exits(3);
    assert_eq!(second.stdout, "");
    follow.setup(&[]).exits(0);
    let (source, target, dir) = (
        follow.pair.source(),
        follow.pair.target(),
        follow.work.dir(),
    );
    let sides = ["--dir", &dir, "--source", &source, "--target", &target];
    run(&[&["clone"], &sides[..]].concat()).exits(0);
    assert_eq!(follow.pair.in_target("select count(*) from t"), "500");
    holder.kill(Signal::SIGTERM);
    let held = holder.wait().exits(0);
    assert_eq!(held.stdout.lines().count(), 1);
    let again = begin(&follow, "snapshot", &["--follow"]).wait().exits(3);
    assert_eq!(again.stdout, "");
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    follow.pair.in_source("insert into t (v) values ('later')");
    follow.end_here();
    run(&[&["follow"], &sides[..]].concat()).exits(0);
    run(&[
        &["copy", "sequences", "--resume", "--not-consistent"],
        &sides[..],
    ]
    .concat())
    .exits(0);
    follow.cleanup(&[]).exits(0);
    follow.pair.assert_equal();
}

#[test]
fn filters_hold_for_changes_too() {
    let follow = Follow::bare("test_decoding", SCHEMA).unwrap();
    let filters = follow.work.file(
        "filters.ini",
        "[exclude-table]\npublic.big\n[exclude-table-data]\npublic.child\n",
    );
    let run = begin(&follow, "clone", &["--follow", "--filters", &filters]);
    wait_for_apply(&follow, &run);
    follow.pair.in_source(
        "insert into t (v) values ('x'); update big set payload = 'y' where id = 1; delete from child where id = 1",
    );
    follow.end_here();
    run.wait().exits(0);
    assert_eq!(follow.pair.in_target("select count(*) from t"), "501");
    assert_eq!(follow.pair.in_target("select count(*) from child"), "0");
    follow.cleanup(&[]).exits(0);
}

#[test]
fn a_change_that_does_not_fit_ends_the_run_and_names_it() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    let run = begin(&follow, "clone", &["--follow"]);
    wait_for_apply(&follow, &run);
    follow
        .pair
        .in_target("insert into child values (9000, 1, 1)");
    follow
        .pair
        .in_source("insert into child values (9000, 2, 2)");
    run.wait().exits(7).says(&["23505", "\"child\""]);
    follow.pair.in_target("delete from child where id = 9000");
    follow.end_here();
    begin(&follow, "clone", &["--follow", "--resume"])
        .wait()
        .exits(0);
    follow.cleanup(&[]).exits(0);
    follow.pair.assert_equal();
}
