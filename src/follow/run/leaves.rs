//! The bodies of the processes of a follow: what each opens, how it tells how far it is.
//!
//! Run in leaf processes. A process that replaces one that died waits first, longer each time, and tells
//! from which position it goes on, so that the supervisor knows whether there was any progress.

use super::FollowSettings;
use crate::catalog::sentinel::{Position, advance};
use crate::catalog::{CdcSetup, CdcStatus, Ledger, Sentinel};
use crate::error::{Error, Result};
use crate::follow::apply::{self, ApplySettings};
use crate::follow::cleanup::{self, CleanupSettings};
use crate::follow::files::trouble;
use crate::follow::receive::{self, ReceiveSettings};
use crate::follow::remote::{self, ServeSettings};
use crate::follow::setup::{self, SetupSettings};
use crate::follow::slot::Made;
use crate::follow::source_table::SourceTables;
use crate::follow::transform::{Live, Options};
use crate::follow::{prune, slot};
use crate::pg::Canceller;
use crate::pg::retry::RECONNECT_BUDGET;
use crate::supervisor::{Leaf, Report, Role};
use crate::units::{Lsn, Side};
use crate::workdir::Intent;
use crate::worker;
use std::time::{Duration, Instant};

/// How long the end of what is received is left alone: at first, and at most.
const NAP_LEAST: Duration = Duration::from_millis(2);
const NAP_MOST: Duration = Duration::from_millis(20);
/// The sentinel is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Files of applied changes are removed so often.
const PRUNE_EVERY: Duration = Duration::from_secs(300);
/// Whether there is room again is tried so often, and told so often.
const ROOM_EVERY: Duration = Duration::from_secs(2);
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Longest wait before a process takes the place of one that died.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Runs a body that can begin anew at any time. While its volume is full it waits for room, which
/// somebody has to make who knows what else is on it.
pub(super) fn while_there_is_room(
    leaf: &mut Leaf<'_>,
    body: impl Fn(&mut Leaf<'_>) -> Result<()>,
) -> Result<()> {
    let mut told: Option<Instant> = None;
    loop {
        match body(leaf) {
            Err(error) if error.is_out_of_room() => {
                if told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    log::warn!("{error}: waiting for room");
                }
                if leaf.stopping() || leaf.nap(ROOM_EVERY).is_err() {
                    return Ok(());
                }
            }
            other => return other,
        }
    }
}

/// Makes slot, publications, sentinel and origin, or finds them again. Blocks.
pub(super) fn set_up(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    if settings.intent == Intent::Restart {
        clean_up(settings)?;
    }
    refuse_begun(settings)?;
    setup::run(&setup_settings(settings)?, &canceller)?;
    remember(settings)
}

/// The same for a copy that begins: gives the slot, and the session that holds its snapshot when it was
/// made just now.
pub fn set_up_holding(settings: &FollowSettings, canceller: &Canceller) -> Result<Made> {
    refuse_begun(settings)?;
    let made = setup::run_holding(&setup_settings(settings)?, canceller)?;
    remember(settings)?;
    Ok(made)
}

/// Drops slot, publications and origin, and removes what was received. Blocks.
pub fn clean_up(settings: &FollowSettings) -> Result<()> {
    cleanup::run(&CleanupSettings {
        source: settings.source.clone(),
        target: settings.target.clone(),
        layout: settings.layout.clone(),
        cdc: settings.cdc.clone(),
        slot: settings.slot.slot.clone(),
        publication: settings.slot.publication.clone(),
        origin: settings.origin.clone(),
    })?;
    wipe(settings)
}

fn setup_settings(settings: &FollowSettings) -> Result<SetupSettings> {
    let mut slot = settings.slot.clone();
    // What an earlier command made is what this one is for.
    slot.resume = true;
    Ok(SetupSettings {
        source: settings.source.clone(),
        target: settings.target()?.clone(),
        layout: settings.layout.clone(),
        cdc: settings.cdc.clone(),
        slot,
        origin: settings.origin.clone(),
        endpos: None,
    })
}

/// Removes received changes and what was made of them.
fn wipe(settings: &FollowSettings) -> Result<()> {
    let folder = settings.cdc.top();
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(trouble("remove", folder, &error))
        }
        _ => Ok(()),
    }
}

/// A follow that has received anything is gone on with only when that is asked for.
fn refuse_begun(settings: &FollowSettings) -> Result<()> {
    if settings.intent == Intent::Resume || !settings.layout.ledger().exists() {
        return Ok(());
    }
    let ledger = Ledger::open_read_only(&settings.layout.ledger())?;
    let begun = Sentinel::read(ledger.connection())?.is_some_and(|row| row.write_lsn.is_set());
    if !begun {
        return Ok(());
    }
    Err(
        Error::bad_state("changes were received before in this work directory")
            .hint("Use --resume to go on with them, or --restart to forget them and begin anew."),
    )
}

/// Writes down what was asked for. What an earlier run has left half made, perhaps when the machine crashed, is gone before
/// apply can read it.
fn remember(settings: &FollowSettings) -> Result<()> {
    settings.cdc.remove_unfinished_sql()?;
    let mut ledger = Ledger::open(&settings.layout.ledger())?;
    if settings.keep_no_op {
        CdcSetup::put(&mut ledger, &[("replay_no_op_updates", "true")])?;
    }
    store_endpos(&mut ledger, settings.endpos)
}

