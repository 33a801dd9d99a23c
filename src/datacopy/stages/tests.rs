//! Events and orders of the machine.

use super::*;

fn choices(copies: bool) -> Choices {
    Choices {
        copies,
        jobs: 2,
        one_snapshot: true,
    }
}

fn planned(copies: u64, builds: u64) -> Report {
    Report::Planned {
        copies,
        parts: 0,
        builds,
        vacuums: 0,
        blobs: 0,
        extensions: 0,
        fresh: false,
    }
}

fn roles(orders: &[Order]) -> Vec<(Role, u32)> {
    orders
        .iter()
        .filter_map(|order| match order {
            Order::Spawn { role, number, .. } => Some((*role, *number)),
            _ => None,
        })
        .collect()
}

/// A machine whose copy workers are at work.
fn copying() -> Stages {
    let mut stages = Stages::new(choices(true));
    stages.on(Event::Start);
    stages.on(Event::Ended(Role::Prepare, 1, End::Done));
    let id = "1".to_owned();
    stages.on(Event::Report(Role::Snapshot, 1, Report::Snapshot { id }));
    let orders = stages.on(Event::Report(Role::Guard, 1, planned(5, 0)));
    assert_eq!(roles(&orders), [(Role::Copy, 1), (Role::Copy, 2)]);
    stages
}

#[test]
fn keys_come_back_after_the_rows_and_the_lock_goes_last() {
    let mut stages = copying();
    stages.on(Event::Ended(Role::Copy, 1, End::Done));
    let orders = stages.on(Event::Ended(Role::Copy, 2, End::Done));
    assert_eq!(orders[0], Order::Dismiss(Role::Snapshot));
    assert_eq!(roles(&orders), [(Role::Sequence, 1)]);
    let orders = stages.on(Event::Ended(Role::Sequence, 1, End::Done));
    assert_eq!(roles(&orders), [(Role::Restore, 1)]);
    stages.on(Event::Report(Role::Restore, 1, planned(0, 7)));
    let orders = stages.on(Event::Ended(Role::Restore, 1, End::Done));
    assert_eq!(roles(&orders), [(Role::Validate, 1), (Role::Validate, 2)]);
    stages.on(Event::Ended(Role::Validate, 1, End::Done));
    let orders = stages.on(Event::Ended(Role::Validate, 2, End::Done));
    assert_eq!(roles(&orders), [(Role::Prove, 1)]);
    let orders = stages.on(Event::Ended(Role::Prove, 1, End::Done));
    assert!(orders.contains(&Order::Dismiss(Role::Guard)));
    assert!(stages.failure().is_none());
}

#[test]
fn a_table_that_is_given_up_keeps_no_key_from_coming_back() {
    let mut stages = copying();
    let error = Error::new(Kind::Target, "disk full");
    stages.on(Event::Report(Role::Copy, 1, Report::GivenUp { error }));
    stages.on(Event::Ended(Role::Copy, 1, End::Done));
    let orders = stages.on(Event::Ended(Role::Copy, 2, End::Done));
    assert_eq!(roles(&orders), [(Role::Restore, 1)], "no sequences");
    assert!(stages.failure().is_some());
}

#[test]
fn a_run_that_only_puts_back_reads_nothing_from_the_source() {
    let mut stages = Stages::new(choices(false));
    stages.on(Event::Start);
    let orders = stages.on(Event::Ended(Role::Prepare, 1, End::Done));
    assert_eq!(roles(&orders), [(Role::Progress, 1), (Role::Guard, 1)]);
    let orders = stages.on(Event::Report(Role::Guard, 1, planned(3, 0)));
    assert_eq!(roles(&orders), [(Role::Restore, 1)]);
}

#[test]
fn dead_workers_are_replaced_and_a_lost_snapshot_ends_the_run() {
    let mut stages = copying();
    let orders = stages.on(Event::Ended(
        Role::Guard,
        1,
        End::Crashed("killed".to_owned()),
    ));
    assert_eq!(roles(&orders), [(Role::Guard, 1)]);
    let orders = stages.on(Event::Report(Role::Guard, 1, planned(5, 0)));
    assert!(orders.is_empty(), "the copy goes on as it was");
    let orders = stages.on(Event::Ended(
        Role::Snapshot,
        1,
        End::Crashed("killed".to_owned()),
    ));
    assert_eq!(orders, [Order::StopAll]);
    assert_eq!(stages.failure().map(Error::kind), Some(Kind::Source));
}
