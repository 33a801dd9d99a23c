//! The order of a copy of rows: events of processes in, orders out. No I/O, no clock.
//!
//! ```text
//! prepare -> [snapshot] -> guard: plan again, journal, remove keys, empty
//!   -> copy, analyze -> sequences -> restore: keys NOT VALID, triggers -> validate -> prove -> end
//! ```
//!
//! A run that only puts back begins with prepare and guard, and goes on with restore. A table that is given up
//! stops no other, and keys come back all the same; what ends the run at once leaves them to a run that only
//! puts back, which the caller starts.

use crate::error::{Error, Kind};
use crate::pg::{Retry, retry};
use crate::supervisor::{End, Event, Machine, Order, Report, Role};

/// Deaths of one worker number after which it is not replaced again.
const DEATHS_MAX: u32 = 6;

/// What the user chose, as far as the order of things depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choices {
    /// Rows are copied; otherwise keys are only put back.
    pub(super) copies: bool,
    /// `--parallel`.
    pub(super) jobs: u32,
    /// A snapshot process reads everything in one snapshot.
    pub(super) one_snapshot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Prepare,
    Snapshot,
    Guard,
    Data,
    Sequence,
    Restore,
    Validate,
    Prove,
    Over,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Stages {
    choices: Choices,
    stage: Stage,
    copies: u64,
    vacuums: u64,
    validates: u64,
    live: Vec<(Role, u32)>,
    deaths: Vec<(Role, u32)>,
    failure: Option<Error>,
    /// The first thing left undone that did not stop the run.
    flaw: Option<Error>,
}

