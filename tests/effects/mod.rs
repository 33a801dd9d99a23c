//! Every pair of a command and an option that the matrix wants has a test of its effect: the list says which,
//! and a test of the list says that none is missing. Effects that no other module looks at are tested here.
//!
//! Options of change data capture are left to the modules of that.

mod copy;
mod every;
mod list;
mod restore;
mod rows;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::matrix::{self, Row};
use list::EFFECTS;

/// Options of change data capture.
const OF_CAPTURE: [&str; 13] = [
    "--follow",
    "--plugin",
    "--wal2json-numeric-as-string",
    "--publication",
    "--slot-name",
    "--create-slot",
    "--origin",
    "--endpos",
    "--replay-no-op-updates",
    "--allow-no-identity",
    "--max-cdc-size",
    "--host",
    "--port",
];

/// Commands of change data capture.
const COMMANDS_OF_CAPTURE: [&str; 3] = ["follow", "cutover", "stream"];

fn is_of_capture(row: &Row) -> bool {
    let group = row.command.split(' ').next().unwrap_or_default();
    // Filters of a snapshot choose what is followed.
    let is_here = (row.command, row.option) == ("snapshot", "--filters");
    OF_CAPTURE.contains(&row.option) || COMMANDS_OF_CAPTURE.contains(&group) || is_here
}

/// Pairs that are wanted.
pub fn pairs() -> Vec<Row> {
    let is_wanted = |row: &Row| matches!(row.wanted, "R" | "o");
    let all = matrix::rows().into_iter().filter(is_wanted);
    all.filter(|row| !is_of_capture(row)).collect()
}

/// The words of a command.
pub fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

/// The file of a test: `module::name` of tests/, or a path below src/ with `::name`.
fn source_of(test: &str) -> Option<(String, String)> {
    let (module, name) = test.rsplit_once("::")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stem = module.replace("::", "/");
    let places = [
        format!("tests/{stem}.rs"),
        format!("tests/{stem}/mod.rs"),
        stem,
    ];
    let code = places
        .iter()
        .find_map(|place| fs::read_to_string(root.join(place)).ok())?;
    Some((code, name.to_owned()))
}

/// Why a test does not count for an option; nothing when it does.
fn flaw(option: &str, test: &str) -> Option<&'static str> {
    let Some((code, name)) = source_of(test) else {
        return Some("no such file");
    };
    let Some((_, after)) = code.split_once(&format!("#[test]\nfn {name}()")) else {
        return Some("no such test");
    };
    let body = after.split("\n#[test]").next().unwrap_or_default();
    let field = option.trim_start_matches('-').replace('-', "_");
    let is_mentioned = code.contains(option) || body.contains(&field);
    (!is_mentioned).then_some("a test that does not know the option")
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
        faults.extend(flaw(option, test).map(|why| format!("{option}: {test}: {why}")));
        for command in commands.split(", ") {
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
