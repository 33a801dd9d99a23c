//! `pgcopydb completions`: a script with which a shell completes commands and options.
//!
//! Runs in the main program. Made from the tree of commands, so that it cannot be out of date.

use super::super::args::{self, CompletionsArgs, ShellArg};
use super::super::output;
use crate::error::Result;
use clap::{Arg, Command};
use clap_complete::Shell;

/// Prints the script.
pub(in crate::cli) fn run(args: &CompletionsArgs) -> Result<()> {
    output::to_stdout(&script(args.shell))
}

fn script(shell: ShellArg) -> String {
    script_of(args::tree(), "pgcopydb", shell)
}

/// The script for a program with this tree.
pub(in crate::cli) fn script_of(mut tree: Command, name: &str, shell: ShellArg) -> String {
    let shell = match shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    tree.build();
    let mut tree = visible(&tree);
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut tree, name, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A copy of a command with what is not hidden, without rules between options.
fn visible(command: &Command) -> Command {
    let options = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    let copy = Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .visible_aliases(command.get_visible_aliases().map(str::to_owned))
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args(options.map(plain));
    copy.subcommands(below.map(visible))
}

fn plain(arg: &Arg) -> Arg {
    let values = arg.get_num_args().unwrap_or_default();
    let copy = Arg::new(arg.get_id().clone())
        .help(arg.get_help().cloned().unwrap_or_default())
        .action(arg.get_action().clone())
        .value_parser(arg.get_value_parser().clone())
        .value_hint(arg.get_value_hint())
        .num_args(values);
    let copy = match arg.get_long() {
        Some(long) => copy.long(long.to_owned()),
        None => copy,
    };
    match arg.get_short() {
        Some(letter) => copy.short(letter),
        None => copy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_gets_a_script_with_the_options_of_clone_and_nothing_hidden() {
        for shell in [ShellArg::Bash, ShellArg::Zsh, ShellArg::Fish] {
            let script = script(shell);
            for word in ["clone", "table-jobs", "copy-format", "ping"] {
                assert!(script.contains(word), "{shell:?}: {word}");
            }
            for hidden in ["max-replaydb-size", "split-at", "copy-db"] {
                assert!(!script.contains(hidden), "{shell:?}: {hidden}");
            }
        }
    }
}
