//! Groups of changes into the target: exactly once, with one round trip a group.
//!
//! Runs in the apply process. The origin's progress is set by the last statement before COMMIT, so it
//! is in the commit record of the very transaction it speaks of. While the server works on one group,
//! the next is read and planned. What is sent together:
//!
//! ```text
//! [set origin of n, COMMIT n, BEGIN n+1, statements of n+1, Flush]   then all results of n+1 are read
//! ```
//! so a COMMIT is sent only after every row count of its group was right, and nothing stands behind a
//! Sync that has not been answered. A group that fails is rolled back and applied again, one source
//! transaction at a time and one row a statement: that verdict counts.

use super::conflict::{Conflict, Why};
use super::group::{Group, Statements, Txn};
use super::line::Meta;
use super::origins::Origins;
use super::plan::{Freedom, NoPlan, Plan, Planner, Step, Work};
use super::session::{Sessions, gone};
use crate::error::{Error, Kind, Result};
use crate::follow::applied;
use crate::follow::origin::Keeper;
use crate::pg::retry::{Retry, policy};
use crate::units::{Lsn, Oid};
use crate::wire::{Outcome, Reply, Requests, ServerMessage};
use std::time::{Duration, Instant};

/// Time between two Syncs: only there the server reports the statistics that autovacuum needs.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Types of the arguments of what moves the progress on: `pg_lsn`, timestamptz, and for a table text.
const SETUP_TYPES: [Oid; 3] = [3220, 1184, 25];
const SETUP: &str = "select pg_catalog.pg_replication_origin_xact_setup($1, $2)";
/// Gives a transaction its id: without one, the origin would stay where it is.
pub(super) const WITH_ID: &str = "select pg_catalog.txid_current()";
/// What the server says where the row of a table could not be moved on.
const NOT_MOVED: &str = "22012";
/// The time of a commit that nobody told.
const NO_TIME: &str = "2000-01-01 00:00:00+00";

/// A group whose statements were sent.
struct Flight {
    group: Group,
    steps: Vec<Step>,
    /// The group whose COMMIT was sent with it.
    committing: Option<Group>,
    /// Statements before its own that must only succeed.
    prelude: usize,
}

