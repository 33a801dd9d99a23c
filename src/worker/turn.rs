//! The loop of a worker: the next unit, its end, its failure.
//!
//! Runs in leaf processes. What failed for a passing reason is given back after a while, what failed
//! for another reason once; a second failure gives the unit up.

use super::{Means, backend};
use crate::catalog::unit::{self, Done, Kind, Unit};
use crate::catalog::{Activity, Backends, Ledger, Step};
use crate::error::{Error, Result};
use crate::pg::{Canceller, Retry, retry};
use crate::queue::Bell;
use crate::supervisor::{Leaf, Report};
use std::time::{Duration, Instant};

/// How long a worker waits for its bell before it looks whether it must stop.
const BELL_WAIT: Duration = Duration::from_millis(50);
/// How often a waiting worker looks at the ledger although no bell rang.
const LEDGER_LOOK: Duration = Duration::from_millis(400);
/// Longest wait for the end of a run that one failure ends.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Claims of one unit in one run that may fail for passing reasons.
const TRIES_MAX: u32 = 10;
/// How long a worker keeps a place that it shares with those of other databases, once it has done something.
const TURN: Duration = Duration::from_secs(2);
/// How long it keeps such a place without anything to do.
const LINGER: Duration = Duration::from_millis(200);
/// Longest wait before a unit that failed for a passing reason is given back.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A worker at its work.
pub struct Worker<'a, 'leaf> {
    /// The process.
    pub leaf: &'a mut Leaf<'leaf>,
    /// What it was given.
    pub means: &'a Means,
    /// Its ledger.
    pub ledger: Ledger,
    /// Its row among the processes.
    pub activity: Activity,
    /// Its canceller thread, where sessions register.
    pub canceller: Canceller,
    kinds: &'static [Kind],
    upstream: &'static [Kind],
    since: Instant,
    /// It has claimed something.
    has_worked: bool,
}

impl<'a, 'leaf> Worker<'a, 'leaf> {
    /// Opens the ledger and, when this worker replaces a dead one, ends that one's backends and takes
    /// its units back. `kinds` is what it does, first things first; `upstream` what makes such work.
    pub fn start(
        leaf: &'a mut Leaf<'leaf>,
        means: &'a Means,
        kinds: &'static [Kind],
        upstream: &'static [Kind],
    ) -> Result<Self> {
        let canceller = super::enter(leaf)?;
        let ledger = Ledger::open(&means.layout.ledger())?;
        ledger.leave_log()?;
        let activity = Activity {
            role: leaf.role.key(),
            worker: leaf.number,
        };
        let is_successor = leaf.successor;
        let mut worker = Self {
            leaf,
            means,
            ledger,
            activity,
            canceller,
            kinds,
            upstream,
            since: Instant::now(),
            has_worked: false,
        };
        if is_successor {
            worker.end_own_backends()?;
            let lost = unit::take_back(&mut worker.ledger, means.run, worker.leaf.number, kinds)?;
            for error in lost {
                log::error!("{error}");
                worker.leaf.report(&Report::GivenUp { error });
            }
            means.bells.ring_all();
        }
        Ok(worker)
    }

    /// Claims the next unit, waiting for one to become ready; `None` when the stage is over, or when a
    /// place that is shared goes to another database. Blocks.
    pub fn next_unit(&mut self) -> Result<Option<Unit>> {
        self.next_unit_meanwhile(|_| {})
    }

    /// The same; what can be made ready for the next unit is done once there has been nothing to do for a moment.
    pub fn next_unit_meanwhile(
        &mut self,
        mut make_ready: impl FnMut(&mut Self),
    ) -> Result<Option<Unit>> {
        let idle_since = Instant::now();
        loop {
            self.leaf.check()?;
            if self.means.shared && self.has_worked && self.since.elapsed() >= TURN {
                self.yield_place(false);
                return Ok(None);
            }
            let claimed = unit::claim(
                &mut self.ledger,
                self.means.run,
                self.leaf.number,
                self.kinds,
            )?;
            if claimed.is_some() {
                self.has_worked = true;
                return Ok(claimed);
            }
            if unit::stage_is_over(&self.ledger, self.kinds, self.upstream)? {
                // Whoever waits for the same end need not wait for its next look.
                self.means.bells.ring_all();
                return Ok(None);
            }
            if self.means.shared && idle_since.elapsed() >= LINGER {
                self.yield_place(true);
                return Ok(None);
            }
            self.wait(&mut make_ready)?;
        }
    }

    /// Ends this worker, though not its stage: the supervisor starts one where the largest work is.
    fn yield_place(&mut self, idle: bool) {
        self.leaf.report(&Report::Yielded { idle });
    }

    /// Adds more units of small tables to one that has never been tried; `count` at most in all.
    pub fn group(&mut self, first: Unit, count: u32) -> Result<Vec<Unit>> {
        let mut group = vec![first];
        let unit = &group[0];
        if unit.object == 0 && unit.attempts == 1 && unit.rank <= unit::SMALL_TABLE_BYTES {
            let (run, number) = (self.means.run, self.leaf.number);
            let more = (unit.kind, count.saturating_sub(1));
            group.extend(unit::claim_small_tables(
                &mut self.ledger,
                run,
                number,
                more,
            )?);
        }
        Ok(group)
    }

