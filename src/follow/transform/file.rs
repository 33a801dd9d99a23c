//! Where the lines come from and go to: files, pipes, standard input and output.
//!
//! Runs in the transform process, and in the main program for `stream transform`. An SQL file appears
//! whole or not at all: `.partial`, fsync, rename. A file is read twice, so that BEGIN lines can tell
//! the end LSN of their transaction.

use super::{Counts, End, Transform};
use crate::error::{Context, Error, Result};
use crate::follow::files::{CdcDir, Segment};
use crate::follow::json_line::JsonLine;
use crate::follow::source_table::SourceTables;
use crate::units::Lsn;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Buffers of files.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// How to transform.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What is known of the source's tables.
    pub tables: &'a SourceTables,
    /// Keep updates that change nothing.
    pub keep_no_op: bool,
    /// Go no further than where receiving ended at this position or behind it; unset: to the end.
    pub endpos: Lsn,
}

/// Ends the reading at the endpos: behind its line, and behind the ROLLBACK that may follow it.
struct Limit {
    endpos: Lsn,
    reached: bool,
}

impl Limit {
    fn new(endpos: Lsn) -> Self {
        if endpos.is_set() {
            log::info!("Transform process is setup to end at LSN {endpos}");
        }
        Self {
            endpos,
            reached: false,
        }
    }

    /// Whether this line is not wanted any more.
    fn stops_before(&mut self, line: &[u8]) -> bool {
        if self.reached {
            return !starts(line, b'R');
        }
        if self.endpos.is_set() && starts(line, b'E') {
            let text = std::str::from_utf8(line).unwrap_or("");
            self.reached = JsonLine::parse(text).is_ok_and(|line| line.lsn >= self.endpos);
        }
        false
    }
}

pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::bad_state(format!("could not {what} \"{}\": {error}", path.display()))
        .hint("Check the path, its permissions and the space there.")
        .room_as_of(error)
}

/// Reads a line; false at the end. A last line without its newline was not written whole: it is left out.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    line.shrink_to(4 << 20);
    input.read_until(b'\n', line)?;
    if line.pop() != Some(b'\n') {
        if !line.is_empty() {
            log::warn!("The last line is not complete and is left out");
        }
        return Ok(false);
    }
    Ok(true)
}

fn starts(line: &[u8], action: u8) -> bool {
    line.strip_prefix(b"{\"action\":\"")
        .is_some_and(|rest| rest.starts_with(&[action, b'"']))
}

/// For each transaction that begins in the file, in order: its end, if it is in the file, too.
pub(super) fn ends_of(input: &mut impl BufRead) -> std::io::Result<VecDeque<Option<End>>> {
    let mut ends = VecDeque::new();
    let mut open = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        line.shrink_to(4 << 20);
        input.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(ends);
        }
        if starts(&line, b'B') {
            ends.push_back(None);
            open = true;
        } else if starts(&line, b'R') {
            open = false;
        } else if starts(&line, b'C') && std::mem::take(&mut open) {
            let text = std::str::from_utf8(&line).unwrap_or("");
            if let (Ok(line), Some(end)) = (JsonLine::parse(text), ends.back_mut()) {
                *end = Some(End {
                    lsn: line.lsn.to_string(),
                    timestamp: line.timestamp.as_deref().unwrap_or("").to_owned(),
                });
            }
        }
    }
}

pub(super) fn utf8(line: &[u8]) -> Result<&str> {
    std::str::from_utf8(line).map_err(|_| {
        Error::bad_state("a line of change data is not UTF-8")
            .hint("The source's encoding cannot be followed with this output plugin; use pgoutput.")
    })
}

/// An SQL file that is being made: under a name of its own until it is whole.
pub(super) struct Making<'a> {
    pub(super) transform: Transform<'a, BufWriter<File>>,
    partial: PathBuf,
    sql: PathBuf,
}

impl<'a> Making<'a> {
    /// Begins the file. Whoever reads what an earlier process left under its name sees another file.
    pub(super) fn begin(sql: &Path, partial: PathBuf, options: Options<'a>) -> Result<Self> {
        match std::fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("remove", &partial, &error));
            }
            _ => {}
        }
        let output = std::fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|error| failed("write", &partial, &error))?;
        let output = BufWriter::with_capacity(BUFFER_BYTES, output);
        Ok(Self {
            transform: Transform::new(output, options.tables, options.keep_no_op),
            partial,
            sql: sql.to_owned(),
        })
    }

    /// Shows readers all that is written.
    pub(super) fn flush(&mut self) -> Result<()> {
        let done = self.transform.out.flush();
        done.map_err(|error| failed("write", &self.partial, &error))
    }

    /// Whether it still stands under its name.
    pub(super) fn is_there(&self) -> bool {
        let own = self.transform.out.get_ref().metadata();
        match (own, std::fs::metadata(&self.partial)) {
            (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    /// The file is whole: on disk, under its final name, with the time of the file that it was made of. None when it was
    /// removed before it got that name: what it was made of was cut or pruned.
    pub(super) fn finish(mut self, source: &File) -> Result<Option<Counts>> {
        let (counts, continued) = self.transform.finish()?;
        let output = self
            .transform
            .out
            .into_inner()
            .map_err(|error| failed("write", &self.partial, error.error()))?;
        source
            .metadata()
            .and_then(|facts| output.set_modified(facts.modified()?))
            .and_then(|()| output.sync_all())
            .map_err(|error| failed("write", &self.partial, &error))?;
        match std::fs::rename(&self.partial, &self.sql) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            done => done.map_err(|error| failed("rename", &self.partial, &error))?,
        }
        let folder = match self.sql.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        for one in continued {
            let text = format!(
                "{{\"xid\":{},\"commit_lsn\":\"{}\",\"timestamp\":\"{}\"}}\n",
                one.xid, one.end.lsn, one.end.timestamp
            );
            let path = folder.join(format!("{}.json", one.xid));
            // For people and for the existing program; nothing of ours reads it.
            let written = std::fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| failed("write", &path, &error))?;
        }
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed("write", folder, &error))?;
        log::info!(
            "Transformed {} JSON messages into SQL file \"{}\"",
            counts.messages,
            self.sql.display()
        );
        Ok(Some(counts))
    }
}