impl Stages {
    /// A run that is about to begin.
    pub(super) fn new(choices: Choices) -> Self {
        Self {
            choices,
            stage: Stage::Prepare,
            copies: 0,
            vacuums: 0,
            validates: 0,
            live: Vec::new(),
            deaths: Vec::new(),
            failure: None,
            flaw: None,
        }
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

    fn spawn_some(&mut self, role: Role, units: u64) -> Vec<Order> {
        let count = self
            .choices
            .jobs
            .min(u32::try_from(units).unwrap_or(u32::MAX));
        (1..=count)
            .map(|number| self.spawn(role, number, false))
            .collect()
    }

    /// The orders that begin a stage.
    fn enter(&mut self, stage: Stage) -> Vec<Order> {
        self.stage = stage;
        match stage {
            Stage::Prepare => vec![self.spawn(Role::Prepare, 1, false)],
            Stage::Snapshot if self.choices.copies && self.choices.one_snapshot => {
                vec![self.spawn(Role::Snapshot, 1, false)]
            }
            Stage::Snapshot => self.enter(Stage::Guard),
            Stage::Guard => vec![self.spawn(Role::Guard, 1, false)],
            Stage::Data if self.choices.copies => {
                let mut orders = self.spawn_some(Role::Copy, self.copies);
                orders.extend(self.spawn_some(Role::Vacuum, self.vacuums));
                if self.is_live(Role::Copy) || self.is_live(Role::Vacuum) {
                    orders
                } else {
                    orders.extend(self.enter(Stage::Sequence));
                    orders
                }
            }
            Stage::Data => self.enter(Stage::Restore),
            Stage::Sequence => {
                let mut orders = Vec::new();
                if self.is_live(Role::Snapshot) {
                    orders.push(Order::Dismiss(Role::Snapshot));
                }
                // Values of sequences belong to rows that are all there.
                if self.failure.is_some() {
                    orders.extend(self.enter(Stage::Restore));
                } else {
                    orders.push(self.spawn(Role::Sequence, 1, false));
                }
                orders
            }
            Stage::Restore => vec![self.spawn(Role::Restore, 1, false)],
            Stage::Validate => {
                let orders = self.spawn_some(Role::Validate, self.validates);
                if orders.is_empty() {
                    self.enter(Stage::Prove)
                } else {
                    orders
                }
            }
            Stage::Prove => vec![self.spawn(Role::Prove, 1, false)],
            Stage::Over => [Role::Snapshot, Role::Progress, Role::Guard]
                .into_iter()
                .filter(|role| self.is_live(*role))
                .map(Order::Dismiss)
                .collect(),
        }
    }

    fn report(&mut self, role: Role, report: Report) -> Vec<Order> {
        match report {
            Report::Snapshot { .. } if self.stage == Stage::Snapshot => self.enter(Stage::Guard),
            Report::Planned {
                copies, vacuums, ..
            } if role == Role::Guard && self.stage == Stage::Guard => {
                (self.copies, self.vacuums) = (copies, vacuums);
                self.enter(Stage::Data)
            }
            Report::Planned { builds, .. } if role == Role::Restore => {
                self.validates = builds;
                Vec::new()
            }
            Report::GivenUp { error } => {
                self.failure.get_or_insert(error);
                Vec::new()
            }
            Report::Flawed { error } => {
                self.flaw.get_or_insert(error);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn ended(&mut self, role: Role, number: u32, end: End) -> Vec<Order> {
        self.live.retain(|live| *live != (role, number));
        match end {
            End::Done => self.done(role),
            End::Failed(error) if Self::may_try_again(role, &error) => {
                self.replace(role, number, &error.lines().join("; "))
            }
            End::Failed(error) => self.failed(role, error),
            End::Crashed(_) if role == Role::Progress => self.redraw(),
            End::Crashed(how) if role == Role::Snapshot => self.failed(role, snapshot_lost(&how)),
            End::Crashed(how) => self.replace(role, number, &how),
        }
    }

    fn done(&mut self, role: Role) -> Vec<Order> {
        match (self.stage, role) {
            (Stage::Prepare, Role::Prepare) => {
                let mut orders = vec![self.spawn(Role::Progress, 1, false)];
                orders.extend(self.enter(Stage::Snapshot));
                orders
            }
            (Stage::Data, Role::Copy | Role::Vacuum)
                if !self.is_live(Role::Copy) && !self.is_live(Role::Vacuum) =>
            {
                self.enter(Stage::Sequence)
            }
            (Stage::Sequence, Role::Sequence) => self.enter(Stage::Restore),
            (Stage::Restore, Role::Restore) => self.enter(Stage::Validate),
            (Stage::Validate, Role::Validate) if !self.is_live(Role::Validate) => {
                self.enter(Stage::Prove)
            }
            (Stage::Prove, Role::Prove) => self.enter(Stage::Over),
            _ => Vec::new(),
        }
    }

    fn failed(&mut self, role: Role, error: Error) -> Vec<Order> {
        if role == Role::Progress {
            return Vec::new();
        }
        self.failure.get_or_insert(error);
        match (self.stage, role) {
            // Without sequences and without a snapshot that nobody needs any more, keys can come back.
            (Stage::Sequence, Role::Sequence) => self.enter(Stage::Restore),
            (Stage::Sequence | Stage::Restore | Stage::Validate | Stage::Prove, Role::Snapshot) => {
                Vec::new()
            }
            _ => vec![Order::StopAll],
        }
    }

    /// True for a failure that passes, of a process that can be run again.
    fn may_try_again(role: Role, error: &Error) -> bool {
        let is_lasting = matches!(retry::policy(error), Retry::Never) || error.is_snapshot_lost();
        let is_once_only = matches!(role, Role::Prepare | Role::Snapshot | Role::Progress);
        !is_lasting && !is_once_only
    }

    /// Whoever shows progress may be killed; that is no matter of the run.
    fn redraw(&mut self) -> Vec<Order> {
        self.deaths.push((Role::Progress, 1));
        let deaths = self.deaths.iter().filter(|dead| dead.0 == Role::Progress);
        if u32::try_from(deaths.count()).unwrap_or(u32::MAX) > DEATHS_MAX {
            return Vec::new();
        }
        vec![self.spawn(Role::Progress, 1, true)]
    }

    fn replace(&mut self, role: Role, number: u32, how: &str) -> Vec<Order> {
        self.deaths.push((role, number));
        let deaths = self
            .deaths
            .iter()
            .filter(|dead| **dead == (role, number))
            .count();
        if u32::try_from(deaths).unwrap_or(u32::MAX) > DEATHS_MAX || role == Role::Prepare {
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
        .hint("Use --resume to go on in a new snapshot.")
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
