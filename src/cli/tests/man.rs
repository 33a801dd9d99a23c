//! Man pages against the command tree: what is there is described, and nothing else.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// All pages by their names without section.
fn pages() -> BTreeMap<String, String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let files = std::fs::read_dir(folder).unwrap();
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let name = name.strip_suffix(".1")?.to_owned();
        if name == "pgcopy" {
            return None; // the other program, see cli::pgcopy
        }
        Some((name, std::fs::read_to_string(entry.path()).ok()?))
    };
    files.filter_map(|entry| read(entry.unwrap())).collect()
}

/// The commands that can be used and have no commands below, by their paths.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut found = Vec::new();
    let mut todo = vec![(Vec::new(), built(&[]))];
    while let Some((path, command)) = todo.pop() {
        for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
            let mut path: Vec<String> = path.clone();
            path.push(below.get_name().to_owned());
            todo.push((path, below.clone()));
        }
        if !command.has_subcommands() {
            found.push((path, command));
        }
    }
    found
}

/// The name of the page of a command: its own, that of its group, or that of the program.
fn page_of(path: &[String], pages: &BTreeMap<String, String>) -> String {
    if path == ["copy", "db"] {
        return "pgcopydb-clone".to_owned();
    }
    (1..=path.len())
        .rev()
        .map(|length| format!("pgcopydb-{}", path[..length].join("-")))
        .find(|name| pages.contains_key(name))
        .unwrap_or_else(|| "pgcopydb".to_owned())
}

/// Long options that a text names, as `Fl Fl name`.
fn options_of(page: &str) -> BTreeSet<String> {
    page.split("Fl Fl ")
        .skip(1)
        .filter_map(|rest| rest.split([' ', '\n']).next())
        .map(ToOwned::to_owned)
        .collect()
}

/// Long options that a page describes: items of its lists, as `.It Fl Fl name`.
fn described_in(page: &str) -> BTreeSet<String> {
    let items = page
        .lines()
        .filter(|line| line.starts_with(".It Fl ") && !line.contains(" Ta "));
    items.flat_map(options_of).collect()
}

fn longs(command: &clap::Command, hidden: bool) -> BTreeSet<String> {
    let options = command.get_arguments();
    let options = options.filter(|option| hidden || !option.is_hide_set());
    options
        .filter_map(|option| option.get_long().map(ToOwned::to_owned))
        .collect()
}

#[test]
fn every_visible_option_stands_in_its_man_page_or_in_that_of_the_program() {
    let pages = pages();
    let of_all = options_of(&pages["pgcopydb"]);
    for (path, command) in commands() {
        let page = page_of(&path, &pages);
        let named = options_of(&pages[&page]);
        let missing: Vec<String> = longs(&command, false)
            .into_iter()
            .filter(|long| !named.contains(long) && !of_all.contains(long))
            .collect();
        assert!(missing.is_empty(), "{path:?}: {missing:?} not in {page}");
    }
}

#[test]
fn no_man_page_describes_an_option_that_its_commands_do_not_have() {
    let pages = pages();
    let mut of_page: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, command) in commands() {
        let here = of_page.entry(page_of(&path, &pages)).or_default();
        here.extend(longs(&command, false));
    }
    for (name, has) in of_page.iter().filter(|(name, _)| *name != "pgcopydb") {
        let unknown: Vec<_> = described_in(&pages[name])
            .difference(has)
            .cloned()
            .collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn no_man_page_names_an_option_that_is_nowhere() {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (_, command) in commands() {
        known.extend(longs(&command, true));
        for option in command.get_arguments() {
            let aliases = option.get_all_aliases().unwrap_or_default();
            known.extend(aliases.into_iter().map(ToOwned::to_owned));
        }
    }
    for (name, page) in pages() {
        let unknown: Vec<String> = options_of(&page).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn every_page_is_known_to_the_one_of_the_program_and_mandoc_has_nothing_against_it() {
    let pages = pages();
    for name in pages.keys().filter(|name| *name != "pgcopydb") {
        let reference = format!(".Xr {name} 1");
        assert!(pages["pgcopydb"].contains(&reference), "{reference}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for name in pages.keys() {
        let file = folder.join(format!("{name}.1"));
        let lint = std::process::Command::new("mandoc")
            .args(["-T", "lint", "-W", "style"])
            .arg(&file)
            .output();
        let Ok(lint) = lint else {
            println!("skipped: there is no mandoc");
            return;
        };
        let said = String::from_utf8_lossy(&lint.stdout).into_owned();
        // References to pages of other packages, and to ours where they are not installed.
        let faults: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("referenced manual not found"))
            .collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

#[test]
fn hidden_spellings_stand_under_compatibility() {
    let pages = pages();
    let page = &pages["pgcopydb"];
    let section = page.split(".Sh COMPATIBILITY").nth(1).unwrap();
    let section = section.split("\n.Sh ").next().unwrap();
    for option in built(&["clone"]).get_arguments() {
        for alias in option.get_aliases().unwrap_or_default() {
            assert!(options_of(section).contains(alias), "--{alias}");
        }
        for letter in option.get_all_short_aliases().unwrap_or_default() {
            assert!(section.contains(&format!(".Fl {letter}\n")), "-{letter}");
        }
        if option.is_hide_set() {
            let long = option.get_long().unwrap();
            assert!(options_of(section).contains(long), "--{long}");
        }
    }
    for command in args::NOT_YET {
        assert!(section.contains(command), "{command}");
    }
}

#[test]
fn every_variable_and_exit_code_stands_in_the_man_pages() {
    let all_pages = pages();
    let text: String = all_pages.values().cloned().collect();
    let more = [
        "PGCOPYDB_LOG_TIME_FORMAT",
        "PGCOPYDB_LOG_JSON_FILE",
        "TMPDIR",
        "PGPASSWORD",
    ];
    let all = super::config::VARIABLES.map(|variable| variable.name);
    for name in all.iter().chain(&more) {
        assert!(text.contains(&format!(".It Ev {name}\n")), "{name}");
    }
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 10, 12] {
        let page = &all_pages["pgcopydb"];
        assert!(page.contains(&format!(".It {code}\n")), "{code}");
    }
}