/// Stores an endpos that was given.
fn store_endpos(ledger: &mut Ledger, endpos: Option<Lsn>) -> Result<()> {
    let Some(endpos) = endpos else {
        return Ok(());
    };
    let before = Sentinel::set_endpos(ledger, endpos)?;
    if before.is_set() && before != endpos {
        log::warn!("Sentinel endpos was {before} and is now updated to --endpos option {endpos}");
    }
    log::info!("Streaming is setup to end at LSN {endpos}");
    Ok(())
}

/// What `stream prefetch` needs of the target: nothing. It takes up what is set up.
pub(super) fn take_up(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<()> {
    let _canceller = worker::enter(leaf)?;
    if let Some(file) = settings.cdc.read_slot()? {
        slot::check_recorded(&file, &settings.slot.slot, settings.slot.plugin)?;
    }
    let mut ledger = Ledger::open(&settings.layout.ledger())?;
    Sentinel::must_read(ledger.connection())?;
    store_endpos(&mut ledger, settings.endpos)
}

/// Tells from where this process goes on, and waits when it replaces one that died.
fn come_in(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<Ledger> {
    let ledger = Ledger::open(&settings.layout.ledger())?;
    let row = Sentinel::must_read(ledger.connection())?;
    let lsn = match leaf.role {
        Role::Receive => row.write_lsn,
        Role::Transform => CdcStatus::read(ledger.connection())?.transform_lsn,
        _ => row.replay_lsn,
    };
    leaf.report(&Report::Position { lsn });
    if let Some(doublings) = leaf.number.checked_sub(2) {
        let wait = Duration::from_millis(250) * (1 << doublings.min(7));
        leaf.nap(wait.min(BACK_OFF_MAX))?;
    }
    Ok(ledger)
}

/// Receives.
pub(super) fn receive(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<()> {
    let _canceller = worker::enter(leaf)?;
    drop(come_in(leaf, settings)?);
    let title = leaf.role.label();
    let receive = ReceiveSettings {
        link: setup::link_within(RECONNECT_BUDGET, &settings.source, Side::Source, title)?,
        cdc: settings.cdc.clone(),
        ledger: settings.layout.ledger(),
        endpos: None,
        to_stdout: false,
        max_cdc_size: settings.max_cdc_size,
    };
    let ended = receive::run(&receive, &|| leaf.stopping())?;
    if let receive::Outcome::Endpos(lsn) = ended {
        leaf.report(&Report::Reached { lsn });
    }
    Ok(())
}

/// Transforms what is received, as it is received; `rest`: what there is, and no more.
pub(super) fn transform(leaf: &mut Leaf<'_>, settings: &FollowSettings, rest: bool) -> Result<()> {
    let mut ledger = come_in(leaf, settings)?;
    let recorded = CdcSetup::get(ledger.connection(), "replay_no_op_updates")?;
    let tables = SourceTables::load_filtered(settings.cdc.top(), &ledger)?;
    let options = Options {
        tables: &tables,
        keep_no_op: settings.keep_no_op || recorded.as_deref() == Some("true"),
        endpos: Lsn::UNSET,
    };
    let mut live = Live::new(&settings.cdc, options)?;
    let (mut looked, mut pruned) = (Instant::now(), Instant::now());
    let mut told = Lsn::UNSET;
    let mut nap = NAP_LEAST;
    while !leaf.stopping() {
        let any = live.turn()?;
        if looked.elapsed() >= LOOK_EVERY || (rest && !any) {
            looked = Instant::now();
            if live.reached() > told {
                match advance(&mut ledger, &[(Position::Transform, live.reached())]) {
                    Ok(()) => told = live.reached(),
                    // What it is at can be told later; what it makes may find room in what it has.
                    Err(error) if error.is_out_of_room() => log::debug!("{error}"),
                    Err(error) => return Err(error),
                }
            }
            // Receiving may have ended at an earlier one.
            let lsn = Sentinel::must_read(ledger.connection())?.endpos;
            leaf.report(&Report::Endpos { lsn });
        }
        if pruned.elapsed() >= PRUNE_EVERY {
            pruned = Instant::now();
            prune::clear_away(&settings.cdc, &mut ledger);
        }
        if any {
            nap = NAP_LEAST;
        } else if rest {
            return Ok(());
        } else if leaf.nap(nap).is_ok() {
            nap = (nap * 2).min(NAP_MOST);
        }
    }
    Ok(())
}

/// Listens for sentinel commands of other machines.
pub(super) fn listen(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<()> {
    let Some(address) = settings.listen else {
        return Err(Error::internal("this follow does not listen"));
    };
    let serve = ServeSettings {
        address,
        layout: settings.layout.clone(),
        cdc: settings.cdc.clone(),
    };
    remote::run(leaf, &serve)
}

/// Applies what is transformed.
pub(super) fn apply(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<()> {
    let _canceller = worker::enter(leaf)?;
    drop(come_in(leaf, settings)?);
    let apply = ApplySettings {
        target: settings.target()?.clone(),
        source: Some(settings.source.clone()),
        origin: settings.origin.clone(),
        endpos: Lsn::UNSET,
        cdc: settings.cdc.clone(),
        ledger: Some(settings.layout.ledger()),
    };
    // An endpos that is set while another one is being reached is meant, too.
    loop {
        let apply::Ended::Drained(endpos) = apply::live(&apply)?.ended else {
            return Ok(());
        };
        let ledger = Ledger::open_read_only(&settings.layout.ledger())?;
        let wanted = Sentinel::must_read(ledger.connection())?.endpos;
        if wanted.is_set() && wanted <= endpos {
            leaf.report(&Report::Reached { lsn: endpos });
            return Ok(());
        }
        if leaf.stopping() {
            return Ok(());
        }
        log::info!("Everything up to endpos {endpos} is applied; it is {wanted} by now, going on");
    }
}
