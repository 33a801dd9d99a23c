//! Taking a work directory: is it usable, is it ours, is another run alive, may it be wiped.
//!
//! Runs in the supervisor before anything connects. Whether an earlier run was complete stands in
//! the ledger and is judged by the prepare process; here only files are looked at.

use super::layout::{CONFIG_NAME, KNOWN_NAMES, Layout, make_folder, unusable, write_whole};
use super::remains::Remains;
use crate::error::{Error, Result};
use crate::sys::lock::{self, HeldLock};
use crate::sys::proc;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What the user wants with a directory that may have been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Neither `--resume` nor `--restart`.
    Fresh,
    /// `--resume`.
    Resume,
    /// `--restart`.
    Restart,
}

/// The content of `pgcopydb.json`.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Marker {
    /// Layout version of the directory.
    pub format: u32,
    /// Version of the program that made it.
    pub version: String,
    /// Names this directory; rows that we leave on the target carry it.
    pub uuid: String,
}

/// Layout version that this program writes and reads.
const FORMAT: u32 = 1;

/// A work directory that is ours until this is dropped or the process ends.
#[derive(Debug)]
pub struct Claim {
    /// Its paths.
    pub layout: Layout,
    /// Its marker.
    pub marker: Marker,
    owner: u32,
    _lock: HeldLock,
}

impl Claim {
    /// Takes the directory, making it when absent, and sweeps what a killed run left.
    ///
    /// Errors (`BadState`): not a directory, a symbolic link, of another user, writable for others,
    /// foreign files in it, another run alive (its pid is named), layout of another version.
    pub fn take(layout: Layout, intent: Intent) -> Result<Self> {
        let marker = usable(&layout)?;
        let lock = lock::try_lock(&layout.lock())?.ok_or_else(|| in_use(&layout, &layout.pid()))?;
        let swept = Remains::of(&layout).sweep();
        if swept > 0 {
            log::info!("Removed {swept} message queues that a killed run had left");
        }
        if intent == Intent::Restart && layout.restore_script().exists() {
            return Err(Error::bad_state(format!(
                "work directory \"{}\" knows foreign keys that are still removed from a target",
                layout.top().display()
            ))
            .hint(
                "Run \"pgcopy restore-constraints\" with this --dir first, or give another directory.",
            ));
        }
        if intent == Intent::Restart {
            refuse_live_services(&layout)?;
            wipe(&layout)?;
        } else {
            refuse_others_state(&layout, marker.as_ref())?;
        }
        let kept = marker.filter(|_| intent != Intent::Restart);
        let marker = mark(&layout, kept)?;
        write_whole(&layout.pid(), pid_text().as_bytes())?;
        if let Some(warning) = lost_at_reboot(&layout) {
            log::warn!("{warning}");
        }
        Ok(Self {
            layout,
            marker,
            owner: std::process::id(),
            _lock: lock,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _gone = std::fs::remove_file(self.layout.pid());
        }
    }
}

/// Makes the directory when it is absent, and refuses one that cannot be ours; its marker if it has
/// one.
pub(super) fn usable(layout: &Layout) -> Result<Option<Marker>> {
    make_folder(layout.top())?;
    check_folder(layout)?;
    let foreign = foreign_names(layout)?;
    let marker = read_marker(layout)?;
    if marker.is_none() && !foreign.is_empty() {
        return Err(Error::bad_state(format!(
            "directory \"{}\" is not a work directory of pgcopydb",
            layout.top().display()
        ))
        .detail(format!("It holds {}.", foreign.join(", ")))
        .hint("Give another directory with --dir; nothing was changed."));
    }
    Ok(marker)
}

/// Refuses a directory with the state of another program.
pub(super) fn refuse_others_state(layout: &Layout, marker: Option<&Marker>) -> Result<()> {
    if marker.is_some() || !layout.ledger().exists() {
        return Ok(());
    }
    Err(Error::bad_state(format!(
        "work directory \"{}\" was made by another program",
        layout.top().display()
    ))
    .hint("Give another directory with --dir, or begin anew there with clone --restart."))
}

/// Writes the marker, a new one when there is none, and makes the folders that are missing. Call it
/// while the main lock is held.
pub(super) fn mark(layout: &Layout, kept: Option<Marker>) -> Result<Marker> {
    let marker = kept.unwrap_or_else(|| Marker {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uuid: proc::random_uuid(),
    });
    let text = serde_json::to_string(&marker)
        .map_err(|error| Error::internal(format!("could not write the marker: {error}")))?;
    write_whole(&layout.marker(), text.as_bytes())?;
    layout.make_folders()?;
    Ok(marker)
}

/// What a pid file holds.
pub(super) fn pid_text() -> String {
    format!("{}\n{}\n", std::process::id(), env!("CARGO_PKG_VERSION"))
}

/// Refuses to wipe the directory under a service that runs, such as `pgcopydb snapshot`.
fn refuse_live_services(layout: &Layout) -> Result<()> {
    let entries =
        std::fs::read_dir(layout.top()).map_err(|error| unusable("read", layout.top(), &error))?;
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let service = name
            .strip_prefix("pgcopydb.")
            .and_then(|rest| rest.strip_suffix(".lock"));
        if let Some(service) = service
            && super::is_service_alive(layout, service)?
        {
            return Err(in_use(layout, &layout.service_pid(service)));
        }
    }
    Ok(())
}

/// The error for a directory that another process uses, which that pid file names.
pub(super) fn in_use(layout: &Layout, pid: &Path) -> Error {
    let holder = std::fs::read_to_string(pid).unwrap_or_default();
    let pid = holder.lines().next().unwrap_or("unknown").to_owned();
    Error::bad_state(format!(
        "work directory \"{}\" is in use by a running pgcopydb, process {pid}",
        layout.top().display()
    ))
    .hint("Wait for that run, stop it, or give another directory with --dir.")
}