/// Transforms one file into another, which appears whole or not at all.
pub fn transform_file(json: &Path, sql: &Path, options: Options<'_>) -> Result<Counts> {
    make_file(json, sql, options)?.ok_or_else(|| {
        Error::bad_state(format!(
            "\"{}\" was removed while it was made",
            sql.display()
        ))
        .hint("Another process looks after the files there, such as a follow: leave them to it.")
    })
}

/// Transforms one file into another; none when that was removed meanwhile, as what is cut or pruned is.
pub(super) fn make_file(json: &Path, sql: &Path, options: Options<'_>) -> Result<Option<Counts>> {
    log::info!(
        "Transforming JSON file \"{}\" into SQL file \"{}\"",
        json.display(),
        sql.display()
    );
    let open = || File::open(json).map_err(|error| failed("open", json, &error));
    let unreadable = |error: std::io::Error| failed("read", json, &error);
    let mut input = BufReader::with_capacity(BUFFER_BYTES, open()?);
    let ends = ends_of(&mut input).map_err(unreadable)?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, open()?);
    let mut making = Making::begin(sql, with_ending(sql, ".partial"), options)?;
    making.transform.ends = ends;
    let mut line = Vec::new();
    let mut number = 0_u64;
    let mut limit = Limit::new(options.endpos);
    while next_line(&mut input, &mut line).map_err(unreadable)? {
        if limit.stops_before(&line) {
            break;
        }
        number += 1;
        utf8(&line)
            .and_then(|text| making.transform.line(text))
            .context(|| format!("line {number} of \"{}\"", json.display()))?;
    }
    making.finish(input.get_ref())
}

/// Whether the closed file of a segment is the one that counts, and not transformed yet.
pub(super) fn is_to_do(cdc: &CdcDir, segment: &Segment) -> bool {
    // One that was opened again is there twice until it is closed.
    if segment.closed.is_none() || segment.is_partial() {
        return false;
    }
    let written = |path: &Path| path.metadata().and_then(|facts| facts.modified()).ok();
    let made = written(&cdc.sql(segment.name));
    // It was opened again and closed since, perhaps while its older self was read.
    made.is_none() || made != written(&cdc.json(segment.name))
}

/// Transforms all closed JSON files of the folder whose SQL file is missing or older, first to last.
pub fn transform_folder(cdc: &CdcDir, options: Options<'_>) -> Result<Counts> {
    let mut counts = Counts::default();
    for segment in cdc.segments()? {
        // What comes behind an open one was closed while the folder was read: it waits, as files are made
        // and read in order.
        if segment.closed.is_none() || segment.is_partial() {
            break;
        }
        if !is_to_do(cdc, &segment) {
            continue;
        }
        let one = transform_file(&cdc.json(segment.name), &cdc.sql(segment.name), options)?;
        counts.messages += one.messages;
        counts.transactions += one.transactions;
    }
    Ok(counts)
}

/// Transforms what comes in until it ends. What is written can be read at once.
pub fn transform_stream(
    input: &mut impl BufRead,
    output: impl Write,
    options: Options<'_>,
) -> Result<Counts> {
    let unreadable = |error: std::io::Error| {
        Error::bad_state(format!("could not read JSON lines: {error}"))
            .hint("Look at the program that writes them.")
    };
    let mut transform = Transform::new(
        BufWriter::with_capacity(BUFFER_BYTES, output),
        options.tables,
        options.keep_no_op,
    );
    transform.eager = true;
    let mut line = Vec::new();
    let mut number = 0_u64;
    let mut limit = Limit::new(options.endpos);
    while next_line(input, &mut line).map_err(unreadable)? {
        if limit.stops_before(&line) {
            break;
        }
        number += 1;
        utf8(&line)
            .and_then(|text| transform.line(text))
            .context(|| format!("line {number} of the input"))?;
    }
    Ok(transform.finish()?.0)
}

/// The path with an ending behind its name.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
