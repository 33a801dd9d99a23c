//! Every variable, good and bad; defaults; options that contradict each other.

use super::*;
use crate::cli::args::Root;
use clap::Parser;

const URIS: [(&str, &str); 2] = [
    ("PGCOPYDB_SOURCE_PGURI", "postgres://u:pw@source/db"),
    ("PGCOPYDB_TARGET_PGURI", "postgres://u:pw@target/db"),
];

/// The settings of a clone with these options and, beside the URIs, these variables.
fn resolve(options: &[&str], variables: &[(&str, &str)]) -> Result<Resolved> {
    let arguments = [&["pgcopydb", "clone"], options].concat();
    let Some(crate::cli::args::Command::Clone(args)) =
        Root::try_parse_from(arguments).unwrap().command
    else {
        panic!("not a clone");
    };
    let environment = Environment::of(&[&URIS, variables].concat());
    let around = Surroundings {
        environment: &environment,
        json: false,
        progress: true,
        cmdline: "pgcopydb clone".to_owned(),
    };
    clone(&args, &around)
}

fn settings(options: &[&str], variables: &[(&str, &str)]) -> CloneSettings {
    resolve(options, variables).unwrap().settings
}

/// Workers for tables, indexes, `pg_restore` and large objects.
fn jobs_of(settings: &CloneSettings) -> [u32; 4] {
    let s = settings;
    [s.table_jobs, s.index_jobs, s.restore_jobs, s.blob_jobs]
}

#[test]
fn without_options_the_documented_defaults_hold() {
    let settings = settings(&[], &[]);
    assert_eq!(settings.source, "postgres://u:pw@source/db");
    assert_eq!(settings.dir, PathBuf::from("/tmp/pgcopydb"));
    assert_eq!(jobs_of(&settings), [4, 4, 4, 4]);
    assert_eq!(
        (settings.split_bytes, settings.split_max_parts),
        (1 << 30, 0)
    );
    assert_eq!(
        (settings.intent, settings.copy_format),
        (Intent::Fresh, FormatChoice::Auto)
    );
    assert_eq!(
        settings.switches,
        Switches {
            progress: true,
            ..Switches::default()
        }
    );
    assert!(!format!("{settings:?}").contains("pw"));
}

#[test]
fn each_variable_is_applied_and_an_option_beats_it() {
    let variables = [
        ("PGCOPYDB_TABLE_JOBS", "7"),
        ("PGCOPYDB_INDEX_JOBS", "8"),
        ("PGCOPYDB_LARGE_OBJECTS_JOBS", "9"),
        ("PGCOPYDB_SPLIT_TABLES_LARGER_THAN", "200 MB"),
        ("PGCOPYDB_SPLIT_MAX_PARTS", "5"),
        ("PGCOPYDB_SNAPSHOT", "00000003-0000002A-1"),
        ("TMPDIR", "/var/tmp"),
    ];
    let read = settings(&[], &variables);
    assert_eq!(jobs_of(&read), [7, 8, 8, 9]);
    assert_eq!((read.split_bytes, read.split_max_parts), (200 << 20, 5));
    assert_eq!(read.snapshot.as_deref(), Some("00000003-0000002A-1"));
    assert_eq!(read.dir, PathBuf::from("/var/tmp/pgcopydb"));
    let options = [
        "--jobs",
        "2",
        "--split-at",
        "0",
        "--snapshot",
        "x",
        "--dir",
        "d",
        "--restore-jobs=1",
    ];
    let given = settings(&options, &variables);
    assert_eq!(jobs_of(&given), [2, 8, 1, 9]);
    assert_eq!(
        (given.split_bytes, given.snapshot.as_deref()),
        (0, Some("x"))
    );
    assert_eq!(given.dir, PathBuf::from("d"));
    let restore = settings(&[], &[("PGCOPYDB_RESTORE_JOBS", "3")]);
    assert_eq!(restore.restore_jobs, 3);
}

#[test]
fn each_boolean_variable_is_applied_off_and_on() {
    type Read = fn(&CloneSettings) -> bool;
    let cases: [(&str, Read); 9] = [
        ("PGCOPYDB_ESTIMATE_TABLE_SIZES", |s| {
            s.switches.estimate_sizes
        }),
        ("PGCOPYDB_DROP_IF_EXISTS", |s| s.switches.drop_if_exists),
        ("PGCOPYDB_FAIL_FAST", |s| s.switches.fail_fast),
        ("PGCOPYDB_SKIP_VACUUM", |s| s.switches.skip_vacuum),
        ("PGCOPYDB_SKIP_ANALYZE", |s| s.switches.skip_analyze),
        ("PGCOPYDB_SKIP_DB_PROPERTIES", |s| {
            s.switches.skip_db_properties
        }),
        ("PGCOPYDB_SKIP_CTID_SPLIT", |s| s.switches.skip_ctid_split),
        ("PGCOPYDB_SKIP_TABLESPACES", |s| s.switches.no_tablespaces),
        ("PGCOPYDB_USE_COPY_BINARY", |s| {
            s.copy_format == FormatChoice::Binary
        }),
    ];
    for (name, read) in cases {
        assert!(read(&settings(&[], &[(name, "On")])), "{name}");
        assert!(!read(&settings(&[], &[(name, "off")])), "{name}");
        let error = resolve(&[], &[(name, "banana")]).unwrap_err();
        assert!(
            error.message().contains(name) && error.message().contains("banana"),
            "{error}"
        );
        assert!(error.message().contains("true, false, yes"), "{error}");
        assert_eq!(error.kind().exit_code(), 1);
    }
}