pub(super) fn check_folder(layout: &Layout) -> Result<()> {
    let top = layout.top();
    let status =
        std::fs::symlink_metadata(top).map_err(|error| unusable("look at", top, &error))?;
    let refuse = |why: &str| {
        Err(
            Error::bad_state(format!("work directory \"{}\" {why}", top.display()))
                .hint("Give another directory with --dir."),
        )
    };
    if status.file_type().is_symlink() {
        return refuse("is a symbolic link");
    }
    if !status.is_dir() {
        return refuse("is not a directory");
    }
    if status.uid() != nix::unistd::geteuid().as_raw() {
        return refuse("belongs to another user");
    }
    if status.permissions().mode() & 0o022 != 0 {
        return refuse("can be written by other users");
    }
    Ok(())
}

/// Names at the top that neither we nor the existing program put there.
pub(super) fn foreign_names(layout: &Layout) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(layout.top()).map_err(|error| unusable("read", layout.top(), &error))?;
    let mut foreign: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            let plain = name.strip_suffix(".tmp").unwrap_or(name);
            !is_ours(plain)
        })
        .collect();
    foreign.sort();
    foreign.truncate(5);
    Ok(foreign)
}

/// True for names of ours, lock and pid files of services among them.
fn is_ours(name: &str) -> bool {
    let service = name
        .strip_prefix("pgcopydb.")
        .and_then(|rest| rest.rsplit_once('.'));
    KNOWN_NAMES.contains(&name)
        || name == CONFIG_NAME
        || service.is_some_and(|(_, end)| end == "pid" || end == "lock")
}

pub(super) fn read_marker(layout: &Layout) -> Result<Option<Marker>> {
    let path = layout.marker();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable("read", &path, &error)),
    };
    let marker: Marker = serde_json::from_str(&text).map_err(|error| {
        Error::bad_state(format!("could not read \"{}\": {error}", path.display()))
            .hint("Use --restart to begin anew, or give another directory with --dir.")
    })?;
    if marker.format != FORMAT {
        return Err(Error::bad_state(format!(
            "work directory \"{}\" has layout {}, this program knows {FORMAT}",
            layout.top().display(),
            marker.format
        ))
        .hint("Use the program that made it, or --restart to begin anew."));
    }
    Ok(Some(marker))
}

/// Removes what stands at the top under a known name, but the lock that we hold.
fn wipe(layout: &Layout) -> Result<()> {
    let is_lock = |name: &&&str| Path::new(name).extension().is_some_and(|end| end == "lock");
    for name in KNOWN_NAMES.iter().filter(|name| !is_lock(name)) {
        let path = layout.top().join(name);
        let removed = match std::fs::symlink_metadata(&path) {
            Ok(status) if status.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        removed.map_err(|error| unusable("remove", &path, &error))?;
    }
    Ok(())
}

/// A warning when a reboot would take the directory away, as `--resume` depends on it. One warning is enough for the
/// directory of all databases and those in it.
fn lost_at_reboot(layout: &Layout) -> Option<String> {
    let top = std::path::absolute(layout.top()).ok()?;
    let around = top.parent().and_then(Path::parent);
    let is_inside = around.is_some_and(|around| {
        let around = Layout::new(around.to_path_buf());
        around.marker().exists() && top.parent().is_some_and(|folder| folder.ends_with("db"))
    });
    if is_inside {
        return None;
    }
    (top.starts_with("/tmp") || top.starts_with("/dev/shm") || top.starts_with("/run")).then(|| {
        format!(
            "Work directory \"{}\" may not survive a reboot, and --resume needs it: \
             consider --dir with a lasting place",
            top.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(folder: &tempfile::TempDir) -> Layout {
        Layout::new(folder.path().join("work"))
    }

    #[test]
    fn a_directory_with_foreign_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        make_folder(layout.top()).unwrap();
        std::fs::write(layout.top().join("precious.txt"), "x").unwrap();
        for intent in [Intent::Fresh, Intent::Resume, Intent::Restart] {
            let error = Claim::take(layout.clone(), intent).unwrap_err();
            assert_eq!(error.kind().exit_code(), 3);
            assert!(error.to_string().contains("precious.txt"), "{error}");
        }
        assert!(layout.top().join("precious.txt").exists());
    }

    #[test]
    fn a_configuration_file_is_no_foreign_file_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        make_folder(layout.top()).unwrap();
        std::fs::write(layout.config(), "table-jobs = 2").unwrap();
        drop(Claim::take(layout.clone(), Intent::Fresh).unwrap());
        drop(Claim::take(layout.clone(), Intent::Restart).unwrap());
        assert!(layout.config().exists());
    }

    #[test]
    fn a_second_run_is_refused_while_the_first_lives_and_restart_makes_a_new_uuid() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        let first = Claim::take(layout.clone(), Intent::Fresh).unwrap();
        let error = Claim::take(layout.clone(), Intent::Restart).unwrap_err();
        assert!(
            error.message().contains(&std::process::id().to_string()),
            "{error}"
        );
        let uuid = first.marker.uuid.clone();
        drop(first);
        let second = Claim::take(layout.clone(), Intent::Resume).unwrap();
        assert_eq!(second.marker.uuid, uuid);
        drop(second);
        let third = Claim::take(layout.clone(), Intent::Restart).unwrap();
        assert_ne!(third.marker.uuid, uuid);
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(&folder);
        make_folder(layout.top()).unwrap();
        std::fs::set_permissions(layout.top(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = Claim::take(layout, Intent::Fresh).unwrap_err();
        assert!(error.message().contains("other users"), "{error}");
    }
}
