//! Reading the ledger from outside of a run: at any time, by anybody, without a trace.
//!
//! Runs in the main program of commands that only look. While a run is alive its ledger has a log
//! beside it (`-wal`), and is read as any reader of SQLite does. A ledger at rest is read without locks
//! and without that log, which SQLite would make anew in the directory; that it stayed at rest is looked
//! at afterwards.

use super::open::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often a ledger that changes while it is read is read again.
const TRIES: u32 = 5;

/// What a ledger at rest looks like from outside: size, and time of the last change.
type AtRest = (u64, i64, i64);

impl Ledger {
    /// Reads a ledger as it is at one moment; `None` when there is none yet. Nothing in the directory
    /// changes, and no run is held up. Errors (`BadState`): it cannot be read, or is not ours.
    pub fn view<T>(path: &Path, body: impl Fn(&Self) -> Result<T>) -> Result<Option<T>> {
        for _ in 0..TRIES {
            if !std::fs::metadata(path).is_ok_and(|status| status.len() > 0) {
                return Ok(None);
            }
            let Some(before) = at_rest(path) else {
                break;
            };
            let seen = read(&open_at_rest(path)?, &body);
            if at_rest(path) == Some(before) {
                return seen;
            }
        }
        read(&Self::open_read_only(path)?, &body)
    }
}

/// `None`: a run has written what is not in the file yet, or had when it was killed.
fn at_rest(path: &Path) -> Option<AtRest> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        std::fs::metadata(PathBuf::from(name)).is_ok_and(|status| status.len() > 0)
    };
    if beside("-wal") || beside("-journal") {
        return None;
    }
    let status = std::fs::metadata(path).ok()?;
    Some((status.len(), status.mtime(), status.mtime_nsec()))
}

fn open_at_rest(path: &Path) -> Result<Ledger> {
    let escaped: String = path
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    // A path that is not UTF-8 cannot stand in a URI.
    if path.to_str().is_none() {
        return Ledger::open_read_only(path);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
        .map_err(|error| sqlite_error("open", &error))?;
    Ok(Ledger::of(connection))
}

/// Runs the body in one read transaction.
fn read<T>(ledger: &Ledger, body: &impl Fn(&Ledger) -> Result<T>) -> Result<Option<T>> {
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let connection = ledger.connection();
    connection.execute_batch("begin").map_err(failed)?;
    let has_runs: bool = connection
        .query_row(
            "select exists (select 1 from sqlite_schema where name in ('run', 'unit'))",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    let version: i32 = connection
        .query_row("pragma user_version", [], |row| row.get(0))
        .map_err(failed)?;
    let seen = match (has_runs, version) {
        (true, super::open::LAYOUT_VERSION) => Some(body(ledger)?),
        (false, 0) => None,
        _ => {
            return Err(Error::bad_state(format!(
                "the ledger has layout {version}, this program knows {}",
                super::open::LAYOUT_VERSION
            ))
            .hint("Use the program that made the work directory."));
        }
    };
    connection.execute_batch("rollback").map_err(failed)?;
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn runs(ledger: &Ledger) -> Result<i64> {
        ledger
            .connection()
            .query_row("select count(*) from run", [], |row| row.get(0))
            .map_err(|error| sqlite_error("read", &error))
    }

    fn add_run(ledger: &Ledger) {
        crate::catalog::Run::begin(ledger.connection(), "clone", true).unwrap();
    }

    #[test]
    fn a_ledger_at_rest_is_read_without_a_trace_and_a_living_one_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd %?#.db");
        assert_eq!(Ledger::view(&path, runs).unwrap(), None);
        let writer = Ledger::open(&path).unwrap();
        add_run(&writer);
        assert_eq!(Ledger::view(&path, runs).unwrap(), Some(1));
        drop(writer);
        assert_eq!(names(folder.path()), ["odd %?#.db"]);
        assert_eq!(Ledger::view(&path, runs).unwrap(), Some(1));
        assert_eq!(names(folder.path()), ["odd %?#.db"]);
    }

    #[test]
    fn what_is_not_a_ledger_of_ours_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source.db");
        std::fs::write(
            &path,
            "no database at all, but long enough to be taken for one",
        )
        .unwrap();
        assert_eq!(Ledger::view(&path, runs).unwrap_err().kind().exit_code(), 3);
        std::fs::write(&path, "").unwrap();
        assert_eq!(Ledger::view(&path, runs).unwrap(), None);
    }
}
