//! `pgcopydb stream sentinel …`: where a follow has to stop, whether it may apply, how far it is.
//!
//! Runs in the main program, beside any run, without locks. Makes no work directory.

use super::super::args::stream::{
    SentinelCommand, SentinelGetArgs, SentinelPlaceArgs, SentinelSetCommand, SentinelSetupArgs,
    SetEndposArgs,
};
use super::super::resolve::follow as resolve;
use super::super::{Call, output};
use crate::catalog::sentinel::no_sentinel;
use crate::catalog::{CdcSetup, CdcStatus, Ledger, Sentinel, TableStarts};
use crate::error::{Error, Result};
use crate::follow::apply::early_endpos;
use crate::follow::endpos;
use crate::units::Lsn;
use std::fmt::Write;
use std::path::Path;

/// Runs one of the commands.
pub(in crate::cli) fn run(command: Option<&SentinelCommand>, call: &Call<'_>) -> Result<()> {
    match command {
        Some(SentinelCommand::Setup(args)) => setup(args, call),
        Some(SentinelCommand::Get(args)) => get(args, call),
        Some(SentinelCommand::Set { command: Some(set) }) => match set {
            SentinelSetCommand::Startpos(args) => {
                let mut ledger = open(&args.place, call)?;
                Sentinel::set_startpos(&mut ledger, args.lsn)?;
                told(call, &[("startpos", Shown::Lsn(args.lsn))], false)
            }
            SentinelSetCommand::Endpos(args) => set_endpos(args, call),
            SentinelSetCommand::Apply(args) => set_apply(args, call, true),
            SentinelSetCommand::Prefetch(args) => set_apply(args, call, false),
        },
        Some(SentinelCommand::Set { command: None }) | None => {
            Err(Error::internal("a group of commands was run"))
        }
    }
}

/// A value of the sentinel.
#[derive(Clone, Copy)]
enum Shown {
    Lsn(Lsn),
    Apply(bool),
}

impl Shown {
    fn text(self) -> String {
        match self {
            Self::Lsn(lsn) => lsn.to_string(),
            Self::Apply(true) => "enabled".to_owned(),
            Self::Apply(false) => "disabled".to_owned(),
        }
    }
}

/// An object with four blanks of indentation, as scripts know it.
fn object(fields: &[(&str, Shown)]) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, shown)| match shown {
            Shown::Lsn(lsn) => format!("    \"{name}\": \"{lsn}\""),
            Shown::Apply(apply) => format!("    \"{name}\": {apply}"),
        })
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// Prints what was set: as JSON when asked for, else the value alone where that is a result.
fn told(call: &Call<'_>, fields: &[(&str, Shown)], is_result: bool) -> Result<()> {
    if call.globals.json {
        return output::to_stdout(&object(fields));
    }
    match fields.first() {
        Some((_, shown)) if is_result => output::to_stdout(&format!("{}\n", shown.text())),
        _ => Ok(()),
    }
}

/// Opens the ledger that holds the sentinel, for writing.
fn open(place: &SentinelPlaceArgs, call: &Call<'_>) -> Result<Ledger> {
    let path = resolve::place(place.dir.as_ref(), call.environment)?
        .layout
        .ledger();
    let ledger = open_unchecked(&path)?;
    check_source(place, &ledger, call)?;
    Ok(ledger)
}

fn open_unchecked(path: &Path) -> Result<Ledger> {
    if !path.exists() {
        return Err(no_sentinel());
    }
    Ledger::open(path)
}

/// A source that is given has to be the one that the follow was set up with.
fn check_source(place: &SentinelPlaceArgs, ledger: &Ledger, call: &Call<'_>) -> Result<()> {
    if place.source.source.is_none() && place.source.source_file.is_none() {
        return Ok(());
    }
    let given = resolve::source_of(&place.source, call.environment)?.safe_uri();
    match CdcSetup::get(ledger.connection(), "source_uri")? {
        Some(recorded) if recorded != given => Err(Error::bad_state(
            "the work directory was set up for another source",
        )
        .detail(format!("It was {recorded}."))
        .hint("Leave --source out, or give the work directory of that source.")),
        _ => Ok(()),
    }
}

