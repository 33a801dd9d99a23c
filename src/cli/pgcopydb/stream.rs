//! `pgcopydb stream …`: setup, cleanup, receive, prune; the sentinel has a file of its own.
//!
//! Runs in the main program, as a leaf: these commands fork nothing. `prefetch` and `replay` have a file of
//! their own.

use super::super::args::stream::{
    CleanupArgs, PluginArgs, PruneArgs, ReceiveArgs, SentinelCommand, SetupArgs, StreamCommand,
};
use super::super::resolve::follow::{self as resolve, NAME_DEFAULT};
use super::super::{Call, announce, output};
use super::{follow, sentinel, stream_apply};
use crate::catalog::{CdcSetup, Ledger};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Result};
use crate::follow::cleanup::{self, CleanupSettings};
use crate::follow::receive::{self, Outcome, ReceiveSettings};
use crate::follow::setup::{self, SetupSettings};
use crate::follow::{files::CdcDir, slot};
use crate::pg::Canceller;
use crate::units::{Side, pretty_bytes};
use crate::wire;
use crate::workdir::{Claim, Intent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether only the name of a group of commands was typed.
pub(in crate::cli) fn lacks_command(command: &StreamCommand) -> bool {
    match command {
        StreamCommand::Sentinel { command } => match command {
            Some(SentinelCommand::Set { command }) => command.is_none(),
            Some(_) => false,
            None => true,
        },
        _ => false,
    }
}

/// Runs one of the commands.
pub(in crate::cli) fn run(command: &StreamCommand, call: &Call<'_>) -> Result<()> {
    match command {
        StreamCommand::Setup(args) => run_setup(args, call),
        StreamCommand::Cleanup(args) => run_cleanup(args, call),
        StreamCommand::Receive(args) => run_receive(args, call),
        StreamCommand::Transform(args) => stream_apply::run_transform(args, call),
        StreamCommand::Apply(args) => stream_apply::run_apply(args, call),
        StreamCommand::Catchup(args) => stream_apply::run_catchup(args, call),
        StreamCommand::Prefetch(args) => follow::run_prefetch(args, call),
        StreamCommand::Replay(args) => follow::run_replay(args, call),
        StreamCommand::Prune(args) => run_prune(args, call),
        StreamCommand::Sentinel { command } => sentinel::run(command.as_ref(), call),
    }
}

/// What a signal sets, and what cancels statements then.
pub(in crate::cli) fn heed_signals() -> Result<(Arc<AtomicBool>, Canceller)> {
    let stop = Arc::new(AtomicBool::new(false));
    wire::set_stop_flag(Arc::clone(&stop));
    let canceller = Canceller::start(Arc::clone(&stop))?;
    Ok((stop, canceller))
}

fn run_setup(args: &SetupArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let (source, target) = resolve::both_of(&args.connections, call.environment)?;
    let slot = resolve::slot(
        &args.plugin,
        args.allow_no_identity,
        args.place.resume,
        call.environment,
    )?;
    announce();
    let origin = args
        .origin
        .clone()
        .unwrap_or_else(|| NAME_DEFAULT.to_owned());
    if args.place.restart {
        let (_stop, _canceller) = heed_signals()?;
        cleanup::run(&CleanupSettings {
            source: source.clone(),
            target: Some(target.clone()),
            layout: place.layout.clone(),
            cdc: place.cdc.clone(),
            slot: slot.slot.clone(),
            publication: slot.publication.clone(),
            origin: origin.clone(),
        })?;
        wipe(&place.cdc)?;
    }
    let claim = Claim::take(place.layout.clone(), Intent::Resume)?;
    check_snapshot(args.snapshot.as_deref(), &place.cdc)?;
    let (_stop, canceller) = heed_signals()?;
    setup::run(
        &SetupSettings {
            source,
            target,
            layout: place.layout.clone(),
            cdc: place.cdc,
            slot,
            origin,
            endpos: None,
        },
        &canceller,
    )?;
    let mut ledger = Ledger::open(&place.layout.ledger())?;
    let no_op = args.replay_no_op_updates || resolve::replay_no_op_updates(call.environment)?;
    // One that goes on with an earlier setup need not repeat its options.
    if no_op || !args.place.resume {
        CdcSetup::put(&mut ledger, &[("replay_no_op_updates", &no_op.to_string())])?;
    }
    drop(claim);
    Ok(())
}

/// A snapshot can only be that of the recorded slot: changes follow on no other one.
pub(in crate::cli) fn check_snapshot(given: Option<&str>, cdc: &CdcDir) -> Result<()> {
    let Some(given) = given else {
        return Ok(());
    };
    match cdc.read_slot()? {
        Some(slot) if slot.snapshot == given => Ok(()),
        _ => Err(Error::bad_state(format!(
            "snapshot \"{given}\" was not made with a replication slot of this work directory"
        ))
        .hint("Use \"pgcopydb snapshot --follow\", which makes both together.")),
    }
}

/// Removes received changes and what was made of them.
fn wipe(cdc: &CdcDir) -> Result<()> {
    match std::fs::remove_dir_all(cdc.top()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::follow::files::trouble("remove", cdc.top(), &error))
        }
        _ => Ok(()),
    }
}

