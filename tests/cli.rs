//! The command line itself: version, help, ping, and what is refused before anything runs.

use crate::support::{pair, run};

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
