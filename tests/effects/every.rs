//! What options do that many commands have: connections, the work directory, filters, a snapshot, JSON.

use serde_json::Value;

use super::{pairs, words};
use crate::support::{Output, Pair, WorkDir, run};

const SOURCE: &str = "create table t (id integer primary key, n integer); create sequence s;
    create table junk (id integer); create index t_n on t (n); insert into t values (1, 1)";

/// Commands that have an option, mandatory or not.
fn having(option: &str) -> Vec<&'static str> {
    let all = pairs().into_iter().filter(|pair| pair.option == option);
    all.map(|pair| pair.command).collect()
}

fn is_of(command: &str, option: &str) -> bool {
    having(option).contains(&command)
}

/// A command with all that it needs to run; `more` comes last and wins nothing.
fn line(pair: &Pair, work: &WorkDir, command: &str, without: &str) -> Vec<String> {
    let mut line = words(command);
    for (option, value) in [
        ("--source", pair.source()),
        ("--target", pair.target()),
        ("--dir", work.dir()),
    ] {
        if is_of(command, option) && option != without {
            line.extend([option.to_owned(), value]);
        }
    }
    if command == "list depends" {
        let file = work.file("some.ini", "[exclude-table]\npublic.t\n");
        line.extend(["--filters".to_owned(), file]);
    }
    if command == "list table-parts" {
        line.extend(["--table-name".to_owned(), "t".to_owned()]);
    }
    line
}

fn runs(line: &[String], more: &[&str]) -> Output {
    let mut line: Vec<&str> = line.iter().map(String::as_str).collect();
    line.extend(more);
    run(&line)
}

/// A directory with a dump, for commands that restore.
fn dumped(pair: &Pair) -> WorkDir {
    let work = WorkDir::new();
    pair.does(&work, "dump schema", &[]).exits(0);
    pair.does(&work, "dump roles", &[]).exits(0);
    work
}

#[test]
fn a_side_that_cannot_be_reached_ends_every_command_by_its_name() {
    let pair = Pair::with(SOURCE);
    let work = dumped(&pair);
    // a server that answers and refuses at once; one that does not is waited for
    let nowhere = pair.from.uri("no_such_database");
    for (option, code) in [("--source", 6), ("--target", 7)] {
        for command in having(option) {
            let fresh = WorkDir::new();
            let dir = if command.starts_with("restore") {
                &work
            } else {
                &fresh
            };
            let line = line(&pair, dir, command, option);
            // check reports it as a finding; a work directory tells progress; a dump lies there already
            let code = match (command, option) {
                ("check", _) => 2,
                ("list progress", _) => continue,
                _ if command.starts_with("restore") && option == "--source" => continue,
                ("restore parse-list" | "restore constraints", _) => continue,
                _ => code,
            };
            let out = runs(&line, &[option, &nowhere]);
            let is_named = out.stderr.contains(&option[2..]) || out.stdout.contains(&option[2..]);
            assert!(out.code == code && is_named, "{command} {option}: {out:?}");
        }
    }
    let other = Pair::with("select 1");
    for command in [
        "restore schema",
        "restore pre-data",
        "restore post-data",
        "restore parse-list",
    ] {
        let line = line(&pair, &work, command, "--source");
        runs(&line, &["--source", &other.source()])
            .exits(3)
            .says(&["another source"]);
    }
}

#[test]
fn every_command_with_a_directory_uses_it_and_names_it_when_it_cannot() {
    let pair = Pair::with(SOURCE);
    let work = WorkDir::new();
    let file = work.file("a-file", "no directory");
    let below = format!("{file}/below");
    for command in having("--dir") {
        // lists read the source where the directory says nothing; status says that there is nothing
        // and what puts constraints back has none on record
        let reads = ["status", "restore constraints"];
        if command.starts_with("list ") || reads.contains(&command) {
            continue;
        }
        let line = line(&pair, &work, command, "--dir");
        let out = runs(&line, &["--dir", &below]);
        let is_named = out.stderr.contains("a-file") || out.stdout.contains("a-file");
        let expected = match command {
            "check" => 2,
            // what differs decides, and the other is told beside it
            "compare data" | "compare schema" => 10,
            _ => 3,
        };
        assert!(out.code == expected && is_named, "{command}: {out:?}");
    }
}

#[test]
fn a_filters_file_that_is_wrong_ends_every_command_that_takes_one() {
    let pair = Pair::with(SOURCE);
    let work = dumped(&pair);
    let wrong = work.file("wrong.ini", "[exclude-tabel]\npublic.t\n");
    for command in having("--filters") {
        let mut line = line(&pair, &work, command, "");
        if command == "list depends" {
            line.truncate(line.len() - 2);
        }
        let out = runs(&line, &["--filters", &wrong]);
        let is_named = out.stderr.contains("exclude-tabel");
        assert!(out.code == 2 && is_named, "{command}: {out:?}");
    }
}

#[test]
fn a_snapshot_that_has_ended_ends_every_command_that_reads_with_it() {
    let pair = Pair::with(SOURCE);
    for command in having("--snapshot") {
        let work = WorkDir::new();
        let line = line(&pair, &work, command, "");
        let out = runs(&line, &["--snapshot", "00000003-0000FFFF-1"]);
        let is_named = out.stderr.contains("00000003-0000FFFF-1");
        assert!(out.code == 6 && is_named, "{command}: {out:?}");
    }
}

