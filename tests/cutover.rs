//! `pgcopydb cutover`: all that the source committed is on the target, or nothing has changed.
//!
//! Here a follow is played by its parts: a receiver in the background, and catchup once it has ended.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::follow_apply::{assert_same_rows, catchup, ready};
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{Output, Running, run, start};
use crate::support::{PATIENCE, within};

const SCHEMA: &str = "create table t (id serial primary key, v text); create sequence own start 7;";

pub fn cutover(follow: &Follow, more: &[&str]) -> Running {
    let (source, target, dir) = (follow.pair.source(), follow.target(), follow.work.dir());
    let mut words = vec![
        "cutover", "--source", &source, "--target", &target, "--dir", &dir,
    ];
    words.extend(more);
    start(&words)
}

fn json(out: &Output) -> Value {
    serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", out.stdout))
}

/// A receiver that streams.
fn receiver(follow: &Follow) -> Running {
    let running = follow.start(&[]);
    let active = format!(
        "select active from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    let streams = follow
        .pair
        .from
        .wait_until(&follow.pair.db, &active, PATIENCE);
    assert!(streams, "{}", running.said());
    running
}

#[test]
fn the_last_commit_and_the_sequences_are_on_the_target_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, SCHEMA, &[]) else {
            continue;
        };
        let receive = receiver(&follow);
        follow.pair.in_source(
            "insert into t (v) select 'x' || i from generate_series(1, 1000) i; select nextval('own')",
        );
        // Acknowledged, and not flushed yet.
        follow
            .pair
            .in_source("set synchronous_commit to off; insert into t (v) values ('last')");
        let cutover = cutover(&follow, &["--json", "--compare"]);
        receive.wait().exits(0);
        catchup(&follow, &[]).exits(0);
        let out = json(&cutover.wait().exits(0));
        assert_same_rows(&follow.pair);
        assert_eq!(out["result"], "done");
        assert_eq!(out["endpos"], follow.sentinel("--endpos").as_str());
        assert_eq!(out["sequences"]["set"], 2);
        assert_eq!(out["tables_compared"], 1);
        assert_eq!(out["late"]["transactions"], 0);
        let values = "select (select last_value || ' ' || is_called from t_id_seq), (select last_value || ' ' || is_called from own)";
        assert_eq!(follow.pair.in_target(values), follow.pair.in_source(values));
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_38_a_prepared_transaction_is_refused_and_a_running_one_is_waited_for() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, SCHEMA, &[]) else {
            continue;
        };
        let receive = receiver(&follow);
        follow
            .pair
            .in_source("begin; insert into t (v) values ('prepared'); prepare transaction 'two'");
        cutover(&follow, &[])
            .wait()
            .exits(3)
            .says(&["prepared transaction \"two\"", "COMMIT PREPARED"]);
        assert_eq!(follow.sentinel("--endpos"), "0/0");
        follow.pair.in_source("commit prepared 'two'");
        let (cluster, db) = (follow.pair.from, follow.pair.db.clone());
        let writer = std::thread::spawn(move || {
            cluster.sql(
            &db,
            "set application_name to 'writer'; begin; insert into t (v) values ('running'); select pg_sleep(3); commit",
        )
        });
        let has_written = "select count(*) = 1 from pg_stat_activity where application_name = 'writer' and backend_xid is not null";
        assert!(cluster.wait_until(&follow.pair.db, has_written, PATIENCE));
        let last = cutover(&follow, &[]);
        receive.wait().exits(0);
        writer.join().unwrap();
        catchup(&follow, &[]).exits(0);
        last.wait().exits(0).says(&[
            "1 transactions were waited for",
            "Cutover is complete",
            "stream cleanup",
        ]);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_writer_behind_the_endpos_is_reported_and_the_cutover_can_be_repeated() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    let receive = receiver(&follow);
    follow
        .pair
        .in_source("insert into t (v) values ('in time')");
    let first = cutover(&follow, &["--json"]);
    receive.wait().exits(0);
    follow
        .pair
        .in_source("insert into t (v) values ('late'), ('late, too')");
    catchup(&follow, &[]).exits(0);
    let out = first
        .wait()
        .exits(10)
        .says(&["1 transactions with 2 changes", "public.t"]);
    assert_eq!(json(&out)["late"]["changes"], 2);
    assert_eq!(json(&out)["result"], "failed");
    assert_eq!(follow.sentinel("--endpos"), "0/0");
    let receive = receiver(&follow);
    let second = cutover(&follow, &[]);
    receive.wait().exits(0);
    catchup(&follow, &[]).exits(0);
    second.wait().exits(0);
    assert_same_rows(&follow.pair);
}

