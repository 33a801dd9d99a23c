//! The JSON files as they are written: which file a line goes to, what is complete, what is on disk.
//!
//! Runs in the receive process, which is the only one that writes these files. A transaction is known
//! as complete when its C line is written, and as safe when [`Store::sync`] has returned. Memory is
//! bounded by one message. After an error the store is to be dropped: what the files hold is then
//! found out anew by `recover`.

use super::line::{Facts, Line};
use super::recover::Recovered;
use super::timeline::Timelines;
use crate::error::{Error, Kind, Result};
use crate::follow::files::{CdcDir, SegmentName, trouble};
use crate::follow::json_line::{Action, JsonLine};
use crate::follow::txn_index::{Place, RECORD_BYTES, Record};
use crate::units::Lsn;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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
    /// The newest file of an earlier run, and whether it says where the next one begins.
    left_over: Option<(SegmentName, bool)>,
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
            left_over: recovered
                .newest
                .map(|newest| (newest, recovered.next.is_some())),
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
        let Some((newest, is_linked)) = self.left_over.take().filter(|(name, _)| *name != begins)
        else {
            return Ok(());
        };
        if !is_linked {
            self.open_file(newest)?;
            self.void_left_over()?;
            return self.rotate(lsn);
        }
        if self.cdc.json_partial(newest).exists() {
            self.open_file(newest)?;
            return self.close();
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

    fn append(&mut self, line: &[u8]) -> Result<Place> {
        if self.buffer.len() + line.len() > BUFFER_BYTES {
            self.write_out(&[])?;
        }
        let Some(current) = &mut self.current else {
            return Err(Error::internal("a line is written into no file"));
        };
        let place = Place {
            segment: current.name,
            offset: current.offset,
        };
        current.offset += line.len() as u64;
        self.data_changed = true;
        if line.len() >= BUFFER_BYTES {
            self.write_out(line)?;
        } else {
            self.buffer.extend_from_slice(line);
        }
        Ok(place)
    }

    /// Hands all lines to the system, so that readers see them. To be called between lines.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.write_out(&[])?;
        self.written_bytes = self.current.as_ref().map_or(0, |current| current.offset);
        Ok(())
    }

    /// Writes what is gathered, then `more`, which may be long and is not copied.
    fn write_out(&mut self, more: &[u8]) -> Result<()> {
        if self.buffer.is_empty() && more.is_empty() {
            return Ok(());
        }
        let Some(current) = &mut self.current else {
            return Err(Error::internal("lines are written into no file"));
        };
        let written = current.file.write_all(&self.buffer);
        if let Err(error) = written.and_then(|()| current.file.write_all(more)) {
            let path = self.cdc.json_partial(current.name);
            // A torn line at the end is cut when the files are looked through again, in any case.
            let _best = current.file.set_len(self.written_bytes);
            return Err(self.failed("write", &path, &error));
        }
        self.buffer.clear();
        Ok(())
    }

    fn failed(&mut self, what: &str, path: &Path, error: &std::io::Error) -> Error {
        self.is_full = matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        trouble(what, path, error)
    }

    /// Puts all that is written on disk, then the records of what is complete, then says so.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        if self.data_changed
            && let Some(current) = &self.current
            && let Err(error) = current.file.sync_data()
        {
            let path = self.cdc.json_partial(current.name);
            return Err(self.distrust(&path, &error));
        }
        self.data_changed = false;
        if self.names_changed {
            self.cdc.sync()?;
            self.names_changed = false;
        }
        if !self.pending.is_empty() {
            self.append_records()?;
        }
        self.safe = self.boundary;
        Ok(())
    }

    /// After a failed fsync the system may have dropped what it could not write: nothing behind the
    /// last record may be trusted, and the call must not be repeated.
    fn distrust(&mut self, path: &Path, error: &std::io::Error) -> Error {
        let _best = std::fs::remove_file(self.cdc.boot_id());
        self.failed("put on disk", path, error)
    }

    fn append_records(&mut self) -> Result<()> {
        let path = self.cdc.txn_index();
        if self.index.is_none() {
            let opened = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| self.failed("open", &path, &error))?;
            self.index = Some(opened);
            self.cdc.sync()?;
        }
        let mut bytes = Vec::with_capacity(self.pending.len() * RECORD_BYTES);
        for record in &self.pending {
            bytes.extend_from_slice(&record.encode());
        }
        if let Some(index) = &mut self.index {
            let written = index.write_all(&bytes).and_then(|()| index.sync_data());
            if let Err(error) = written {
                return Err(self.failed("write", &path, &error));
            }
        }
        self.pending.clear();
        Ok(())
    }

    /// Opens the file of a segment for appending; one that was closed is copied first, as those who
    /// read it must not see it change.
    fn open_file(&mut self, name: SegmentName) -> Result<()> {
        let partial = self.cdc.json_partial(name);
        let closed = self.cdc.json(name);
        if !partial.exists() && closed.exists() {
            std::fs::copy(&closed, &partial)
                .and_then(|_| File::open(&partial)?.sync_all())
                .map_err(|error| self.failed("copy", &closed, &error))?;
        }
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .and_then(|mut file| file.seek(SeekFrom::End(0)).map(|offset| (file, offset)));
        let (file, offset) = opened.map_err(|error| self.failed("open", &partial, &error))?;
        log::info!("Now streaming changes to \"{}\"", partial.display());
        self.current = Some(Current { name, file, offset });
        self.newest = Some(name);
        self.written_bytes = offset;
        self.names_changed = true;
        self.data_changed = true;
        self.point_latest(&partial)
    }

    /// Ends the current file: the next line, at `lsn`, stands in another one.
    fn rotate(&mut self, lsn: Lsn) -> Result<()> {
        let mut line = Vec::new();
        JsonLine::mark(Action::Switch, lsn).write(&mut line);
        self.append(&line)?;
        self.close()
    }

    /// Closes the current file, if there is one: on disk, under its final name.
    pub(super) fn close(&mut self) -> Result<()> {
        self.flush()?;
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let partial = self.cdc.json_partial(current.name);
        let closed = self.cdc.json(current.name);
        if let Err(error) = current.file.sync_data() {
            return Err(self.distrust(&partial, &error));
        }
        self.data_changed = false;
        std::fs::rename(&partial, &closed)
            .map_err(|error| self.failed("rename", &partial, &error))?;
        self.names_changed = true;
        self.point_latest(&closed)?;
        self.sync()?;
        log::info!("Closed file \"{}\"", closed.display());
        Ok(())
    }

    fn point_latest(&mut self, path: &Path) -> Result<()> {
        let latest = self.cdc.latest();
        let temporary = self.cdc.top().join("latest.tmp");
        let _gone = std::fs::remove_file(&temporary);
        let name = path.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(name, &temporary)
            .and_then(|()| std::fs::rename(&temporary, &latest))
            .map_err(|error| self.failed("write", &latest, &error))
    }
}
