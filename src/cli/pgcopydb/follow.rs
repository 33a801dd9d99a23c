//! `pgcopydb follow`, `stream replay` and `stream prefetch`: settings, then the supervisor of a follow.
//!
//! Runs in the main program, which is the supervisor while changes are followed.

use super::super::args::follow::{FollowArgs, PrefetchArgs, ReplayArgs};
use super::super::args::stream::{PlaceArgs, PluginArgs};
use super::super::resolve::filters;
use super::super::resolve::follow::{self as resolve, NAME_DEFAULT, Place};
use super::super::{Call, announce};
use super::stream::{check_recorded, check_snapshot};
use crate::catalog::sentinel;
use crate::conninfo::ConnInfo;
use crate::error::{Error, Result};
use crate::follow::run::{self as follow, FollowSettings};
use crate::sys::signal;
use crate::workdir::Intent;

fn intent(place: &PlaceArgs) -> Intent {
    match (place.restart, place.resume) {
        (true, _) => Intent::Restart,
        (_, true) => Intent::Resume,
        _ => Intent::Fresh,
    }
}

/// What all three are told, before the options of each.
fn settings(
    (place, args): (Place, &PluginArgs),
    (source, target): (ConnInfo, Option<ConnInfo>),
    call: &Call<'_>,
) -> Result<FollowSettings> {
    let mut slot = resolve::slot(args, false, true, call.environment)?;
    let recorded = place.cdc.read_slot()?;
    if let (None, Some(recorded)) = (&args.slot_name, recorded) {
        slot.slot = recorded.slot;
    }
    let origin = place.cdc.read_origin()?;
    Ok(FollowSettings {
        source,
        target,
        layout: place.layout,
        cdc: place.cdc,
        intent: Intent::Resume,
        slot,
        origin: origin.unwrap_or_else(|| NAME_DEFAULT.to_owned()),
        endpos: None,
        keep_no_op: false,
        max_cdc_size: None,
        listen: None,
    })
}

/// Runs `follow`.
pub(in crate::cli) fn run(args: &FollowArgs, call: &Call<'_>) -> Result<()> {
    // A stop that comes before anything has begun is a good end, too.
    signal::install()?;
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let (source, target) = resolve::both_of(&args.connections, call.environment)?;
    announce();
    let intent = intent(&args.place);
    if intent != Intent::Restart {
        check_snapshot(args.snapshot.as_deref(), &place.cdc)?;
        check_recorded(&args.plugin, &place.cdc, call)?;
    }
    let mut settings = settings((place, &args.plugin), (source, Some(target)), call)?;
    settings.intent = intent;
    settings.slot.allow_no_identity = args.allow_no_identity;
    settings.slot.filters = filters(args.filters.as_deref(), false)?;
    settings.endpos = args.endpos;
    settings.listen = resolve::listen(&args.listen, call.environment)?;
    settings.max_cdc_size = args.max_cdc_size;
    settings.keep_no_op =
        args.replay_no_op_updates || resolve::replay_no_op_updates(call.environment)?;
    if let Some(origin) = &args.origin {
        settings.origin.clone_from(origin);
    }
    follow::run(&settings)
}

/// What the commands below `stream` cannot do.
fn refuse_restart(place: &PlaceArgs, command: &str) -> Result<()> {
    if !place.restart {
        return Ok(());
    }
    Err(
        Error::bad_args(format!("{command} cannot begin anew by itself")).hint(
            "Use \"pgcopydb stream setup --restart\": a replication slot sends nothing twice.",
        ),
    )
}

fn needs_setup(place: &Place) -> Result<()> {
    if place.layout.ledger().exists() {
        Ok(())
    } else {
        Err(sentinel::no_sentinel())
    }
}

/// Runs `stream replay`.
pub(in crate::cli) fn run_replay(args: &ReplayArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let (source, target) = resolve::both_of(&args.connections, call.environment)?;
    refuse_restart(&args.place, "stream replay")?;
    if args.max_replaydb_size.is_some() {
        log::warn!("Option --max-replaydb-size has no effect");
    }
    announce();
    check_recorded(&args.plugin, &place.cdc, call)?;
    needs_setup(&place)?;
    let mut settings = settings((place, &args.plugin), (source, Some(target)), call)?;
    settings.endpos = args.endpos;
    settings.listen = resolve::listen(&args.listen, call.environment)?;
    settings.max_cdc_size = args.max_cdc_size;
    settings.keep_no_op =
        args.replay_no_op_updates || resolve::replay_no_op_updates(call.environment)?;
    if let Some(origin) = &args.origin {
        settings.origin.clone_from(origin);
    }
    follow::run(&settings)
}

/// Runs `stream prefetch`.
pub(in crate::cli) fn run_prefetch(args: &PrefetchArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let source = resolve::source_of(&args.source, call.environment)?;
    refuse_restart(&args.place, "stream prefetch")?;
    if args.max_replaydb_size.is_some() {
        log::warn!("Option --max-replaydb-size has no effect");
    }
    announce();
    check_recorded(&args.plugin, &place.cdc, call)?;
    needs_setup(&place)?;
    let mut settings = settings((place, &args.plugin), (source, None), call)?;
    settings.endpos = args.endpos;
    settings.max_cdc_size = args.max_cdc_size;
    follow::run(&settings)
}
