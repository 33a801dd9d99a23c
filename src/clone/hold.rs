//! `pgcopydb snapshot`: a snapshot that other commands of the work directory read with.
//!
//! The supervisor has one leaf, which exports the snapshot and holds it until it is told to stop. It
//! runs beside the main service of the directory, with a lock of its own, and writes nothing but the
//! snapshot's file.

use super::settings::FollowAlong;
use super::{along, borrowed, connection, prepare};
use crate::catalog::{Ledger, Setup};
use crate::check;
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::snapshot;
use crate::supervisor::{self, End, Event, Host, Leaf, Machine, Order, Report, Role};
use crate::sys::reap::Child;
use crate::sys::signal;
use crate::units::Side;
use crate::workdir::{Intent, Layout, ServiceClaim};
use nix::sys::signal::Signal;
use std::path::PathBuf;

/// What `pgcopydb snapshot` is told.
#[derive(Clone, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Connection string, with its secrets.
    pub source: String,
    /// The work directory.
    pub dir: PathBuf,
    /// `--resume`, `--restart` or neither.
    pub intent: Intent,
    /// Make a replication slot, and hold its snapshot.
    pub follow: Option<FollowAlong>,
}

/// Exports a snapshot, gives its id to `publish`, and holds it until SIGTERM or SIGINT, which is how it
/// ends well. Blocks.
pub fn hold_snapshot(
    settings: &SnapshotSettings,
    env: &dyn Fn(&str) -> Option<String>,
    publish: &dyn Fn(&str) -> Result<()>,
) -> Result<()> {
    let source = connection(&settings.source, env, "source")?;
    let claim = ServiceClaim::take(Layout::new(settings.dir.clone()), borrowed::SERVICE)?;
    let held = held_before(settings, &claim.layout)?;
    signal::install()?;
    let mut machine = Holding::default();
    let mut host = HoldHost {
        source,
        layout: claim.layout.clone(),
        held,
        follow: settings
            .follow
            .clone()
            .map(|along| (along, settings.intent)),
        publish,
    };
    let ended = supervisor::run(&mut machine, &mut host);
    match ended {
        Err(error) if machine.is_held && is_good_end(&error) => Ok(()),
        other => other,
    }
}

fn is_good_end(error: &Error) -> bool {
    [Signal::SIGTERM, Signal::SIGINT]
        .iter()
        .any(|signal| error.kind() == Kind::Stopped(*signal as i32))
}

/// The snapshot to go on with. Errors: the directory has one, or has none, against the user's word.
fn held_before(settings: &SnapshotSettings, layout: &Layout) -> Result<Option<String>> {
    let there = borrowed::id_in_file(layout);
    match (there, settings.intent) {
        (Some(id), Intent::Fresh) => Err(Error::bad_state(format!(
            "work directory \"{}\" has snapshot \"{id}\" of another process",
            settings.dir.display()
        ))
        .hint(
            "Use --resume to hold what it shows while that process still does, or --restart for a \
             new snapshot.",
        )),
        (None, Intent::Resume) => Err(Error::bad_args(format!(
            "option --resume needs the snapshot of an earlier process, and \"{}\" has none",
            settings.dir.display()
        ))
        .hint("Leave --resume out for a new snapshot.")),
        (Some(_), Intent::Restart) => {
            let _gone = std::fs::remove_file(layout.snapshot());
            Ok(None)
        }
        (there, _) => Ok(there),
    }
}

/// One process, which lives until somebody ends it.
#[derive(Default)]
struct Holding {
    is_held: bool,
    failure: Option<Error>,
}

impl Machine for Holding {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start => {
                return vec![Order::Spawn {
                    role: Role::Snapshot,
                    number: 1,
                    successor: false,
                }];
            }
            Event::Report(_, _, Report::Snapshot { .. }) => self.is_held = true,
            Event::Ended(_, _, End::Failed(error)) => {
                self.failure.get_or_insert(error);
            }
            Event::Ended(_, _, End::Crashed(how)) => {
                let error = Error::new(Kind::Source, "the process that held the snapshot died");
                self.failure.get_or_insert(error.detail(how));
            }
            Event::Report(..) | Event::Ended(_, _, End::Done) => {}
        }
        Vec::new()
    }

    fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