#[test]
fn a_bad_variable_is_an_error_even_where_an_option_overrides_it() {
    let cases = [
        ("PGCOPYDB_TABLE_JOBS", "0", "--table-jobs=4"),
        ("PGCOPYDB_INDEX_JOBS", "129", "--index-jobs=4"),
        ("PGCOPYDB_RESTORE_JOBS", "x", "--restore-jobs=4"),
        ("PGCOPYDB_LARGE_OBJECTS_JOBS", "", "--large-objects-jobs=4"),
        (
            "PGCOPYDB_SPLIT_TABLES_LARGER_THAN",
            "10Gb",
            "--split-tables-larger-than=1GB",
        ),
        ("PGCOPYDB_SPLIT_MAX_PARTS", "0", "--split-max-parts=4"),
        ("PGCOPYDB_SKIP_VACUUM", "o", "--skip-vacuum"),
    ];
    for (name, value, option) in cases {
        let error = resolve(&[option], &[(name, value)]).unwrap_err();
        assert!(error.message().contains(name), "{error}");
        assert!(error.message().contains(&format!("\"{value}\"")), "{error}");
        assert_eq!(error.kind().exit_code(), 1);
    }
}

#[test]
fn variables_of_following_do_nothing_without_follow() {
    let read = resolve(
        &[],
        &[
            ("PGCOPYDB_OUTPUT_PLUGIN", "wal2json"),
            ("PGCOPYDB_PORT", "1"),
        ],
    )
    .unwrap();
    assert!(read.choices.is_empty() && read.warnings.is_empty());
}

#[test]
fn a_filters_file_is_read_and_judged_before_anything_connects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.ini");
    let option = path.to_str().unwrap();
    let code = |options: &[&str]| resolve(options, &[]).map_err(|e| e.kind().exit_code());
    assert_eq!(code(&["--filters", option]).err(), Some(1));
    std::fs::write(&path, "[exclude-tabel]\n").unwrap();
    assert_eq!(code(&["--filters", option]).err(), Some(2));
    std::fs::write(&path, "[include-only-extension]\nhstore\n").unwrap();
    assert_eq!(
        code(&["--filters", option, "--skip-extensions"]).err(),
        Some(2)
    );
    let read = code(&["-F", option]).unwrap();
    assert_eq!(read.settings.filters.unwrap().rules.len(), 1);
}

#[test]
fn following_has_its_options_and_what_would_not_fit_is_refused() {
    let read = settings(
        &[
            "--follow",
            "--dir",
            "/d",
            "--slot-name",
            "s",
            "--endpos",
            "0/10",
        ],
        &[("PGCOPYDB_OUTPUT_PLUGIN", "wal2json")],
    );
    let along = read.follow.unwrap();
    assert_eq!(
        (along.slot.slot.as_str(), along.origin.as_str()),
        ("s", "pgcopydb")
    );
    assert_eq!(along.slot.plugin.unwrap().name(), "wal2json");
    assert_eq!(along.cdc.top(), std::path::Path::new("/d/cdc"));
    assert_eq!(along.endpos.unwrap().0, 16);
    let error = resolve(&["--follow", "--not-consistent", "--dir", "/d"], &[]).unwrap_err();
    assert_eq!(error.kind().exit_code(), 1);
    assert!(error.message().contains("--not-consistent"), "{error}");
    let read = resolve(&["--endpos", "0/10"], &[]).unwrap();
    assert_eq!(
        read.warnings,
        ["Option --endpos has no effect without --follow"]
    );
    assert!(read.settings.follow.is_none());
}

/// Options, variables, and where is listened.
type Listens = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    Option<&'static str>,
);

const HOST: (&str, &str) = ("PGCOPYDB_HOST", "127.0.0.3");
const PORT: (&str, &str) = ("PGCOPYDB_PORT", "7777");