#[test]
fn a_fence_ends_writers_and_is_taken_away_when_the_cutover_is_stopped() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    let (cluster, db) = (follow.pair.from, follow.pair.db.clone());
    follow.pair.in_source(&format!(
        "alter database {db} set default_transaction_read_only to off"
    ));
    let setting = format!(
        "select setconfig::text from pg_db_role_setting where setrole = 0
            and setdatabase = (select oid from pg_database where datname = '{db}')"
    );
    let receive = receiver(&follow);
    let idle = {
        let db = db.clone();
        std::thread::spawn(move || {
            cluster.try_sql(
                &db,
                "set application_name to 'app'; insert into t (v) values ('app'); select pg_sleep(60)",
            )
        })
    };
    let there = "select count(*) = 1 from pg_stat_activity where application_name = 'app' and query like '%sleep%'
                    and exists (select 1 from t where v = 'app')";
    assert!(cluster.wait_until(&db, there, PATIENCE));
    // Nobody applies: the receiver's end is waited for, then a while for somebody.
    let cutover_1 = cutover(&follow, &["--set-read-only"]);
    receive.wait().exits(0);
    assert!(idle.join().unwrap().is_err(), "the session lives");
    let refused = cluster.try_sql(&db, "insert into t (v) values ('no')");
    assert!(refused.unwrap_err().contains("read-only"));
    assert_eq!(
        cluster.sql("postgres", &setting),
        "{default_transaction_read_only=on}"
    );
    cutover_1.kill(Signal::SIGTERM);
    cutover_1
        .wait()
        .exits(143)
        .says(&["The source can be written again", "endpos is 0/0 again"]);
    assert_eq!(
        cluster.sql("postgres", &setting),
        "{default_transaction_read_only=off}"
    );
    follow.pair.in_source("insert into t (v) values ('again')");
    // Killed with the fence standing: the next one knows what was before.
    let receive = receiver(&follow);
    let cutover_2 = cutover(&follow, &["--set-read-only"]);
    receive.wait().exits(0);
    cutover_2.kill(Signal::SIGKILL);
    cutover_2.wait();
    cutover(&follow, &[])
        .wait()
        .exits(3)
        .says(&["An earlier cutover was killed", "nobody receives"]);
    let receive = receiver(&follow);
    let cutover_3 = cutover(&follow, &["--json", "--set-read-only"]);
    receive.wait().exits(0);
    catchup(&follow, &[]).exits(0);
    let out = json(&cutover_3.wait().exits(0));
    assert_eq!(out["source_read_only"], true);
    let undo = out["undo"].as_str().unwrap();
    assert!(undo.contains("to 'off'"), "{undo}");
    assert_same_rows(&follow.pair);
    cluster.sql("postgres", undo);
}

#[test]
fn without_anybody_who_applies_nothing_is_changed_and_the_command_is_named() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    cutover(&follow, &["--set-read-only"])
        .wait()
        .exits(3)
        .says(&[
            "nobody receives and applies",
            "pgcopydb follow --resume --dir",
        ]);
    assert_eq!(follow.sentinel("--endpos"), "0/0");
    follow
        .pair
        .in_source("insert into t (v) values ('writable')");
    // As an earlier cutover leaves it: a follow that is started would end at once.
    let endpos = follow.end_here();
    let told = format!("endpos {endpos} is set");
    cutover(&follow, &[])
        .wait()
        .exits(3)
        .says(&[&told, "sentinel set endpos 0/0"]);
    follow
        .command(&["sentinel", "set", "endpos", "0/0"], &[])
        .exits(0);
    follow
        .command(&["sentinel", "set", "prefetch"], &[])
        .exits(0);
    cutover(&follow, &[])
        .wait()
        .exits(3)
        .says(&["not applied yet"]);
    let work = crate::support::WorkDir::new();
    let (source, target, dir) = (follow.pair.source(), follow.pair.target(), work.dir());
    run(&[
        "cutover", "--source", &source, "--target", &target, "--dir", &dir,
    ])
    .exits(3);
    assert!(!work.path().exists());
}

#[test]
fn somebody_who_stops_applying_ends_the_cutover_without_a_trace() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    let receive = receiver(&follow);
    follow.pair.in_source("insert into t (v) values ('a')");
    let mut cutover = cutover(&follow, &[]);
    receive.wait().exits(0);
    cutover
        .wait_within(Duration::from_secs(60))
        .exits(3)
        .says(&["nobody receives and applies", "endpos is 0/0 again"]);
    assert!(within(PATIENCE, || follow.sentinel("--endpos") == "0/0"));
}

#[test]
fn beside_a_clone_that_follows_both_come_to_a_good_end_under_load_with_a_fence() {
    let follow = Follow::bare("pgoutput", SCHEMA).unwrap();
    let (source, target, dir) = (
        follow.pair.source(),
        follow.pair.target(),
        follow.work.dir(),
    );
    let run = start(&[
        "clone",
        "--follow",
        "--dir",
        &dir,
        "--source",
        &source,
        "--target",
        &target,
        "--slot-name",
        &follow.slot,
        "--origin",
        &follow.slot,
    ]);
    let applies = || {
        let got = follow.command(&["sentinel", "get"], &["--apply"]);
        got.stdout.trim_end() == "enabled"
    };
    assert!(within(PATIENCE * 4, applies), "{}", run.said());
    let (cluster, db) = (follow.pair.from, follow.pair.db.clone());
    let writer = {
        let db = db.clone();
        std::thread::spawn(move || {
            let mut written = 0;
            while cluster
                .try_sql(
                    &db,
                    "insert into t (v) values ('load'); select nextval('own')",
                )
                .is_ok()
            {
                written += 1;
            }
            written
        })
    };
    let some = "select count(*) > 20 from t";
    assert!(cluster.wait_until(&db, some, PATIENCE));
    let out = json(
        &cutover(&follow, &["--json", "--set-read-only", "--compare"])
            .wait()
            .exits(0),
    );
    assert!(writer.join().unwrap() > 20);
    run.wait().exits(0).says(&["Follow mode is now done"]);
    assert_same_rows(&follow.pair);
    assert_eq!(out["late"]["transactions"], 0, "{out:#}");
    let value = "select last_value from own";
    assert_eq!(follow.pair.in_target(value), follow.pair.in_source(value));
    cluster.sql(&db, out["undo"].as_str().unwrap());
    follow.cleanup(&[]).exits(0);
}
