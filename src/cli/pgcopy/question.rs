//! The question before the rows of the target are replaced.
//!
//! Runs in the main program, while no process of ours and no connection is there. Only the word yes goes on.

use super::super::output;
use crate::error::{Error, Kind, Result};
use crate::sys::signal;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};

/// Longest answer, bytes.
const ANSWER_MAX: usize = 100;
/// How often flags are looked at, milliseconds.
const LOOK_MS: u8 = 200;

/// The error of a run that nobody agreed to.
fn refused() -> Error {
    Error::bad_state("Nothing was changed, as the answer was not yes")
}

/// Asks on the terminal. Errors (`BadState`): no terminal, another answer, the end of input; `Stopped` by a
/// signal.
pub(super) fn ask(question: &str) -> Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::bad_state(
            "there is no terminal to ask on, and --yes is not given; nothing was changed",
        )
        .hint("Look at the plan with --dry-run, then use --yes."));
    }
    output::to_stderr(&format!("{question} Type yes to go on: "));
    let answer = read_line(stdin.as_fd())?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        Ok(())
    } else {
        Err(refused())
    }
}

/// Reads one line byte by byte, as a signal must be able to end the wait: straight from the descriptor, as what a
/// buffer has taken in would never be waited for.
fn read_line(stdin: BorrowedFd<'_>) -> Result<String> {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX {
        if let Some(number) = signal::first() {
            return Err(Error::new(
                Kind::Stopped(number),
                format!("stopped by {}; nothing was changed", signal::name(number)),
            ));
        }
        let mut waits = [PollFd::new(stdin, PollFlags::POLLIN)];
        match poll(&mut waits, PollTimeout::from(LOOK_MS)) {
            Ok(0) | Err(nix::Error::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return Err(refused()),
        }
        let mut byte = [0];
        match nix::unistd::read(stdin, &mut byte) {
            Err(nix::Error::EINTR) => {}
            Ok(0) | Err(_) => return Err(refused()),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => bytes.push(byte[0]),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