#[test]
fn every_command_that_knows_json_prints_a_document() {
    let pair = Pair::with(SOURCE);
    for command in having("--json") {
        let work = WorkDir::new();
        if command.starts_with("copy") {
            let schema = WorkDir::new();
            pair.in_target("drop table if exists t, junk; drop sequence if exists s");
            pair.does(&schema, "copy schema", &[]).exits(0);
        }
        if command == "list progress" {
            pair.does(&work, "dump schema", &[]).exits(0);
        }
        if command == "snapshot" {
            continue;
        }
        let line = line(&pair, &work, command, "");
        let out = runs(&line, &["--json"]);
        let document: Result<Value, _> = serde_json::from_str(&out.stdout);
        assert!(document.is_ok(), "{command}: {out:?}");
    }
}

#[test]
fn a_list_with_force_reads_the_source_and_without_it_the_directory() {
    let pair = Pair::with(SOURCE);
    let work = WorkDir::new();
    pair.clone(&work, &[]).exits(0);
    pair.in_source(
        "create table late (id integer primary key, n integer unique); create sequence late_s",
    );
    for (command, late) in [
        ("list tables", "late"),
        ("list sequences", "late_s"),
        ("list indexes", "late"),
        ("list schema", "late"),
    ] {
        let line = line(&pair, &work, command, "");
        let out = runs(&line, &[]).exits(0);
        assert!(!out.stdout.contains(late), "{command}: {}", out.stdout);
        let out = runs(&line, &["--force"]).exits(0);
        assert!(out.stdout.contains(late), "{command}: {}", out.stdout);
    }
    let mut parts = words("list table-parts");
    parts.extend(["--source".into(), pair.source(), "--dir".into(), work.dir()]);
    runs(&parts, &["--table-name", "late"]).exits(1);
    runs(&parts, &["--table-name", "late", "--force"]).exits(0);
    // these read the source in any case
    for command in ["list extensions", "list collations", "list depends"] {
        let line = line(&pair, &work, command, "");
        let before = runs(&line, &[]).exits(0).stdout;
        assert_eq!(
            runs(&line, &["--force"]).exits(0).stdout,
            before,
            "{command}"
        );
    }
}

#[test]
fn a_check_counts_with_the_jobs_and_leaves_out_what_will_not_be_copied() {
    let pair = Pair::with(
        "create role check_owner; create table t (id integer); alter table t owner to check_owner",
    );
    let work = WorkDir::new();
    let line = line(&pair, &work, "check", "");
    let says = |more: &[&str], words: &str| {
        let out = runs(&line, more);
        (out.code, out.stdout.contains(words))
    };
    for option in ["--table-jobs", "--index-jobs", "--large-objects-jobs"] {
        let connections = "connections left, this run may open";
        let many = [
            "--table-jobs",
            "30",
            "--index-jobs",
            "30",
            "--large-objects-jobs",
            "30",
        ];
        assert!(!says(&many, connections).1);
        let mut more = many;
        more[1 + many.iter().position(|word| *word == option).unwrap()] = "128";
        assert!(says(&more, connections).1, "{option}");
    }
    assert!(says(&[], "check_owner").1);
    assert!(!says(&["--roles"], "lacks").1);
    assert!(!says(&["--no-owner"], "check_owner").1);
    pair.in_target("select lo_create(4242)");
    pair.in_source("select lo_create(4242)");
    let (refused, _) = says(&["--no-owner"], "");
    let (good, _) = says(&["--no-owner", "--skip-large-objects"], "");
    assert_eq!((refused, good), (2, 0));
    pair.in_source("alter table t owner to current_user; drop role check_owner");
}

#[test]
fn a_comparison_has_as_many_sessions_as_jobs_are_asked_for() {
    let pair = Pair::with(SOURCE);
    pair.in_target(SOURCE);
    for what in ["compare data", "compare schema"] {
        let line = line(&pair, &WorkDir::new(), what, "--dir");
        runs(&line, &["--table-jobs", "1"]).exits(0);
        runs(&line, &["--table-jobs", "0"]).exits(1);
        if what == "compare data" {
            runs(&line, &["--table-jobs", "3"])
                .exits(0)
                .says(&["with 3 sessions"]);
        }
    }
}

#[test]
fn what_hangs_on_a_table_of_a_schema_is_listed() {
    let pair = Pair::with(
        "create schema s; create table s.t (id integer); create view s.v as select * from s.t;
         create table t (id integer); create view w as select * from t",
    );
    let work = WorkDir::new();
    let file = work.file("filters.ini", "[exclude-table]\ns.t\npublic.t\n");
    let mut line = words("list depends");
    line.extend(["--source".into(), pair.source(), "--filters".into(), file]);
    let one = runs(&line, &["--schema-name", "s", "--table-name", "t"]).exits(0);
    assert!(
        one.stdout.contains("s.v") && !one.stdout.contains("public.w"),
        "{one:?}"
    );
    let other = runs(&line, &["--table-name", "t"]).exits(0);
    assert!(
        !other.stdout.contains("s.v") && other.stdout.contains("public.w"),
        "{other:?}"
    );
}
