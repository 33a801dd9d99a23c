//! Looking at a work directory without taking it: what it holds, who uses it, how large it is.
//!
//! Runs in the main program of commands that only look, also beside a run. Makes and changes nothing.

use super::claim::{Marker, check_folder, foreign_names, read_marker};
use super::layout::{Layout, unusable};
use crate::error::Result;
use crate::sys::lock;
use std::path::Path;

/// What a directory is.
#[derive(Clone, Debug)]
pub enum Holds {
    /// It is not there.
    Missing,
    /// It cannot be a work directory, for this reason.
    Unusable(String),
    /// It is there, and nothing of ours or of others in it.
    Nothing,
    /// Files of somebody else, some of them named here.
    Foreign(Vec<String>),
    /// The state of another program of this name.
    OtherProgram,
    /// A work directory of this program.
    Ours(Marker),
}

/// Somebody who uses the directory now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What for: `main` for a run, otherwise the name of a service.
    pub service: String,
    /// Its process, as it wrote it down.
    pub pid: Option<u32>,
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Everything.
    pub total: u64,
    /// The ledger with its log.
    pub ledger: u64,
    /// The archive of the schema.
    pub archive: u64,
    /// Change data.
    pub changes: u64,
}

/// A directory as it is now.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its paths.
    pub layout: Layout,
    /// What it is.
    pub holds: Holds,
    /// Who uses it.
    pub holders: Vec<Holder>,
    /// How large it is.
    pub sizes: Sizes,
}

impl Look {
    /// Looks. Errors (`BadState`): the directory is there and cannot be read.
    pub fn at(layout: Layout) -> Result<Self> {
        let holds = holds(&layout)?;
        let (mut holders, mut sizes) = (Vec::new(), Sizes::default());
        if matches!(holds, Holds::Ours(_) | Holds::OtherProgram | Holds::Nothing) {
            holders = find_holders(&layout)?;
            sizes = measure(&layout);
        }
        Ok(Self {
            layout,
            holds,
            holders,
            sizes,
        })
    }

    /// Whoever runs a command that writes the ledger.
    pub fn run(&self) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.service == "main")
    }
}

fn holds(layout: &Layout) -> Result<Holds> {
    let top = layout.top();
    match std::fs::symlink_metadata(top) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Holds::Missing),
        Err(error) => return Err(unusable("look at", top, &error)),
        Ok(_) => {}
    }
    if let Err(error) = check_folder(layout) {
        return Ok(Holds::Unusable(error.message().to_owned()));
    }
    match read_marker(layout) {
        Ok(Some(marker)) => return Ok(Holds::Ours(marker)),
        Ok(None) => {}
        Err(error) => return Ok(Holds::Unusable(error.message().to_owned())),
    }
    let foreign = foreign_names(layout)?;
    Ok(if !foreign.is_empty() {
        Holds::Foreign(foreign)
    } else if layout.ledger().exists() {
        Holds::OtherProgram
    } else {
        Holds::Nothing
    })
}

/// Every lock of the directory that is held.
fn find_holders(layout: &Layout) -> Result<Vec<Holder>> {
    let mut holders = Vec::new();
    let entries =
        std::fs::read_dir(layout.top()).map_err(|error| unusable("read", layout.top(), &error))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names {
        let Some(stem) = name.strip_suffix(".lock") else {
            continue;
        };
        let service = match stem.strip_prefix("pgcopydb") {
            Some("") => "main",
            Some(rest) if rest.starts_with('.') => &rest[1..],
            _ => continue,
        };
        if lock::is_held(&layout.top().join(&name))? {
            let file = layout.top().join(format!("{stem}.pid"));
            let text = std::fs::read_to_string(file).unwrap_or_default();
            holders.push(Holder {
                service: service.to_owned(),
                pid: text.lines().next().and_then(|line| line.parse().ok()),
            });
        }
    }
    holders.sort_by(|one, other| one.service.cmp(&other.service));
    Ok(holders)
}

fn measure(layout: &Layout) -> Sizes {
    let ledger = layout.ledger();
    let with_log: u64 = ["", "-wal", "-shm"]
        .iter()
        .map(|end| {
            let mut name = ledger.as_os_str().to_owned();
            name.push(end);
            bytes_of(Path::new(&name))
        })
        .sum();
    Sizes {
        total: bytes_of(layout.top()),
        ledger: with_log,
        archive: bytes_of(&layout.archive()),
        changes: bytes_of(&layout.top().join("cdc")),
    }
}

/// Bytes of a file, or of all files below a folder; what is gone or hidden counts as nothing.
fn bytes_of(path: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(status) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if status.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|entry| entry.path()));
        } else {
            bytes += status.len();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{Claim, Intent};
    use super::*;

    #[test]
    fn a_look_says_what_a_directory_is_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("work"));
        let look = || Look::at(layout.clone()).unwrap();
        assert!(matches!(look().holds, Holds::Missing) && !layout.top().exists());
        super::super::layout::make_folder(layout.top()).unwrap();
        assert!(matches!(look().holds, Holds::Nothing));
        let claim = Claim::take(layout.clone(), Intent::Fresh).unwrap();
        let seen = look();
        assert!(matches!(seen.holds, Holds::Ours(_)));
        let pid = std::process::id();
        assert_eq!(seen.run().and_then(|holder| holder.pid), Some(pid));
        assert!(seen.sizes.total > 0);
        drop(claim);
        assert!(look().run().is_none());
        std::fs::remove_file(layout.marker()).unwrap();
        std::fs::write(layout.ledger(), "").unwrap();
        assert!(matches!(look().holds, Holds::OtherProgram));
        std::fs::write(layout.top().join("precious.txt"), "").unwrap();
        assert!(matches!(look().holds, Holds::Foreign(names) if names == ["precious.txt"]));
        std::os::unix::fs::symlink(layout.top(), folder.path().join("link")).unwrap();
        let link = Look::at(Layout::new(folder.path().join("link"))).unwrap();
        assert!(matches!(link.holds, Holds::Unusable(why) if why.contains("symbolic")));
    }
}
