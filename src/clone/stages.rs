//! The order of a clone: events of processes in, orders out. No I/O, no clock.
//!
//! ```text
//! prepare -> [roles] -> [snapshot] -> STEP 1 fetch  \
//!                                     STEP 2 dump   / -> STEP 3 pre-data
//!   -> STEP 4..9 workers, all at once                 -> STEP 10 post-data -> end
//! ```
//!
//! A command for some parts of a clone goes the same way and leaves out what it is not for: instead of
//! step 3 its work is planned, and instead of step 10 it takes a last look.
//!
//! A worker that dies is replaced. A unit that is given up lets the others of steps 4 to 9 finish,
//! unless the user asked to fail fast, and then the run stops before step 10.

use super::goal::{Goal, Part};
use crate::catalog::unit::Kind as Work;
use crate::error::{Error, Kind};
use crate::pg::{Retry, retry};
use crate::supervisor::{End, Event, Machine, Order, Report, Role};

/// Deaths of one worker number after which it is not replaced again.
const DEATHS_MAX: u32 = 6;

/// What the user chose, as far as the order of things depends on it.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of the user, no states"
)]
pub struct Choices {
    /// What the run is to reach.
    pub goal: Goal,
    /// `--table-jobs`.
    pub table_jobs: u32,
    /// `--index-jobs`.
    pub index_jobs: u32,
    /// `--large-objects-jobs`.
    pub blob_jobs: u32,
    /// Copy roles first.
    pub roles: bool,
    /// A snapshot process of ours reads everything in one snapshot.
    pub consistent: bool,
    /// Somebody else holds the snapshot.
    pub foreign_snapshot: bool,
    /// `--skip-vacuum`.
    pub skip_vacuum: bool,
    /// `--skip-large-objects`.
    pub skip_blobs: bool,
    /// `--fail-fast`.
    pub fail_fast: bool,
    /// `--follow`.
    pub follows: bool,
    /// A terminal wants a progress line.
    pub progress: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Prepare,
    Roles,
    Snapshot,
    Read,
    PreData,
    PartSnapshot,
    Data,
    PostData,
    Over,
}

/// Figures that the pre-data process reported.
#[derive(Clone, Copy, Debug, Default)]
struct Planned {
    copies: u64,
    parts: u64,
    builds: u64,
    vacuums: u64,
    blobs: u64,
    extensions: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Stages {
    choices: Choices,
    stage: Stage,
    planned: Planned,
    /// Live workers, with how often each number has died.
    live: Vec<(Role, u32)>,
    deaths: Vec<(Role, u32)>,
    snapshot_dismissed: bool,
    /// Something of the source is read that belongs into one snapshot.
    reads: bool,
    /// Post-data found something that has to be copied again before it can go on.
    redo: bool,
    failure: Option<Error>,
    /// The first thing left undone that did not stop the run.
    flaw: Option<Error>,
}

impl Stages {
    /// A clone that is about to begin.
    pub fn new(choices: Choices) -> Self {
        Self {
            choices,
            stage: Stage::Prepare,
            planned: Planned::default(),
            live: Vec::new(),
            deaths: Vec::new(),
            snapshot_dismissed: false,
            reads: true,
            redo: false,
            failure: None,
            flaw: None,
        }
    }

    /// Whether all of it is done, but for processes that are just ending.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Keeps the first failure.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Order {
        self.live.push((role, number));
        Order::Spawn {
            role,
            number,
            successor,
        }
    }

    fn is_live(&self, role: Role) -> bool {
        self.live.iter().any(|(live, _)| *live == role)
    }

    /// True when a snapshot process of ours is wanted before anything is read.
    fn exports(&self) -> bool {
        self.choices.consistent
            && !self.choices.foreign_snapshot
            && self.choices.goal.fetches()
            && self.reads
    }

