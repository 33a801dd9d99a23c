//! Connections and servers that are lost in the middle: the run goes on by itself, and the copy is exact.

use std::time::Duration;

use crate::support::program::{lives, signal};
use crate::support::servers::{GATED, lonely_pair};
use crate::support::{PATIENCE, Pair, Running, WorkDir, pair, within};

/// Beside the gate: indexes, keys, a sequence, unlogged rows, and more bytes than sockets hold.
const MORE: &str = "
    create table parent (id integer primary key, name text unique);
    insert into parent select i, md5(i::text) from generate_series(1, 3000) i;
    create table child (id serial primary key, parent integer references parent, t text);
    insert into child (parent, t) select i, repeat('c', 200) from generate_series(1, 3000) i;
    create index on child (lower(t), parent);
    create unlogged table quick (id integer primary key, t text);
    insert into quick select i, md5(i::text) from generate_series(1, 500) i;
    create table wide (id integer, t text, check (gate(id)));
    insert into wide select i, repeat('w', 5000) from generate_series(1, 4000) i;
    create materialized view seen as select id from gated where gate(id);";

const SPLIT: [&str; 2] = ["--split-tables-larger-than", "100kB"];

fn busy(pair: Pair) -> Pair {
    pair.in_source(GATED);
    pair.in_source(MORE);
    pair
}

/// Ends backends of the program in the target database; how many there were.
fn end_on_target(pair: &Pair, condition: &str) -> u32 {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity
          where datname = '{}' and application_name like 'pgcopydb%' and {condition}",
        pair.db
    );
    pair.to.sql("postgres", &sql).parse().expect("a count")
}

/// The run ends well, and nothing is missing or there twice.
#[track_caller]
fn arrives(pair: &Pair, run: Running) {
    run.wait().exits(0);
    pair.assert_equal();
}

#[test]
fn a_source_backend_that_is_ended_mid_copy_costs_one_more_try() {
    let (pair, work) = (busy(pair()), WorkDir::new());
    let gate = pair.gate();
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    // In one statement: a table that is not behind the gate is sent for a moment only.
    let end_one = format!(
        "select count(pg_terminate_backend(pid)) > 0 from pg_stat_activity
          where datname = '{}' and application_name like 'pgcopydb%'
            and query ~* '^copy' and wait_event = 'ClientWrite'",
        pair.db
    );
    assert!(pair.from.wait_until("postgres", &end_one, PATIENCE));
    drop(gate);
    arrives(&pair, run);
}

#[test]
fn all_target_backends_ended_at_once_cost_one_more_try() {
    for more in [&[][..], &SPLIT] {
        let (pair, work) = (busy(pair()), WorkDir::new());
        let gate = pair.gate();
        let run = pair.start(&work, more);
        pair.wait_for_gate(&run);
        assert!(end_on_target(&pair, "true") > 1);
        drop(gate);
        arrives(&pair, run);
    }
}

#[test]
fn target_backends_may_be_ended_again_and_again() {
    let (pair, work) = (busy(pair()), WorkDir::new());
    let run = pair.start(&work, &SPLIT);
    let data_step = || run.said().contains("STEP 4");
    assert!(within(PATIENCE * 3, data_step), "{}", run.said());
    for _ in 0..5 {
        end_on_target(&pair, "true");
        within(Duration::from_millis(300), || false);
    }
    arrives(&pair, run);
}

#[test]
fn a_restore_that_loses_its_connection_is_done_again() {
    let pair = busy(pair());
    pair.in_target(
        "create function wait_for_gate() returns event_trigger language plpgsql as
             'begin perform pg_catalog.pg_advisory_xact_lock_shared(42); end';
         create event trigger waits on ddl_command_start when tag in ('CREATE TABLE')
             execute function wait_for_gate()",
    );
    let (gate, work) = (pair.gate(), WorkDir::new());
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    let tool = "application_name like '% tool %'";
    assert_eq!(end_on_target(&pair, tool), 1, "pg_restore, pre-data");
    drop(gate);
    // the trigger must not be there when the two sides are compared
    let made = "select count(*) > 0 from pg_class where relname = 'wide'";
    assert!(pair.to.wait_until(&pair.db, made, PATIENCE * 3));
    pair.in_target("drop event trigger waits; drop function wait_for_gate()");
    arrives(&pair, run);
}

