//! The house's style as a test: layers, sizes, file docs, where unsafe code may stand, names.
//! Reads the tree's text only; needs no server and no other crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file's lines without its tests, at most.
const MOST_LINES: usize = 600;

/// Files that are longer for now, with their size. A size may only shrink; the list should be empty.
const LONGER: &[(&str, usize)] = &[];

/// File names that say nothing.
const BANNED: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "misc", "manager",
];

/// The layers, lowest first. A module uses the ones below its own.
const LAYERS: &[&[&str]] = &[
    &["error", "logging", "units"],
    &["sys"],
    &["conninfo", "wire", "pg", "queue", "supervisor", "workdir"],
    &["catalog", "filter", "schema"],
    // What every worker is given, and the loop that all of them share.
    &["worker"],
    &[
        "snapshot",
        "dump",
        "copy",
        "index",
        "vacuum",
        "sequence",
        "blob",
        "extension",
        "fkey",
        "compare",
        "check",
        "follow",
    ],
    &["clone", "datacopy", "inspect", "cutover"],
    &["report", "cli"],
];

/// What is allowed sideways, as (who, whom). All jobs may use `snapshot`, too.
const SIDEWAYS: &[(&str, &str)] = &[
    ("error", "units"),
    ("logging", "units"),
    ("logging", "error"),
    // The time of a line, in local time.
    ("logging", "sys"),
    ("units", "error"),
    ("pg", "conninfo"),
    ("wire", "conninfo"),
    // Sessions of both kinds share endpoints, TLS and the stop flag; COPY is relayed between two.
    ("pg", "wire"),
    // What a killed run left is removed with the directory's lock in hand.
    ("workdir", "queue"),
    ("schema", "catalog"),
    ("schema", "filter"),
    ("filter", "catalog"),
    ("cli", "report"),
];

/// `report` prints what the catalog holds and what was looked at, and knows nothing else above the ground.
const REPORT_MAY_USE: &[&str] = &["error", "logging", "units", "sys", "catalog", "inspect"];

/// What a person sees at the top; CHANGELOG.md may be there.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bin",
    "ci",
    "man",
    "src",
    "tests",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder with that ending, as paths from the root.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(folder)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path.strip_prefix(root()).unwrap_or(&path).to_path_buf());
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Is the file one of tests alone?
fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests")
}

/// The lines before the tests that end a file.
fn product_lines(source: &str) -> Vec<&str> {
    let lines: Vec<_> = source.lines().collect();
    let tests = lines.windows(2).position(|two| {
        two[0].trim_end() == "#[cfg(test)]" && two[1].starts_with("mod ") && two[1].ends_with('{')
    });
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

/// The line without what follows `//`; good enough for words that no string of ours holds.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

#[track_caller]
fn none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// The module a file of src belongs to: its top folder, or its name.
fn module(path: &Path) -> String {
    let first = path
        .components()
        .nth(1)
        .map(|c| c.as_os_str().to_string_lossy().into_owned());
    first.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The modules a line names by `crate::x` or `crate::{x, y::z}`.
fn named(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in group.chars().chain([',']) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth <= 0 => found.push(std::mem::take(&mut word)),
                    _ if depth == 0 => word.push(c),
                    _ => {}
                }
            }
        } else {
            found.push(rest.to_owned());
        }
    }
    let first_word = |s: &String| -> String {
        s.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    found
        .iter()
        .map(first_word)
        .filter(|word| !word.is_empty())
        .collect()
}

fn may_use(who: &str, whom: &str) -> bool {
    let (Some(high), Some(low)) = (layer(who), layer(whom)) else {
        return false;
    };
    if who == whom || SIDEWAYS.contains(&(who, whom)) || who == "cli" {
        return true;
    }
    if who == "report" {
        return REPORT_MAY_USE.contains(&whom);
    }
    low < high || (low == high && layer("copy") == Some(high) && whom == "snapshot")
}

