//! Tests of the order of a clone, with lists of events and no processes.

use super::*;

fn choices() -> Choices {
    Choices {
        goal: Goal::Clone,
        table_jobs: 2,
        index_jobs: 2,
        blob_jobs: 2,
        roles: false,
        consistent: true,
        foreign_snapshot: false,
        skip_vacuum: false,
        skip_blobs: false,
        fail_fast: false,
        follows: false,
        progress: false,
    }
}

fn planned(copies: u64, blobs: u64) -> Report {
    Report::Planned {
        copies,
        parts: 0,
        builds: copies,
        vacuums: copies,
        blobs,
        extensions: 0,
        fresh: true,
    }
}

fn spawned(orders: &[Order]) -> Vec<(Role, u32, bool)> {
    orders
        .iter()
        .filter_map(|order| match order {
            Order::Spawn {
                role,
                number,
                successor,
            } => Some((*role, *number, *successor)),
            _ => None,
        })
        .collect()
}

/// Drives a machine to its data stage and returns the workers it started.
fn to_data(stages: &mut Stages, report: Report) -> Vec<(Role, u32, bool)> {
    stages.on(Event::Start);
    stages.on(Event::Ended(Role::Prepare, 1, End::Done));
    stages.on(Event::Report(
        Role::Snapshot,
        1,
        Report::Snapshot {
            id: "1-1".to_owned(),
        },
    ));
    stages.on(Event::Ended(Role::Fetch, 1, End::Done));
    let orders = stages.on(Event::Ended(Role::Dump, 1, End::Done));
    assert_eq!(spawned(&orders), [(Role::PreData, 1, false)]);
    stages.on(Event::Report(Role::PreData, 1, report));
    spawned(&stages.on(Event::Ended(Role::PreData, 1, End::Done)))
}

#[test]
fn a_run_goes_through_its_steps_and_releases_the_snapshot_after_the_last_reader() {
    let mut stages = Stages::new(choices());
    let workers = to_data(&mut stages, planned(5, 1));
    assert_eq!(workers.len(), 2 + 2 + 1 + 1 + 2);
    assert!(stages.on(Event::Ended(Role::Copy, 1, End::Done)).is_empty());
    assert!(stages.on(Event::Ended(Role::Copy, 2, End::Done)).is_empty());
    let orders = stages.on(Event::Ended(Role::Blob, 1, End::Done));
    assert_eq!(orders, [Order::Dismiss(Role::Snapshot)]);
    for (role, number) in [
        (Role::Snapshot, 1),
        (Role::Sequence, 1),
        (Role::Index, 1),
        (Role::Index, 2),
        (Role::Vacuum, 1),
    ] {
        assert!(spawned(&stages.on(Event::Ended(role, number, End::Done))).is_empty());
    }
    let orders = stages.on(Event::Ended(Role::Vacuum, 2, End::Done));
    assert_eq!(spawned(&orders), [(Role::PostData, 1, false)]);
    stages.on(Event::Ended(Role::PostData, 1, End::Done));
    assert!(stages.failure().is_none());
}

#[test]
fn a_dead_worker_is_replaced_under_its_number_until_it_dies_too_often() {
    let mut stages = Stages::new(choices());
    to_data(&mut stages, planned(5, 0));
    for _ in 0..DEATHS_MAX {
        let orders = stages.on(Event::Ended(
            Role::Copy,
            2,
            End::Crashed("killed".to_owned()),
        ));
        assert_eq!(spawned(&orders), [(Role::Copy, 2, true)]);
    }
    let orders = stages.on(Event::Ended(
        Role::Copy,
        2,
        End::Crashed("killed".to_owned()),
    ));
    assert!(spawned(&orders).is_empty());
    assert_eq!(stages.failure().map(Error::kind), Some(Kind::Internal));
}

#[test]
fn a_unit_given_up_lets_the_others_finish_and_stops_before_post_data() {
    let mut stages = Stages::new(choices());
    let workers = to_data(&mut stages, planned(5, 0));
    let error = Error::new(Kind::Target, "no such column");
    let orders = stages.on(Event::Report(Role::Copy, 1, Report::GivenUp { error }));
    assert!(orders.is_empty());
    let mut last = Vec::new();
    for (role, number, _) in workers {
        last = stages.on(Event::Ended(role, number, End::Done));
    }
    assert!(
        last.contains(&Order::StopAll) && spawned(&last).is_empty(),
        "{last:?}"
    );
}

