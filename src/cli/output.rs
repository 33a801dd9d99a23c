//! Writing results to standard output, and errors to standard error before logging is set up.
//!
//! Runs in the main program.

use crate::error::{Error, Kind, Result};
use std::io::{ErrorKind, Write};

/// Writes a result. A reader that went away is no error; any other failure is one (`BadState`).
pub(super) fn to_stdout(text: &str) -> Result<()> {
    to_reader(text).map(|_| ())
}

/// The same; false: the reader went away.
pub(super) fn to_reader(text: &str) -> Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::new(
            Kind::BadState,
            format!("could not write to standard output: {error}"),
        )),
    }
}

/// Writes text to standard error; a failure has nowhere to be reported.
pub(super) fn to_stderr(text: &str) {
    let _ignored = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints an error without the log.
pub(super) fn plain_error(error: &Error) {
    to_stderr(&format!(
        "{}\n",
        crate::logging::scrub(&error.lines().join("\n"))
    ));
}
