//! The JSON files as bytes: gathered, written, put on disk, opened and closed under their names.
//!
//! Runs in the receive process. What a failed write or fsync leaves is found out anew by `recover`.

use super::{BUFFER_BYTES, Current, Store};
use crate::error::{Error, Result};
use crate::follow::files::{SegmentName, trouble};
use crate::follow::json_line::{Action, JsonLine};
use crate::follow::txn_index::{self, Place, RECORD_BYTES};
use crate::units::Lsn;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Fewer records of the transaction index are not worth being cut off: about a megabyte.
const RECORDS_CUT_LEAST: u64 = 10_000;

impl Store {
    pub(super) fn append(&mut self, line: &[u8]) -> Result<Place> {
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
        self.received_bytes += line.len() as u64;
        self.data_changed = true;
        if line.len() >= BUFFER_BYTES {
            self.write_out(line)?;
        } else {
            self.buffer.extend_from_slice(line);
        }
        Ok(place)
    }

    /// Hands all lines to the system, so that readers see them. To be called between lines.
    pub(in crate::follow::receive) fn flush(&mut self) -> Result<()> {
        self.write_out(&[])?;
        self.written_bytes = self.current.as_ref().map_or(0, |current| current.offset);
        Ok(())
    }

    /// Writes what is gathered, then `more`, which may be long and is not copied.
    pub(super) fn write_out(&mut self, more: &[u8]) -> Result<()> {
        if self.buffer.is_empty() && more.is_empty() {
            return Ok(());
        }
        let Some(current) = &mut self.current else {
            return Err(Error::internal("lines are written into no file"));
        };
        let written = current.file.write_all(&self.buffer);
        if let Err(error) = written.and_then(|()| current.file.write_all(more)) {
            // A torn line at the end is cut when the files are looked through again.
            let path = self.cdc.json_partial(current.name);
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
    pub(in crate::follow::receive) fn sync(&mut self) -> Result<()> {
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

    /// Lets go of the records of transactions before `pruned`, whose files are gone.
    pub(in crate::follow::receive) fn prune_index(&mut self, pruned: Lsn) {
        match txn_index::cut(&self.cdc, pruned, RECORDS_CUT_LEAST) {
            // The next records go into the new file.
            Ok(true) => self.index = None,
            Ok(false) => {}
            Err(error) => log::debug!("{error}"),
        }
    }

    /// Opens the file of a segment for appending; one that was closed is copied first, as those who
    /// read it must not see it change.
    pub(super) fn open_file(&mut self, name: SegmentName) -> Result<()> {
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
    pub(super) fn rotate(&mut self, lsn: Lsn) -> Result<()> {
        let mut line = Vec::new();
        JsonLine::mark(Action::Switch, lsn).write(&mut line);
        self.append(&line)?;
        self.close()
    }

    /// Closes the current file, if there is one: on disk, under its final name.
    pub(in crate::follow::receive) fn close(&mut self) -> Result<()> {
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