    /// The orders that begin a stage.
    fn enter(&mut self, stage: Stage) -> Vec<Order> {
        self.stage = stage;
        let goal = self.choices.goal;
        match stage {
            Stage::Prepare => vec![self.spawn(Role::Prepare, 1, false)],
            Stage::Roles if goal.is_roles() => vec![self.spawn(Role::Roles, 1, false)],
            Stage::Roles if self.choices.roles => {
                let say = Order::Say("Copy the source database roles, per --roles".to_owned());
                vec![say, self.spawn(Role::Roles, 1, false)]
            }
            Stage::Roles => self.enter(Stage::Snapshot),
            Stage::Snapshot if self.exports() => vec![self.spawn(Role::Snapshot, 1, false)],
            Stage::Snapshot if self.choices.follows => {
                vec![self.spawn(Role::FollowSetup, 1, false)]
            }
            Stage::Snapshot => self.enter(Stage::Read),
            Stage::Read if !goal.fetches() => self.enter(Stage::PreData),
            Stage::Read => {
                let mut orders = vec![
                    Order::Say(
                        "STEP 1: fetch source database tables, indexes, and sequences".to_owned(),
                    ),
                    self.spawn(Role::Fetch, 1, false),
                ];
                if goal.needs_archive() {
                    orders.push(Order::Say(
                        "STEP 2: dump the source database schema (pre/post data)".to_owned(),
                    ));
                    orders.push(self.spawn(Role::Dump, 1, false));
                }
                orders
            }
            Stage::PreData if goal.is_dump() => self.enter(Stage::Over),
            Stage::PreData if goal.has(Part::PreData) => vec![
                Order::Say(
                    "STEP 3: restore the pre-data section to the target database".to_owned(),
                ),
                self.spawn(Role::PreData, 1, false),
            ],
            Stage::PreData => vec![self.spawn(Role::Plan, 1, false)],
            Stage::PartSnapshot => {
                // Without consistency, the parts of one table still need one snapshot among them.
                if !self.choices.consistent && self.planned.parts > 0 {
                    vec![self.spawn(Role::Snapshot, 1, false)]
                } else {
                    self.enter(Stage::Data)
                }
            }
            Stage::Data => self.enter_data(),
            Stage::PostData if !goal.has(Part::PostData) => {
                vec![self.spawn(Role::Finish, 1, false)]
            }
            Stage::PostData => vec![
                Order::Say(
                    "STEP 10: restore the post-data section to the target database".to_owned(),
                ),
                self.spawn(Role::PostData, 1, false),
            ],
            Stage::Over => {
                let mut orders = Vec::new();
                for role in [Role::Snapshot, Role::Progress] {
                    if self.is_live(role) {
                        orders.push(Order::Dismiss(role));
                    }
                }
                self.snapshot_dismissed = true;
                orders
            }
        }
    }

    fn enter_data(&mut self) -> Vec<Order> {
        let planned = self.planned;
        let choices = self.choices.clone();
        let mut orders = Vec::new();
        let jobs = |wanted: u32, units: u64| wanted.min(u32::try_from(units).unwrap_or(u32::MAX));
        let copy = jobs(choices.table_jobs, planned.copies);
        let blob = if choices.skip_blobs {
            0
        } else {
            jobs(choices.blob_jobs, planned.blobs)
        };
        let index = jobs(choices.index_jobs, planned.builds);
        let vacuum = if choices.skip_vacuum {
            0
        } else {
            jobs(choices.table_jobs, planned.vacuums)
        };
        let goal = choices.goal;
        let mut steps = Vec::new();
        steps.push((
            goal.has(Part::TableData),
            match copy {
                0 => "STEP 4: skipping COPY, no table selected".to_owned(),
                _ => format!("STEP 4: starting {copy} table-data COPY processes"),
            },
        ));
        steps.push((
            goal.has(Part::Blobs),
            match (choices.skip_blobs, blob) {
                (true, _) => "STEP 5: skipping large objects, per --skip-large-objects".to_owned(),
                (false, 0) => "STEP 5: skipping large objects, none to copy".to_owned(),
                (false, _) => format!("STEP 5: starting {blob} Large Objects workers"),
            },
        ));
        let kinds = goal.index_kinds().0;
        steps.push((
            kinds.contains(&Work::Index),
            match index {
                0 => "STEP 6: skipping CREATE INDEX, none to build".to_owned(),
                _ => format!("STEP 6: starting {index} CREATE INDEX processes"),
            },
        ));
        steps.push((
            kinds.contains(&Work::Constraint),
            match index {
                0 => "STEP 7: skipping constraints, none to build".to_owned(),
                _ => "STEP 7: constraints are built by the CREATE INDEX processes".to_owned(),
            },
        ));
        steps.push((
            goal.has(Part::Vacuum),
            match (choices.skip_vacuum, vacuum) {
                (true, _) => "STEP 8: skipping VACUUM jobs per --skip-vacuum".to_owned(),
                (false, 0) => "STEP 8: skipping VACUUM jobs, no table to vacuum".to_owned(),
                (false, _) => format!("STEP 8: starting {vacuum} VACUUM processes"),
            },
        ));
        let sequences = goal.has(Part::Sequences);
        steps.push((sequences, "STEP 9: reset sequences values".to_owned()));
        let said = steps.into_iter().filter(|(is_for, _)| *is_for);
        orders.extend(said.map(|(_, line)| Order::Say(line)));
        let before = orders.len();
        for (role, count) in [
            (Role::Copy, copy),
            (Role::Index, index),
            (Role::Blob, blob),
            (Role::Sequence, u32::from(sequences)),
            (Role::Extension, u32::from(planned.extensions > 0)),
            (Role::Vacuum, vacuum),
            (Role::Progress, u32::from(choices.progress)),
        ] {
            for number in 1..=count {
                orders.push(self.spawn(role, number, false));
            }
        }
        if orders.len() == before {
            orders.extend(self.enter(Stage::PostData));
        }
        orders
    }

