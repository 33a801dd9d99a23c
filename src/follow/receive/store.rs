//! The JSON files as they are written: which file a line goes to, what is complete, what is on disk.
//!
//! Runs in the receive process, which is the only one that writes these files. A transaction is known
//! as complete when its C line is written, and as safe when [`Store::sync`] has returned. Memory is
//! bounded by one message. After an error the store is to be dropped: what the files hold is then
//! found out anew by `recover`.

mod disk;

use super::line::{Facts, Line};
use super::recover::Recovered;
use super::timeline::Timelines;
use crate::error::{Error, Kind, Result};
use crate::follow::files::{CdcDir, SegmentName};
use crate::follow::json_line::{Action, JsonLine};
use crate::follow::txn_index::{Place, Record};
use crate::units::Lsn;
use std::borrow::Cow;
use std::fs::File;
use std::time::{Duration, Instant};

/// Lines are gathered up to so many bytes before they are written.
const BUFFER_BYTES: usize = 256 * 1024;
/// Where nothing but empty transactions come, a K line tells of them so often.
const EMPTY_EVERY: Duration = Duration::from_secs(10);

/// The file that is being written.
#[derive(Debug)]
struct Current {
    name: SegmentName,
    file: File,
    /// Bytes in the file and in the buffer.
    offset: u64,
}

/// The transaction that is being received.
#[derive(Clone, Debug)]
struct Open {
    xid: u32,
    begin: Place,
    commit_lsn: Lsn,
    commit_time: i64,
    changes: u32,
    bytes: u64,
}

/// A B line that is not written before its first change comes.
#[derive(Debug)]
struct Held {
    lsn: Lsn,
    xid: u32,
    commit_lsn: Lsn,
    commit_time: i64,
    line: Vec<u8>,
}

/// The files of one stream.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "what is still to be put on disk, each on its own"
)]
pub(super) struct Store {
    cdc: CdcDir,
    timelines: Timelines,
    segment_size: u64,
    current: Option<Current>,
    /// The newest file, open or not.
    newest: Option<SegmentName>,
    /// Greatest position a line was placed by: files never go back.
    floor: Lsn,
    buffer: Vec<u8>,
    /// Bytes of all lines since this store was opened.
    received_bytes: u64,
    /// Bytes of the current file that are written whole lines.
    written_bytes: u64,
    open: Option<Open>,
    held: Option<Held>,
    index: Option<File>,
    pending: Vec<Record>,
    seq: u64,
    /// Last boundary whose line is written.
    boundary: Lsn,
    /// Last boundary that is on disk.
    safe: Lsn,
    last_line: Instant,
    names_changed: bool,
    data_changed: bool,
    is_full: bool,
    void_left: bool,
    /// The newest file of an earlier run, and where the next one begins if it says so.
    left_over: Option<(SegmentName, Option<Lsn>)>,
    /// Complete transactions written since the store was made.
    pub(super) transactions: u64,
}

impl Store {
    /// Goes on where `recovered` says; `start` is the position that the stream is started at.
    pub(super) fn new(
        cdc: CdcDir,
        timelines: Timelines,
        segment_size: u64,
        recovered: &Recovered,
        start: Lsn,
    ) -> Self {
        let newest_start = recovered.newest.map(|name| name.first_lsn(segment_size));
        let floor = recovered
            .next
            .unwrap_or(newest_start.unwrap_or(start))
            .max(newest_start.unwrap_or(Lsn::UNSET));
        Self {
            cdc,
            timelines,
            segment_size,
            current: None,
            newest: recovered.newest,
            floor,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            received_bytes: 0,
            written_bytes: 0,
            open: None,
            held: None,
            index: None,
            pending: Vec::new(),
            seq: recovered.seq,
            boundary: recovered.boundary.max(start),
            safe: recovered.boundary.max(start),
            last_line: Instant::now(),
            names_changed: false,
            data_changed: false,
            is_full: false,
            void_left: recovered.is_open,
            left_over: recovered.newest.map(|newest| (newest, recovered.next)),
            transactions: 0,
        }
    }

    /// Last boundary whose line is written.
    pub(super) fn boundary(&self) -> Lsn {
        self.boundary
    }

    /// Last boundary that is on disk: what the server may be told.
    pub(super) fn safe(&self) -> Lsn {
        self.safe
    }

