//! `pgcopydb stream transform`, `stream apply`, `stream catchup`: received changes into the target.
//!
//! Runs in the main program, as a leaf: these commands fork nothing.

use super::super::args::stream_apply::{ApplyArgs, CatchupArgs, TransformArgs};
use super::super::resolve::follow::{self as resolve, NAME_DEFAULT, Place};
use super::super::{Call, announce};
use super::stream::{check_recorded, heed_signals};
use crate::catalog::{CdcSetup, Ledger, Sentinel, TableStarts};
use crate::error::{Error, Result};
use crate::follow::apply::{self, Applied, ApplySettings, Ended};
use crate::follow::slot;
use crate::follow::source_table::SourceTables;
use crate::follow::transform::{Options, transform_file, transform_folder, transform_stream};
use crate::units::Lsn;
use std::os::fd::AsFd;
use std::path::Path;

/// The name that means standard input or output.
const STANDARD: &str = "-";

/// Says once of each option that was given that it does nothing here.
fn warn_without_effect(options: &[(&str, bool)]) {
    for (option, _) in options.iter().filter(|(_, given)| *given) {
        log::warn!("Option {option} has no effect");
    }
}

/// Whether updates that change nothing are kept: as given, else as recorded at setup.
fn keeps_no_op(given: bool, place: &Place, call: &Call<'_>) -> Result<bool> {
    if given || resolve::replay_no_op_updates(call.environment)? {
        return Ok(true);
    }
    let ledger = place.layout.ledger();
    if !ledger.exists() {
        return Ok(false);
    }
    let ledger = Ledger::open_read_only(&ledger)?;
    let recorded = CdcSetup::get(ledger.connection(), "replay_no_op_updates")?;
    Ok(recorded.as_deref() == Some("true"))
}

/// Runs `stream transform`.
pub(in crate::cli) fn run_transform(args: &TransformArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    warn_without_effect(&[
        ("--source", args.source.is_some()),
        ("--target", args.target.is_some()),
    ]);
    if let (Some(plugin), Some(slot)) = (args.plugin, place.cdc.read_slot()?) {
        slot::check_recorded(&slot, &slot.slot, Some(plugin))?;
    }
    let (from, to) = (args.json_file.as_path(), args.sql_file.as_path());
    let standard = Path::new(STANDARD);
    if (from == standard) != (to == standard) {
        return Err(Error::bad_args(
            "stream transform reads and writes files, or standard input and output",
        )
        .hint("Give two names, or - twice."));
    }
    announce();
    let ledger = place.layout.ledger();
    let tables = if ledger.exists() {
        SourceTables::load_filtered(place.cdc.top(), &Ledger::open_read_only(&ledger)?)?
    } else {
        SourceTables::load(place.cdc.top())?
    };
    if tables.is_empty() {
        log::info!(
            "The tables of the source are not known, so updates and deletes of test_decoding have no key"
        );
    }
    let options = Options {
        tables: &tables,
        keep_no_op: keeps_no_op(false, &place, call)?,
        endpos: args.endpos.unwrap_or(Lsn::UNSET),
    };
    let counts = if from == standard {
        transform_stream(
            &mut std::io::stdin().lock(),
            std::io::stdout().lock(),
            options,
        )?
    } else {
        transform_file(from, to, options)?
    };
    log::info!(
        "Transformed {} messages and {} transactions",
        counts.messages,
        counts.transactions
    );
    Ok(())
}

/// A file alone does not tell which of its changes the copy of a table has shown already.
fn refuse_before_the_seam(place: &Place) -> Result<()> {
    let ledger = place.layout.ledger();
    if !ledger.exists() {
        return Ok(());
    }
    let ledger = Ledger::open_read_only(&ledger)?;
    let last = TableStarts::read(ledger.connection())?.last();
    let applied = Sentinel::read(ledger.connection())?.map_or(Lsn::UNSET, |row| row.replay_lsn);
    if applied >= last {
        return Ok(());
    }
    Err(Error::bad_state(format!(
        "the base copy was resumed: up to {last}, only changes that it has not shown may be applied"
    ))
    .hint("Use pgcopydb follow or pgcopydb stream catchup, which leave the others out."))
}

