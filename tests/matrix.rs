//! Every pair of a command and an option of `data/cli-matrix.tsv` against the program: mandatory and optional
//! ones are listed by `--help` and known to the parser, hidden ones are accepted with one warning, all others
//! are refused by name with exit status 1.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::run;

/// Columns: command, code, option, what the existing program does, what this one does.
const MATRIX: &str = include_str!("data/cli-matrix.tsv");

/// Commands that are refused as a whole for now.
const COMMANDS_LATER: &[&str] = &["follow", "cutover", "stream prefetch", "stream replay"];

/// Options that are refused by name for now: those of following.
const OPTIONS_LATER: &[&str] = &[
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

/// Pairs beyond these, with the reason.
const PAIRS_LATER: &[(&str, &str)] = &[
    // Both sides would have to be filtered in the same way.
    ("compare schema", "--filters"),
    ("compare data", "--filters"),
    // A clone takes it.
    ("check", "--all-databases"),
    // They would choose what is followed.
    ("snapshot", "--filters"),
];

struct Row {
    command: &'static str,
    option: &'static str,
    /// `R` mandatory, `o` optional, `h` accepted with a warning, `-` refused.
    wanted: &'static str,
}

fn rows() -> Vec<Row> {
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
    let is_network = matches!(row.option, "--host" | "--port");
    let is_built = row.command == "check" || (row.command.starts_with("stream ") && !is_network);
    let of_following = OPTIONS_LATER.contains(&row.option) && !is_built;
    of_following || PAIRS_LATER.contains(&(row.command, row.option))
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
    let mut faults = Vec::new();
    let rows = rows();
    for row in rows.iter().filter(|row| !is_later(row.command)) {
        if row.wanted != "-" && !is_pair_later(row) {
            continue;
        }
        let mut words: Vec<&str> = row.command.split(' ').collect();
        let uris = [
            "--source=postgres://127.0.0.1:1/x",
            "--target=postgres://127.0.0.1:1/x",
        ];
        let with_value = format!("{}=x", row.option);
        let word = if is_pair_later(row) && !is_switch(row.option) {
            &with_value
        } else {
            row.option
        };
        words.push(word);
        if is_pair_later(row) {
            let takes = |side: &str| {
                rows.iter().any(|other| {
                    other.command == row.command
                        && side.starts_with(&format!("{}=", other.option))
                        && matches!(other.wanted, "R" | "o")
                })
            };
            words.extend(uris.iter().filter(|side| takes(side)));
        }
        let out = run(&words);
        let bare = row.option;
        if out.code != 1 || !out.stderr.contains(bare) {
            faults.push(format!(
                "{} {}: {} {}",
                row.command, row.option, out.code, out.stderr
            ));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
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
    let mut faults = Vec::new();
    for row in rows()
        .iter()
        .filter(|row| row.wanted == "h" && !is_later(row.command))
    {
        let mut words: Vec<&str> = row.command.split(' ').collect();
        words.extend([
            "--source=postgres://127.0.0.1:1/x?connect_timeout=1",
            row.option,
        ]);
        let out = run(&words);
        let warned = out
            .stderr
            .matches(&format!("ption {} ", row.option))
            .count();
        if out.stderr.contains("unknown option") || warned != 1 {
            faults.push(format!("{} {}: {}", row.command, row.option, out.stderr));
        }
    }
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
