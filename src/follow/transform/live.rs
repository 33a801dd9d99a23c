//! JSON files while they are being written, into SQL files that can be read at once.
//!
//! Runs in the transform process of a follow. Closed JSON files come first, then the one that is being
//! written, line by line as it grows. What is written shows at the latest when there is nothing more to
//! read. An SQL file that is begun anew is another file than the one before, by which its reader knows:
//! all of it can be made again from the JSON file at any time, and is, after every crash.

use super::file::{BUFFER_BYTES, Making, Options, ends_of, failed, is_to_do, make_file, utf8};
use crate::error::{Context, Result};
use crate::follow::files::{CdcDir, SegmentName, trouble};
use crate::units::Lsn;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that are read before other things are looked at.
const TURN_BYTES: u64 = 4 << 20;
/// Memory that a long line leaves behind at most.
const LINE_BYTES_KEPT: usize = 4 << 20;

/// The JSON file that is being written, and the SQL file made of it.
struct Tail<'a> {
    name: SegmentName,
    path: PathBuf,
    file: BufReader<File>,
    making: Making<'a>,
    /// The beginning of a line that is not written whole yet.
    line: Vec<u8>,
    offset: u64,
    number: u64,
    /// The mark of the last cut before the file was opened.
    cuts: PathBuf,
}

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// There is more.
    More,
    /// To the end of what there is.
    All,
    /// A file was cut: nothing that was read last may be believed.
    Cut,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is being written.
    Open,
    /// It was closed: nothing comes any more.
    Closed,
    /// It is not the file that it was: it was cut, or replaced.
    Gone,
}

/// Follows the JSON files of a folder.
pub struct Live<'a> {
    cdc: &'a CdcDir,
    options: Options<'a>,
    tail: Option<Tail<'a>>,
    reached: Lsn,
}

impl<'a> Live<'a> {
    /// Begins; what a process that was killed left half made goes.
    pub fn new(cdc: &'a CdcDir, options: Options<'a>) -> Result<Self> {
        cdc.remove_unfinished_sql()?;
        Ok(Self {
            cdc,
            options,
            tail: None,
            reached: Lsn::UNSET,
        })
    }

    /// The last end of a transaction or keepalive that is transformed.
    pub fn reached(&self) -> Lsn {
        self.reached
    }

    /// Transforms some of what there is; false when there was nothing. Does not wait.
    pub fn turn(&mut self) -> Result<bool> {
        let Some(mut tail) = self.tail.take() else {
            return self.find();
        };
        let (more, fate) = tail.turn(self.cdc)?;
        self.reached = self.reached.max(tail.making.transform.counts.reached);
        match fate {
            Fate::Open => self.tail = Some(tail),
            Fate::Closed => {
                let made = tail.making.finish(tail.file.get_ref());
                still_counts(self.cdc, &tail.cuts, tail.name, made)?;
            }
            Fate::Gone => log::info!(
                "JSON file \"{}\" was written anew, so is what is made of it",
                tail.path.display()
            ),
        }
        Ok(more || fate != Fate::Open)
    }

    /// Transforms the first closed file that is to do, else begins with the one that is being written.
    fn find(&mut self) -> Result<bool> {
        for segment in self.cdc.segments()? {
            let name = segment.name;
            if is_to_do(self.cdc, &segment) {
                let (json, sql) = (self.cdc.json(name), self.cdc.sql(name));
                let cuts = self.cdc.cuts();
                let made = make_file(&json, &sql, self.options);
                if let Some(counts) = still_counts(self.cdc, &cuts, name, made)? {
                    self.reached = self.reached.max(counts.reached);
                }
                return Ok(true);
            }
            if segment.is_partial() {
                self.tail = Tail::begin(self.cdc, name, self.options)?;
                return Ok(self.tail.is_some());
            }
        }
        Ok(false)
    }
}

/// What came of a closed file; none when it was cut or pruned while it was read: then what was made of it goes, and
/// is made again of what is there.
fn still_counts<T>(
    cdc: &CdcDir,
    cuts: &Path,
    name: SegmentName,
    made: Result<Option<T>>,
) -> Result<Option<T>> {
    let was_cut = cdc.cuts() != cuts;
    match made {
        Ok(counts) if !was_cut => return Ok(counts),
        Err(error) if !was_cut && cdc.json(name).exists() => return Err(error),
        _ => {}
    }
    let sql = cdc.sql(name);
    match std::fs::remove_file(&sql) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(trouble("remove", &sql, &error))
        }
        _ => Ok(None),
    }
}