/// Runs `stream apply`.
pub(in crate::cli) fn run_apply(args: &ApplyArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    warn_without_effect(&[
        ("--source", args.source.is_some()),
        ("--replay-no-op-updates", args.replay_no_op_updates),
    ]);
    if args.place.restart {
        return Err(
            Error::bad_args("stream apply --restart has nothing to begin anew").hint(
                "What was applied is known to the target's replication origin, and skipped: leave the option out.",
            ),
        );
    }
    let target = resolve::target_of(&args.target, call.environment)?;
    refuse_before_the_seam(&place)?;
    announce();
    let recorded = place.cdc.read_origin()?;
    let settings = ApplySettings {
        target,
        source: None,
        origin: args
            .origin
            .clone()
            .or(recorded)
            .unwrap_or_else(|| NAME_DEFAULT.to_owned()),
        endpos: args.endpos.unwrap_or(Lsn::UNSET),
        cdc: place.cdc,
        ledger: None,
    };
    let (_stop, _canceller) = heed_signals()?;
    let file = args.sql_file.as_deref().unwrap_or(Path::new(STANDARD));
    let applied = if file == Path::new(STANDARD) || args.from_stdin {
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        let input = input
            .map_err(|error| Error::bad_state(format!("could not read standard input: {error}")))?;
        apply::apply_pipe(&settings, input)?
    } else {
        apply::apply_file(&settings, file.to_owned())?
    };
    if applied.ended == Ended::Stopped {
        log::info!("Stopped, as was asked; the same command goes on");
    }
    Ok(())
}

/// Runs `stream catchup`.
pub(in crate::cli) fn run_catchup(args: &CatchupArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let (source, target) = resolve::both_of(&args.connections, call.environment)?;
    if args.place.restart {
        return Err(
            Error::bad_args("stream catchup cannot begin anew by itself").hint(
                "Use \"pgcopydb stream setup --restart\": a replication slot sends nothing twice.",
            ),
        );
    }
    warn_without_effect(&[("--max-replaydb-size", args.max_replaydb_size.is_some())]);
    announce();
    check_recorded(&args.plugin, &place.cdc, call)?;
    if !place.layout.ledger().exists() {
        return Err(crate::catalog::sentinel::no_sentinel());
    }
    let keep_no_op = keeps_no_op(args.replay_no_op_updates, &place, call)?;
    let recorded = place.cdc.read_origin()?;
    let settings = ApplySettings {
        target,
        source: Some(source),
        origin: args
            .origin
            .clone()
            .or(recorded)
            .unwrap_or_else(|| NAME_DEFAULT.to_owned()),
        endpos: args.endpos.unwrap_or(Lsn::UNSET),
        cdc: place.cdc,
        ledger: Some(place.layout.ledger()),
    };
    let (_stop, _canceller) = heed_signals()?;
    let ledger = Ledger::open_read_only(&place.layout.ledger())?;
    let tables = SourceTables::load_filtered(settings.cdc.top(), &ledger)?;
    drop(ledger);
    let options = Options {
        tables: &tables,
        keep_no_op,
        endpos: Lsn::UNSET,
    };
    transform_folder(&settings.cdc, options)?;
    let applied = apply::catchup(&settings)?;
    verdict(&settings, applied)
}

/// Nobody may take an end for the end that was asked for.
fn verdict(settings: &ApplySettings, applied: Applied) -> Result<()> {
    match applied.ended {
        Ended::Drained(_) => Ok(()),
        Ended::Stopped => {
            log::info!(
                "Stopped, as was asked, at {}; the same command goes on",
                applied.progress
            );
            Ok(())
        }
        Ended::EndOfInput => {
            let ledger =
                Ledger::open_read_only(settings.ledger.as_deref().unwrap_or(Path::new("")))?;
            let endpos = crate::catalog::Sentinel::must_read(ledger.connection())?.endpos;
            if !endpos.is_set() {
                return Ok(());
            }
            Err(Error::bad_state(format!(
                "not drained: what is on disk ends before endpos {endpos}"
            ))
            .detail(format!("Applied up to {}.", applied.progress))
            .hint("Run pgcopydb stream receive up to the endpos, then stream catchup again."))
        }
    }
}
