//! Opening the ledger, and its write transactions.
//!
//! Runs in leaf processes, and in the supervisor once it has no children.

use crate::error::{Error, Kind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long a process waits for another one's write transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// `PRAGMA user_version` of the ledger's layout: raised with each change of it that a release carries.
pub(super) const LAYOUT_VERSION: i32 = 5;
/// Statements that a process keeps prepared.
const PREPARED_MAX: usize = 64;

const DDL: &str = include_str!("schema/source.sql");

/// An open ledger of this process.
pub struct Ledger {
    connection: Connection,
}

/// The error for a ledger that SQLite refuses: a full or broken work directory.
pub fn sqlite_error(what: &str, error: &rusqlite::Error) -> Error {
    let is_full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    let told = Error::new(
        Kind::BadState,
        format!("could not {what} the ledger of the work directory: {error}"),
    )
    .hint(
        "Check the space and the permissions of the work directory; --resume goes on after that.",
    );
    if is_full { told.out_of_room() } else { told }
}

impl Ledger {
    /// Opens the ledger for reading and writing, making it when it is absent.
    pub fn open(path: &Path) -> Result<Self> {
        let fresh = !path.exists();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let ledger = Self::open_with(path, flags)?;
        if fresh {
            use std::os::unix::fs::PermissionsExt;
            let _best = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
        }
        ledger.prepare_layout()?;
        Ok(ledger)
    }

    /// Leaves the log beside the ledger when it is closed, for the next process of the run: whoever closes
    /// it last would move all of it into the file, and wait for the disk twice, between any two steps.
    pub fn leave_log(&self) -> Result<()> {
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map(|_| ())
            .map_err(|error| sqlite_error("set up", &error))
    }

    /// Opens an existing ledger for reading only; nothing in the directory changes.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        Self::open_with(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
    }

    fn open_with(path: &Path, flags: OpenFlags) -> Result<Self> {
        let failed = |error: rusqlite::Error| {
            sqlite_error("open", &error).detail(format!("The file is \"{}\".", path.display()))
        };
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
        Ok(Self { connection })
    }

    /// A ledger that is read over this connection.
    pub(super) fn of(connection: Connection) -> Self {
        Self { connection }
    }

    fn prepare_layout(&self) -> Result<()> {
        let failed = |error: rusqlite::Error| sqlite_error("set up", &error);
        self.connection
            .execute_batch("pragma journal_mode = wal; pragma synchronous = normal; pragma temp_store = memory; pragma cache_size = -4000; pragma mmap_size = 0")
            .map_err(failed)?;
        let version: i32 = self
            .connection
            .query_row("pragma user_version", [], |row| row.get(0))
            .map_err(failed)?;
        if version == LAYOUT_VERSION {
            return Ok(());
        }
        if version != 0 {
            return Err(Error::bad_state(format!(
                "the ledger has layout {version}, this program knows {LAYOUT_VERSION}"
            ))
            .hint("Use the program that made the work directory, or --restart to begin anew."));
        }
        self.connection
            .execute_batch(&format!(
                "begin exclusive; {DDL}; pragma user_version = {LAYOUT_VERSION}; commit"
            ))
            .map_err(failed)
    }

    /// An empty ledger in memory, for `--dry-run` and for tests.
    pub fn in_memory() -> Result<Self> {
        let failed = |error: rusqlite::Error| sqlite_error("open", &error);
        let connection = Connection::open_in_memory().map_err(failed)?;
        connection.execute_batch(DDL).map_err(failed)?;
        Ok(Self { connection })
    }

    /// The SQLite connection, for single statements.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs `body` in one write transaction, which waits up to a minute for its turn and is rolled
    /// back when the body fails.
    pub fn write<T>(&mut self, body: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let failed = |error: rusqlite::Error| sqlite_error("write", &error);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let value = body(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(value)
    }

    /// Like [`Ledger::write`], and on disk when it returns: for what must be known after a power cut
    /// before the target is touched.
    pub fn write_durably<T>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let failed = |error: rusqlite::Error| sqlite_error("write", &error);
        self.connection
            .execute_batch("pragma synchronous = full")
            .map_err(failed)?;
        let result = self.write(body);
        self.connection
            .execute_batch("pragma synchronous = normal")
            .map_err(failed)?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout without comments and spacing, as a number (FNV-1a).
    fn fingerprint(ddl: &str) -> u32 {
        ddl.lines()
            .filter_map(|line| line.split("--").next())
            .flat_map(str::bytes)
            .filter(|byte| !byte.is_ascii_whitespace())
            .fold(0x811c_9dc5, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            })
    }

    #[test]
    fn a_log_that_is_left_is_gone_on_with_and_put_away_by_whoever_closes_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source.db");
        let log = dir.path().join("source.db-wal");
        let count = |ledger: &Ledger| -> i64 {
            let sql = "select count(*) from s_namespace";
            let connection = ledger.connection();
            connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        let ledger = Ledger::open(&path).unwrap();
        ledger.leave_log().unwrap();
        let sql = "insert into s_namespace (oid, nspname) values (1, 'a')";
        ledger.connection().execute(sql, []).unwrap();
        drop(ledger);
        assert!(
            log.exists(),
            "the next process of the run needs no file of its own"
        );
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(count(&ledger), 1);
        drop(ledger);
        assert!(!log.exists(), "all of it is in one file");
        assert_eq!(count(&Ledger::open(&path).unwrap()), 1);
    }

    #[test]
    fn the_layout_has_a_number_of_its_own() {
        // Tables changed? Raise LAYOUT_VERSION, so that no work directory of another layout is
        // resumed, and write the new fingerprint beside it.
        assert_eq!((LAYOUT_VERSION, fingerprint(DDL)), (5, 3_553_580_886));
    }
}