fn setup(args: &SentinelSetupArgs, call: &Call<'_>) -> Result<()> {
    if call.globals.json {
        return Err(Error::bad_args(
            "option --json is not used by \"pgcopydb stream sentinel setup\"",
        )
        .hint("Leave it out: the command prints nothing."));
    }
    let (Some(startpos), Some(endpos)) = (args.startpos, args.endpos) else {
        return Err(
            Error::bad_args("two positions are needed: STARTPOS and ENDPOS")
                .hint("Give 0/0 as ENDPOS for never: pgcopydb stream sentinel setup 0/15D6A28 0/0"),
        );
    };
    let path = resolve::place(args.place.dir.as_ref(), call.environment)?
        .layout
        .ledger();
    if !path.exists() {
        return Err(
            Error::bad_state("there is no work directory to make the sentinel in")
                .hint("Run \"pgcopydb stream setup\" first, or give the directory with --dir."),
        );
    }
    let mut ledger = Ledger::open(&path)?;
    check_source(&args.place, &ledger, call)?;
    Sentinel::create(&mut ledger, startpos, endpos)
}

fn get(args: &SentinelGetArgs, call: &Call<'_>) -> Result<()> {
    let path = resolve::place(args.place.dir.as_ref(), call.environment)?
        .layout
        .ledger();
    let read = Ledger::view(&path, |ledger| {
        check_source(&args.place, ledger, call)?;
        let status = CdcStatus::read(ledger.connection())?;
        Ok(Sentinel::read(ledger.connection())?.map(|row| (row, status)))
    })?;
    let Some((row, status)) = read.flatten() else {
        return Err(no_sentinel());
    };
    let all = [
        ("startpos", Shown::Lsn(row.startpos)),
        ("endpos", Shown::Lsn(row.endpos)),
        ("apply", Shown::Apply(row.apply)),
        ("write_lsn", Shown::Lsn(row.write_lsn)),
        ("flush_lsn", Shown::Lsn(row.flush_lsn)),
        ("replay_lsn", Shown::Lsn(row.replay_lsn)),
        ("transform_lsn", Shown::Lsn(status.transform_lsn)),
    ];
    let asked = [
        args.startpos,
        args.endpos,
        args.apply,
        args.write_lsn,
        args.flush_lsn,
        args.replay_lsn,
        args.transform_lsn,
    ];
    if let Some((_, one)) = asked.into_iter().zip(all).find(|(asked, _)| *asked) {
        return told(call, &[one], true);
    }
    let shown = all.get(..6).unwrap_or_default();
    if call.globals.json {
        return output::to_stdout(&object(shown));
    }
    let mut text = String::new();
    for (name, value) in shown {
        // Writing into memory cannot fail.
        let _infallible = writeln!(text, "{name:<10} {}", value.text());
    }
    output::to_stdout(&text)
}

fn set_endpos(args: &SetEndposArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve::place(args.place.dir.as_ref(), call.environment)?;
    let mut ledger = open_unchecked(&place.layout.ledger())?;
    let row = Sentinel::must_read(ledger.connection())?;
    let lsn = if let Some(lsn) = args.lsn {
        check_source(&args.place, &ledger, call)?;
        lsn
    } else {
        let conn = resolve::source_of(&args.place.source, call.environment)?;
        let lsn = endpos::current_of(&conn, &ledger, &place.cdc)?;
        log::info!("Fetched endpos {lsn} from source database");
        lsn
    };
    let copied = TableStarts::read(ledger.connection())?.last();
    if lsn.is_set() && lsn < copied {
        return Err(early_endpos(lsn, copied));
    }
    if lsn.is_set() && lsn < row.replay_lsn {
        log::warn!(
            "endpos {lsn} lies behind replay_lsn {}: what is applied stays applied",
            row.replay_lsn
        );
    } else if lsn.is_set() && lsn < row.endpos {
        log::warn!("endpos was {} and is now earlier, {lsn}", row.endpos);
    }
    Sentinel::set_endpos(&mut ledger, lsn)?;
    log::info!("pgcopydb sentinel endpos has been set to {lsn}");
    told(call, &[("endpos", Shown::Lsn(lsn))], true)
}

fn set_apply(args: &SentinelPlaceArgs, call: &Call<'_>, apply: bool) -> Result<()> {
    let mut ledger = open(args, call)?;
    Sentinel::set_apply(&mut ledger, apply)?;
    told(call, &[("apply", Shown::Apply(apply))], false)
}
