//! Tests of who gets a place, with lists of events and no processes.

use super::super::goal::Goal;
use super::super::stages::Choices;
use super::*;

const PLACES: Places = Places {
    table: 2,
    index: 1,
    blob: 1,
};

fn stages() -> Stages {
    Stages::new(Choices {
        goal: Goal::Clone,
        table_jobs: 2,
        index_jobs: 1,
        blob_jobs: 1,
        roles: false,
        consistent: true,
        foreign_snapshot: false,
        skip_vacuum: true,
        skip_blobs: true,
        fail_fast: false,
        follows: false,
        progress: false,
    })
}

fn pool(databases: &[(&str, u64)]) -> Pool {
    let mut pool = Pool::new(PLACES, (false, false), 0);
    for database in databases {
        pool.add(*database, stages());
    }
    pool
}

/// Leaves that were started: part (from 0), role, number.
fn spawned(orders: &[Order]) -> Vec<(u32, Role, u32)> {
    orders
        .iter()
        .filter_map(|order| match order {
            Order::Spawn { role, number, .. } if *number >= STRIDE => {
                Some((number / STRIDE - 1, *role, number % STRIDE))
            }
            _ => None,
        })
        .collect()
}

fn done(pool: &mut Pool, part: u32, role: Role) -> Vec<Order> {
    ended(pool, part, (role, 1), End::Done)
}

fn ended(pool: &mut Pool, part: u32, (role, number): (Role, u32), end: End) -> Vec<Order> {
    pool.on(Event::Ended(role, (part + 1) * STRIDE + number, end))
}

/// Drives a database to the end of pre-data, where `copies` tables wait.
fn to_data(pool: &mut Pool, part: u32, copies: u64) -> Vec<Order> {
    done(pool, part, Role::Prepare);
    let id = "1-1".to_owned();
    let number = (part + 1) * STRIDE + 1;
    pool.on(Event::Report(
        Role::Snapshot,
        number,
        Report::Snapshot { id },
    ));
    done(pool, part, Role::Fetch);
    done(pool, part, Role::Dump);
    let planned = Report::Planned {
        copies,
        parts: 0,
        builds: 0,
        vacuums: 0,
        blobs: 0,
        extensions: 0,
        fresh: true,
    };
    pool.on(Event::Report(Role::PreData, number, planned));
    done(pool, part, Role::PreData)
}

fn load(pool: &mut Pool, part: u32, ready: &[i64], running: u32) -> Vec<Order> {
    let copy = ClassLoad {
        ready: ready.to_vec(),
        running,
        is_over: ready.is_empty() && running == 0,
    };
    let over = ClassLoad {
        is_over: true,
        ..ClassLoad::default()
    };
    let classes = vec![copy, over.clone(), over.clone(), over];
    pool.on(Event::Report(
        Role::Lookout,
        1,
        Report::Load { part, classes },
    ))
}

#[test]
fn the_largest_table_of_all_databases_is_first_and_places_are_counted_over_all() {
    let mut pool = pool(&[("a", 1000), ("b", 900)]);
    assert_eq!(
        spawned(&pool.on(Event::Start)),
        [(0, Role::Prepare, 1), (1, Role::Prepare, 1)]
    );
    to_data(&mut pool, 0, 3);
    // The largest table of b is not known yet, and b is larger than any table of a.
    assert!(spawned(&load(&mut pool, 0, &[500, 400, 300], 0)).is_empty());
    to_data(&mut pool, 1, 2);
    let orders = load(&mut pool, 1, &[800, 10], 0);
    assert_eq!(spawned(&orders), [(1, Role::Copy, 1), (0, Role::Copy, 1)]);
    // Both places are taken; a load that shows units not claimed yet changes nothing.
    assert!(spawned(&load(&mut pool, 1, &[800, 10], 0)).is_empty());
    load(&mut pool, 1, &[10], 1);
    load(&mut pool, 0, &[400, 300], 1);
    // A worker of b yields: the next largest belongs to a.
    let yielded = Report::Yielded { idle: false };
    pool.on(Event::Report(Role::Copy, 2 * STRIDE + 1, yielded));
    let orders = done(&mut pool, 1, Role::Copy);
    assert_eq!(spawned(&orders), [(0, Role::Copy, 2)]);
}

