//! `pgcopydb cutover`: resolve, run, print the time-line.
//!
//! Runs in the main program, as a leaf, beside a follow. The report is printed for a bad end, too: it says
//! how far it came, and whether the source can be written.

use super::super::args::cutover::CutoverArgs;
use super::super::resolve::{self, follow as resolve_follow};
use super::super::{Call, announce, output};
use crate::cutover::{self, Cutover, CutoverSettings};
use crate::error::{Error, Result};
use crate::sys::clock;
use serde_json::json;
use std::fmt::Write;

/// Version of the document's layout.
const FORMAT: u32 = 1;
/// Times as the lines show them.
const TIME: &str = "%H:%M:%S";

/// Runs the command. Errors: those of the settings, of the cutover, of printing.
pub(in crate::cli) fn run(args: &CutoverArgs, call: &Call<'_>) -> Result<()> {
    let place = resolve_follow::place(args.dir.as_ref(), call.environment)?;
    let (source, target) = resolve_follow::both_of(&args.connections, call.environment)?;
    let compare = args
        .compare
        .then(|| resolve::compare_rows(&args.connections, call.environment))
        .transpose()?;
    announce();
    let settings = CutoverSettings {
        source,
        target,
        layout: place.layout,
        cdc: place.cdc,
        endpos: args.endpos,
        set_read_only: args.set_read_only,
        compare,
    };
    let (done, result) = cutover::run(&settings, &|name| call.environment.get(name));
    let printed = if call.globals.json {
        let document = document(&done, result.as_ref().err());
        output::to_stdout(&format!("{document:#}\n"))
    } else {
        output::to_stdout(&text(&done, result.is_ok()))
    };
    result.and(printed)
}

/// The lines: when, how long after the beginning, what.
fn text(done: &Cutover, is_good: bool) -> String {
    let mut out = String::new();
    let Some(first) = done.steps.first() else {
        return out;
    };
    for step in &done.steps {
        let milliseconds = step.at.rem_euclid(1000);
        let after_ms = step.at - first.at;
        // Writing into memory cannot fail.
        let _infallible = writeln!(
            out,
            "{}.{milliseconds:03}  +{:>4}.{:03} s  {}",
            clock::local_time_at(step.at, TIME),
            after_ms / 1000,
            after_ms.rem_euclid(1000),
            step.what
        );
    }
    if is_good {
        if let Some(undo) = &done.undo {
            let _infallible = writeln!(out, "\nThe source stays read only; to undo that: {undo}");
        }
        out.push_str(
            "\nNext: let the applications use the target, then run \"pgcopydb stream cleanup\": until then the \
             source keeps WAL for the replication slot.\n",
        );
    }
    out
}

fn document(done: &Cutover, error: Option<&Error>) -> serde_json::Value {
    let lsn = |lsn: crate::units::Lsn| lsn.is_set().then(|| lsn.to_string());
    let steps: Vec<serde_json::Value> = done
        .steps
        .iter()
        .map(|step| json!({ "at": step.at, "what": step.what }))
        .collect();
    json!({
        "format": FORMAT,
        "result": if error.is_none() { "done" } else { "failed" },
        "error": error.map(|error| crate::logging::scrub(error.message())),
        "endpos": lsn(done.endpos),
        "received_through": done.proof.and_then(|proof| lsn(proof.received_through)),
        "last_commit": done.proof.and_then(|proof| lsn(proof.last_commit)),
        "origin_progress": done.proof.and_then(|proof| lsn(proof.progress)),
        "sequences": done.sequences.as_ref().map(|sequences| json!({
            "set": sequences.set,
            "missing": sequences.missing,
            "created_since": sequences.created_since,
        })),
        "tables_compared": done.compared,
        "late": done.late.as_ref().map(|late| json!({
            "transactions": late.transactions,
            "changes": late.changes,
            "tables": late.tables,
            "more": late.more,
        })),
        "source_read_only": done.undo.is_some(),
        "undo": done.undo,
        "steps": steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cutover::Step;

    #[test]
    fn the_time_line_counts_from_the_first_step_and_says_what_is_next() {
        let step = |at, what: &str| Step {
            at,
            what: what.to_owned(),
        };
        let done = Cutover {
            steps: vec![step(5_000, "Cutover begins"), step(6_250, "endpos is 0/10")],
            undo: Some("alter database d reset x".to_owned()),
            ..Cutover::default()
        };
        let lines = text(&done, true);
        assert!(lines.contains("+   1.250 s  endpos is 0/10\n"), "{lines}");
        assert!(lines.contains("to undo that: alter database d reset x"));
        assert!(!text(&done, false).contains("Next"));
        assert_eq!(document(&done, None)["result"], "done");
        assert_eq!(document(&done, None)["source_read_only"], true);
        assert_eq!(text(&Cutover::default(), false), "");
    }
}