/// Where a stretch of statements failed.
pub(super) enum Failure {
    /// In the COMMIT of the group before.
    Commit(Why),
    /// In a statement of the group.
    Step(usize, Why),
    /// The connection, or what we cannot judge.
    Fatal(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Source transactions.
    pub transactions: u64,
    /// Rows of their changes.
    pub rows: u64,
    /// Transactions of the target.
    pub commits: u64,
    /// Groups that were applied again one by one.
    pub redone: u64,
}

/// Applies groups.
pub(super) struct Engine {
    pub(super) sessions: Sessions,
    pub(super) planner: Planner,
    flight: Option<Flight>,
    /// Its statements succeeded; it is not committed yet.
    pub(super) pending: Option<Group>,
    /// A transaction is open that an earlier group began.
    pub(super) in_txn: bool,
    /// That transaction failed; whether it matters is known at its end.
    pub(super) doomed: Option<Conflict>,
    /// End LSN of the last committed transaction.
    pub(super) progress: Lsn,
    last_sync: Instant,
    pub(super) figures: Figures,
}

/// The verdict on a change that cannot be applied.
pub(super) enum Verdict {
    /// This conflict ends applying.
    Conflict(Box<Conflict>),
    /// The connection or something of ours failed.
    Failed(Error),
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Engine {
    pub(super) fn new(sessions: Sessions, source: Origins, progress: Lsn) -> Self {
        Self {
            sessions,
            planner: Planner::new(source),
            flight: None,
            pending: None,
            in_txn: false,
            doomed: None,
            progress,
            last_sync: Instant::now(),
            figures: Figures::default(),
        }
    }

    /// Sends a group; the results of the one before are read first.
    pub(super) fn submit(
        &mut self,
        group: Group,
        statements: &Statements,
    ) -> std::result::Result<(), Verdict> {
        if self.doomed.is_some() && group.part.continued {
            return self.submit_doomed(&group);
        }
        let redone = self.figures.redone;
        let all = (0, group.changes.len());
        let work = Work {
            statements,
            group: &group,
            range: all,
            freedom: Freedom::Free,
        };
        let mut plan = self.planner.plan(&mut self.sessions.control, work);
        self.settle(statements)?;
        if self.doomed.is_some() {
            // The part before failed; this one belongs to the same transaction, or to a later one.
            return self.submit(group, statements);
        }
        if redone != self.figures.redone {
            plan = self.planner.plan(&mut self.sessions.control, work);
        }
        match plan {
            Ok(plan) => Ok(self.send(group, plan)?),
            Err(NoPlan::Failed(error)) => Err(error.into()),
            Err(NoPlan::OneByOne | NoPlan::Change(..)) => {
                self.commit_pending(statements, false)?;
                self.planner.forget();
                self.deallocate()?;
                if group.part.continued {
                    self.refuse_orphan(&group)?;
                    // The parts before it are not to be rolled back with it.
                    let session = self.sessions.pipe.session();
                    session.simple("RELEASE SAVEPOINT part; SAVEPOINT part")?;
                }
                self.one_by_one(group, statements)
            }
        }
    }

    /// A part of a transaction of which an earlier one failed. Only its end tells whether that matters: it
    /// may have been applied before.
    fn submit_doomed(&mut self, group: &Group) -> std::result::Result<(), Verdict> {
        if group.part.open {
            return Ok(());
        }
        let Some(mut conflict) = self.doomed.take() else {
            return Ok(());
        };
        conflict.txn = group.txns.first().cloned();
        Err(Verdict::Conflict(Box::new(conflict)))
    }

    /// A part that goes on where no transaction is open would be committed without those before it.
    pub(super) fn refuse_orphan(&self, group: &Group) -> Result<()> {
        if self.in_txn || !group.part.continued {
            return Ok(());
        }
        Err(
            Error::internal("a part of a large transaction came where none is open on the target")
                .transient(),
        )
    }

    pub(super) fn setup(&mut self, requests: &mut Requests, txn: &Txn) {
        let (sql, types) = match self.sessions.keeper {
            Keeper::Origin => (SETUP, &SETUP_TYPES[..2]),
            Keeper::Table => (applied::MOVE, &SETUP_TYPES[..]),
        };
        let name = self.planner.registry.text(requests, sql, types);
        let end = txn.end.to_string();
        let time = if txn.timestamp.is_empty() {
            NO_TIME
        } else {
            &txn.timestamp
        };
        let whose = self.sessions.name.as_bytes();
        let values = [Some(end.as_bytes()), Some(time.as_bytes()), Some(whose)];
        requests.bind(&name, values.into_iter().take(types.len()));
        requests.execute();
    }

    pub(super) fn word(&mut self, requests: &mut Requests, sql: &str) {
        let name = self.planner.registry.text(requests, sql, &[]);
        requests.bind(&name, std::iter::empty());
        requests.execute();
    }

    fn send(&mut self, group: Group, mut plan: Plan) -> Result<()> {
        self.refuse_orphan(&group)?;
        let mut head = Requests::new();
        let committing = self.pending.take();
        if let Some(txn) = committing.as_ref().and_then(|group| group.txns.last()) {
            let txn = txn.clone();
            self.setup(&mut head, &txn);
            self.word(&mut head, "COMMIT");
        }
        let mut words: Vec<&str> = match (group.part.continued, group.part.open) {
            (false, false) => vec!["BEGIN"],
            (false, true) => vec!["BEGIN", "SAVEPOINT part"],
            (true, _) => vec!["RELEASE SAVEPOINT part", "SAVEPOINT part"],
        };
        if plan.steps.is_empty() {
            words.push(WITH_ID);
        }
        for word in &words {
            self.word(&mut head, word);
        }
        plan.requests.flush();
        self.sessions.pipe.send(&head)?;
        self.sessions.pipe.send(&plan.requests)?;
        self.in_txn = true;
        self.flight = Some(Flight {
            group,
            steps: plan.steps,
            committing,
            prelude: words.len(),
        });
        Ok(())
    }

    /// The next result of a statement; rows of results are passed over.
    fn result(&mut self) -> Result<std::result::Result<Outcome, Box<ServerMessage>>> {
        loop {
            match self.sessions.pipe.reply()? {
                Reply::Row(_) => {}
                Reply::Done(outcome) => return Ok(Ok(outcome)),
                Reply::Failed(message) => return Ok(Err(message)),
                Reply::Ready(_) => {
                    return Err(Error::internal(
                        "the server is ready where a result was due",
                    ));
                }
            }
        }
    }

    /// Reads results of statements that must only succeed.
    pub(super) fn must_succeed(&mut self, count: usize) -> std::result::Result<(), Failure> {
        for _ in 0..count {
            if let Err(message) = self.result()? {
                return Err(Failure::Fatal(self.error_of(&message)));
            }
        }
        Ok(())
    }

    fn error_of(&self, message: &ServerMessage) -> Error {
        let pid = self.sessions.backend.pid;
        message.to_error(crate::units::Side::Target, pid, None)
    }

    /// The error of what the same transaction, sent again, may get past; it is read again for that.
    pub(super) fn passing(&self, why: &Why) -> Option<Error> {
        let Why::Refused(message) = why else {
            return None;
        };
        let error = self.error_of(message);
        (policy(&error) != Retry::Never).then(|| error.transient())
    }

    pub(super) fn read_commit(&mut self) -> std::result::Result<(), Failure> {
        let refused = |message| Failure::Commit(Why::Refused(message));
        if let Err(message) = self.result()? {
            let is_gone = self.sessions.keeper == Keeper::Table && message.code == NOT_MOVED;
            return Err(if is_gone {
                Failure::Fatal(gone(&self.sessions.name))
            } else {
                refused(message)
            });
        }
        match self.result()?.map_err(refused)? {
            Outcome::Commit => Ok(()),
            _ => Err(Failure::Fatal(Error::new(
                Kind::Target,
                "the target rolled a transaction back that it should have committed",
            ))),
        }
    }

    pub(super) fn read_steps(&mut self, steps: &[Step]) -> std::result::Result<(), Failure> {
        for (at, step) in steps.iter().enumerate() {
            match self.result()? {
                Err(message) => return Err(Failure::Step(at, Why::Refused(message))),
                Ok(Outcome::Rows(got)) if step.rows.is_some_and(|rows| rows != got) => {
                    let expected = step.rows.unwrap_or(0);
                    return Err(Failure::Step(at, Why::Rows { expected, got }));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn read(&mut self, flight: &Flight) -> std::result::Result<(), Failure> {
        if let Some(group) = &flight.committing {
            self.read_commit()?;
            self.committed(group);
        }
        self.must_succeed(flight.prelude)?;
        self.read_steps(&flight.steps)
    }

    fn committed(&mut self, group: &Group) {
        if let Some(txn) = group.txns.last() {
            self.progress = txn.end;
        }
        self.figures.transactions += group.txns.len() as u64;
        self.figures.rows += group.rows as u64;
        self.figures.commits += 1;
    }

    /// Reads the results of what was sent, and mends what failed.
    pub(super) fn settle(&mut self, statements: &Statements) -> std::result::Result<(), Verdict> {
        let Some(mut flight) = self.flight.take() else {
            return Ok(());
        };
        match self.read(&flight) {
            Ok(()) => {
                if flight.group.part.open {
                    self.figures.rows += flight.group.rows as u64;
                } else {
                    self.pending = Some(flight.group);
                    if self.last_sync.elapsed() >= SYNC_EVERY {
                        self.commit_pending(statements, false)?;
                    }
                }
                Ok(())
            }
            Err(Failure::Fatal(error)) => Err(error.into()),
            Err(Failure::Commit(why)) => {
                self.say_redo(&why);
                let before = flight.committing.take();
                self.clean_up()?;
                if let Some(group) = before {
                    self.after_commit_failed(why, group, statements)?;
                }
                self.one_by_one(flight.group, statements)
            }
            Err(Failure::Step(_, why)) => {
                self.say_redo(&why);
                if flight.group.part == super::group::Part::default() {
                    self.clean_up()?;
                } else {
                    self.back_to_savepoint()?;
                }
                self.one_by_one(flight.group, statements)
            }
        }
    }

    fn say_redo(&mut self, why: &Why) {
        self.figures.redone += 1;
        let shown = match why {
            Why::Refused(message) => format!("{} [{}]", message.text, message.code),
            Why::Rows { expected, got } => format!("{got} rows instead of {expected}"),
            Why::Ours(error) => error.message().to_owned(),
        };
        log::debug!("Applying a group again, one transaction after the other: {shown}");
    }

    /// Ends a failed stretch; gives the state of the transaction.
    pub(super) fn sync(&mut self) -> Result<u8> {
        let mut requests = Requests::new();
        requests.sync();
        self.sessions.pipe.send(&requests)?;
        self.last_sync = Instant::now();
        loop {
            if let Reply::Ready(state) = self.sessions.pipe.reply()? {
                return Ok(state);
            }
        }
    }

    fn deallocate(&mut self) -> Result<()> {
        self.planner.forget();
        self.sessions.pipe.session().simple("DEALLOCATE ALL")?;
        Ok(())
    }

    /// Rolls the open transaction back, whatever state it is in.
    pub(super) fn clean_up(&mut self) -> Result<()> {
        if self.sync()? != b'I' {
            self.sessions.pipe.session().simple("ROLLBACK")?;
        }
        self.in_txn = false;
        if self.sessions.keeper == Keeper::Origin {
            // What was set in a transaction that was rolled back would count for the next one.
            self.sessions
                .pipe
                .session()
                .simple("select pg_catalog.pg_replication_origin_xact_reset()")?;
        }
        self.deallocate()
    }

    pub(super) fn back_to_savepoint(&mut self) -> Result<()> {
        self.sync()?;
        self.sessions
            .pipe
            .session()
            .simple("ROLLBACK TO SAVEPOINT part")?;
        self.deallocate()
    }

    /// Commits what is pending and waits for it.
    fn commit_pending(
        &mut self,
        statements: &Statements,
        durably: bool,
    ) -> std::result::Result<(), Verdict> {
        let Some(group) = self.pending.take() else {
            return Ok(());
        };
        match self.commit(&group, durably) {
            Ok(()) => Ok(()),
            Err(Failure::Fatal(error)) => Err(error.into()),
            Err(Failure::Commit(why) | Failure::Step(_, why)) => {
                self.say_redo(&why);
                self.clean_up()?;
                self.after_commit_failed(why, group, statements)
            }
        }
    }

    /// After a COMMIT that was refused, and rolled back.
    fn after_commit_failed(
        &mut self,
        why: Why,
        group: Group,
        statements: &Statements,
    ) -> std::result::Result<(), Verdict> {
        if !group.part.continued {
            return self.one_by_one(group, statements);
        }
        // Its parts before this one are gone: what is left must not be committed by itself.
        match self.passing(&why) {
            Some(error) => Err(error.into()),
            None => Err(at_commit(why, &group, statements)),
        }
    }

    fn commit(&mut self, group: &Group, durably: bool) -> std::result::Result<(), Failure> {
        let Some(txn) = group.txns.last().cloned() else {
            return Ok(());
        };
        let mut requests = Requests::new();
        if durably {
            self.word(&mut requests, "SET LOCAL synchronous_commit TO on");
        }
        self.setup(&mut requests, &txn);
        self.word(&mut requests, "COMMIT");
        requests.flush();
        self.sessions.pipe.send(&requests)?;
        if durably {
            self.must_succeed(1)?;
        }
        self.read_commit()?;
        self.committed(group);
        self.in_txn = false;
        self.sync()?;
        Ok(())
    }

    /// Rolls back the transaction of which parts were sent.
    pub(super) fn void(&mut self, statements: &Statements) -> std::result::Result<(), Verdict> {
        if self.doomed.take().is_some() {
            return Ok(());
        }
        self.settle(statements)?;
        if self.doomed.take().is_none() {
            self.commit_pending(statements, false)?;
            if self.in_txn {
                self.clean_up()?;
            }
        }
        Ok(())
    }

    /// Commits all that was given, and waits for it.
    pub(super) fn finish(
        &mut self,
        statements: &Statements,
        durably: bool,
    ) -> std::result::Result<(), Verdict> {
        self.settle(statements)?;
        self.commit_pending(statements, durably)
    }

    /// Moves the origin on over a stretch of the log without changes, in a transaction of its own.
    pub(super) fn advance(&mut self, keepalive: &Meta) -> Result<()> {
        if keepalive.lsn <= self.progress || self.in_txn {
            return Ok(());
        }
        let txn = Txn::new(keepalive.clone(), 0);
        let mut requests = Requests::new();
        self.word(&mut requests, "BEGIN");
        self.word(&mut requests, WITH_ID);
        self.setup(&mut requests, &txn);
        self.word(&mut requests, "COMMIT");
        requests.flush();
        self.sessions.pipe.send(&requests)?;
        let done = self.must_succeed(2).and_then(|()| self.read_commit());
        match done {
            Ok(()) => {
                self.progress = keepalive.lsn;
                self.sync().map(drop)
            }
            Err(Failure::Fatal(error)) => Err(error),
            Err(Failure::Commit(why) | Failure::Step(_, why)) => {
                self.clean_up()?;
                match why {
                    Why::Refused(message) => Err(message.to_error(
                        crate::units::Side::Target,
                        self.sessions.backend.pid,
                        Some(SETUP),
                    )),
                    _ => Err(Error::internal("an empty transaction failed")),
                }
            }
        }
    }
}

fn at_commit(why: Why, group: &Group, statements: &Statements) -> Verdict {
    let txn = group.txns.first().cloned();
    let conflict = Conflict::new(why, group, statements, (usize::MAX, 0), txn);
    Verdict::Conflict(Box::new(conflict))
}
