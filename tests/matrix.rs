//! Every pair of a command and an option of `data/cli-matrix.tsv` against the program: mandatory and optional
//! ones are listed by `--help` and known to the parser, hidden ones are accepted with one warning, all others
//! are refused by name with exit status 1.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::program::start_with;
use crate::support::{Output, WorkDir, pair, run};

/// Columns: command, code, option, what the existing program does, what this one does.
const MATRIX: &str = include_str!("data/cli-matrix.tsv");

/// Commands that are refused as a whole for now.
const COMMANDS_LATER: &[&str] = &[];

/// Options that are refused by name for now.
const OPTIONS_LATER: &[&str] = &[];

/// Pairs beyond these, with the reason.
const PAIRS_LATER: &[(&str, &str)] = &[];

pub struct Row {
    pub command: &'static str,
    pub option: &'static str,
    /// `R` mandatory, `o` optional, `h` accepted with a warning, `-` refused.
    pub wanted: &'static str,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    let fields = |line: &'static str| -> Option<Row> {
        let mut fields = line.split('\t');
        let (command, _, option) = (fields.next()?, fields.next()?, fields.next()?);
        let (_, wanted) = (fields.next()?, fields.next()?);
        Some(Row {
            command,
            option,
            wanted: wanted.trim(),
        })
    };
    MATRIX.lines().skip(1).filter_map(fields).collect()
}

/// Is the command there? One that was built is to leave the list above.
fn is_later(command: &str) -> bool {
    let path: Vec<&str> = command.split(' ').collect();
    let path = path.as_slice();
    COMMANDS_LATER
        .iter()
        .any(|later| path.starts_with(&later.split(' ').collect::<Vec<_>>()))
}

fn is_pair_later(row: &Row) -> bool {
    OPTIONS_LATER.contains(&row.option) || PAIRS_LATER.contains(&(row.command, row.option))
}

/// Options that the help of a command lists, each as the words of its line.
fn listed(command: &str) -> BTreeMap<String, String> {
    let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
    let help = run(&words).exits(0).stdout;
    let mut options = BTreeMap::new();
    for line in help.lines() {
        let head = line.trim_start().split("  ").next().unwrap_or("");
        for word in head.split([' ', ',', '=']) {
            if word.starts_with("--") {
                let name = word.trim_end_matches("...");
                options.insert(name.to_owned(), line.trim().to_owned());
            }
        }
    }
    options
}

#[test]
fn every_option_of_the_matrix_is_listed_where_it_is_wanted_and_nowhere_else() {
    let mut faults = Vec::new();
    let mut helps: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for row in rows().iter().filter(|row| !is_later(row.command)) {
        let help = helps
            .entry(row.command)
            .or_insert_with(|| listed(row.command));
        // Every command knows how to print JSON, or says that it has nothing to print.
        let is_there = help.contains_key(row.option);
        let wanted = matches!(row.wanted, "R" | "o") && !is_pair_later(row);
        let is_global = row.option == "--json";
        if wanted && !is_there || !wanted && is_there && !is_global {
            faults.push(format!("{} {}: {}", row.command, row.option, row.wanted));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn options_that_a_command_does_not_take_are_refused_by_name() {
    let rows = rows();
    let mut tries = Vec::new();
    for row in rows.iter().filter(|row| !is_later(row.command)) {
        // Every command knows --json.
        if row.wanted != "-" && !is_pair_later(row) || row.option == "--json" {
            continue;
        }
        let mut words: Vec<String> = row.command.split(' ').map(str::to_owned).collect();
        words.push(if is_pair_later(row) && !is_switch(row.option) {
            format!("{}=x", row.option)
        } else {
            row.option.to_owned()
        });
        if is_pair_later(row) {
            let takes = |side: &str| {
                rows.iter().any(|other| {
                    (other.command, other.option) == (row.command, side)
                        && matches!(other.wanted, "R" | "o")
                })
            };
            let sides = ["--source", "--target"]
                .into_iter()
                .filter(|side| takes(side));
            words.extend(sides.map(|side| format!("{side}=postgres://127.0.0.1:1/x")));
        }
        tries.push((row, words));
    }
    let faults = all(&tries, |row, out| {
        out.code == 1 && out.stderr.contains(row.option)
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Runs command lines, some at a time; those whose end is not the wanted one.
fn all(tries: &[(&Row, Vec<String>)], is_right: fn(&Row, &Output) -> bool) -> Vec<String> {
    /// Runs at a time.
    const AT_ONCE: usize = 6;
    // The default work directory of a person is none of ours.
    let work = WorkDir::new();
    let folder = work.dir();
    std::fs::create_dir(&folder).expect("room for it");
    let mut faults = Vec::new();
    for some in tries.chunks(AT_ONCE) {
        let runs = some.iter().map(|(row, words)| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            (row, start_with(&words, &[("TMPDIR", &folder)]))
        });
        for (row, running) in runs.collect::<Vec<_>>() {
            let out = running.wait();
            if !is_right(row, &out) {
                let (command, option) = (row.command, row.option);
                faults.push(format!("{command} {option}: {} {}", out.code, out.stderr));
            }
        }
    }
    faults
}

/// Options of the list above that take no value.
fn is_switch(option: &str) -> bool {
    let valued = [
        "--plugin",
        "--publication",
        "--slot-name",
        "--origin",
        "--endpos",
        "--max-cdc-size",
        "--host",
        "--port",
        "--filters",
    ];
    !valued.contains(&option)
}

#[test]
fn options_without_an_effect_are_accepted_with_one_warning() {
    // A server that answers and refuses at once; one that does not is waited for.
    let source = format!("--source={}", pair().from.uri("no_such_database"));
    let rows = rows();
    let hidden = rows
        .iter()
        .filter(|row| row.wanted == "h" && !is_later(row.command));
    let tries: Vec<(&Row, Vec<String>)> = hidden
        .map(|row| {
            let mut words: Vec<String> = row.command.split(' ').map(str::to_owned).collect();
            words.extend([source.clone(), row.option.to_owned()]);
            if row.command == "stream apply" && row.option == "--replay-no-op-updates" {
                words.push("no-such-file.sql".to_owned());
            }
            (row, words)
        })
        .collect();
    let faults = all(&tries, |row, out| {
        let warnings = out
            .stderr
            .matches(&format!("ption {} ", row.option))
            .count();
        !out.stderr.contains("unknown option") && warnings == 1
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn commands_that_were_built_are_no_exceptions_any_more() {
    let built: BTreeSet<&str> = rows()
        .iter()
        .filter(|row| is_later(row.command))
        .map(|row| row.command)
        .filter(|command| {
            let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
            run(&words).code == 0
        })
        .collect();
    assert!(built.is_empty(), "take these off the list: {built:?}");
}
