//! What the JSON files hold when receiving begins: the last boundary, the newest file, what is torn.
//!
//! Runs in the receive process, which holds the lock of the folder. It looks through the files from
//! the last record of the transaction index on, makes the records that are missing, and cuts what
//! cannot be trusted: a line that a killed process did not finish; after a crash of the machine, or
//! after the system could not write, all that no record vouches for.

use crate::error::{Context, Error, Result};
use crate::follow::files::{CdcDir, Segment, SegmentName, trouble};
use crate::follow::json_line::{Action, JsonLine};
use crate::follow::txn_index::{Place, RECORD_BYTES, Record, TxnIndex};
use crate::units::Lsn;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What the files hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// The newest file.
    pub(super) newest: Option<SegmentName>,
    /// The newest file ends in X: where the next one begins.
    pub(super) next: Option<Lsn>,
    /// End of the last complete transaction or keepalive; unset when there is none.
    pub(super) boundary: Lsn,
    /// The files end with E, and R at most: where receiving was to stop.
    pub(super) ended_at: Option<Lsn>,
    /// Number of the last record of the index.
    pub(super) seq: u64,
    /// The files end inside of a transaction that is not void yet.
    pub(super) is_open: bool,
}

/// Whether lines that no record vouches for may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The machine has been up since they were written.
    All,
    /// It was not.
    Records,
}

/// A pass over the lines.
struct Scan<'a> {
    cdc: &'a CdcDir,
    state: Recovered,
    open: Option<Record>,
    index: Option<File>,
    batch: Vec<u8>,
}

/// The id of this boot of the machine, empty where the system does not tell.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    text.unwrap_or_default().trim().to_owned()
}

/// Looks through the files and mends what a killed process left. Blocks for as long as reading what
/// came after the last record takes.
pub(super) fn recover(cdc: &CdcDir) -> Result<Recovered> {
    let now = boot_id();
    let before = std::fs::read_to_string(cdc.boot_id()).unwrap_or_default();
    let trust = if before.trim() == now {
        Trust::All
    } else {
        Trust::Records
    };
    let last = cut_index(cdc)?;
    let mut segments = cdc.segments()?;
    drop_short_partials(cdc, &mut segments)?;
    if trust == Trust::Records && !segments.is_empty() {
        if let Some(last) = &last {
            cut_files(cdc, &mut segments, last.end)?;
        }
        log::warn!(
            "The machine was restarted, or could not write to its disk: what no record vouches for \
             is received again"
        );
    }
    let start = last.map(|record| record.end);
    let mut scan = Scan {
        cdc,
        state: Recovered {
            boundary: last.map_or(Lsn::UNSET, |record| record.end_lsn),
            seq: last.map_or(0, |record| record.seq),
            ..Recovered::default()
        },
        open: None,
        index: None,
        batch: Vec::new(),
    };
    let from = segments
        .iter()
        .position(|segment| start.is_none_or(|start| segment.name >= start.segment));
    if let (Some(start), None) = (start, from) {
        return Err(missing(cdc, start.segment));
    }
    let rest = segments.get(from.unwrap_or(0)..).unwrap_or_default();
    if let (Some(start), Some(first)) = (start, rest.first())
        && first.name != start.segment
    {
        return Err(missing(cdc, start.segment));
    }
    for (number, segment) in rest.iter().enumerate() {
        let offset = start
            .filter(|_| number == 0)
            .map_or(0, |start| start.offset);
        let is_newest = number + 1 == rest.len();
        scan.file(segment, offset, is_newest, trust)?;
    }
    scan.write_records()?;
    let mut state = scan.state;
    state.is_open = scan.open.is_some();
    if before.trim() != now {
        cdc.write_whole(&cdc.boot_id(), &format!("{now}\n"))?;
    }
    Ok(state)
}

fn missing(cdc: &CdcDir, segment: SegmentName) -> Error {
    Error::bad_state(format!(
        "file \"{}\" of received changes is missing or too short",
        cdc.json(segment).display()
    ))
    .hint("Restore the folder of change data, or begin anew with --restart.")
}

/// Cuts records that are not valid off the index; gives the last one that is.
fn cut_index(cdc: &CdcDir) -> Result<Option<Record>> {
    let Some(index) = TxnIndex::open(cdc)? else {
        return Ok(None);
    };
    let last = index.last()?;
    let bytes = last.map_or(0, |record| index.bytes_through(record.seq));
    let path = cdc.txn_index();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(bytes))
        .map_err(|error| trouble("write", &path, &error))?;
    Ok(last)
}

/// Removes copies of closed files that were not finished.
fn drop_short_partials(cdc: &CdcDir, segments: &mut [Segment]) -> Result<()> {
    for segment in segments {
        if segment.partial.is_some() && !segment.is_partial() {
            let path = cdc.json_partial(segment.name);
            std::fs::remove_file(&path).map_err(|error| trouble("remove", &path, &error))?;
            segment.partial = None;
        }
    }
    Ok(())
}