    /// Waits until the bell rings or it is time to look at the ledger.
    fn wait(&mut self, make_ready: &mut dyn FnMut(&mut Self)) -> Result<()> {
        let bell = self
            .kinds
            .first()
            .map_or(Bell::silent(), |kind| self.means.bells.of(*kind));
        let since = Instant::now();
        let limit = if self.means.shared {
            LINGER
        } else {
            LEDGER_LOOK
        };
        while since.elapsed() < limit {
            self.leaf.check()?;
            if bell.wait(BELL_WAIT)?.is_some() {
                return Ok(());
            }
            make_ready(self);
        }
        Ok(())
    }

    /// Says what this worker does now, in `ps` and in the ledger.
    pub fn begin(&mut self, title: &str, unit: Option<i64>) -> Result<()> {
        self.leaf.set_title(title);
        self.activity
            .begin(self.ledger.connection(), self.means.run, title, unit)
    }

    /// Marks units as done after the target has committed them, adds their time to a step, and tells
    /// the workers for whom there is more to do.
    pub fn finish(&mut self, step: Step, units: &[(&Unit, Done)]) -> Result<()> {
        let run = self.means.run;
        let elapsed_ms = units.iter().map(|(_, done)| done.elapsed_ms).sum();
        let bytes = units.iter().map(|(_, done)| done.bytes).sum();
        let ready = self.ledger.write(|tx| {
            step.add(tx, elapsed_ms, bytes)?;
            unit::finish(tx, run, units)
        })?;
        self.means.bells.ring(&ready);
        Ok(())
    }

    /// Marks a unit as having nothing to do, and notes why for the end of the run.
    pub fn skip(&mut self, unit: &Unit, topic: &str, why: &str) -> Result<()> {
        log::warn!("{why}");
        let run = self.means.run;
        let ready = self.ledger.write(|tx| {
            run.notice(tx, topic, why)?;
            unit::skip(tx, unit, why)
        })?;
        self.means.bells.ring(&ready);
        Ok(())
    }

    /// Decides what becomes of units that failed together. Err: this worker cannot go on.
    pub fn failed(&mut self, units: &[Unit], error: Error) -> Result<()> {
        if self.leaf.stopping() {
            return self.leaf.check();
        }
        let claims = units.iter().map(|unit| unit.claims).max().unwrap_or(1);
        let passing = !matches!(retry::policy(&error), Retry::Never);
        let again = if passing {
            claims < TRIES_MAX
        } else {
            claims < 2
        };
        if is_ours(&error) {
            self.give_back(units, &error)?;
            return Err(error);
        }
        if let Err(error) = self.end_own_backends() {
            self.give_back(units, &error)?;
            return Err(error);
        }
        if again {
            log::warn!("{error}");
            log::warn!(
                "Trying again what failed (attempt {} of this run)",
                claims + 1
            );
            if passing {
                let wait = Duration::from_millis(250) * 2_u32.saturating_pow(claims.min(8));
                self.leaf.nap(wait.min(BACKOFF_MAX))?;
            }
            return self.give_back(units, &error);
        }
        for line in error.lines() {
            log::error!("{line}");
        }
        self.ledger.write(|tx| {
            units
                .iter()
                .try_for_each(|unit| unit::give_up(tx, unit, &error))
        })?;
        self.leaf.report(&Report::GivenUp { error });
        if self.means.fail_fast {
            self.await_stop()?;
        }
        Ok(())
    }

    /// Takes up nothing more while the supervisor hears of the failure and ends the run.
    fn await_stop(&mut self) -> Result<()> {
        let since = Instant::now();
        while since.elapsed() < STOP_WITHIN {
            self.leaf.check()?;
            self.leaf.nap(BELL_WAIT)?;
        }
        Ok(())
    }

    /// Ends what may still run for this worker: a server process may outlive its connection, and must
    /// not commit what is about to be tried again.
    fn end_own_backends(&mut self) -> Result<()> {
        let left = self.activity.backends(&self.ledger)?;
        if left == Backends::default() {
            return Ok(());
        }
        let (source, target) = (self.means.source.as_ref(), self.means.target.as_ref());
        backend::end_backends(self.leaf, (source, target), &[left])?;
        self.activity
            .set_backends(self.ledger.connection(), &Backends::default())
    }

    fn give_back(&mut self, units: &[Unit], error: &Error) -> Result<()> {
        self.ledger.write(|tx| {
            units
                .iter()
                .try_for_each(|unit| unit::release(tx, unit, error))
        })?;
        self.means.bells.ring(
            &units
                .iter()
                .map(|unit| (unit.kind, unit.id))
                .collect::<Vec<(Kind, i64)>>(),
        );
        Ok(())
    }
}

/// Errors that no other unit can escape: the ledger, the snapshot, a stop, a server that does not come back.
fn is_ours(error: &Error) -> bool {
    use crate::error::Kind as ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::BadState | ErrorKind::Stopped(_) | ErrorKind::BadArgs
    ) || error.is_snapshot_lost()
        || error.is_waited_out()
}
