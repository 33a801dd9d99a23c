//! `pgcopydb ping`: can both databases be reached?
//!
//! Runs in the main program. Prints nothing but with `--json`.

use super::super::args::PingArgs;
use super::super::{Call, announce, output, resolve};
use crate::error::Result;

/// Runs the command. Errors: those of the first side that cannot be reached.
pub(in crate::cli) fn run(args: &PingArgs, call: &Call<'_>) -> Result<()> {
    let connections = resolve::connections(&args.connections, call.environment)?;
    announce();
    let result = (call.runs.ping)(&connections.source, &connections.target, call.environment);
    if call.globals.json {
        let error = result
            .as_ref()
            .err()
            .map(|error| error.message().to_owned());
        let document = serde_json::json!({
            "format": 1, "result": if error.is_none() { "reached" } else { "failed" },
            "error": error.map(|text| crate::logging::scrub(&text)),
        });
        output::to_stdout(&format!("{document:#}\n"))?;
    }
    result
}
