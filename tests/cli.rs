//! The command line itself: version, help, ping, and what is refused before anything runs.

use crate::support::program::start_with;
use crate::support::{WorkDir, pair, run};

/// Nobody listens there.
const NOBODY: &str = "postgres://postgres@127.0.0.1:1/postgres";

#[test]
fn version_names_the_program_and_the_servers_it_knows() {
    let out = run(&["version"])
        .exits(0)
        .says(&["pgcopydb version", "compatible with Postgres"]);
    assert_eq!(out.stdout.lines().count(), 3, "{}", out.stdout);
}

#[test]
fn version_option_says_the_same_as_the_command() {
    assert_eq!(
        run(&["--version"]).exits(0).stdout,
        run(&["version"]).exits(0).stdout
    );
}

#[test]
fn version_as_json_has_the_documented_keys() {
    let out = run(&["version", "--json"]).exits(0);
    let json: serde_json::Value = serde_json::from_str(&out.stdout).expect("JSON");
    for key in [
        "pgcopydb",
        "pg_major",
        "pg_version",
        "pg_version_str",
        "pg_version_num",
    ] {
        assert!(json.get(key).is_some(), "no {key} in {json}");
    }
}

#[test]
fn help_goes_to_stdout_and_lists_the_commands() {
    let out = run(&["--help"]).exits(0);
    for command in ["clone", "ping", "version"] {
        assert!(
            out.stdout.contains(command),
            "no {command} in\n{}",
            out.stdout
        );
    }
}

#[test]
fn help_of_clone_lists_its_options() {
    let out = run(&["clone", "--help"]).exits(0);
    for option in [
        "--source",
        "--target",
        "--dir",
        "--resume",
        "--restart",
        "--roles",
    ] {
        assert!(
            out.stdout.contains(option),
            "no {option} in\n{}",
            out.stdout
        );
    }
}

#[test]
fn unknown_words_are_refused_with_exit_status_1() {
    run(&["clnoe"]).exits(1);
    let out = run(&["clone", "--no-such-option"]).exits(1);
    assert!(out.stdout.is_empty(), "errors go to stderr: {}", out.stdout);
}

#[test]
fn clone_without_a_source_is_refused() {
    run(&["clone", "--target", "postgres://127.0.0.1:1/x"])
        .exits(1)
        .says(&["--source"]);
}

#[test]
fn ping_reaches_both_sides_and_keeps_stdout_empty() {
    let pair = pair();
    let out = run(&[
        "ping",
        "--source",
        &pair.source(),
        "--target",
        &pair.target(),
    ])
    .exits(0);
    assert!(out.stdout.is_empty(), "{}", out.stdout);
    out.says(&["source database", "target database"]);
}

#[test]
fn ping_fails_with_the_code_of_the_side_that_failed() {
    let pair = pair();
    let nowhere = pair.to.uri("no_such_database");
    run(&["ping", "--source", &pair.source(), "--target", &nowhere]).exits(7);
}

