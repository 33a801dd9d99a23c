//! Lists of commands: the whole tree for `pgcopydb help`, one level for a command that is missing.
//!
//! Runs in the main program. Pure.

use super::super::args;
use clap::Command;

/// The whole tree of commands, groups separated by blank lines.
pub(in crate::cli) fn whole_tree() -> String {
    let tree = args::tree();
    let mut text = level(&tree, "pgcopydb");
    for group in visible(&tree).filter(|command| command.has_subcommands()) {
        text.push('\n');
        text.push_str(&level(group, &format!("pgcopydb {}", group.get_name())));
    }
    text
}

/// The message for a group without a command.
pub(in crate::cli) fn expected_command(path: &str) -> String {
    format!("{path}: expected a command\n\n{}", commands(path))
}

/// The commands below a path, such as `pgcopydb copy`.
pub(in crate::cli) fn commands(path: &str) -> String {
    let tree = args::tree();
    let group = path
        .split(' ')
        .skip(1)
        .try_fold(&tree, |command, word| command.find_subcommand(word))
        .filter(|command| command.has_subcommands())
        .unwrap_or(&tree);
    level(group, path)
}

fn visible(group: &Command) -> impl Iterator<Item = &Command> {
    group
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
}

fn level(group: &Command, path: &str) -> String {
    let mut rows: Vec<(char, String, String)> = Vec::new();
    for command in visible(group) {
        let mark = if command.has_subcommands() { '+' } else { ' ' };
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        rows.push((mark, command.get_name().to_owned(), about));
        for alias in command.get_visible_aliases() {
            rows.push((
                ' ',
                alias.to_owned(),
                format!("Same as {}", command.get_name()),
            ));
        }
    }
    let width = rows
        .iter()
        .map(|(_, name, _)| name.len())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = rows
        .into_iter()
        .map(|(mark, name, about)| format!("  {mark} {name:<width$}  {about}\n"))
        .collect();
    format!("{path}: available commands\n{}", lines.concat())
}