    /// Whether a transaction is being received, its B line written or not.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some() || self.held.is_some()
    }

    /// Bytes of all lines since this store was opened.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The transaction that is being received, with its bytes so far.
    pub(super) fn open_transaction(&self) -> Option<(u32, u64)> {
        let held = self.held.as_ref().map(|held| (held.xid, 0));
        self.open
            .as_ref()
            .map(|open| (open.xid, open.bytes))
            .or(held)
    }

    /// Whether an error came of a disk that is full.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether there is anything that [`Store::sync`] would make safe.
    pub(super) fn needs_sync(&self) -> bool {
        !self.pending.is_empty() || self.data_changed
    }

    /// The file being written and how much of it holds whole lines.
    pub(super) fn place(&self) -> Option<Place> {
        let current = self.current.as_ref()?;
        Some(Place {
            segment: current.name,
            offset: self.written_bytes,
        })
    }

    /// A transaction begins. Its line is held back until a change comes.
    pub(super) fn begin(&mut self, facts: Facts, line: Vec<u8>) -> Result<()> {
        if self.is_open() {
            return Err(Error::new(
                Kind::Source,
                format!("transaction {} begins inside of another one", facts.xid),
            ));
        }
        self.held = Some(Held {
            lsn: facts.lsn,
            xid: facts.xid,
            commit_lsn: facts.commit_lsn,
            commit_time: facts.commit_time,
            line,
        });
        Ok(())
    }

    /// A line inside of a transaction, in two pieces; `is_change` counts it.
    pub(super) fn inside(&mut self, lsn: Lsn, line: Line<'_>, is_change: bool) -> Result<()> {
        if let Some(held) = self.held.take() {
            let begin = self.put(held.lsn, &held.line)?;
            self.open = Some(Open {
                xid: held.xid,
                begin,
                commit_lsn: held.commit_lsn,
                commit_time: held.commit_time,
                changes: 0,
                bytes: held.line.len() as u64,
            });
        }
        if self.open.is_none() {
            return Err(Error::new(
                Kind::Source,
                format!("a change at {lsn} belongs to no transaction"),
            ));
        }
        let bytes = line.len();
        self.put_line(lsn, line)?;
        if let Some(open) = &mut self.open {
            open.bytes += bytes as u64;
            open.changes = open.changes.saturating_add(u32::from(is_change));
        }
        Ok(())
    }

    /// The transaction is complete; one without a change leaves no line, but a K line now and then.
    pub(super) fn commit(&mut self, facts: Facts, line: &[u8], timestamp: &str) -> Result<()> {
        if self.held.take().is_some() {
            if self.last_line.elapsed() >= EMPTY_EVERY {
                return self.keepalive(facts.lsn, timestamp);
            }
            return Ok(());
        }
        let Some(open) = self.open.take() else {
            return Err(Error::new(
                Kind::Source,
                format!("a COMMIT at {} belongs to no transaction", facts.lsn),
            ));
        };
        if facts.lsn <= self.boundary {
            return Err(Error::new(
                Kind::Source,
                format!(
                    "transaction {} ends at {}, not behind the one before at {}",
                    open.xid, facts.lsn, self.boundary
                ),
            ));
        }
        let at = self.put(facts.lsn, line)?;
        let known = |value: Lsn| {
            if value.is_set() {
                value
            } else {
                open.commit_lsn
            }
        };
        let record = Record {
            seq: 0,
            xid: open.xid,
            is_boundary: false,
            begin: open.begin,
            end: Place {
                segment: at.segment,
                offset: at.offset + line.len() as u64,
            },
            commit_lsn: known(facts.commit_lsn),
            end_lsn: facts.lsn,
            commit_time: if facts.commit_time == 0 {
                open.commit_time
            } else {
                facts.commit_time
            },
            changes: open.changes,
            bytes: open.bytes + line.len() as u64,
        };
        self.transactions += 1;
        self.complete(record);
        Ok(())
    }

    /// Nothing happened up to here. To be called outside of transactions.
    pub(super) fn keepalive(&mut self, lsn: Lsn, timestamp: &str) -> Result<()> {
        if self.is_open() || lsn <= self.boundary {
            return Ok(());
        }
        let mut line = Vec::new();
        JsonLine {
            timestamp: Some(Cow::Borrowed(timestamp)),
            ..JsonLine::mark(Action::Keepalive, lsn)
        }
        .write(&mut line);
        let begin = self.put(lsn, &line)?;
        self.complete(Record {
            seq: 0,
            xid: 0,
            is_boundary: true,
            begin,
            end: Place {
                segment: begin.segment,
                offset: begin.offset + line.len() as u64,
            },
            commit_lsn: Lsn::UNSET,
            end_lsn: lsn,
            commit_time: 0,
            changes: 0,
            bytes: line.len() as u64,
        });
        Ok(())
    }

    fn complete(&mut self, mut record: Record) {
        self.seq += 1;
        record.seq = self.seq;
        self.boundary = record.end_lsn;
        self.pending.push(record);
    }

    /// What was written of the open transaction is void: it will come again.
    pub(super) fn void(&mut self) -> Result<()> {
        self.held = None;
        if self.open.take().is_none() && !self.void_left {
            return Ok(());
        }
        self.void_left = false;
        self.put_mark(Action::Rollback, Lsn::UNSET)
    }

    /// Receiving stops here, as was asked for: all that ends up to `endpos` is written.
    pub(super) fn end(&mut self, endpos: Lsn) -> Result<()> {
        self.put_mark(Action::End, endpos)?;
        self.void()
    }

    /// Writes a line of ours whose LSN is no reason to go to another file.
    fn put_mark(&mut self, action: Action, lsn: Lsn) -> Result<()> {
        let mut line = Vec::new();
        JsonLine::mark(action, lsn).write(&mut line);
        self.put(Lsn::UNSET, &line)?;
        Ok(())
    }

    /// Writes a line into the file of its position. Gives the place of its first byte.
    fn put(&mut self, lsn: Lsn, line: &[u8]) -> Result<Place> {
        self.put_line(
            lsn,
            Line {
                head: line,
                message: "",
            },
        )
    }

    fn put_line(&mut self, lsn: Lsn, line: Line<'_>) -> Result<Place> {
        self.floor = self.floor.max(lsn);
        let timeline = self.timelines.of(self.floor);
        let name = SegmentName::of(timeline, self.floor, self.segment_size);
        // Bounded by the newest file from below, whatever a history says.
        let name = self.newest.map_or(name, |newest| name.max(newest));
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.name != name)
        {
            self.rotate(lsn)?;
        }
        if self.current.is_none() {
            self.end_left_over(name, lsn)?;
            self.open_file(name)?;
        }
        self.void_left_over()?;
        let place = self.append(line.head)?;
        if !line.message.is_empty() {
            self.append(line.message.as_bytes())?;
            self.append(b"}\n")?;
        }
        self.last_line = Instant::now();
        Ok(place)
    }

    /// Sees to it that readers come from the last file of an earlier run to the one where this one begins:
    /// it must be closed, and say in its last line where it goes on.
    fn end_left_over(&mut self, begins: SegmentName, lsn: Lsn) -> Result<()> {
        let Some((newest, next)) = self.left_over.take().filter(|(name, _)| *name != begins) else {
            return Ok(());
        };
        let Some(next) = next else {
            self.open_file(newest)?;
            self.void_left_over()?;
            return self.rotate(lsn);
        };
        if self.cdc.json_partial(newest).exists() {
            self.open_file(newest)?;
            self.close()?;
        }
        // It was killed before it made the file that it says comes next: readers look for just that one.
        let said = SegmentName::of(self.timelines.of(next), next, self.segment_size);
        if said > newest && said.number() < begins.number() {
            self.open_file(said)?;
            self.void_left_over()?;
            return self.rotate(lsn);
        }
        Ok(())
    }

    /// Closes the newest file where an earlier run ended before it had.
    pub(super) fn close_left_over(&mut self) -> Result<()> {
        let Some((newest, _)) = self.left_over.take() else {
            return Ok(());
        };
        if self.cdc.json_partial(newest).exists() {
            self.open_file(newest)?;
            self.void_left_over()?;
            self.close()?;
        }
        Ok(())
    }

    /// Nobody may read what the last run left as the beginning of what comes now.
    fn void_left_over(&mut self) -> Result<()> {
        if std::mem::take(&mut self.void_left) {
            let mut mark = Vec::new();
            JsonLine::mark(Action::Rollback, Lsn::UNSET).write(&mut mark);
            self.append(&mark)?;
        }
        Ok(())
    }
}