#[test]
fn the_last_restore_is_done_again_too() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    pair.in_source(
        "alter table gated drop constraint gated_id_check;
         create materialized view seen as select id from gated where gate(id)",
    );
    let gate = pair.gate();
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    assert_ne!(end_on_target(&pair, "application_name like '% tool %'"), 0);
    drop(gate);
    arrives(&pair, run);
}

#[test]
fn what_a_killed_restore_had_started_goes_with_it() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    pair.in_source(
        "alter table gated drop constraint gated_id_check;
         create materialized view seen as select id from gated where gate(id);
         create materialized view seen_too as select id from gated where gate(id)",
    );
    let gate = pair.gate();
    let run = pair.start(&work, &["--restore-jobs", "2"]);
    pair.wait_for_gate(&run);
    let two = || run.children_named("pg_restore").len() > 2;
    assert!(within(PATIENCE, two), "{}", run.said());
    let tools = run.children_named("pg_restore");
    let leaf = run.children_named("pgcopydb: restore post-data");
    assert_eq!(leaf.len(), 1, "{}", run.said());
    signal(leaf[0], nix::sys::signal::Signal::SIGKILL);
    let gone = || !tools.iter().any(|pid| lives(*pid));
    assert!(within(PATIENCE, gone), "{tools:?}: {}", run.said());
    drop(gate);
    arrives(&pair, run);
}

/// A target of its own goes away at the gate and comes back after a while.
fn restarted(stop: fn(&Pair), away: Duration, more: &[&str]) {
    let (pair, work) = (busy(lonely_pair()), WorkDir::new());
    let gate = pair.gate();
    let run = pair.start(&work, more);
    pair.wait_for_gate(&run);
    // what is done by now is marked, and must outlive the crash
    stop(&pair);
    within(away, || false);
    pair.to.start_again();
    drop(gate);
    arrives(&pair, run);
}

#[test]
fn a_target_that_is_restarted_is_waited_for() {
    restarted(|pair| pair.to.stop_fast(), Duration::from_secs(3), &[]);
}

#[test]
fn a_target_that_crashes_loses_nothing_that_was_marked() {
    restarted(|pair| pair.to.stop_immediate(), Duration::ZERO, &SPLIT);
}

#[test]
fn a_lost_snapshot_ends_the_run_and_the_rest_is_copied_without_it() {
    let (pair, work) = (busy(pair()), WorkDir::new());
    let gate = pair.gate();
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    let end = format!(
        "select count(pg_terminate_backend(pid)) > 1 from pg_stat_activity
          where datname = '{}' and application_name like 'pgcopydb%'",
        pair.db
    );
    assert_eq!(pair.from.sql("postgres", &end), "t");
    drop(gate);
    let hint = ["--resume", "--not-consistent"];
    run.wait().exits(6).says(&hint);
    pair.clone(&work, &hint).exits(0);
    pair.assert_equal();
}

#[test]
fn the_log_file_is_written_by_every_process_and_by_nothing_else() {
    let (pair, work) = (pair(), WorkDir::new());
    pair.in_source("create table t (id integer primary key); insert into t values (1)");
    let folder = WorkDir::new();
    let file = folder.file("log", "");
    pair.clone(&work, &["-vvvv", "--log-file", &file]).exits(0);
    let log = std::fs::read_to_string(&file).expect("the log file");
    assert!(log.contains("COPY public.t: 1 rows"), "{log}");
    pair.assert_equal();
}
