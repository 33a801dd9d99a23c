//! Lines to groups: which transactions are applied, which are skipped, and where applying ends.
//!
//! Runs in the apply process; reads its input, touches no server. A transaction counts by its end LSN
//! alone: it is applied if that lies behind what the target's origin says, and not behind the endpos.
//! Its end is known from BEGIN, else when COMMIT has been read; only a transaction too large to wait
//! for is sent before, and voided at its COMMIT when it must not be applied.

use super::group::{Change, Group, Part, Placed, Statement, Statements, Txn};
use super::input::{Got, Input};
use super::line::{Meta, SqlLine};
use super::recognize;
use super::seam::Seam;
use crate::error::{Context, Error, Result};
use crate::units::Lsn;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Most source transactions of a group.
const GROUP_TXNS: usize = 1000;
/// Most rows of a group.
const GROUP_ROWS: usize = 5000;
/// Most bytes of values of a group; a single row may have more.
const GROUP_BYTES: usize = 1 << 20;
/// How long a group may wait for its last transaction.
const GROUP_TIME: Duration = Duration::from_millis(50);

/// What is to be done next.
pub(super) enum Event {
    /// Apply this.
    Group(Box<Group>),
    /// Roll back the transaction of which parts were given out: it is void.
    Void,
    /// Nothing happened up to here.
    Keepalive(Meta),
    /// There is no further line now.
    Idle,
    /// The file is read; the next one holds this position.
    EndOfFile(Option<Lsn>),
    /// Enough: this endpos is reached, for this reason.
    Stop(Lsn, String),
}

/// The transaction whose lines are being read.
struct Open {
    xid: u32,
    /// Number of its first change in the group.
    first_change: usize,
    /// Parts of it were given out.
    streamed: bool,
    /// It is not applied.
    skip: bool,
    /// Its begin was not seen: it stands in an earlier file.
    tail: bool,
    /// Where it ends, as far as the seam needs to know; none: behind it.
    end: Option<Lsn>,
}

/// Makes groups of lines.
pub(super) struct Assembler {
    input: Input,
    line: Vec<u8>,
    pub(super) statements: Statements,
    group: Group,
    group_since: Option<Instant>,
    open: Option<Open>,
    /// End LSN of the last transaction given out, at first the origin's.
    progress: Lsn,
    endpos: Lsn,
    /// The last ENDPOS line: all that ends up to there was read before.
    ended_at: Lsn,
    switch: Option<Lsn>,
    /// What is given out before the next line is read.
    queue: VecDeque<Event>,
    pub(super) skipped: u64,
    seam: Option<Rc<Seam>>,
}

impl Assembler {
    pub(super) fn new(
        input: Input,
        (progress, endpos): (Lsn, Lsn),
        seam: Option<Rc<Seam>>,
    ) -> Self {
        let group = Group {
            file: input.name.clone(),
            ..Group::default()
        };
        Self {
            input,
            line: Vec::new(),
            statements: Statements::default(),
            group,
            group_since: None,
            open: None,
            progress,
            endpos,
            ended_at: Lsn::UNSET,
            switch: None,
            queue: VecDeque::new(),
            skipped: 0,
            seam,
        }
    }

    /// Goes on with another file.
    pub(super) fn open_next(&mut self, input: Input) {
        if self.group.changes.is_empty() {
            self.group.file.clone_from(&input.name);
        }
        self.input = input;
        self.switch = None;
    }

    /// Where to end.
    pub(super) fn endpos(&self) -> Lsn {
        self.endpos
    }

    /// Changes where to end. What was read already may lie behind it: nothing more is to come then.
    pub(super) fn set_endpos(&mut self, endpos: Lsn) {
        self.endpos = endpos;
        let reached = self.progress.max(self.ended_at);
        if endpos.is_set() && reached >= endpos {
            self.stop(&format!("ENDPOS {reached}"));
        }
    }

    /// Where lines come from.
    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// The position that the next file holds, when the last line read says so.
    pub(super) fn switch(&self) -> Option<Lsn> {
        self.switch
    }

