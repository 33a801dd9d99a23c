//! What a work directory and its ledger say at one moment, for `status` and `list progress`.
//!
//! Runs in the main program, beside any run. Reads the work directory, writes nothing.

use crate::catalog::{Lag, LastRun, Ledger, Run, Setup};
use crate::error::{Error, Result};
use crate::report::Progress;
use crate::report::status::State;
use crate::sys::clock;
use crate::workdir::{Holds, Layout, Look};
use std::path::Path;

/// What the ledger says.
pub(super) struct Facts {
    /// Both databases; `None`: no run got so far.
    pub(super) setup: Option<Setup>,
    /// The last run.
    pub(super) last: Option<LastRun>,
    /// How far it is.
    pub(super) progress: Progress,
    /// How far a follow is behind; `None`: none was set up.
    pub(super) lag: Option<Lag>,
    /// What a person must be told.
    pub(super) notices: Vec<(String, String)>,
}

/// Looks at a directory, and reads its ledger where there is one of ours.
pub(super) fn look(dir: &Path) -> Result<(Look, Option<Facts>)> {
    let look = Look::at(Layout::new(dir.to_owned()))?;
    if !matches!(look.holds, Holds::Ours(_)) {
        return Ok((look, None));
    }
    // Whether a run is alive is asked first: one that ends meanwhile has written its end before.
    let is_alive = look.run().is_some();
    let facts = Ledger::view(&look.layout.ledger(), |ledger| {
        Ok(Facts {
            setup: Setup::read(ledger)?,
            last: LastRun::read(ledger)?,
            progress: Progress::read(ledger, clock::epoch_ms(), is_alive)?,
            lag: Lag::read(ledger.connection(), clock::epoch_ms())?,
            notices: Run::notices(ledger)?,
        })
    })?;
    Ok((look, facts))
}

/// The state of a directory.
pub(super) fn state(look: &Look, facts: Option<&Facts>) -> State {
    match &look.holds {
        Holds::Missing => return State::Missing,
        Holds::Unusable(_) => return State::Unusable,
        Holds::Foreign(_) => return State::Foreign,
        Holds::OtherProgram => return State::OtherProgram,
        Holds::Nothing | Holds::Ours(_) => {}
    }
    if look.run().is_some() {
        return State::Running;
    }
    let last = facts.and_then(|facts| facts.last.as_ref());
    match last.map(|last| last.outcome.as_deref()) {
        None => State::Idle,
        Some(Some("done")) => State::Complete,
        Some(_) => State::Interrupted,
    }
}

/// The error for a directory that has no run to tell of.
pub(super) fn nothing_to_tell(look: &Look) -> Error {
    let dir = look.layout.top().display();
    let begin = format!(
        "Give the work directory of the run with --dir, or begin one: pgcopydb clone --dir {dir} ..."
    );
    match &look.holds {
        Holds::Missing => Error::bad_state(format!("work directory \"{dir}\" does not exist")),
        Holds::Unusable(why) => Error::bad_state(why.clone()),
        Holds::Foreign(names) => Error::bad_state(format!(
            "directory \"{dir}\" is not a work directory of pgcopydb"
        ))
        .detail(format!("It holds {}.", names.join(", "))),
        Holds::OtherProgram => Error::bad_state(format!(
            "work directory \"{dir}\" was made by another program"
        )),
        Holds::Nothing | Holds::Ours(_) => {
            Error::bad_state(format!("no run has begun in work directory \"{dir}\""))
        }
    }
    .hint(begin)
}
