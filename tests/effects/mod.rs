//! Every pair of a command and an option that the matrix wants has a test of its effect: the list says which,
//! and a test of the list says that none is missing, and that the test named runs the command and uses the option.
//! Effects that no other module looks at are tested here.
//!
//! Commands of change data capture are left to the modules of that.

mod capture;
mod copy;
mod every;
mod list;
mod reach;
mod restore;
mod rows;
mod seen;

use std::collections::BTreeSet;

use crate::matrix::{self, Row};
use list::EFFECTS;

/// Commands of change data capture.
const COMMANDS_OF_CAPTURE: [&str; 3] = ["follow", "cutover", "stream"];

fn is_elsewhere(row: &Row) -> bool {
    let group = row.command.split(' ').next().unwrap_or_default();
    COMMANDS_OF_CAPTURE.contains(&group)
}

/// Pairs that are wanted.
pub fn pairs() -> Vec<Row> {
    let is_wanted = |row: &Row| matches!(row.wanted, "R" | "o");
    let all = matrix::rows().into_iter().filter(is_wanted);
    all.filter(|row| !is_elsewhere(row)).collect()
}

/// The words of a command.
pub fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// Why a test does not count for an option of a command; nothing when it does.
fn flaw(option: &str, command: &str, test: &str) -> Option<&'static str> {
    let Some((code, name)) = reach::source_of(test) else {
        return Some("no such file");
    };
    if !code.contains(&format!("#[test]\nfn {name}()")) {
        return Some("no such test");
    }
    let body = reach::text_of(&code, &name);
    if !reach::has_option(&body, option) {
        return Some("a test that does not use the option");
    }
    (!reach::has_command(&body, command, option)).then_some("a test that does not run the command")
}

#[test]
fn every_pair_of_the_matrix_has_a_test_of_its_effect() {
    let wanted: BTreeSet<(&str, &str)> = pairs()
        .iter()
        .map(|row| (row.command, row.option))
        .collect();
    let mut tested = BTreeSet::new();
    let mut faults = Vec::new();
    for (option, commands, test) in EFFECTS {
        for command in commands.split(", ") {
            let flaw = flaw(option, command, test);
            faults.extend(flaw.map(|why| format!("{command} {option}: {test}: {why}")));
            let is_unknown = !wanted.contains(&(command, option));
            faults.extend(is_unknown.then(|| format!("{command} {option}: not in the matrix")));
            tested.insert((command, *option));
        }
    }
    let missing = wanted.difference(&tested);
    faults.extend(
        missing.map(|(command, option)| format!("{command} {option}: no test of its effect")),
    );
    assert!(faults.is_empty(), "{faults:#?}");
}