#[test]
fn every_variable_is_named_when_it_is_bad_and_shown_when_it_is_good() {
    let cases = [
        ("PGCOPYDB_TABLE_JOBS", "table-jobs", "7", "0"),
        ("PGCOPYDB_INDEX_JOBS", "index-jobs", "7", "129"),
        ("PGCOPYDB_RESTORE_JOBS", "restore-jobs", "7", "x"),
        ("PGCOPYDB_LARGE_OBJECTS_JOBS", "large-objects-jobs", "7", ""),
        (
            "PGCOPYDB_SPLIT_TABLES_LARGER_THAN",
            "split-tables-larger-than",
            "2 GB",
            "2 Gb",
        ),
        ("PGCOPYDB_SPLIT_MAX_PARTS", "split-max-parts", "7", "0"),
        (
            "PGCOPYDB_ESTIMATE_TABLE_SIZES",
            "estimate-table-sizes",
            "on",
            "banana",
        ),
        ("PGCOPYDB_OUTPUT_PLUGIN", "plugin", "wal2json", "banana"),
        (
            "PGCOPYDB_WAL2JSON_NUMERIC_AS_STRING",
            "wal2json-numeric-as-string",
            "on",
            "banana",
        ),
        ("PGCOPYDB_DROP_IF_EXISTS", "drop-if-exists", "on", "banana"),
        ("PGCOPYDB_FAIL_FAST", "fail-fast", "on", "banana"),
        ("PGCOPYDB_SKIP_VACUUM", "skip-vacuum", "on", "banana"),
        ("PGCOPYDB_SKIP_ANALYZE", "skip-analyze", "on", "banana"),
        (
            "PGCOPYDB_SKIP_DB_PROPERTIES",
            "skip-db-properties",
            "on",
            "banana",
        ),
        (
            "PGCOPYDB_SKIP_CTID_SPLIT",
            "skip-split-by-ctid",
            "on",
            "banana",
        ),
        (
            "PGCOPYDB_SKIP_TABLESPACES",
            "no-tablespaces",
            "on",
            "banana",
        ),
        (
            "PGCOPYDB_USE_COPY_BINARY",
            "use-copy-binary",
            "on",
            "banana",
        ),
        (
            "PGCOPYDB_REPLAY_NO_OP_UPDATES",
            "replay-no-op-updates",
            "on",
            "banana",
        ),
        ("PGCOPYDB_PORT", "port", "5", "0"),
        ("PGCOPYDB_LOG_JSON", "log-format", "off", "banana"),
    ];
    for (variable, option, good, bad) in cases {
        let shown = start_with(&["config", "show", "--json"], &[(variable, good)])
            .wait()
            .exits(0);
        let json: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        let options = json["options"].as_array().expect("a list");
        let one = options.iter().find(|one| one["name"] == option);
        let one = one.unwrap_or_else(|| panic!("no {option}"));
        assert_eq!(
            (&one["origin"], &one["place"]),
            (&"env".into(), &variable.into())
        );
        for command in [&["config", "check"][..], &["ping"], &["clone"]] {
            let out = start_with(command, &[(variable, bad)]).wait().exits(1);
            assert!(out.stderr.contains(variable), "{}", out.stderr);
        }
    }
}

#[test]
fn a_configuration_file_gives_what_nobody_else_did() {
    let (pair, work) = (pair(), WorkDir::new());
    let target = pair.target();
    let text = format!("source = \"{}\"\ntarget = \"{NOBODY}\"\n", pair.source());
    let file = work.file("config.toml", &text);
    run(&["ping", "--config", &file, "--target", &target]).exits(0);
    start_with(
        &["ping"],
        &[
            ("PGCOPYDB_CONFIG", &file),
            ("PGCOPYDB_TARGET_PGURI", &target),
        ],
    )
    .wait()
    .exits(0);
    let shown = run(&["config", "show", "--config", &file]).exits(0);
    assert!(
        shown.stdout.contains(&format!("file {file}")),
        "{}",
        shown.stdout
    );
    let wrong = work.file(
        "wrong.toml",
        "# ours\ntable-jobs = 8\nsource = \"postgres://host:port/db\"",
    );
    let check = ["config", "check", "--config", &wrong];
    run(&check)
        .exits(1)
        .says(&[&wrong, "line 3: option \"source\"", "port"]);
    start_with(&["config", "check"], &[("PGCOPYDB_TARGET_PGURI", "host")])
        .wait()
        .exits(1)
        .says(&["variable PGCOPYDB_TARGET_PGURI"]);
    let wrong = work.file("wrong.toml", "tabel-jobs = 8");
    run(&["ping", "--config", &wrong])
        .exits(1)
        .says(&["tabel-jobs", &wrong]);
}

#[test]
fn completions_are_printed_for_three_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let out = run(&["completions", shell]).exits(0);
        assert!(out.stdout.contains("table-jobs"), "{}", out.stdout);
    }
    run(&["completions", "csh"]).exits(1);
}