impl<'a> Tail<'a> {
    /// Begins with a file; none when it was closed in this moment.
    fn begin(cdc: &CdcDir, name: SegmentName, options: Options<'a>) -> Result<Option<Self>> {
        let path = cdc.json_partial(name);
        let cuts = cdc.cuts();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path, &error)),
        };
        let Ok(again) = File::open(&path) else {
            return Ok(None);
        };
        log::info!(
            "Transforming JSON file \"{}\" into SQL file \"{}\"",
            path.display(),
            cdc.sql_partial(name).display()
        );
        let mut making = Making::begin(&cdc.sql(name), cdc.sql_partial(name), options)?;
        // What is there already tells where its transactions end.
        let mut first = BufReader::with_capacity(BUFFER_BYTES, again);
        making.transform.ends =
            ends_of(&mut first).map_err(|error| failed("read", &path, &error))?;
        Ok(Some(Self {
            name,
            path,
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            making,
            line: Vec::new(),
            offset: 0,
            number: 0,
            cuts,
        }))
    }

    /// Reads on; gives whether there was anything to read, and what became of the file.
    fn turn(&mut self, cdc: &CdcDir) -> Result<(bool, Fate)> {
        let before = self.offset;
        match self.read(cdc)? {
            Got::More => return Ok((true, Fate::Open)),
            Got::Cut => return Ok((true, Fate::Gone)),
            Got::All => {}
        }
        self.making.flush()?;
        let mut fate = self.fate(cdc);
        if fate == Fate::Closed {
            // What was written before it was closed, and after it was read last.
            let mut got = Got::More;
            while got == Got::More {
                got = self.read(cdc)?;
            }
            if got == Got::Cut || !self.line.is_empty() {
                fate = Fate::Gone;
            }
        }
        Ok((self.offset > before, fate))
    }

    /// Transforms lines, not more than a turn's.
    fn read(&mut self, cdc: &CdcDir) -> Result<Got> {
        let stop_at = self.offset + TURN_BYTES;
        while self.offset < stop_at {
            let buffered = self.file.buffer().len();
            let read = self.file.read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| failed("read", &self.path, &error))?;
            // What is read from the file goes on where it was read before, unless it was cut meanwhile.
            if read >= buffered && cdc.cuts() != self.cuts {
                return Ok(Got::Cut);
            }
            self.offset += read as u64;
            if self.line.last() != Some(&b'\n') {
                return Ok(Got::All);
            }
            self.line.pop();
            self.number += 1;
            let (number, path) = (self.number, &self.path);
            utf8(&self.line)
                .and_then(|text| self.making.transform.line(text))
                .context(|| format!("line {number} of \"{}\"", path.display()))?;
            self.line.clear();
            self.line.shrink_to(LINE_BYTES_KEPT);
        }
        Ok(Got::More)
    }

    fn fate(&self, cdc: &CdcDir) -> Fate {
        let Ok(own) = self.file.get_ref().metadata() else {
            return Fate::Gone;
        };
        if own.len() < self.offset || !self.making.is_there() {
            return Fate::Gone;
        }
        let is_at = |path: &Path| {
            std::fs::metadata(path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()))
        };
        if is_at(&self.path) {
            Fate::Open
        } else if is_at(&cdc.json(self.name)) {
            Fate::Closed
        } else {
            Fate::Gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::source_table::SourceTables;
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const BEGIN: &str = "{\"action\":\"B\",\"xid\":\"7\",\"lsn\":\"0/10\",\"timestamp\":\"t\",\"message\":\"BEGIN 7\"}\n";
    const INSERT: &str = "{\"action\":\"I\",\"xid\":\"0\",\"lsn\":\"0/10\",\"timestamp\":\"t\",\"message\":\"table public.t: INSERT: id[integer]:1\"}\n";
    const COMMIT: &str = "{\"action\":\"C\",\"xid\":\"7\",\"lsn\":\"0/20\",\"timestamp\":\"t\",\"message\":\"COMMIT 7\"}\n";

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_growing_file_shows_at_once_and_what_is_written_anew_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_owned());
        let name = SegmentName::of_number(1, 5);
        let (partial, sql) = (cdc.json_partial(name), cdc.sql_partial(name));
        let tables = SourceTables::default();
        let options = Options {
            tables: &tables,
            keep_no_op: false,
            endpos: Lsn::UNSET,
        };
        std::fs::write(&sql, "what a killed process left").unwrap();
        let mut json = File::create(&partial).unwrap();
        let mut live = Live::new(&cdc, options).unwrap();
        assert!(!sql.exists());
        json.write_all(BEGIN.as_bytes()).unwrap();
        json.write_all(&INSERT.as_bytes()[..20]).unwrap();
        while live.turn().unwrap() {}
        assert_eq!(read(&sql), "");
        json.write_all(&INSERT.as_bytes()[20..]).unwrap();
        json.write_all(COMMIT.as_bytes()).unwrap();
        while live.turn().unwrap() {}
        assert!(
            read(&sql).ends_with("COMMIT; -- {\"xid\":7,\"lsn\":\"0/20\",\"timestamp\":\"t\"}\n")
        );
        assert_eq!(live.reached(), Lsn(0x20));
        let before = read(&sql);
        // Its reader has it open, so that its number is not given to another file.
        let reader = File::open(&sql).unwrap();
        let first = reader.metadata().unwrap().ino();
        // It is cut, as after a disk that was full.
        json.set_len(0).unwrap();
        std::fs::write(&partial, format!("{BEGIN}{INSERT}")).unwrap();
        while live.turn().unwrap() {}
        assert_ne!(File::open(&sql).unwrap().metadata().unwrap().ino(), first);
        std::fs::write(&partial, format!("{BEGIN}{INSERT}{COMMIT}")).unwrap();
        std::fs::rename(&partial, cdc.json(name)).unwrap();
        while live.turn().unwrap() {}
        assert!(!sql.exists());
        let statement = |text: &str| text.lines().skip(1).collect::<Vec<_>>().join("\n");
        assert_eq!(statement(&read(&cdc.sql(name))), statement(&before));
        // Opened again: a copy that grows counts from then on.
        std::fs::write(
            &partial,
            format!("{BEGIN}{INSERT}{COMMIT}{{\"action\":\"E\",\"lsn\":\"0/30\"}}\n"),
        )
        .unwrap();
        while live.turn().unwrap() {}
        assert!(read(&sql).ends_with("-- ENDPOS {\"lsn\":\"0/30\"}\n"));
    }

    #[test]
    fn a_file_that_is_cut_and_has_grown_again_before_it_is_looked_at_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_owned());
        let name = SegmentName::of_number(1, 5);
        let (partial, sql) = (cdc.json_partial(name), cdc.sql_partial(name));
        let tables = SourceTables::default();
        let options = Options {
            tables: &tables,
            keep_no_op: false,
            endpos: Lsn::UNSET,
        };
        std::fs::write(
            &partial,
            format!("{BEGIN}{INSERT}{INSERT}{}", &INSERT[..30]),
        )
        .unwrap();
        let mut live = Live::new(&cdc, options).unwrap();
        while live.turn().unwrap() {}
        let json = std::fs::OpenOptions::new()
            .write(true)
            .open(&partial)
            .unwrap();
        json.set_len(BEGIN.len() as u64).unwrap();
        cdc.note_cut().unwrap();
        let rest = format!(
            "{{\"action\":\"R\",\"lsn\":\"0/0\"}}\n{BEGIN}{INSERT}{INSERT}{INSERT}{COMMIT}"
        );
        let mut json = std::fs::OpenOptions::new()
            .append(true)
            .open(&partial)
            .unwrap();
        json.write_all(rest.as_bytes()).unwrap();
        while live.turn().unwrap() {}
        let made = read(&sql);
        assert_eq!(made.matches("[\"1\",\"1\",\"1\"]").count(), 1, "{made}");
        assert!(made.contains("COMMIT; -- {\"xid\":7"));
    }

    #[test]
    fn a_closed_file_that_was_cut_while_it_was_read_is_no_failure_and_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_owned());
        let name = SegmentName::of_number(1, 5);
        std::fs::write(cdc.json(name), BEGIN).unwrap();
        let vanished = || failed("rename", Path::new("x"), &std::io::Error::other("gone"));
        let before = cdc.cuts();
        assert!(still_counts::<()>(&cdc, &before, name, Err(vanished())).is_err());
        let made = |made| still_counts(&cdc, &before, name, made).unwrap();
        assert_eq!(made(Ok(Some(1))), Some(1));
        assert_eq!(made(Ok(None)), None);
        cdc.note_cut().unwrap();
        for made in [Ok(Some(1)), Err(vanished())] {
            std::fs::write(cdc.sql(name), "made of what was cut off").unwrap();
            assert_eq!(still_counts(&cdc, &before, name, made).unwrap(), None);
            assert!(!cdc.sql(name).exists());
        }
    }

    #[test]
    fn what_is_removed_while_it_is_made_is_made_again_and_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let cdc = CdcDir::new(folder.path().to_owned());
        let name = SegmentName::of_number(1, 5);
        let (partial, sql) = (cdc.sql_partial(name), cdc.sql(name));
        let tables = SourceTables::default();
        let options = Options {
            tables: &tables,
            keep_no_op: false,
            endpos: Lsn::UNSET,
        };
        let json = format!("{BEGIN}{}{COMMIT}", INSERT.repeat(2000));
        std::fs::write(cdc.json(name), json).unwrap();
        let mut live = Live::new(&cdc, options).unwrap();
        let (begun, removed) = (std::time::Instant::now(), AtomicUsize::new(0));
        let goes_on =
            || removed.load(SeqCst) < 5 && begun.elapsed() < std::time::Duration::from_secs(20);
        std::thread::scope(|scope| {
            // As receive does once after a crash of the machine.
            scope.spawn(|| {
                while goes_on() {
                    let gone = std::fs::remove_file(&partial).is_ok();
                    removed.fetch_add(usize::from(gone), SeqCst);
                    let _gone = std::fs::remove_file(&sql);
                }
            });
            while goes_on() {
                live.turn().unwrap();
            }
        });
        assert_eq!(removed.into_inner(), 5);
        while live.turn().unwrap() {}
        let text = read(&sql);
        assert!(text.starts_with("BEGIN; -- {\"xid\":7"), "{text}");
        assert!(text.contains("COMMIT; -- {\"xid\":7"), "{text}");
    }
}
