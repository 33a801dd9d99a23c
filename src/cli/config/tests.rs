//! What a configuration file sets, what beats it, and what is refused in it.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// The arguments after a file with that text was read; the error in its lines.
fn with_file(
    text: &str,
    line: &str,
    variables: &[(&str, &str)],
) -> std::result::Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Word by word, and once: the folder's own name is random, and may have either in it.
    let (file, dir) = (path.to_str().unwrap(), folder.path().to_str().unwrap());
    let filled = |word: &str| match word.split_once("FILE") {
        Some((before, after)) => format!("{before}{file}{after}"),
        None => word.replacen("DIR", dir, 1),
    };
    let words: Vec<OsString> = line.split(' ').map(|word| filled(word).into()).collect();
    let completed = complete(&words, &Environment::of(variables)).map_err(|error| {
        error
            .lines()
            .join("\n")
            .replace(path.to_str().unwrap(), "FILE")
    })?;
    let added = completed.arguments.iter().skip(words.len());
    Ok(added
        .map(|word| word.to_string_lossy().into_owned())
        .collect())
}

fn added(text: &str, line: &str, variables: &[(&str, &str)]) -> Vec<String> {
    with_file(text, line, variables).unwrap()
}

#[test]
fn keys_are_long_option_names_and_serve_the_commands_that_have_them() {
    let text = "# ours\nsource = 'postgres://a/b'\ntable-jobs = 8\nskip-vacuum = true\nroles = false\n\
                split-tables-larger-than = \"200 MB\"";
    let all = added(text, "pgcopydb clone --config FILE", &[]);
    let expected = [
        "--skip-vacuum",
        "--source=postgres://a/b",
        "--split-tables-larger-than=200 MB",
        "--table-jobs=8",
    ];
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    let ping = added(text, "pgcopydb ping --config FILE", &[]);
    assert_eq!(ping, ["--source=postgres://a/b"]);
    assert!(added(text, "pgcopydb version --config FILE", &[]).is_empty());
}

#[test]
fn the_command_line_beats_the_environment_which_beats_the_file() {
    let text = "table-jobs = 8";
    assert_eq!(
        added(text, "pgcopydb clone --config FILE", &[]),
        ["--table-jobs=8"]
    );
    let variable = [("PGCOPYDB_TABLE_JOBS", "3")];
    assert!(added(text, "pgcopydb clone --config FILE", &variable).is_empty());
    assert!(added(text, "pgcopydb clone --jobs 2 --config FILE", &[]).is_empty());
    let off = [("PGCOPYDB_SKIP_VACUUM", "off")];
    assert!(added("skip-vacuum = true", "pgcopydb clone --config FILE", &off).is_empty());
}

#[test]
fn what_contradicts_the_command_line_or_the_environment_is_left_out() {
    type Case = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
    );
    let cases: [Case; 5] = [
        (
            "restart = true",
            "pgcopydb clone --resume --config FILE",
            &[],
        ),
        (
            "source-file = '/x'",
            "pgcopydb clone --source x --config FILE",
            &[],
        ),
        (
            "source = 'host=x'",
            "pgcopydb clone --source-file x --config FILE",
            &[],
        ),
        (
            "source-file = '/x'",
            "pgcopydb clone --config FILE",
            &[("PGCOPYDB_SOURCE_PGURI", "x")],
        ),
        (
            "log-level = 'debug'",
            "pgcopydb clone -q --config FILE",
            &[],
        ),
    ];
    for (text, line, variables) in cases {
        assert!(added(text, line, variables).is_empty(), "{line}");
    }
    let both = with_file(
        "restart = true\nresume = true",
        "pgcopydb clone --config FILE",
        &[],
    );
    let why = both.unwrap_err();
    assert!(
        why.starts_with("configuration file \"FILE\": pgcopydb clone: option --re"),
        "{why}"
    );
}

#[test]
fn the_file_is_found_by_option_then_variable_then_in_the_work_directory() {
    let text = "index-jobs = 2";
    assert_eq!(
        added(text, "pgcopydb clone --dir DIR", &[]),
        ["--index-jobs=2"]
    );
    let gone = with_file(text, "pgcopydb clone --dir DIR --config /no/such", &[]).unwrap_err();
    assert!(gone.contains("does not exist"), "{gone}");
    let gone = with_file(
        text,
        "pgcopydb clone --dir DIR",
        &[("PGCOPYDB_CONFIG", "/no/such")],
    );
    assert!(gone.unwrap_err().contains("does not exist"));
    assert!(added(text, "pgcopydb clone --dir /no/such", &[]).is_empty());
    // An option of the file never stands behind the end of options.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let dir = folder.path().to_str().unwrap();
    let words: Vec<OsString> = ["pgcopydb", "clone", "--dir", dir, "--"]
        .map(OsString::from)
        .into();
    let all = complete(&words, &Environment::of(&[])).unwrap().arguments;
    assert_eq!(all.last().unwrap(), "--");
}

#[test]
fn every_bad_line_is_refused_with_file_and_option() {
    let cases = [
        ("tabel-jobs = 8", "unknown option \"tabel-jobs\""),
        (
            "table-jobs = 0",
            "option \"table-jobs\" has a bad value: expected a whole number",
        ),
        ("table-jobs = true", "option \"table-jobs\" has a bad value"),
        (
            "skip-vacuum = 'yes'",
            "option \"skip-vacuum\" has a bad value",
        ),
        ("split-tables-larger-than = \"10Gb\"", "unknown unit"),
        (
            "copy-format = 'csv'",
            "option \"copy-format\" has a bad value",
        ),
        ("table-jobs = 1.5", "expected a string, a whole number"),
        ("[clone]\ntable-jobs = 1", "option \"clone\": expected"),
        ("table-jobs 1", "line 1:"),
        ("x = 1\nsource = postgres://u:pw@h/d", "line 2:"),
        ("verbose = 2", "option \"verbose\" cannot be set in a file"),
        ("jobs = 2", "unknown option \"jobs\""),
    ];
    for (text, expected) in cases {
        let why = with_file(text, "pgcopydb clone --config FILE", &[]).unwrap_err();
        assert!(why.starts_with("configuration file \"FILE\": "), "{why}");
        assert!(why.contains(expected), "{text}: {why}");
        assert!(!why.contains("pw"), "{why}");
    }
}

#[test]
fn a_file_with_a_password_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let read = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        ConfigFile::find_at(Some(path.clone()), None, &Environment::of(&[]))
    };
    assert!(read("source = 'postgres://u:pw@h/d'", 0o600).is_ok());
    assert!(read("source = 'postgres://u@h/d'", 0o644).is_ok());
    let why = read("source = 'postgres://u:pw@h/d'", 0o640).unwrap_err();
    assert!(
        why.message().contains("password") && !why.to_string().contains("pw@"),
        "{why}"
    );
    assert!(read("table-jobs = 2", 0o646).is_err());
}

#[test]
fn a_connection_string_that_is_none_is_refused_with_its_line() {
    let bad = "# ours\nsource-file = 'x'\n\n  \"target\" = 'host=a prot=5432 password=pw'\n";
    let why = with_file(bad, "pgcopydb config check --config FILE", &[]);
    assert!(why.unwrap().is_empty(), "that command looks itself");
    for line in [
        "pgcopydb clone --config FILE",
        "pgcopydb ping --config FILE",
    ] {
        let why = with_file(bad, line, &[]).unwrap_err();
        let expected = "configuration file \"FILE\": line 4: option \"target\": ";
        assert!(why.starts_with(expected), "{why}");
        assert!(!why.contains("pw"), "{why}");
    }
}