#[test]
fn fail_fast_stops_at_the_first_unit_given_up() {
    let mut stages = Stages::new(Choices {
        fail_fast: true,
        ..choices()
    });
    to_data(&mut stages, planned(5, 0));
    let error = Error::new(Kind::Target, "no such column");
    let orders = stages.on(Event::Report(Role::Copy, 1, Report::GivenUp { error }));
    assert_eq!(orders, [Order::StopAll]);
}

#[test]
fn a_process_that_lost_its_connection_is_started_again() {
    let lost = || End::Failed(Error::new(Kind::Target, "lost").transient());
    let mut stages = Stages::new(choices());
    to_data(&mut stages, planned(5, 0));
    for role in [Role::Sequence, Role::Copy, Role::Index] {
        let orders = stages.on(Event::Ended(role, 1, lost()));
        assert_eq!(spawned(&orders), [(role, 1, true)]);
    }
    assert!(stages.failure().is_none());
    let mut first = Stages::new(choices());
    first.on(Event::Start);
    let orders = first.on(Event::Ended(Role::Prepare, 1, lost()));
    assert_eq!(orders, [Order::StopAll]);
}

#[test]
fn a_worker_that_cannot_go_on_stops_those_that_would_wait_for_its_units() {
    let mut stages = Stages::new(choices());
    to_data(&mut stages, planned(5, 0));
    let gone = Error::new(Kind::Source, "no snapshot").snapshot_lost();
    let orders = stages.on(Event::Ended(Role::Copy, 1, End::Failed(gone)));
    assert_eq!(orders, [Order::StopAll]);

    let mut stages = Stages::new(choices());
    to_data(&mut stages, planned(5, 0));
    let refused = Error::new(Kind::Target, "permission denied");
    let orders = stages.on(Event::Ended(Role::Sequence, 1, End::Failed(refused)));
    assert!(orders.is_empty(), "{orders:?}");
}

#[test]
fn the_death_of_the_snapshot_holder_is_a_failure_that_names_resume() {
    let mut stages = Stages::new(choices());
    to_data(&mut stages, planned(5, 0));
    stages.on(Event::Ended(
        Role::Snapshot,
        1,
        End::Crashed("killed".to_owned()),
    ));
    let hint = stages
        .failure()
        .and_then(Error::hint_text)
        .unwrap_or_default()
        .to_owned();
    assert!(hint.contains("--resume --not-consistent"), "{hint}");
}

#[test]
fn post_data_may_send_the_run_back_to_the_workers_once() {
    let mut stages = Stages::new(Choices {
        consistent: false,
        ..choices()
    });
    stages.on(Event::Start);
    stages.on(Event::Ended(Role::Prepare, 1, End::Done));
    stages.on(Event::Ended(Role::Fetch, 1, End::Done));
    stages.on(Event::Ended(Role::Dump, 1, End::Done));
    stages.on(Event::Report(Role::PreData, 1, planned(1, 0)));
    let workers = spawned(&stages.on(Event::Ended(Role::PreData, 1, End::Done)));
    for (role, number, _) in workers {
        stages.on(Event::Ended(role, number, End::Done));
    }
    stages.on(Event::Report(Role::PostData, 1, Report::Redo));
    let again = spawned(&stages.on(Event::Ended(Role::PostData, 1, End::Done)));
    assert!(again.contains(&(Role::Copy, 1, false)), "{again:?}");
}

#[test]
fn without_consistency_only_parts_get_a_snapshot() {
    let mut stages = Stages::new(Choices {
        consistent: false,
        ..choices()
    });
    stages.on(Event::Start);
    let orders = stages.on(Event::Ended(Role::Prepare, 1, End::Done));
    assert_eq!(spawned(&orders).len(), 2, "fetch and dump at once");
    stages.on(Event::Ended(Role::Fetch, 1, End::Done));
    stages.on(Event::Ended(Role::Dump, 1, End::Done));
    let report = Report::Planned {
        copies: 4,
        parts: 4,
        builds: 0,
        vacuums: 0,
        blobs: 0,
        extensions: 0,
        fresh: true,
    };
    stages.on(Event::Report(Role::PreData, 1, report));
    let orders = stages.on(Event::Ended(Role::PreData, 1, End::Done));
    assert_eq!(spawned(&orders), [(Role::Snapshot, 1, false)]);
    let id = Report::Snapshot {
        id: "1-1".to_owned(),
    };
    let orders = stages.on(Event::Report(Role::Snapshot, 1, id));
    assert!(spawned(&orders).contains(&(Role::Copy, 2, false)));
}

