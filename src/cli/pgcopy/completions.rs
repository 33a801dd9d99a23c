//! `pgcopy completions`: a script with which a shell completes commands and options.

use super::super::args::ShellArg;
use super::super::pgcopydb::completions;
use super::args;

/// The script.
pub(super) fn script(shell: ShellArg) -> String {
    completions::script_of(args::tree(), "pgcopy", shell)
}