#[test]
fn a_follow_listens_where_it_is_told_and_a_port_of_the_environment_alone_is_nothing() {
    let cases: [Listens; 7] = [
        (&[], &[], None),
        (&[], &[PORT], None),
        (&[], &[HOST], Some("127.0.0.3:5442")),
        (&[], &[HOST, PORT], Some("127.0.0.3:7777")),
        (&["--host", "127.0.0.2"], &[], Some("127.0.0.2:5442")),
        (
            &["--host", "127.0.0.2"],
            &[HOST, PORT],
            Some("127.0.0.2:7777"),
        ),
        (
            &["--host", "::1", "--port", "99"],
            &[PORT],
            Some("[::1]:99"),
        ),
    ];
    for (options, variables, expected) in cases {
        let words: Vec<&str> = [&["--follow", "--dir", "/d"], options].concat();
        let listen = settings(&words, variables).follow.unwrap().listen;
        let listen = listen.map(|address| address.to_string());
        assert_eq!(listen.as_deref(), expected, "{options:?} {variables:?}");
    }
    let read = resolve(&["--port", "99"], &[]).unwrap();
    assert_eq!(
        read.warnings,
        ["Option --port has no effect without --follow"]
    );
    for options in [["--host", "no such host"], ["--port", "99"]] {
        let bad = resolve(&[&["--follow"], &options[..]].concat(), &[PORT]).unwrap_err();
        assert_eq!(bad.kind().exit_code(), 1, "{bad}");
    }
}

#[test]
fn options_without_effect_are_warned_about() {
    let cases: [(&[&str], &str); 4] = [
        (
            &["--split-at", "0", "--split-max-parts", "3"],
            "--split-max-parts",
        ),
        (&["--skip-analyze"], "--skip-analyze"),
        (&["--snapshot", "x", "--not-consistent"], "--not-consistent"),
        (
            &["--requirements", "/etc/passwd", "--skip-extensions"],
            "--requirements",
        ),
    ];
    for (options, named) in cases {
        let warnings = resolve(options, &[]).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{options:?}");
        assert!(warnings[0].contains(named), "{warnings:?}");
    }
}

#[test]
fn formats_that_contradict_each_other_are_refused_and_options_beat_the_variable() {
    let error = resolve(&["--use-copy-binary", "--copy-format", "text"], &[]).unwrap_err();
    assert_eq!(error.kind().exit_code(), 1);
    let binary = [("PGCOPYDB_USE_COPY_BINARY", "on")];
    assert_eq!(
        settings(&["--copy-format", "text"], &binary).copy_format,
        FormatChoice::Text
    );
    assert_eq!(
        settings(&["--copy-format", "auto"], &binary).copy_format,
        FormatChoice::Auto
    );
    let both = settings(&["--use-copy-binary", "--copy-format", "binary"], &[]);
    assert_eq!(both.copy_format, FormatChoice::Binary);
}

#[test]
fn switches_of_the_command_line_are_all_applied() {
    let options = [
        "--roles",
        "--no-role-passwords",
        "--no-owner",
        "--no-acl",
        "--no-comments",
        "--no-tablespaces",
        "--skip-blobs",
        "--skip-extensions",
        "--skip-collations",
        "--resume",
        "--not-consistent",
        "--dry-run",
    ];
    let read = settings(&options, &[]);
    assert_eq!(read.intent, Intent::Resume);
    let expected = Switches {
        not_consistent: true,
        roles: true,
        no_role_passwords: true,
        no_owner: true,
        no_acl: true,
        no_comments: true,
        no_tablespaces: true,
        skip_blobs: true,
        skip_extensions: true,
        skip_ext_comments: true,
        skip_collations: true,
        dry_run: true,
        ..Switches::default()
    };
    assert_eq!(read.switches, expected);
    assert_eq!(settings(&["--restart"], &[]).intent, Intent::Restart);
}

fn connection_error(options: &[&str], variables: &[(&str, &str)]) -> Error {
    let args = Root::try_parse_from([&["pgcopydb", "ping"], options].concat()).unwrap();
    let Some(crate::cli::args::Command::Ping(args)) = args.command else {
        panic!("not a ping")
    };
    connections(&args.connections, &Environment::of(variables))
        .err()
        .unwrap()
}

#[test]
fn both_sides_are_mandatory() {
    let error = connection_error(&["--source", "x"], &[("PGCOPYDB_TARGET_PGURI", "")]);
    assert_eq!(
        error.message(),
        "Options --source and --target are mandatory"
    );
    assert_eq!(
        error.hint_text(),
        Some("Give the options, or set PGCOPYDB_TARGET_PGURI.")
    );
}

#[test]
fn connection_strings_come_from_private_files_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uri");
    std::fs::write(&path, " postgres://file/db\n").unwrap();
    let shown = path.to_str().unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = connection_error(&["--source-file", shown], &URIS);
    assert!(error.message().contains("other users"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let read = settings(&["--source-file", shown], &[]);
    assert_eq!(read.source, "postgres://file/db");
    let args = Root::try_parse_from(["pgcopydb", "ping", "--target=t"]).unwrap();
    let Some(crate::cli::args::Command::Ping(args)) = args.command else {
        panic!("not a ping")
    };
    let environment = Environment::of(&[("PGCOPYDB_SOURCE_PGURI_FILE", shown)]);
    let read = connections(&args.connections, &environment).ok().unwrap();
    assert_eq!(
        (read.source.as_str(), read.target.as_str()),
        ("postgres://file/db", "t")
    );
    let gone = connection_error(&["--source-file", "/does/not/exist"], &URIS);
    assert_eq!(gone.kind().exit_code(), 1);
}
