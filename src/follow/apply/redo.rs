//! What failed as a group, applied again: one source transaction at a time, one row a statement.
//!
//! Runs in the apply process. The verdict given here counts: it names the change that cannot be applied,
//! and all before its transaction has been committed.

use super::conflict::{Conflict, Why};
use super::engine::{Engine, Failure, Verdict, WITH_ID};
use super::group::{Group, Statements, Txn};
use super::plan::{Freedom, NoPlan, Plan, Step, Work};
use crate::error::Error;
use crate::wire::Requests;

/// How often a transaction is tried again after a deadlock or a serialization failure.
const RETRIES: u32 = 5;

impl Engine {
    /// Applies the transactions of a group one after the other, a row a statement.
    pub(super) fn one_by_one(
        &mut self,
        group: Group,
        statements: &Statements,
    ) -> std::result::Result<(), Verdict> {
        if group.part.continued || group.part.open {
            return self.part_row_by_row(group, statements);
        }
        let mut from = 0;
        for at in 0..group.txns.len() {
            let Some(txn) = group.txns.get(at).cloned() else {
                break;
            };
            let range = (from, txn.changes_end);
            from = txn.changes_end;
            self.one(&group, statements, &txn, range)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        group: &Group,
        statements: &Statements,
        txn: &Txn,
        range: (usize, usize),
    ) -> std::result::Result<(), Verdict> {
        let mut tries = 0;
        loop {
            let failed = match self.try_one(group, statements, txn, range) {
                Ok(()) => {
                    self.planner.delete_instead = false;
                    return Ok(());
                }
                Err(Tried::Verdict(verdict)) => return Err(verdict),
                Err(Tried::Refused(why, step)) => (why, step),
            };
            self.clean_up()?;
            let (why, step) = failed;
            tries += 1;
            if tries <= RETRIES && self.may_try_again(&why, step.as_ref()) {
                continue;
            }
            self.planner.delete_instead = false;
            let place = step.map_or((usize::MAX, 0), |step| (step.change, step.row));
            let conflict = Conflict::new(why, group, statements, place, Some(txn.clone()));
            return Err(Verdict::Conflict(Box::new(conflict)));
        }
    }

    /// Whether the same may succeed: after a deadlock, or with DELETE for a TRUNCATE that was refused.
    fn may_try_again(&mut self, why: &Why, step: Option<&Step>) -> bool {
        let Why::Refused(message) = why else {
            return false;
        };
        let truncates = step.is_some_and(|step| !step.truncates.is_empty());
        if message.code == "0A000" && truncates && !self.planner.delete_instead {
            let detail = message.detail.as_deref().unwrap_or(&message.text);
            log::warn!("Emptying with DELETE, as the target refuses TRUNCATE: {detail}");
            self.planner.delete_instead = true;
            return true;
        }
        matches!(message.code.as_str(), "40001" | "40P01" | "55P03")
    }

    fn try_one(
        &mut self,
        group: &Group,
        statements: &Statements,
        txn: &Txn,
        range: (usize, usize),
    ) -> std::result::Result<(), Tried> {
        let plan = self.careful_plan(group, statements, range)?;
        let mut head = Requests::new();
        self.word(&mut head, "BEGIN");
        self.sessions.pipe.send(&head)?;
        self.in_txn = true;
        self.run(plan, 1)?;
        let mut end = Requests::new();
        self.setup(&mut end, txn);
        self.word(&mut end, "COMMIT");
        end.flush();
        self.sessions.pipe.send(&end)?;
        self.read_commit()
            .map_err(|failure| Tried::of(failure, &[]))?;
        self.in_txn = false;
        self.progress = txn.end;
        self.figures.transactions += 1;
        self.figures.commits += 1;
        self.sync()?;
        Ok(())
    }

    fn careful_plan(
        &mut self,
        group: &Group,
        statements: &Statements,
        range: (usize, usize),
    ) -> std::result::Result<Plan, Tried> {
        let work = Work {
            statements,
            group,
            range,
            freedom: Freedom::Careful,
        };
        let planned = self.planner.plan(&mut self.sessions.control, work);
        match planned {
            Ok(plan) => Ok(plan),
            Err(NoPlan::OneByOne) => Err(Error::internal("a transaction has no plan").into()),
            Err(NoPlan::Change(change, error)) if !error.is_transient() => {
                let step = Step {
                    rows: None,
                    change,
                    row: 0,
                    truncates: Vec::new(),
                };
                Err(Tried::Refused(Why::Ours(error), Some(step)))
            }
            Err(NoPlan::Failed(error) | NoPlan::Change(_, error)) => Err(error.into()),
        }
    }

    /// Sends planned statements and checks each result.
    fn run(&mut self, mut plan: Plan, prelude: usize) -> std::result::Result<(), Tried> {
        let mut prelude = prelude;
        if plan.steps.is_empty() {
            let mut head = Requests::new();
            self.word(&mut head, WITH_ID);
            self.sessions.pipe.send(&head)?;
            prelude += 1;
        }
        plan.requests.flush();
        self.sessions.pipe.send(&plan.requests)?;
        self.must_succeed(prelude)
            .and_then(|()| self.read_steps(&plan.steps))
            .map_err(|failure| Tried::of(failure, &plan.steps))
    }

    /// A part of a large transaction, a row a statement, within the open transaction.
    fn part_row_by_row(
        &mut self,
        group: Group,
        statements: &Statements,
    ) -> std::result::Result<(), Verdict> {
        self.refuse_orphan(&group)?;
        if !self.in_txn {
            self.sessions
                .pipe
                .session()
                .simple("BEGIN; SAVEPOINT part")?;
            self.in_txn = true;
        }
        let all = (0, group.changes.len());
        loop {
            let planned = self.careful_plan(&group, statements, all);
            let done = planned.and_then(|plan| self.run(plan, 0));
            let (why, step) = match done {
                Ok(()) => break,
                Err(Tried::Verdict(verdict)) => return Err(verdict),
                Err(Tried::Refused(why, step)) => (why, step),
            };
            if let Some(error) = self.passing(&why) {
                return Err(error.into());
            }
            self.back_to_savepoint()?;
            let again = matches!(&why, Why::Refused(message) if message.code == "0A000");
            if again && self.may_try_again(&why, step.as_ref()) {
                continue;
            }
            self.planner.delete_instead = false;
            self.clean_up()?;
            let place = step.map_or((usize::MAX, 0), |step| (step.change, step.row));
            let txn = group.txns.first().cloned();
            let conflict = Conflict::new(why, &group, statements, place, txn);
            if group.part.open {
                // Whether the transaction is applied at all is known at its end.
                self.doomed = Some(conflict);
                return Ok(());
            }
            return Err(Verdict::Conflict(Box::new(conflict)));
        }
        self.planner.delete_instead = false;
        if !group.part.open {
            self.pending = Some(group);
        }
        Ok(())
    }
}

/// Why an attempt of one transaction did not succeed.
enum Tried {
    Verdict(Verdict),
    /// At this step, at COMMIT where there is none.
    Refused(Why, Option<Step>),
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        Self::Verdict(error.into())
    }
}

impl Tried {
    fn of(failure: Failure, steps: &[Step]) -> Self {
        match failure {
            Failure::Fatal(error) => error.into(),
            Failure::Commit(why) => Self::Refused(why, None),
            Failure::Step(at, why) => Self::Refused(why, steps.get(at).cloned()),
        }
    }
}