fn run_cleanup(args: &CleanupArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let (source, target) = resolve::both_of(&args.connections, call.environment)?;
    announce();
    let (_stop, _canceller) = heed_signals()?;
    let recorded = place.cdc.read_slot()?.map(|slot| slot.slot);
    let slot = args.slot_name.clone().or(recorded);
    let origin = args.origin.clone().or(place.cdc.read_origin()?);
    cleanup::run(&CleanupSettings {
        source,
        target: Some(target),
        layout: place.layout,
        cdc: place.cdc,
        slot: slot.unwrap_or_else(|| NAME_DEFAULT.to_owned()),
        publication: args.publication.clone(),
        origin: origin.unwrap_or_else(|| NAME_DEFAULT.to_owned()),
    })
}

/// Refuses options that contradict what was recorded at setup.
pub(in crate::cli) fn check_recorded(
    args: &PluginArgs,
    cdc: &CdcDir,
    call: &Call<'_>,
) -> Result<()> {
    let Some(file) = cdc.read_slot()? else {
        return Ok(());
    };
    // A variable that was set for setup may be absent now, and the other way round: options count.
    slot::check_recorded(
        &file,
        args.slot_name.as_deref().unwrap_or(&file.slot),
        args.plugin,
    )?;
    if args.wal2json_numeric_as_string && !file.numeric_as_string {
        return Err(Error::bad_state(
            "this work directory was set up without --wal2json-numeric-as-string",
        )
        .hint("Leave the option out: what was recorded at setup counts."));
    }
    if let Some(name) = &args.publication
        && !file.publications.contains(name)
    {
        return Err(Error::bad_state(format!(
            "this work directory was set up without publication \"{name}\""
        ))
        .hint("Leave the option out: what was recorded at setup counts."));
    }
    resolve::plugin(args, call.environment).map(drop)
}

fn run_receive(args: &ReceiveArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let conn: ConnInfo = resolve::source_of(&args.source, call.environment)?;
    if args.place.restart {
        return Err(
            Error::bad_args("stream receive cannot begin anew by itself").hint(
                "Use \"pgcopydb stream setup --restart\": a replication slot sends nothing twice.",
            ),
        );
    }
    if args.max_replaydb_size.is_some() {
        log::warn!("Option --max-replaydb-size has no effect");
    }
    announce();
    check_recorded(&args.plugin, &place.cdc, call)?;
    if !place.layout.ledger().exists() {
        return Err(crate::catalog::sentinel::no_sentinel());
    }
    let (stop, _canceller) = heed_signals()?;
    let settings = ReceiveSettings {
        link: setup::link(&conn, Side::Source, receive::TITLE)?,
        cdc: place.cdc,
        ledger: place.layout.ledger(),
        endpos: args.endpos,
        to_stdout: args.to_stdout,
        max_cdc_size: args.max_cdc_size,
    };
    match receive::run(&settings, &|| stop.load(Ordering::SeqCst))? {
        Outcome::Endpos(endpos) => log::info!("Received everything up to endpos {endpos}"),
        Outcome::Stopped => log::info!("Stopped, as was asked; --resume goes on"),
    }
    Ok(())
}

fn run_prune(args: &PruneArgs, call: &Call<'_>) -> Result<()> {
    let way = resolve::way(&args.service, args.dir.as_ref(), call.environment)?;
    let pruned = way.prune(args.dry_run)?;
    if call.globals.json {
        let document = serde_json::json!({
            "format": 1, "dry_run": args.dry_run, "files": pruned.files, "bytes": pruned.bytes,
            "replay_lsn": pruned.replayed.to_string(),
        });
        return output::to_stdout(&format!("{document:#}\n"));
    }
    let size = pretty_bytes(pruned.bytes);
    let (files, lsn) = (pruned.files, pruned.replayed);
    if args.dry_run {
        log::info!(
            "DRY RUN: would remove {files} CDC file pair(s), freeing {size} (replay_lsn {lsn})"
        );
    } else {
        log::info!("Removed {files} CDC file pair(s), freed {size} (replay_lsn {lsn})");
    }
    Ok(())
}