/// Drives a command's machine with work for one worker of each kind; the roles in the order in which
/// they were started.
fn course(goal: Goal) -> Vec<Role> {
    let mut stages = Stages::new(Choices { goal, ..choices() });
    let mut course = Vec::new();
    let mut waiting = spawned(&stages.on(Event::Start));
    while !waiting.is_empty() {
        let (role, number, _) = waiting.remove(0);
        course.push(role);
        let report = match role {
            Role::Snapshot => {
                let id = "1-1".to_owned();
                waiting.extend(spawned(&stages.on(Event::Report(
                    role,
                    number,
                    Report::Snapshot { id },
                ))));
                continue;
            }
            Role::PreData | Role::Plan => Some(left(goal)),
            _ => None,
        };
        if let Some(report) = report {
            stages.on(Event::Report(role, number, report));
        }
        waiting.extend(spawned(&stages.on(Event::Ended(role, number, End::Done))));
    }
    assert!(stages.failure().is_none());
    course
}

/// One unit of each kind that the command is for.
fn left(goal: Goal) -> Report {
    let one = |does: bool| u64::from(does);
    Report::Planned {
        copies: one(goal.has(Part::TableData)),
        parts: 0,
        builds: one(goal.builds()),
        vacuums: one(goal.vacuums()),
        blobs: one(goal.has(Part::Blobs)),
        extensions: one(goal.copies_extensions()),
        fresh: false,
    }
}

#[test]
fn each_command_starts_the_processes_that_it_needs_and_no_others() {
    use Role::{
        Blob, Copy, Dump, Extension, Fetch, Finish, Index, Plan, PostData, PreData, Prepare, Roles,
        Sequence, Snapshot, Vacuum,
    };
    let cases: [(Goal, &[Role]); 13] = [
        (Goal::CopyRoles, &[Prepare, Roles]),
        (Goal::RestoreRoles, &[Prepare, Roles]),
        (Goal::DumpSchema, &[Prepare, Snapshot, Fetch, Dump]),
        (Goal::RestorePreData, &[Prepare, PreData]),
        (
            Goal::CopyExtensions,
            &[Prepare, Snapshot, Fetch, Plan, Extension, Finish],
        ),
        (
            Goal::CopyTableData,
            &[Prepare, Snapshot, Fetch, Plan, Copy, Finish],
        ),
        (
            Goal::CopyBlobs,
            &[Prepare, Snapshot, Fetch, Plan, Blob, Finish],
        ),
        (
            Goal::CopySequences,
            &[Prepare, Snapshot, Fetch, Plan, Sequence, Finish],
        ),
        (
            Goal::CopyIndexes,
            &[Prepare, Snapshot, Fetch, Dump, Plan, Index, Finish],
        ),
        (
            Goal::CopyConstraints,
            &[Prepare, Snapshot, Fetch, Dump, Plan, Index, Finish],
        ),
        (
            Goal::CopyData,
            &[
                Prepare, Snapshot, Fetch, Dump, Plan, Copy, Index, Blob, Sequence, Extension,
                Vacuum, Finish,
            ],
        ),
        (
            Goal::RestorePostData,
            &[Prepare, Plan, Index, Vacuum, PostData],
        ),
        (
            Goal::CopySchema,
            &[
                Prepare, Snapshot, Fetch, Dump, PreData, Index, Vacuum, PostData,
            ],
        ),
    ];
    for (goal, expected) in cases {
        assert_eq!(course(goal), expected, "{goal:?}");
    }
}

#[test]
fn a_server_that_does_not_come_back_ends_the_run_at_the_first_word_of_it() {
    let gone = || End::Failed(Error::new(Kind::Target, "refused").transient().waited_out());
    let mut stages = Stages::new(choices());
    to_data(&mut stages, planned(5, 1));
    let orders = stages.on(Event::Ended(Role::Copy, 1, gone()));
    assert_eq!(orders, [Order::StopAll]);
    // Nor does a process wait anew that has no units.
    let mut stages = Stages::new(choices());
    stages.on(Event::Start);
    stages.on(Event::Ended(Role::Prepare, 1, End::Done));
    let id = "1-1".to_owned();
    stages.on(Event::Report(Role::Snapshot, 1, Report::Snapshot { id }));
    let orders = stages.on(Event::Ended(Role::Fetch, 1, gone()));
    assert_eq!(orders, [Order::StopAll]);
}