    /// Whether a transaction is not complete.
    pub(super) fn is_open(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| !open.skip && !open.tail)
    }

    /// The next thing to do. Blocks only for files.
    pub(super) fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            match self.input.next(&mut self.line)? {
                Got::Wait => {
                    self.complete();
                    self.queue.push_back(Event::Idle);
                }
                Got::End => {
                    self.complete();
                    let switch = self.switch.take();
                    self.queue.push_back(Event::EndOfFile(switch));
                }
                Got::Line => {
                    let line = std::mem::take(&mut self.line);
                    let done = self.line(&line);
                    self.line = line;
                    done.context(|| {
                        format!("line {} of \"{}\"", self.input.number, self.input.name)
                    })?;
                }
            }
        }
    }

    /// Gives out the complete transactions of the group, if there are some.
    fn complete(&mut self) {
        if self.group.txns.is_empty() {
            return;
        }
        let rest = match &mut self.open {
            Some(open) => {
                let rest = self.group.split_off(open.first_change);
                open.first_change = 0;
                rest
            }
            None => Group {
                file: self.input.name.clone(),
                ..Group::default()
            },
        };
        self.group_since = None;
        let group = std::mem::replace(&mut self.group, rest);
        self.queue.push_back(Event::Group(Box::new(group)));
    }

    /// Drops the open transaction.
    fn drop_open(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        if !open.tail {
            self.group.truncate(open.first_change);
        }
        if open.streamed {
            self.queue.push_back(Event::Void);
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::bad_state("a line of SQL is not UTF-8"))?;
        let skipping = self
            .open
            .as_ref()
            .is_some_and(|open| open.skip || open.tail);
        if skipping && (text.starts_with("EXECUTE ") || text.starts_with("PREPARE ")) {
            // The statement may be named again by a transaction that is applied.
            if let Some(SqlLine::Prepare(hash, text)) = SqlLine::parse(text)? {
                self.statements.prepare(hash, text);
            }
            return Ok(());
        }
        match SqlLine::parse(text)? {
            Some(SqlLine::Prepare(hash, text)) => self.statements.prepare(hash, text),
            Some(SqlLine::Execute(hash, values)) => self.execute(hash, values)?,
            Some(SqlLine::Truncate(text)) => {
                let truncate = recognize::truncate(text)
                    .ok_or_else(|| Error::bad_state("it is no TRUNCATE that can be read"))?;
                let left = match self.seam_and_end() {
                    Some((seam, end)) => seam.truncate(truncate, end),
                    None => Some(truncate),
                };
                if let Some(left) = left {
                    self.change(Change::Truncate(left));
                }
            }
            Some(SqlLine::Refresh(text)) => {
                let view = recognize::refresh(text)
                    .ok_or_else(|| Error::bad_state("it is no REFRESH that can be read"))?;
                self.change(Change::Refresh(view));
            }
            Some(SqlLine::Conflict(what)) => self.change(Change::Impossible(what.to_owned())),
            Some(SqlLine::Begin(meta)) => self.begin(&meta)?,
            Some(SqlLine::Commit(meta)) => self.commit(meta)?,
            Some(SqlLine::Rollback) => self.drop_open(),
            Some(SqlLine::Keepalive(meta)) => self.keepalive(meta),
            Some(SqlLine::Switch(lsn)) => self.switch = Some(lsn),
            Some(SqlLine::Endpos(lsn)) => {
                self.ended_at = self.ended_at.max(lsn);
                // Else one of an earlier run, or one that we are not told of yet.
                if self.endpos.is_set() && self.endpos <= lsn {
                    self.stop(&format!("ENDPOS {lsn}"));
                }
            }
            None => {}
            Some(SqlLine::Join(lsn)) => self.join(lsn)?,
        }
        Ok(())
    }

    fn join(&self, lsn: Lsn) -> Result<()> {
        if self.progress >= lsn {
            return Ok(());
        }
        Err(Error::bad_state(format!(
            "the stream begins at {lsn}, and the target has got to {} only",
            self.progress
        ))
        .detail("What lies between is in the files of change data.")
        .hint("Run pgcopydb stream catchup first."))
    }

    /// Ends applying; what is complete goes first, the open transaction is void.
    fn stop(&mut self, why: &str) {
        self.drop_open();
        self.complete();
        let text = format!("Apply reached end position {} at {why}", self.endpos);
        self.queue.push_back(Event::Stop(self.endpos, text));
    }

    fn begin(&mut self, meta: &Meta) -> Result<()> {
        // The copy of a transaction that was not received whole is void, whether that was said or not.
        self.drop_open();
        let endpos = self.endpos;
        // Ends follow each other: what begins behind the endpos, and all that comes after, ends there.
        if endpos.is_set() && (endpos <= meta.lsn || meta.end.is_some_and(|end| end > endpos)) {
            self.stop(&format!("BEGIN {}", meta.lsn));
            return Ok(());
        }
        let end = match (&self.seam, meta.end) {
            (Some(seam), None) => seam.end_of(meta.xid, meta.lsn)?,
            (_, end) => end,
        };
        let skip = end.is_some_and(|end| end <= self.progress);
        self.open = Some(Open {
            xid: meta.xid,
            first_change: self.group.changes.len(),
            streamed: false,
            skip,
            tail: false,
            end,
        });
        Ok(())
    }

    /// The seam and the end of the open transaction, where that may lie before it.
    fn seam_and_end(&self) -> Option<(Rc<Seam>, Lsn)> {
        let end = self.open.as_ref()?.end?;
        Some((Rc::clone(self.seam.as_ref()?), end))
    }

    /// Whether the table's copy shows what this statement did.
    fn is_copied(&self, statement: usize) -> Result<bool> {
        let Some((seam, end)) = self.seam_and_end() else {
            return Ok(false);
        };
        match self.statements.get(statement) {
            Some(Statement::Shape(shape)) => seam.drops(&shape.table, end),
            _ => Err(Error::bad_state(
                "which table a statement changes cannot be told, and tables were copied from several snapshots",
            )
            .hint("Transform can make the SQL file again from its JSON file.")),
        }
    }

    /// The open transaction; one whose begin was not seen, where there is none.
    fn opened(&mut self) -> &mut Open {
        let first_change = self.group.changes.len();
        self.open.get_or_insert(Open {
            xid: 0,
            first_change,
            streamed: false,
            skip: false,
            tail: true,
            end: None,
        })
    }

    fn execute(&mut self, hash: u32, values: &str) -> Result<()> {
        if self.opened().tail {
            return Ok(());
        }
        let (statement, rows) = self.statements.named(hash)?;
        if self.is_copied(statement)? {
            return Ok(());
        }
        let first = self.group.values.count();
        let count = self.group.values.add(values)?;
        if let Some(Statement::Shape(shape)) = self.statements.get(statement)
            && count != shape.width() * rows
        {
            return Err(Error::bad_state(format!(
                "EXECUTE has {count} values, its statement takes {}",
                shape.width() * rows
            )));
        }
        self.group.rows += rows;
        self.change(Change::Rows {
            statement,
            first,
            rows,
        });
        Ok(())
    }

    /// Adds a change; gives out a part when the group has become too large.
    fn change(&mut self, change: Change) {
        let line = self.input.number;
        let open = self.opened();
        if open.tail || open.skip {
            return;
        }
        self.group.changes.push(Placed { change, line });
        if self.group.rows < GROUP_ROWS && self.group.values.len() < GROUP_BYTES {
            return;
        }
        if !self.group.txns.is_empty() {
            return self.complete();
        }
        let Some(open) = &mut self.open else {
            return;
        };
        let part = Part {
            continued: std::mem::replace(&mut open.streamed, true),
            open: true,
        };
        open.first_change = 0;
        let rest = Group {
            file: self.input.name.clone(),
            ..Group::default()
        };
        let xid = open.xid;
        let mut group = std::mem::replace(&mut self.group, rest);
        group.part = part;
        group.open_xid = xid;
        self.queue.push_back(Event::Group(Box::new(group)));
    }

    fn commit(&mut self, meta: Meta) -> Result<()> {
        let end = meta.lsn;
        let done = end <= self.progress;
        let beyond = self.endpos.is_set() && end > self.endpos;
        if self.open.as_ref().is_none_or(|open| open.tail) {
            // Its begin stands in an earlier file.
            self.open = None;
            if beyond {
                self.stop(&format!("COMMIT {end}"));
            } else if !done {
                return Err(no_begin(&meta));
            }
            return Ok(());
        }
        if beyond {
            self.stop(&format!("COMMIT {end}"));
            return Ok(());
        }
        if done {
            self.skipped += 1;
            self.drop_open();
            return Ok(());
        }
        let streamed = self.open.take().is_some_and(|open| open.streamed);
        self.progress = end;
        self.group.part.continued = streamed;
        let changes_end = self.group.changes.len();
        self.group.txns.push(Txn::new(meta, changes_end));
        let since = *self.group_since.get_or_insert_with(Instant::now);
        if self.endpos.is_set() && end == self.endpos {
            self.stop(&format!("COMMIT {end}"));
            return Ok(());
        }
        let full = streamed
            || self.group.txns.len() >= GROUP_TXNS
            || self.group.rows >= GROUP_ROWS
            || self.group.values.len() >= GROUP_BYTES
            || (self.input.may_grow() && since.elapsed() >= GROUP_TIME);
        if full {
            self.complete();
        }
        Ok(())
    }

    fn keepalive(&mut self, meta: Meta) {
        if self.open.is_some() || meta.lsn <= self.progress {
            return;
        }
        let why = format!("KEEPALIVE {}", meta.lsn);
        let reached = self.endpos.is_set() && self.endpos <= meta.lsn;
        self.complete();
        self.progress = meta.lsn;
        self.queue.push_back(Event::Keepalive(meta));
        if reached {
            self.stop(&why);
        }
    }
}

fn no_begin(meta: &Meta) -> Error {
    Error::bad_state(format!(
        "transaction {} that ends at {} begins in an earlier file, which was not read",
        meta.xid, meta.lsn
    ))
    .hint("Apply the earlier file first, or run pgcopydb stream catchup, which finds it.")
}
