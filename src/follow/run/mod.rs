//! A follow: one supervisor over receive, transform and apply, until the endpos or a signal.
//!
//! Called in the supervisor, which opens no database: what it needs to know comes in the reports of its
//! processes. Changes go through files alone, JSON and SQL, which the next process reads while they
//! grow; what was applied is what the target says, so that any process may die at any moment.
//! `clone --follow` runs the same processes beside those of its copy.

mod leaves;
mod machine;

use leaves::while_there_is_room;
pub use leaves::{clean_up, set_up_holding};
pub use machine::Following;

use super::apply::{self, Missing};
use super::files::CdcDir;
use super::remote::{self, Attended};
use super::slot::SlotSettings;
use crate::catalog::{CdcStatus, Ledger, Sentinel};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::supervisor::{self, Host, Leaf, Report, Role};
use crate::sys::reap::Child;
use crate::sys::signal;
use crate::units::Lsn;
use crate::workdir::{Claim, Intent, Layout};
use nix::sys::signal::Signal;
use std::net::SocketAddr;

/// What to follow, and how.
#[derive(Clone)]
pub struct FollowSettings {
    /// The source.
    pub source: ConnInfo,
    /// The target; none: changes are received and transformed, not applied.
    pub target: Option<ConnInfo>,
    /// The work directory.
    pub layout: Layout,
    /// The folder of change data.
    pub cdc: CdcDir,
    /// `--resume`, `--restart` or neither.
    pub intent: Intent,
    /// The slot.
    pub slot: SlotSettings,
    /// Name of the origin on the target.
    pub origin: String,
    /// Where to stop, when it was given; it goes into the sentinel.
    pub endpos: Option<Lsn>,
    /// Updates that change nothing are applied, too.
    pub keep_no_op: bool,
    /// Most bytes of change data.
    pub max_cdc_size: Option<u64>,
    /// Where to listen for sentinel commands of other machines.
    pub listen: Option<SocketAddr>,
}

impl FollowSettings {
    fn target(&self) -> Result<&ConnInfo> {
        let missing = || Error::internal("this command has no target");
        self.target.as_ref().ok_or_else(missing)
    }
}

/// Starts a process of the stream; none for roles that are not of it.
pub fn spawn(
    settings: &FollowSettings,
    rest: bool,
    (role, number, successor): (Role, u32, bool),
) -> Result<Child> {
    let settings = settings.clone();
    let body = move |leaf: &mut Leaf<'_>| match leaf.role {
        Role::FollowSetup if settings.target.is_none() => leaves::take_up(leaf, &settings),
        Role::FollowSetup => leaves::set_up(leaf, &settings),
        Role::Receive => while_there_is_room(leaf, |leaf| leaves::receive(leaf, &settings)),
        Role::Transform => {
            while_there_is_room(leaf, |leaf| leaves::transform(leaf, &settings, rest))
        }
        Role::Apply => while_there_is_room(leaf, |leaf| leaves::apply(leaf, &settings)),
        Role::Remote => while_there_is_room(leaf, |leaf| leaves::listen(leaf, &settings)),
        _ => Err(Error::internal("a process that has no place here")),
    };
    supervisor::spawn(role, number, successor, body)
}

struct FollowHost {
    settings: FollowSettings,
    /// All is received that is to be.
    received: bool,
}

impl Host for FollowHost {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let rest = self.received && self.settings.target.is_none();
        spawn(&self.settings, rest, (role, number, successor))
    }

    fn note(&mut self, role: Role, _number: u32, report: &Report) -> Result<()> {
        if role == Role::Receive && matches!(report, Report::Reached { .. }) {
            self.received = true;
        }
        Ok(())
    }

    fn stopping(&mut self) {}
}

/// Follows until the endpos is reached, which is success, or until SIGTERM or SIGINT, which is success,
/// too: everything is saved then. Blocks.
pub fn run(settings: &FollowSettings) -> Result<()> {
    refuse_taken(settings)?;
    let _claim = Claim::take(settings.layout.clone(), Intent::Resume)?;
    signal::install()?;
    let mut machine = Following::new(settings.target.is_some());
    let mut host = FollowHost {
        settings: settings.clone(),
        received: false,
    };
    let mut attended = Attended::new(&mut machine, settings.listen.is_some());
    let ended = supervisor::run(&mut attended, &mut host);
    log::info!("Subprocesses for prefetch, transform, and catchup have now all exited");
    match ended {
        Ok(()) if settings.target.is_none() => Ok(()),
        Ok(()) => finish(settings, machine.drained()),
        Err(error) if is_good_end(&error) => {
            tell_what_is_missing(settings);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Refuses an address to listen at that cannot be had, before anything is done.
pub fn refuse_taken(settings: &FollowSettings) -> Result<()> {
    settings.listen.map_or(Ok(()), remote::refuse_taken)
}

/// Whether a run was asked to end in good order.
pub fn is_good_end(error: &Error) -> bool {
    [Signal::SIGTERM, Signal::SIGINT]
        .iter()
        .any(|signal| error.kind() == Kind::Stopped(*signal as i32))
}

/// Success is nothing but an endpos that is drained. `drained`: what apply said. All children are reaped.
pub fn finish(settings: &FollowSettings, drained: Option<Lsn>) -> Result<()> {
    let ledger = Ledger::open_read_only(&settings.layout.ledger())?;
    let row = Sentinel::must_read(ledger.connection())?;
    let (replayed, endpos) = (row.replay_lsn, row.endpos);
    log::info!("Current sentinel replay_lsn is {replayed}, endpos is {endpos}");
    let Some(drained) = drained else {
        return Err(
            Error::internal("all processes have ended, and the endpos is not drained")
                .detail(format!("Applied up to {replayed}; the endpos is {endpos}."))
                .hint("--resume goes on where it stopped."),
        );
    };
    if drained < endpos {
        return Err(Error::bad_state(format!(
            "endpos {endpos} was set while this follow ended at {drained}, and is not drained"
        ))
        .detail(format!("Everything up to {drained} is applied."))
        .hint("Start the follow again with --resume: it goes on to the new end. Repeat a cutover once it has caught up."));
    }
    log::info!("Follow mode is now done, reached replay_lsn {replayed} with endpos {endpos}");
    Ok(())
}

/// The last words of a follow that was stopped.
pub fn tell_what_is_missing(settings: &FollowSettings) {
    log::info!("Main follow process was asked to terminate, exiting");
    let missing = || -> Result<Option<(Lsn, Missing)>> {
        let ledger = Ledger::open_read_only(&settings.layout.ledger())?;
        let row = Sentinel::must_read(ledger.connection())?;
        if !row.endpos.is_set() || row.replay_lsn >= row.endpos {
            return Ok(None);
        }
        let status = CdcStatus::read(ledger.connection())?;
        let missing = apply::missing(
            &settings.cdc,
            (row.replay_lsn, row.endpos),
            status.received_through,
        )?;
        Ok(Some((row.endpos, missing)))
    };
    match missing() {
        Ok(Some((endpos, missing))) => {
            let more = if missing.is_received {
                ""
            } else {
                " of those received so far; more are to come"
            };
            log::warn!(
                "not drained: {} transactions up to endpos {endpos} are missing{more}",
                missing.transactions
            );
        }
        Ok(None) => {}
        Err(error) => log::debug!("{error}"),
    }
}
