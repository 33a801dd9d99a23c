//! Every path of the work directory, once.
//!
//! Runs in every process. Names are those of the existing program, which people's scripts know.

use crate::error::{Error, Kind, Result};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Paths below one work directory.
#[derive(Clone, Debug)]
pub struct Layout {
    top: PathBuf,
}

/// Names that may stand at the top of a work directory, of ours or of the existing program.
pub(super) const KNOWN_NAMES: [&str; 17] = [
    "pgcopydb.json",
    "pgcopydb.lock",
    "pgcopydb.pid",
    "pgcopydb.token",
    "pgcopydb.snapshot.pid",
    "pgcopydb.snapshot.lock",
    "remains",
    "snapshot",
    "schema.json",
    "summary.json",
    "schema",
    "compare",
    "cdc",
    "db",
    "plan.json",
    "restore-constraints.sql",
    "pgcopy.log",
];

/// The user's configuration file: it may stand there, and is never removed.
pub(super) const CONFIG_NAME: &str = "config.toml";

impl Layout {
    /// Paths below `top`; relative ones stay relative.
    pub fn new(top: PathBuf) -> Self {
        Self { top }
    }

    /// The directory itself.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The marker file that says that this directory is ours.
    pub fn marker(&self) -> PathBuf {
        self.top.join("pgcopydb.json")
    }

    /// The configuration file that the user may have put there.
    pub fn config(&self) -> PathBuf {
        self.top.join(CONFIG_NAME)
    }

    /// The file whose lock the running supervisor holds.
    pub fn lock(&self) -> PathBuf {
        self.top.join("pgcopydb.lock")
    }

    /// For people: pid and version of the run that is going on.
    pub fn pid(&self) -> PathBuf {
        self.top.join("pgcopydb.pid")
    }

    /// What clients of a follow that listens have to know.
    pub fn token(&self) -> PathBuf {
        self.top.join("pgcopydb.token")
    }

    /// The file whose lock a service holds, which runs beside the main one.
    pub fn service_lock(&self, service: &str) -> PathBuf {
        self.top.join(format!("pgcopydb.{service}.lock"))
    }

    /// For people: pid and version of a service.
    pub fn service_pid(&self, service: &str) -> PathBuf {
        self.top.join(format!("pgcopydb.{service}.pid"))
    }

    /// Keys of the message queues of the run that is going on.
    pub fn remains(&self) -> PathBuf {
        self.top.join("remains")
    }

    /// The id of the exported snapshot while its exporter lives.
    pub fn snapshot(&self) -> PathBuf {
        self.top.join("snapshot")
    }

    /// Figures of the run, written at its end.
    pub fn summary(&self) -> PathBuf {
        self.top.join("summary.json")
    }

    /// The folder of ledger, archive and lists.
    pub fn schema(&self) -> PathBuf {
        self.top.join("schema")
    }

    /// The ledger.
    pub fn ledger(&self) -> PathBuf {
        self.schema().join("source.db")
    }

    /// What `pg_dump` wrote.
    pub fn archive(&self) -> PathBuf {
        self.schema().join("schema.dump")
    }

    /// What a comparison found, of schema or data; its folder is made.
    pub fn comparison(&self, what: &str) -> Result<PathBuf> {
        let folder = self.top.join("compare");
        make_folder(&folder)?;
        Ok(folder.join(format!("{what}.json")))
    }

    /// Statements of archive entries that were not restored.
    pub fn not_restored(&self) -> PathBuf {
        self.schema().join("not-restored.sql")
    }

    /// Statements that put back what a copy of rows took away, while something is.
    pub fn restore_script(&self) -> PathBuf {
        self.top.join("restore-constraints.sql")
    }

    /// What a copy of rows is going to do, as it was shown.
    pub fn plan(&self) -> PathBuf {
        self.top.join("plan.json")
    }

    /// The log of a copy of rows.
    pub fn log(&self) -> PathBuf {
        self.top.join("pgcopy.log")
    }

    /// Makes the folders that are missing, mode 0700.
    pub fn make_folders(&self) -> Result<()> {
        for folder in [
            self.schema(),
            self.top.join("compare"),
            self.top.join("cdc"),
        ] {
            make_folder(&folder)?;
        }
        Ok(())
    }
}

/// Makes a folder with its parents, mode 0700; there already is fine.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| unusable("create", folder, &error))
}

/// The error for a work directory that the system refuses.
pub(super) fn unusable(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        Kind::BadState,
        format!("could not {what} \"{}\": {error}", path.display()),
    )
    .hint("Check space and permissions, or give another work directory with --dir.")
}

/// Writes a file so that it is there whole or not at all: temporary name, fsync, rename; mode 0600.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    write_whole_by(path, |file| file.write_all(content))
}

/// The same, with what `body` writes.
fn write_whole_by(
    path: &Path,
    body: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let write = || -> std::io::Result<()> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        let mut file = BufWriter::new(file);
        body(&mut file)?;
        file.into_inner()?.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| unusable("write", path, &error))
}

impl Layout {
    /// Writes a file of this directory whole or not at all.
    pub fn write_file(&self, path: &Path, content: &[u8]) -> Result<()> {
        write_whole(path, content)
    }

    /// The same, with what `body` writes.
    pub fn write_file_by(
        &self,
        path: &Path,
        body: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<()> {
        write_whole_by(path, body)
    }

    /// Writes a file of this directory whole or not at all, and its name is on disk, too, when this returns.
    pub fn write_file_durably(&self, path: &Path, content: &[u8]) -> Result<()> {
        write_whole(path, content)?;
        std::fs::File::open(&self.top)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unusable("sync", &self.top, &error))
    }
}
