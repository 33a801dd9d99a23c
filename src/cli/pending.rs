//! Stand-ins for what is built elsewhere; goes away once those modules are there.
//!
//! Runs in the main program. Does nothing.

use super::{CloneSettings, Environment, Runs};
use crate::error::{Error, Result};

/// The runs of the program.
pub(super) const RUNS: Runs = Runs {
    clone,
    ping,
    redact,
};

fn clone(_: &CloneSettings, _: &Environment) -> Result<()> {
    Err(Error::internal("clone is not built yet"))
}

fn ping(_: &str, _: &str, _: &Environment) -> Result<()> {
    Err(Error::internal("ping is not built yet"))
}

/// Blanks out whatever stands between `://` and the last `@` of each word.
fn redact(text: &str) -> String {
    let blanked = |word: &str| match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://***{}", &word[..scheme], &word[at..])
        }
        _ => word.to_owned(),
    };
    text.split(' ').map(blanked).collect::<Vec<_>>().join(" ")
}
