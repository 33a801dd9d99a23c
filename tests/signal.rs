//! Signals and sudden death, mid-copy: the run ends or mends itself, and nothing is left.

use nix::sys::signal::Signal::{self, SIGINT, SIGKILL, SIGQUIT, SIGTERM};

use crate::support::program::{lives, signal, sysv_objects};
use crate::support::servers::GATED;
use crate::support::{PATIENCE, Pair, Running, WorkDir, within};

/// A signal to the top process alone ends everything in time, with that status.
fn ends_by(which: Signal) {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    let before = sysv_objects();
    let gate = pair.gate();
    let mut run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    let ours = &sysv_objects() - &before;
    run.kill(which);
    run.wait_within(PATIENCE).exits(128 + which as i32);
    leaves_nothing(&pair, &run, &ours);
    drop(gate);
}

/// No process, no queue that was new while the run was alive, no waiting backend.
fn leaves_nothing(pair: &Pair, run: &Running, ours: &std::collections::BTreeSet<String>) {
    assert!(run.is_gone_within(PATIENCE), "left: {:?}", run.children());
    // other tests of this program come and go: theirs disappear, too
    let limit = PATIENCE * 6;
    assert!(
        within(limit, || ours.is_disjoint(&sysv_objects())),
        "left: {:?}",
        ours & &sysv_objects()
    );
    assert!(
        pair.from.is_quiet(&pair.db),
        "backends are left on the source"
    );
    let waiting = "select count(*) = 0 from pg_stat_activity where datname = current_database()
                      and application_name like 'pgcopydb%'";
    let is_quiet = pair.to.wait_until(&pair.db, waiting, PATIENCE);
    let what = "select string_agg(application_name || ': ' || query, '; ') from pg_stat_activity
                 where datname = current_database()";
    assert!(is_quiet, "left on the target: {}", pair.in_target(what));
}

#[test]
fn term_ends_a_clone_with_143() {
    ends_by(SIGTERM);
}

#[test]
fn int_ends_a_clone_with_130() {
    ends_by(SIGINT);
}

#[test]
fn quit_ends_a_clone_with_131() {
    ends_by(SIGQUIT);
}

#[test]
fn what_a_signal_ended_can_be_resumed() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    let gate = pair.gate();
    let mut run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    run.kill(SIGTERM);
    run.wait_within(PATIENCE).exits(143);
    drop(gate);
    pair.clone(&work, &["--resume", "--not-consistent"])
        .exits(0);
    pair.assert_equal();
}

#[test]
fn a_killed_copy_worker_is_replaced() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    let gate = pair.gate();
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    let workers = run.children_named("gated");
    assert!(
        !workers.is_empty(),
        "no worker has the table's name in its title"
    );
    for pid in &workers {
        signal(*pid, SIGKILL);
    }
    assert!(within(PATIENCE, || !workers.iter().any(|pid| lives(*pid))));
    drop(gate);
    run.wait().exits(0);
    pair.assert_equal();
}

#[test]
fn nothing_outlives_the_supervisor() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    let before = sysv_objects();
    let gate = pair.gate();
    let mut run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    let ours = &sysv_objects() - &before;
    run.kill(SIGKILL);
    run.wait_within(PATIENCE).exits(137);
    leaves_nothing(&pair, &run, &ours);
    drop(gate);
    pair.clone(&work, &["--resume", "--not-consistent"])
        .exits(0);
    pair.assert_equal();
}

#[test]
fn a_terminated_backend_costs_one_more_try() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    let gate = pair.gate();
    let run = pair.start(&work, &[]);
    pair.wait_for_gate(&run);
    pair.in_target(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and query ~* '^copy' and wait_event_type = 'Lock'",
    );
    drop(gate);
    run.wait().exits(0);
    pair.assert_equal();
}
