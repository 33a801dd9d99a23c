//! `pgcopydb stream sentinel …`: where a follow has to stop, whether it may apply, how far it is.
//!
//! Runs in the main program, beside any run, without locks, with the files of the work directory or over TCP. Makes
//! no work directory.

use super::super::args::stream::{
    SentinelCommand, SentinelGetArgs, SentinelPlaceArgs, SentinelSetCommand, SentinelSetupArgs,
    SentinelWayArgs, SetEndposArgs,
};
use super::super::resolve::follow as resolve;
use super::super::{Call, output};
use crate::catalog::{CdcSetup, Ledger, Sentinel};
use crate::error::{Error, Result};
use crate::follow::endpos;
use crate::follow::remote::Way;
use crate::units::Lsn;
use std::fmt::Write;

/// Runs one of the commands.
pub(in crate::cli) fn run(command: Option<&SentinelCommand>, call: &Call<'_>) -> Result<()> {
    match command {
        Some(SentinelCommand::Setup(args)) => setup(args, call),
        Some(SentinelCommand::Get(args)) => get(args, call),
        Some(SentinelCommand::Set { command: Some(set) }) => match set {
            SentinelSetCommand::Startpos(args) => {
                let way = way(&args.way, call)?;
                way.set_startpos(args.lsn)?;
                tell_of_service(&way, "startpos", args.lsn);
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

/// How the sentinel is reached. A source that is given has to be the one that the follow was set up with.
fn way(args: &SentinelWayArgs, call: &Call<'_>) -> Result<Way> {
    let way = resolve::way(&args.service, args.place.dir.as_ref(), call.environment)?;
    if is_source_given(&args.place) {
        let known = way.followed()?;
        check_source(&args.place, known.source_uri.as_deref(), call)?;
    }
    Ok(way)
}

fn is_source_given(place: &SentinelPlaceArgs) -> bool {
    place.source.source.is_some() || place.source.source_file.is_some()
}

/// A source that is given has to be this one.
fn check_source(place: &SentinelPlaceArgs, known: Option<&str>, call: &Call<'_>) -> Result<()> {
    let given = resolve::source_of(&place.source, call.environment)?.safe_uri();
    match known {
        Some(known) if known != given => Err(Error::bad_state(
            "the work directory was set up for another source",
        )
        .detail(format!("It was {known}."))
        .hint("Leave --source out, or give the work directory of that source.")),
        _ => Ok(()),
    }
}

/// Says what was set far away: the files of this machine do not show it.
fn tell_of_service(way: &Way, what: &str, value: impl std::fmt::Display) {
    if matches!(way, Way::Tcp(_)) {
        log::info!(
            "pgcopydb sentinel {what} has been set to {value}{}",
            way.via()
        );
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
    if is_source_given(&args.place) {
        let known = CdcSetup::get(ledger.connection(), "source_uri")?;
        check_source(&args.place, known.as_deref(), call)?;
    }
    Sentinel::create(&mut ledger, startpos, endpos)
}

fn get(args: &SentinelGetArgs, call: &Call<'_>) -> Result<()> {
    let (row, transformed) = way(&args.way, call)?.sentinel()?;
    let all = [
        ("startpos", Shown::Lsn(row.startpos)),
        ("endpos", Shown::Lsn(row.endpos)),
        ("apply", Shown::Apply(row.apply)),
        ("write_lsn", Shown::Lsn(row.write_lsn)),
        ("flush_lsn", Shown::Lsn(row.flush_lsn)),
        ("replay_lsn", Shown::Lsn(row.replay_lsn)),
        ("transform_lsn", Shown::Lsn(transformed)),
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
    let (way, lsn) = if let Some(lsn) = args.lsn {
        (way(&args.way, call)?, lsn)
    } else {
        // The primary of a standby is another source than that of the setup.
        let place = &args.way.place;
        let way = resolve::way(&args.way.service, place.dir.as_ref(), call.environment)?;
        let known = way.followed()?;
        let conn = resolve::source_of(&place.source, call.environment)?;
        let lsn = endpos::current_of(&conn, &known)?;
        log::info!("Fetched endpos {lsn} from source database");
        (way, lsn)
    };
    let set = way.set_endpos(lsn)?;
    if lsn.is_set() && lsn < set.replay_lsn {
        log::warn!(
            "endpos {lsn} lies behind replay_lsn {}: what is applied stays applied",
            set.replay_lsn
        );
    } else if lsn.is_set() && lsn < set.before {
        log::warn!("endpos was {} and is now earlier, {lsn}", set.before);
    }
    log::info!(
        "pgcopydb sentinel endpos has been set to {lsn}{}",
        way.via()
    );
    told(call, &[("endpos", Shown::Lsn(lsn))], true)
}

fn set_apply(args: &SentinelWayArgs, call: &Call<'_>, apply: bool) -> Result<()> {
    let way = way(args, call)?;
    way.set_apply(apply)?;
    let shown = Shown::Apply(apply);
    tell_of_service(&way, "apply", shown.text());
    told(call, &[("apply", shown)], false)
}