#[test]
fn no_module_uses_a_higher_layer_or_its_neighbour() {
    let mut faults = Vec::new();
    for path in files("src", "rs") {
        let who = module(&path);
        if who == "lib" {
            continue;
        }
        if layer(&who).is_none() {
            faults.push(format!("{}: {who} is in no layer", path.display()));
            continue;
        }
        let source = text(&path);
        // a `use crate::{` may go on over several lines
        let joined: String = product_lines(&source)
            .iter()
            .map(|l| code(l))
            .collect::<Vec<_>>()
            .join(" ");
        for statement in joined.split(';') {
            for whom in named(statement).into_iter().filter(|w| layer(w).is_some()) {
                if !may_use(&who, &whom) {
                    faults.push(format!("{}: {who} uses {whom}", path.display()));
                }
            }
        }
    }
    none(
        &faults,
        "a layer uses only the layers below it (LAYERS, SIDEWAYS)",
    );
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let mut faults = Vec::new();
    for path in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        let source = text(&path);
        let lines = if path.ends_with("tests.rs") {
            0
        } else {
            product_lines(&source).len()
        };
        let name = path.display().to_string();
        let most = LONGER
            .iter()
            .find(|(file, _)| *file == name)
            .map_or(MOST_LINES, |(_, n)| *n);
        if lines > most {
            faults.push(format!("{name}: {lines} lines, {most} allowed"));
        } else if most > MOST_LINES && lines < most {
            faults.push(format!(
                "{name}: has shrunk to {lines} lines; write that down"
            ));
        }
    }
    none(&faults, "files are short");
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut faults = Vec::new();
    for folder in ["src", "bin", "tests"] {
        for path in files(folder, "rs") {
            if !text(&path).starts_with("//!") {
                faults.push(path.display().to_string());
            }
        }
    }
    none(&faults, "a .rs file begins with `//!`");
}

#[test]
fn every_query_file_has_a_header() {
    let mut faults = Vec::new();
    for path in files("src", "sql") {
        if !text(&path).starts_with("--") {
            faults.push(path.display().to_string());
        }
    }
    none(
        &faults,
        "an .sql file begins with a comment: purpose, parameters, columns",
    );
}

#[test]
fn only_sys_has_unsafe_code_and_forks() {
    let words = ["unsafe ", "unsafe{", "libc::", "fork("];
    let mut faults = Vec::new();
    for path in files("src", "rs") {
        if path.starts_with("src/sys") || is_test(&path) {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            for word in words.iter().filter(|word| code(line).contains(**word)) {
                faults.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    none(&faults, "unsafe code, libc and fork stand in src/sys");
}

#[test]
fn no_file_is_named_after_nothing() {
    let mut faults = Vec::new();
    for folder in ["src", "bin", "tests", "ci"] {
        for ending in ["rs", "sh", "sql"] {
            for path in files(folder, ending) {
                let names = path
                    .components()
                    .map(|c| c.as_os_str().to_string_lossy().into_owned());
                for name in names {
                    if BANNED.contains(&name.split('.').next().unwrap_or("")) {
                        faults.push(path.display().to_string());
                    }
                }
            }
        }
    }
    none(&faults, "a file is named after the thing it holds");
}

#[test]
fn what_is_put_off_names_an_issue() {
    // put together here, so that this file does not find itself
    let marks = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["#[ign", "ore"].concat(),
    ];
    let mut faults = Vec::new();
    for folder in ["src", "bin", "tests", "ci"] {
        for path in files(folder, "rs").into_iter().chain(files(folder, "sql")) {
            for (number, line) in text(&path).lines().enumerate() {
                let marked = marks.iter().any(|mark| line.contains(mark.as_str()));
                let rest = line.split('#').skip(1);
                let issue = rest
                    .into_iter()
                    .any(|r| r.starts_with(|c: char| c.is_ascii_digit()));
                if marked && !issue {
                    faults.push(format!("{}:{}", path.display(), number + 1));
                }
            }
        }
    }
    none(&faults, "what is put off names its issue (#123)");
}

#[test]
fn every_integration_module_is_listed() {
    let readme = text(Path::new("tests/README.md"));
    let main = text(Path::new("tests/main.rs"));
    let modules = main
        .lines()
        .filter_map(|l| l.strip_prefix("mod ")?.strip_suffix(';'));
    let missing: Vec<_> = modules
        .filter(|m| !readme.contains(&format!("`{m}`")))
        .map(str::to_owned)
        .collect();
    none(
        &missing,
        "tests/README.md lists every module of tests/main.rs",
    );
}

#[test]
fn the_top_of_the_tree_is_the_card() {
    let Ok(listing) = Command::new("git")
        .arg("ls-files")
        .current_dir(root())
        .output()
    else {
        return;
    };
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let visible: BTreeSet<_> = listing
        .lines()
        .filter_map(|line| line.split('/').next())
        .filter(|name| !name.starts_with('.') && *name != "CHANGELOG.md")
        .collect();
    if visible.is_empty() {
        return; // a copy of the tree without its history
    }
    assert_eq!(visible, TOP_LEVEL.iter().copied().collect::<BTreeSet<_>>());
}

#[test]
fn a_planted_fault_is_seen() {
    assert_eq!(
        named("use crate::{error::Result, pg::{self, quote}, units}"),
        ["error", "pg", "units"]
    );
    assert_eq!(
        named("let x = crate::index::worker::run(crate::pg::quote)"),
        ["index", "pg"]
    );
    assert!(may_use("copy", "catalog") && may_use("copy", "snapshot"));
    assert!(!may_use("copy", "index") && !may_use("catalog", "copy") && !may_use("report", "copy"));
    let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(product_lines(source).len(), 1);
}