    /// Ends the snapshot's transaction as soon as nobody reads the source's tables any more.
    fn release_snapshot(&mut self) -> Vec<Order> {
        let readers = [
            Role::Fetch,
            Role::Dump,
            Role::Copy,
            Role::Blob,
            Role::Extension,
        ];
        let needed = self.stage != Stage::Data || readers.iter().any(|role| self.is_live(*role));
        if needed || self.snapshot_dismissed || !self.is_live(Role::Snapshot) {
            return Vec::new();
        }
        self.snapshot_dismissed = true;
        vec![Order::Dismiss(Role::Snapshot)]
    }

    fn report(&mut self, role: Role, report: Report) -> Vec<Order> {
        match report {
            Report::Snapshot { .. } => match self.stage {
                Stage::Snapshot => self.enter(Stage::Read),
                Stage::PartSnapshot => self.enter(Stage::Data),
                _ => Vec::new(),
            },
            Report::Planned {
                copies,
                parts,
                builds,
                vacuums,
                blobs,
                extensions,
                fresh: _,
            } => {
                self.planned = Planned {
                    copies,
                    parts,
                    builds,
                    vacuums,
                    blobs,
                    extensions,
                };
                Vec::new()
            }
            Report::GivenUp { error } => {
                self.fail(error);
                if self.choices.fail_fast {
                    vec![Order::StopAll]
                } else {
                    Vec::new()
                }
            }
            Report::Flawed { error } => {
                self.flaw.get_or_insert(error);
                if self.choices.fail_fast {
                    vec![Order::StopAll]
                } else {
                    Vec::new()
                }
            }
            Report::Prepared { reads, .. } => {
                self.reads = reads;
                Vec::new()
            }
            Report::Redo if matches!(role, Role::PostData | Role::Finish) => {
                // Only what a crash of the target undid: unlogged tables and what hangs on them.
                let goal = self.choices.goal;
                let jobs = |does: bool, jobs: u32| if does { u64::from(jobs) } else { 0 };
                self.planned.copies = u64::from(self.choices.table_jobs);
                self.planned.builds = jobs(goal.builds(), self.choices.index_jobs);
                self.planned.vacuums = jobs(goal.vacuums(), self.choices.table_jobs);
                self.planned.parts = 0;
                self.redo = true;
                Vec::new()
            }
            Report::Redo
            | Report::Yielded { .. }
            | Report::Load { .. }
            | Report::PutBack { .. }
            | Report::Position { .. }
            | Report::Reached { .. }
            | Report::Endpos { .. }
            | Report::Done
            | Report::Failed { .. } => Vec::new(),
        }
    }

    fn ended(&mut self, role: Role, number: u32, end: End) -> Vec<Order> {
        self.live.retain(|live| *live != (role, number));
        match end {
            End::Done => self.done(role),
            End::Failed(error) if self.may_try_again(role, &error) => {
                self.replace(role, number, &error.lines().join("; "))
            }
            End::Failed(error) => self.failed(role, error),
            End::Crashed(how) => self.crashed(role, number, &how),
        }
    }

