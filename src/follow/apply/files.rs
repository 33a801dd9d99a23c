//! Which SQL files are applied, in which order.
//!
//! Runs in the apply process. The first is the one in which the first transaction begins that is not
//! applied yet, as the transaction index says; the next is the one that the last SWITCH WAL names.

use super::input::Input;
use crate::error::{Error, Result};
use crate::follow::files::{CdcDir, SegmentName, trouble};
use crate::follow::txn_index::TxnIndex;
use crate::units::{Lsn, Tli};
use std::path::PathBuf;

/// The SQL files of a folder.
pub(super) struct SqlFiles<'a> {
    cdc: &'a CdcDir,
    current: Option<SegmentName>,
    /// Those that are being written count, too.
    live: bool,
}

impl<'a> SqlFiles<'a> {
    pub(super) fn new(cdc: &'a CdcDir, live: bool) -> Self {
        Self {
            cdc,
            current: None,
            live,
        }
    }

    /// All SQL files that count, first to last.
    fn all(&self) -> Result<Vec<SegmentName>> {
        let folder = self.cdc.top();
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(trouble("read", folder, &error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(|error| trouble("read", folder, &error))?
                .file_name();
            let name = name.to_str().unwrap_or_default();
            let partial = name.strip_suffix(".sql.partial").filter(|_| self.live);
            let stem = name.strip_suffix(".sql").or(partial);
            found.extend(stem.and_then(SegmentName::parse));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn open(&mut self, name: SegmentName) -> Result<Option<Input>> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        self.current = Some(name);
        log::info!("Replaying changes from file \"{}\"", path.display());
        if self.live {
            Input::growing(&path).map(Some)
        } else {
            Input::file(&path).map(Some)
        }
    }

    /// The path under which a segment's SQL is to be read: what is being made anew counts.
    fn path(&self, name: SegmentName) -> PathBuf {
        let partial = self.cdc.sql_partial(name);
        if self.live && partial.exists() {
            return partial;
        }
        self.cdc.sql(name)
    }

    /// Whether the current file is not the one any more that stands under its name.
    pub(super) fn is_replaced(&self, input: &Input) -> bool {
        self.current.is_none_or(|name| {
            let (partial, sql) = (self.cdc.sql_partial(name), self.cdc.sql(name));
            // One that is finished in between gets its final name in one step.
            !input.is_at(&partial) && (partial.exists() || !input.is_at(&sql))
        })
    }

    /// Whether a file that holds the position, or a later one, is there.
    pub(super) fn has_next(&self, lsn: Lsn) -> Result<bool> {
        let Some((tli, size)) = self.naming()? else {
            return Ok(false);
        };
        let number = SegmentName::of(tli, lsn, size).number();
        let current = self.current;
        let is_later = |name: &SegmentName| current.is_none_or(|current| *name > current);
        let all = self.all()?;
        Ok(all
            .iter()
            .any(|name| name.number() >= number && is_later(name)))
    }

    /// The file to begin with; none when it has not been transformed yet, or nothing was received.
    pub(super) fn first(&mut self, progress: Lsn) -> Result<Option<Input>> {
        let wanted = match TxnIndex::open(self.cdc)? {
            None => None,
            Some(index) => match index.get(index.first_after(progress)?)? {
                Some(record) => Some(record.begin.segment),
                None => index.last()?.map(|record| record.end.segment),
            },
        };
        let all = self.all()?;
        let Some(name) = wanted.or_else(|| all.first().copied()) else {
            return Ok(None);
        };
        if !all.contains(&name) && all.iter().any(|later| *later > name) && wanted.is_some() {
            return Err(gap(self.cdc, name));
        }
        self.open(name)
    }

    /// The file that holds the position; none when it does not exist yet.
    pub(super) fn next(&mut self, lsn: Lsn) -> Result<Option<Input>> {
        let Some((tli, size)) = self.naming()? else {
            return Ok(None);
        };
        let number = SegmentName::of(tli, lsn, size).number();
        let all = self.all()?;
        let at = all
            .iter()
            .filter(|name| name.number() == number)
            .filter(|name| self.current.is_none_or(|current| **name > current))
            .max();
        if let Some(name) = at {
            return self.open(*name);
        }
        let name = SegmentName::of(tli, lsn, size);
        if all.iter().any(|later| later.number() > number) {
            return Err(gap(self.cdc, name));
        }
        let path = self.cdc.sql(name);
        log::info!("File \"{}\" does not exists yet, exit", path.display());
        Ok(None)
    }

    /// Timeline and segment size: as receive wrote them, else from the file's own name and the usual size.
    fn naming(&self) -> Result<Option<(Tli, u64)>> {
        let written = self.cdc.naming()?;
        Ok(written.or_else(|| self.current.map(|name| (name.tli, 16 << 20))))
    }
}

fn gap(cdc: &CdcDir, name: SegmentName) -> Error {
    Error::bad_state(format!(
        "file \"{}\" is missing, and later ones are there",
        cdc.sql(name).display()
    ))
    .hint("Transform can make it from its JSON file; if that is gone, too, changes are lost: begin anew.")
}
