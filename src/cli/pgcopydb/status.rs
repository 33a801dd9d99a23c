//! `pgcopydb status`: what a work directory holds, whether a run is alive, how to go on.
//!
//! Runs in the main program, beside any run. Reads the work directory, connects to nothing, writes
//! nothing. A directory that is missing or foreign is an answer, too.

use super::super::args::DirArgs;
use super::super::{Call, output, resolve};
use super::work_dir::{self, Facts};
use crate::error::Result;
use crate::report::status::{Sizes, Status, document, text};
use crate::workdir::{Holds, Look};

/// Runs the command. Errors (`BadState`): the directory or its ledger cannot be read.
pub(in crate::cli) fn run(args: &DirArgs, call: &Call<'_>) -> Result<()> {
    let dir = resolve::dir(args.dir.as_ref(), call.environment);
    let (look, facts) = work_dir::look(&dir)?;
    let status = status_of(look, facts);
    output::to_stdout(&if call.globals.json {
        crate::report::pretty(&document(&status))?
    } else {
        text(&status)
    })
}

fn status_of(look: Look, facts: Option<Facts>) -> Status {
    let state = work_dir::state(&look, facts.as_ref());
    let reason = match &look.holds {
        Holds::Unusable(why) => Some(why.clone()),
        Holds::Foreign(names) => Some(format!("it holds {}", names.join(", "))),
        _ => None,
    };
    let made_by = match look.holds {
        Holds::Ours(marker) => Some((marker.version, marker.uuid)),
        _ => None,
    };
    let holders = look
        .holders
        .into_iter()
        .map(|holder| (holder.service, holder.pid))
        .collect();
    let mut status = Status {
        dir: look.layout.top().display().to_string(),
        state,
        reason,
        holders,
        sizes: Sizes {
            total: look.sizes.total,
            ledger: look.sizes.ledger,
            archive: look.sizes.archive,
            changes: look.sizes.changes,
        },
        made_by,
        ..Status::default()
    };
    if let Some(facts) = facts {
        status.setup = facts.setup;
        status.progress = facts.last.is_some().then_some(facts.progress);
        status.last = facts.last;
        status.lag = facts.lag;
        status.notices = facts.notices;
    }
    status
}