/// Cuts the files behind a place, and the SQL files made of what is cut.
///
/// A transform process may be at work in the same moment. What it makes of a file that it opened before the cut is noted
/// it throws away when it sees the note; what it finished before is removed here; and what it opens behind the note holds
/// nothing that is cut. So the note stands between the JSON files and the SQL files.
fn cut_files(cdc: &CdcDir, segments: &mut Vec<Segment>, end: Place) -> Result<()> {
    let (last, behind): (Vec<&Segment>, Vec<&Segment>) = segments
        .iter()
        .filter(|segment| segment.name >= end.segment)
        .partition(|segment| segment.name == end.segment);
    for segment in &last {
        let json = cdc.readable(segment);
        let bytes = if segment.is_partial() {
            segment.partial
        } else {
            segment.closed
        };
        if bytes.unwrap_or(0) < end.offset {
            return Err(missing(cdc, segment.name));
        }
        OpenOptions::new()
            .write(true)
            .open(&json)
            .and_then(|file| file.set_len(end.offset).and_then(|()| file.sync_all()))
            .map_err(|error| trouble("cut", &json, &error))?;
    }
    for segment in &behind {
        remove(&cdc.json(segment.name))?;
        remove(&cdc.json_partial(segment.name))?;
    }
    cdc.note_cut()?;
    for segment in last.iter().chain(&behind) {
        // In this order: what gets its final name in between is removed under that one.
        remove(&cdc.sql_partial(segment.name))?;
        remove(&cdc.sql(segment.name))?;
    }
    segments.retain(|segment| segment.name <= end.segment);
    cdc.sync()
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(trouble("remove", path, &error))
        }
        _ => Ok(()),
    }
}

impl Scan<'_> {
    /// Reads the lines of a file from `offset` on.
    fn file(
        &mut self,
        segment: &Segment,
        offset: u64,
        is_newest: bool,
        trust: Trust,
    ) -> Result<()> {
        let path = self.cdc.readable(segment);
        let failed = |error: std::io::Error| trouble("read", &path, &error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < offset {
            return Err(missing(self.cdc, segment.name));
        }
        // Records are made of what is read here, so it has to be on disk.
        file.sync_all().map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        self.state.newest = Some(segment.name);
        self.state.next = None;
        let mut reader = BufReader::with_capacity(256 * 1024, &file);
        let mut line = Vec::new();
        let mut at = offset;
        let mut cut = None;
        loop {
            line.clear();
            let count = reader.read_until(b'\n', &mut line).map_err(failed)?;
            if count == 0 {
                break;
            }
            let is_whole = line.last() == Some(&b'\n');
            let taken = if is_whole {
                self.line(&line, segment.name, at)
            } else {
                Err(Error::bad_state("the line has no end"))
            };
            match taken {
                Ok(()) => at += count as u64,
                Err(_) if is_newest && (!is_whole || trust == Trust::Records) => {
                    cut = Some(at);
                    break;
                }
                Err(error) => {
                    return Err(error)
                        .context(|| format!("file \"{}\", byte {at}", path.display()));
                }
            }
        }
        drop(reader);
        if let Some(at) = cut {
            log::info!(
                "Cutting a line that was not finished off \"{}\" at byte {at}",
                path.display()
            );
            file.set_len(at)
                .and_then(|()| file.sync_all())
                .map_err(|error| trouble("cut", &path, &error))?;
            self.cdc.note_cut()?;
        }
        Ok(())
    }

    /// Takes in one line.
    fn line(&mut self, bytes: &[u8], segment: SegmentName, offset: u64) -> Result<()> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::bad_state("it is not UTF-8"))?;
        let line = JsonLine::parse(text)?;
        let begin = Place { segment, offset };
        let end = Place {
            segment,
            offset: offset + bytes.len() as u64,
        };
        if !matches!(line.action, Action::End | Action::Rollback) {
            self.state.ended_at = None;
        }
        self.state.next = None;
        match line.action {
            Action::Begin => self.open = Some(blank(line.xid, begin, line.commit_lsn)),
            Action::Commit => {
                let open = self
                    .open
                    .take()
                    .unwrap_or_else(|| blank(line.xid, begin, None));
                self.complete(Record {
                    end,
                    end_lsn: line.lsn,
                    bytes: open.bytes + bytes.len() as u64,
                    ..open
                })?;
            }
            Action::Keepalive => {
                if self.open.is_none() && line.lsn > self.state.boundary {
                    self.complete(Record {
                        is_boundary: true,
                        end,
                        end_lsn: line.lsn,
                        bytes: bytes.len() as u64,
                        ..blank(0, begin, None)
                    })?;
                }
            }
            Action::Rollback => self.open = None,
            Action::Switch => self.state.next = Some(line.lsn),
            Action::End => self.state.ended_at = Some(line.lsn),
            Action::Join => {}
            _ => {
                let open = self
                    .open
                    .get_or_insert_with(|| blank(line.xid, begin, None));
                open.bytes += bytes.len() as u64;
                open.changes = open
                    .changes
                    .saturating_add(u32::from(line.action.is_change()));
            }
        }
        Ok(())
    }

    fn complete(&mut self, mut record: Record) -> Result<()> {
        if record.end_lsn <= self.state.boundary {
            // A transaction that came twice, as files of the existing program may hold it.
            return Ok(());
        }
        self.state.boundary = record.end_lsn;
        self.state.seq += 1;
        record.seq = self.state.seq;
        self.batch.extend_from_slice(&record.encode());
        if self.batch.len() >= 1000 * RECORD_BYTES {
            self.write_records()?;
        }
        Ok(())
    }

    fn write_records(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let path = self.cdc.txn_index();
        let failed = |error: std::io::Error| trouble("write", &path, &error);
        let index = match &mut self.index {
            Some(index) => index,
            none => none.insert(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(&path)
                    .map_err(failed)?,
            ),
        };
        index
            .write_all(&self.batch)
            .and_then(|()| index.sync_data())
            .map_err(failed)?;
        self.batch.clear();
        Ok(())
    }
}

fn blank(xid: u32, begin: Place, commit_lsn: Option<Lsn>) -> Record {
    Record {
        seq: 0,
        xid,
        is_boundary: false,
        begin,
        end: begin,
        commit_lsn: commit_lsn.unwrap_or_default(),
        end_lsn: Lsn::UNSET,
        commit_time: 0,
        changes: 0,
        bytes: 0,
    }
}