#[test]
fn a_small_database_that_is_still_prepared_keeps_no_large_table_waiting() {
    let mut pool = pool(&[("a", 1000), ("b", 90)]);
    pool.on(Event::Start);
    to_data(&mut pool, 0, 2);
    let orders = load(&mut pool, 0, &[500, 80], 0);
    assert_eq!(spawned(&orders), [(0, Role::Copy, 1)]);
    assert!(spawned(&load(&mut pool, 0, &[80], 1)).is_empty());
    // Nothing more is said of b than that it has begun: in the end it is waited for no longer.
    to_data(&mut pool, 1, 1);
    load(&mut pool, 1, &[], 0);
    let orders = load(&mut pool, 1, &[], 0);
    assert_eq!(spawned(&orders)[0], (0, Role::Copy, 2));
}

#[test]
fn the_last_worker_finds_the_end_of_its_stage_and_takes_those_along_that_still_wait() {
    let mut pool = pool(&[("a", 1000)]);
    pool.on(Event::Start);
    let orders = to_data(&mut pool, 0, 2);
    assert_eq!(spawned(&orders), [(0, Role::Sequence, 1)]);
    assert_eq!(spawned(&load(&mut pool, 0, &[5], 0)), [(0, Role::Copy, 1)]);
    done(&mut pool, 0, Role::Sequence);
    let yielded = Report::Yielded { idle: true };
    pool.on(Event::Report(Role::Copy, STRIDE + 1, yielded));
    // For want of work it is not started again before there is news.
    assert!(spawned(&done(&mut pool, 0, Role::Copy)).is_empty());
    assert_eq!(spawned(&load(&mut pool, 0, &[], 0)), [(0, Role::Copy, 2)]);
    let orders = ended(&mut pool, 0, (Role::Copy, 2), End::Done);
    assert!(orders.contains(&Order::DismissOne(Role::Snapshot, STRIDE + 1)));
    assert_eq!(spawned(&orders), [(0, Role::PostData, 1)]);
    done(&mut pool, 0, Role::Snapshot);
    let orders = done(&mut pool, 0, Role::PostData);
    assert!(orders.contains(&Order::Settle {
        part: 0,
        good: true
    }));
    assert!(orders.contains(&Order::Dismiss(Role::Lookout)));
    assert!(pool.failure().is_none());
}

#[test]
fn a_dead_worker_is_replaced_before_anybody_gets_its_place() {
    let mut pool = pool(&[("a", 1000), ("b", 900)]);
    pool.on(Event::Start);
    to_data(&mut pool, 0, 2);
    to_data(&mut pool, 1, 2);
    load(&mut pool, 0, &[500, 400], 0);
    load(&mut pool, 1, &[300, 200], 0);
    let died = End::Crashed("killed".to_owned());
    let orders = ended(&mut pool, 0, (Role::Copy, 2), died);
    let again = Order::Spawn {
        role: Role::Copy,
        number: STRIDE + 2,
        successor: true,
    };
    assert!(orders.contains(&again), "{orders:?}");
}

#[test]
fn what_fails_in_one_database_ends_this_one_alone() {
    let mut pool = pool(&[("a", 1000), ("b", 900)]);
    pool.on(Event::Start);
    let refused = || End::Failed(Error::new(Kind::Target, "not empty"));
    let orders = ended(&mut pool, 0, (Role::Prepare, 1), refused());
    assert!(orders.contains(&Order::Settle {
        part: 0,
        good: false
    }));
    assert!(!orders.contains(&Order::StopAll) && pool.failure().is_none());
    // While it copies, its other processes are ended, too.
    to_data(&mut pool, 1, 1);
    load(&mut pool, 1, &[500], 0);
    let orders = ended(&mut pool, 1, (Role::Copy, 1), refused());
    assert!(orders.contains(&Order::DismissOne(Role::Snapshot, 2 * STRIDE + 1)));
    done(&mut pool, 1, Role::Sequence);
    let orders = done(&mut pool, 1, Role::Snapshot);
    assert!(orders.contains(&Order::Settle {
        part: 1,
        good: false
    }));
    let whole = pool.failure().unwrap();
    let lines = whole.lines();
    assert_eq!(whole.kind(), Kind::Target);
    assert_eq!(lines[0], "2 of 2 databases did not end well");
    assert_eq!(
        lines[1],
        "DETAIL: On the target nothing was changed in: \"a\"."
    );
    assert!(lines[2].ends_with("in: \"b\"."), "{lines:?}");
}

#[test]
fn what_would_fail_everywhere_ends_the_run() {
    let mut pool = pool(&[("a", 1000), ("b", 900)]);
    pool.on(Event::Start);
    let gone = Error::new(Kind::Source, "refused").transient();
    let orders = ended(&mut pool, 0, (Role::Prepare, 1), End::Failed(gone));
    assert!(orders.contains(&Order::StopAll) && pool.failure().is_some());
}
