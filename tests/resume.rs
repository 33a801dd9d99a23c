//! A clone that died is taken up again: what is done stays, what is not is done once.

use nix::sys::signal::Signal::SIGKILL;

use crate::clone::CONFIG;
use crate::support::program::signal;
use crate::support::servers::{GATED, GATED_INDEX};
use crate::support::{PATIENCE, Pair, WorkDir};

const RESUME: [&str; 2] = ["--resume", "--not-consistent"];

/// Clones until the gate, kills the supervisor there; all of the run is gone then.
fn killed_at_the_gate(pair: &Pair, work: &WorkDir, more: &[&str]) {
    let gate = pair.gate();
    let mut run = pair.start(work, more);
    pair.wait_for_gate(&run);
    run.kill(SIGKILL);
    run.wait_within(PATIENCE).exits(137);
    assert!(run.is_gone_within(PATIENCE), "left: {:?}", run.children());
    drop(gate);
}

#[test]
fn dl_10_parts_that_were_copied_before_the_crash_are_neither_lost_nor_doubled() {
    let (pair, work) = (Pair::with(GATED_INDEX), WorkDir::new());
    let split = ["--split-tables-larger-than", "200kB"];
    killed_at_the_gate(&pair, &work, &split);
    pair.clone(&work, &[&split[..], &RESUME].concat()).exits(0);
    pair.assert_equal();
}

#[test]
fn dl_11_rows_of_an_extension_are_not_doubled_by_a_resume() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    pair.in_source(CONFIG);
    pair.in_target(CONFIG);
    pair.in_source("insert into bare values ('a'), ('a')");
    killed_at_the_gate(&pair, &work, &[]);
    pair.clone(&work, &RESUME).exits(0);
    assert_eq!(pair.in_target("select count(*) from bare"), "2");
    pair.assert_equal();
}

#[test]
fn large_objects_made_since_are_copied_and_tables_made_since_are_named() {
    let (pair, work) = (Pair::with(GATED_INDEX), WorkDir::new());
    pair.in_source("select lo_from_bytea(40000 + 10 * i, 'old') from generate_series(0, 20) i");
    killed_at_the_gate(&pair, &work, &[]);
    let made = "select lo_from_bytea(o, 'new') from unnest(array[39990, 40005, 40300, 50000]) o";
    pair.in_source(made);
    pair.in_source("create table late (id integer)");
    let notice = "Table public.late was made after the first run and is not copied";
    pair.clone(&work, &RESUME)
        .exits(0)
        .says(&[notice, "--restart"]);
    pair.in_source("drop table late");
    pair.assert_equal();
}

#[test]
fn a_run_killed_in_the_middle_of_a_copy_is_finished() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    killed_at_the_gate(&pair, &work, &[]);
    pair.clone(&work, &RESUME).exits(0);
    pair.assert_equal();
}

#[test]
fn a_resume_can_be_killed_and_resumed() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    killed_at_the_gate(&pair, &work, &[]);
    killed_at_the_gate(&pair, &work, &RESUME);
    pair.clone(&work, &RESUME).exits(0);
    pair.assert_equal();
}

#[test]
fn restart_begins_anew_on_an_emptied_target() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    killed_at_the_gate(&pair, &work, &[]);
    pair.clone(&work, &["--restart", "--drop-if-exists"])
        .exits(0);
    pair.assert_equal();
}

#[test]
fn a_work_directory_in_use_is_refused() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    let gate = pair.gate();
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    pair.clone(&work, &RESUME).exits(3);
    drop(gate);
    run.wait().exits(0);
    pair.assert_equal();
}

#[test]
fn another_source_cannot_take_over_the_work_directory() {
    let (pair, other) = (Pair::with(GATED), Pair::with("create table x (id integer)"));
    let work = WorkDir::new();
    killed_at_the_gate(&pair, &work, &[]);
    other.clone(&work, &RESUME).exits(3);
}

#[test]
fn a_restore_whose_client_was_killed_is_ended_before_the_next_one() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    pair.in_source(
        "alter table gated drop constraint gated_id_check;
         create materialized view seen as select id from gated where gate(id)",
    );
    let gate = pair.gate();
    let mut run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    // asked to end, the tool would cancel its statement
    let tools = run.children_named("pg_restore");
    for pid in tools {
        signal(pid, SIGKILL);
    }
    run.kill(SIGKILL);
    run.wait_within(PATIENCE).exits(137);
    assert!(run.is_gone_within(PATIENCE), "left: {:?}", run.children());
    let waiting = "select string_agg(pid::text, ' ') from pg_stat_activity
        where datname = current_database() and application_name like 'pgcopydb% tool %'";
    let left = pair.in_target(waiting);
    assert!(!left.is_empty(), "no session waits without its client");
    let again = pair.start(&work, &RESUME);
    let gone = format!("select not exists (select 1 from pg_stat_activity where pid = {left})");
    assert!(
        pair.to.wait_until(&pair.db, &gone, PATIENCE * 3),
        "{}",
        again.said()
    );
    drop(gate);
    again.wait().exits(0);
    pair.assert_equal();
}

#[test]
fn what_post_data_could_not_restore_is_kept_and_comes_with_the_resume() {
    let (pair, work) = (
        Pair::with("create table t (id integer primary key); create publication taken for table t"),
        WorkDir::new(),
    );
    pair.in_target("create publication taken");
    pair.clone(&work, &[])
        .exits(7)
        .says(&["not-restored.sql", "already exists"]);
    let kept = work.path().join("schema/not-restored.sql");
    let text = std::fs::read_to_string(&kept).expect("the file");
    assert!(text.contains("CREATE PUBLICATION taken"), "{text}");
    pair.in_target("drop publication taken");
    pair.clone(&work, &["--resume", "--not-consistent"])
        .exits(0);
    assert!(!kept.exists());
    pair.assert_equal();
}
