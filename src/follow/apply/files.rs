//! Which SQL files are applied, in which order.
//!
//! Runs in the apply process. The first is the one in which the first transaction begins that is not
//! applied yet, as the transaction index says; the next is the one that the last SWITCH WAL names.

use super::input::Input;
use crate::error::{Error, Result};
use crate::follow::files::{CdcDir, SegmentName, trouble};
use crate::follow::txn_index::TxnIndex;
use crate::units::{Lsn, Tli};

/// The SQL files of a folder.
pub(super) struct SqlFiles<'a> {
    cdc: &'a CdcDir,
    current: Option<SegmentName>,
}

impl<'a> SqlFiles<'a> {
    pub(super) fn new(cdc: &'a CdcDir) -> Self {
        Self { cdc, current: None }
    }

    /// All closed SQL files, first to last.
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
            let stem = name.to_str().and_then(|name| name.strip_suffix(".sql"));
            found.extend(stem.and_then(SegmentName::parse));
        }
        found.sort();
        Ok(found)
    }

    fn open(&mut self, name: SegmentName) -> Result<Option<Input>> {
        let path = self.cdc.sql(name);
        self.current = Some(name);
        if !path.exists() {
            return Ok(None);
        }
        log::info!("Replaying changes from file \"{}\"", path.display());
        Input::file(&path).map(Some)
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