struct HoldHost<'a> {
    source: ConnInfo,
    layout: Layout,
    held: Option<String>,
    follow: Option<(FollowAlong, Intent)>,
    publish: &'a dyn Fn(&str) -> Result<()>,
}

impl Host for HoldHost<'_> {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let (source, layout) = (self.source.clone(), self.layout.clone());
        let (held, follow) = (self.held.clone(), self.follow.clone());
        supervisor::spawn(role, number, successor, move |leaf| {
            body(leaf, &source, &layout, (held.as_deref(), follow.as_ref()))
        })
    }

    fn note(&mut self, _role: Role, _number: u32, report: &Report) -> Result<()> {
        match report {
            Report::Snapshot { id } => (self.publish)(id),
            _ => Ok(()),
        }
    }

    fn stopping(&mut self) {}
}

/// The body of the leaf.
fn body(
    leaf: &mut Leaf<'_>,
    source: &ConnInfo,
    layout: &Layout,
    (held, follow): (Option<&str>, Option<&(FollowAlong, Intent)>),
) -> Result<()> {
    let connected = prepare::connect(leaf.role.label(), source, Side::Source)?;
    refuse_other_source(layout, &check::identity(&connected.facts))?;
    let link = connected.link;
    drop(connected.session);
    let (session, id) = match (held, follow) {
        (None, None) => snapshot::export(leaf, &link)?,
        (None, Some((along, intent))) => {
            along::export_with_slot(leaf, (source, &link), layout, (along, *intent))?
        }
        (Some(held), _) => snapshot::export_again(leaf, &link, held).map_err(|error| {
            if error.is_snapshot_lost() {
                error
                    .with_kind(Kind::BadArgs)
                    .hint("Use --restart for a new snapshot.")
            } else {
                error
            }
        })?,
    };
    if let (Some(held), Some((along, _))) = (held, follow) {
        along::rename_snapshot(along, held, &id)?;
    }
    snapshot::hold(leaf, session, &id, Some(layout))
}

/// Refuses a snapshot of another database than the one that the directory was set up for.
fn refuse_other_source(layout: &Layout, identity: &str) -> Result<()> {
    if !layout.ledger().exists() {
        return Ok(());
    }
    let before = Setup::read(&Ledger::open_read_only(&layout.ledger())?)?;
    match before {
        Some(before)
            if !before.source_identity.is_empty() && before.source_identity != identity =>
        {
            Err(
                Error::bad_state("the work directory was set up for another source database")
                    .detail(format!(
                        "It was {}; the one given now is another database.",
                        before.source_uri
                    ))
                    .hint("Give the same database, or another work directory with --dir."),
            )
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &std::path::Path, intent: Intent) -> SnapshotSettings {
        SnapshotSettings {
            source: String::new(),
            dir: dir.to_path_buf(),
            intent,
            follow: None,
        }
    }

    #[test]
    fn a_snapshot_that_is_there_is_neither_forgotten_nor_taken_over_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_path_buf());
        let held = |intent| held_before(&settings(folder.path(), intent), &layout);
        assert_eq!(held(Intent::Fresh).unwrap(), None);
        assert_eq!(held(Intent::Resume).unwrap_err().kind().exit_code(), 1);
        std::fs::write(layout.snapshot(), "1-2-3\n").unwrap();
        assert_eq!(held(Intent::Fresh).unwrap_err().kind().exit_code(), 3);
        assert_eq!(held(Intent::Resume).unwrap().as_deref(), Some("1-2-3"));
        assert_eq!(held(Intent::Restart).unwrap(), None);
        assert!(!layout.snapshot().exists());
    }
}
