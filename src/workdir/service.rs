//! Services that run beside the main one in a work directory, such as `pgcopydb snapshot`: a lock and a
//! pid file of their own.
//!
//! Runs in the main program of the service, and in others that ask whether it lives. Whether it does is
//! told by its lock alone.

use super::claim::{Marker, in_use, mark, pid_text, read_marker, refuse_others_state, usable};
use super::layout::{Layout, write_whole};
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::sys::lock::{self, HeldLock};
use std::time::{Duration, Instant};

/// How long a main service that is just beginning is waited for.
const MARKER_WAIT: Duration = Duration::from_secs(5);

/// The right to be that service until this is dropped or the process ends.
#[derive(Debug)]
pub struct ServiceClaim {
    /// Paths of the work directory.
    pub layout: Layout,
    /// Its marker.
    pub marker: Marker,
    service: &'static str,
    owner: u32,
    _lock: HeldLock,
}

impl ServiceClaim {
    /// Becomes the service, making the directory when it is absent. Errors (`BadState`): a directory
    /// that is not ours, or the service runs already.
    pub fn take(layout: Layout, service: &'static str) -> Result<Self> {
        let marker = usable(&layout)?;
        refuse_others_state(&layout, marker.as_ref())?;
        let pid = layout.service_pid(service);
        let lock =
            lock::try_lock(&layout.service_lock(service))?.ok_or_else(|| in_use(&layout, &pid))?;
        let marker = match marker {
            Some(marker) => marker,
            None => first_marker(&layout)?,
        };
        write_whole(&pid, pid_text().as_bytes())?;
        Ok(Self {
            layout,
            marker,
            service,
            owner: std::process::id(),
            _lock: lock,
        })
    }
}

impl Drop for ServiceClaim {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _gone = std::fs::remove_file(self.layout.service_pid(self.service));
        }
    }
}

/// True while a process is that service.
pub fn is_service_alive(layout: &Layout, service: &str) -> Result<bool> {
    let path = layout.service_lock(service);
    Ok(path.exists() && lock::try_lock(&path)?.is_none())
}

/// Writes the first marker, unless a main service that begins at the same time does so.
fn first_marker(layout: &Layout) -> Result<Marker> {
    let since = Instant::now();
    loop {
        if let Some(_main) = lock::try_lock(&layout.lock())? {
            let found = read_marker(layout)?;
            return mark(layout, found);
        }
        if let Some(marker) = read_marker(layout)? {
            return Ok(marker);
        }
        if since.elapsed() > MARKER_WAIT {
            return Err(Error::bad_state(format!(
                "work directory \"{}\" is being made by another process",
                layout.top().display()
            ))
            .hint("Try again, or give another directory with --dir."));
        }
        clock::nap(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::{Claim, Intent};

    #[test]
    fn a_service_runs_beside_the_main_one_once_and_forbids_to_wipe() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("work"));
        let service = ServiceClaim::take(layout.clone(), "snapshot").unwrap();
        assert!(is_service_alive(&layout, "snapshot").unwrap());
        let main = Claim::take(layout.clone(), Intent::Fresh).unwrap();
        assert_eq!(main.marker.uuid, service.marker.uuid);
        drop(main);
        let error = ServiceClaim::take(layout.clone(), "snapshot").unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.message().contains(&std::process::id().to_string()));
        assert!(Claim::take(layout.clone(), Intent::Restart).is_err());
        drop(service);
        assert!(!is_service_alive(&layout, "snapshot").unwrap());
        assert!(Claim::take(layout, Intent::Restart).is_ok());
    }
}