    fn done(&mut self, role: Role) -> Vec<Order> {
        if self.failure.is_some() && self.stage != Stage::Data {
            return vec![Order::StopAll];
        }
        match (self.stage, role) {
            (Stage::Prepare, Role::Prepare) => self.enter(Stage::Roles),
            (Stage::Roles, Role::Roles) if self.choices.goal.is_roles() => self.enter(Stage::Over),
            (Stage::Roles, Role::Roles) => self.enter(Stage::Snapshot),
            (Stage::Snapshot, Role::FollowSetup) => self.enter(Stage::Read),
            (Stage::Read, Role::Fetch | Role::Dump)
                if !self.is_live(Role::Fetch) && !self.is_live(Role::Dump) =>
            {
                self.enter(Stage::PreData)
            }
            (Stage::PreData, Role::PreData) if !self.choices.goal.has_workers() => {
                self.enter(Stage::Over)
            }
            (Stage::PreData, Role::PreData | Role::Plan) => self.enter(Stage::PartSnapshot),
            (Stage::Data, _) => self.after_data(),
            (Stage::PostData, Role::PostData | Role::Finish) if std::mem::take(&mut self.redo) => {
                self.enter(Stage::Data)
            }
            (Stage::PostData, Role::PostData | Role::Finish) => self.enter(Stage::Over),
            _ => Vec::new(),
        }
    }

    /// Goes on once the last worker of steps 4 to 9 has ended.
    fn after_data(&mut self) -> Vec<Order> {
        let mut orders = self.release_snapshot();
        let workers = [
            Role::Copy,
            Role::Index,
            Role::Blob,
            Role::Sequence,
            Role::Extension,
            Role::Vacuum,
        ];
        if workers.iter().any(|role| self.is_live(*role)) {
            return orders;
        }
        if self.is_live(Role::Progress) {
            orders.push(Order::Dismiss(Role::Progress));
        }
        if self.failure.is_some() {
            if self.choices.goal.has(Part::PostData) {
                orders.push(Order::Say(
                    "Not restoring the post-data section, as some of the data could not be copied"
                        .to_owned(),
                ));
            }
            orders.push(Order::StopAll);
        } else {
            orders.extend(self.enter(Stage::PostData));
        }
        orders
    }

    fn failed(&mut self, role: Role, error: Error) -> Vec<Order> {
        if role == Role::Progress {
            return Vec::new();
        }
        let is_for_all = error.is_waited_out();
        self.fail(error);
        // These have no units: workers beside them finish what they can. A worker that could not go
        // on leaves units behind for which the others would wait for ever.
        let has_no_units = matches!(role, Role::Sequence | Role::Snapshot);
        let others_go_on =
            self.stage == Stage::Data && has_no_units && !self.choices.fail_fast && !is_for_all;
        if others_go_on {
            self.after_data()
        } else {
            vec![Order::StopAll]
        }
    }

    fn crashed(&mut self, role: Role, number: u32, how: &str) -> Vec<Order> {
        if role == Role::Progress {
            return Vec::new();
        }
        if role == Role::Snapshot {
            return self.failed(role, snapshot_lost(how));
        }
        self.replace(role, number, how)
    }

    /// True for a failure that passes, of a process that can be run again: all but the one that
    /// connects first, which has waited long enough, and the one whose snapshot is gone with it.
    fn may_try_again(&self, role: Role, error: &Error) -> bool {
        let is_lasting = matches!(retry::policy(error), Retry::Never) || error.is_snapshot_lost();
        let is_once_only = matches!(role, Role::Prepare | Role::Snapshot | Role::Progress);
        !is_lasting && !is_once_only && self.failure.is_none()
    }

    /// Starts a successor, unless too many have gone the same way.
    fn replace(&mut self, role: Role, number: u32, how: &str) -> Vec<Order> {
        self.deaths.push((role, number));
        let deaths = self
            .deaths
            .iter()
            .filter(|dead| **dead == (role, number))
            .count();
        if u32::try_from(deaths).unwrap_or(u32::MAX) > DEATHS_MAX {
            let error = Error::internal(format!("{how}, for the {deaths}th time"))
                .hint("Look at the log for what it was doing, then use --resume.");
            return self.failed(role, error);
        }
        vec![
            Order::Say(format!("Starting \"{}\" again: {how}", role.label())),
            self.spawn(role, number, true),
        ]
    }
}

fn snapshot_lost(how: &str) -> Error {
    Error::new(Kind::Source, "the process that held the snapshot died")
        .detail(how.to_owned())
        .hint("Use --resume --not-consistent to go on without that snapshot.")
}

impl Machine for Stages {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start => self.enter(Stage::Prepare),
            Event::Report(role, _, report) => self.report(role, report),
            Event::Ended(role, number, end) => self.ended(role, number, end),
        }
    }

    fn failure(&self) -> Option<&Error> {
        self.failure.as_ref().or(self.flaw.as_ref())
    }
}

#[cfg(test)]
mod tests;
