//! What is accepted and refused, in the words that people see; man pages against the command tree.

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

/// The two lines that a refused command line prints.
fn refusal(line: &str) -> Vec<String> {
    match parse(&words(line)) {
        Err(error) => {
            assert_eq!(error.kind().exit_code(), 1);
            error.lines()
        }
        Ok(_) => panic!("{line} is accepted"),
    }
}

#[test]
fn usage_errors_take_two_lines_and_name_command_and_option() {
    let cases = [
        (
            "pgcopydb clone --tabel-jobs 4",
            "pgcopydb clone: unknown option \"--tabel-jobs\", did you mean \"--table-jobs\"?",
        ),
        (
            "pgcopydb clone extra --index-jobs 8",
            "pgcopydb clone: unexpected argument \"extra\"",
        ),
        (
            "pgcopydb -v clone --table-jobs 0",
            "pgcopydb clone: option --table-jobs: value \"0\": expected a whole number from 1 to 128",
        ),
        (
            "pgcopydb clone --split-at 10Gb",
            "pgcopydb clone: option --split-tables-larger-than: value \"10Gb\": \
             unknown unit \"Gb\", did you mean GB?",
        ),
        (
            "pgcopydb clone --restart --resume",
            "pgcopydb clone: option --restart cannot be used with --resume",
        ),
        (
            "pgcopydb clone --copy-format csv",
            "pgcopydb clone: option --copy-format: value \"csv\": expected one of auto, text, binary",
        ),
        (
            "pgcopydb clone --dir",
            "pgcopydb clone: option --dir needs a value",
        ),
        (
            "pgcopydb --log-format json ping --table-jobs 4",
            "pgcopydb ping: option --table-jobs is not used by \"pgcopydb ping\"",
        ),
        (
            "pgcopydb clone --no",
            "pgcopydb clone: option \"--no\" is ambiguous, several options begin like that",
        ),
        (
            "pgcopydb copy db --bogus",
            "pgcopydb copy db: unknown option \"--bogus\"",
        ),
    ];
    for (line, expected) in cases {
        let lines = refusal(line);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], expected);
        let path = expected.split(':').next().unwrap();
        assert_eq!(lines[1], format!("HINT: Try \"{path} --help\"."));
    }
}

#[test]
fn commands_that_are_not_built_yet_are_refused_with_any_arguments() {
    for name in args::NOT_YET {
        let lines = refusal(&format!("pgcopydb {name} tables --dir x -h"));
        assert_eq!(lines[0], format!("pgcopydb {name} is not supported yet"));
    }
}

#[test]
fn an_unknown_or_missing_command_gets_the_list_of_commands() {
    let Ok(Parsed::NoCommand(text)) = parse(&words("pgcopydb clnoe --dir x")) else {
        panic!("accepted")
    };
    assert!(
        text.starts_with("pgcopydb: unknown command \"clnoe\", did you mean"),
        "{text}"
    );
    assert!(text.contains("\n    clone "), "{text}");
    assert!(!text.contains("prefetch"), "{text}");
    let Ok(Parsed::NoCommand(text)) = parse(&words("pgcopydb copy bd")) else {
        panic!("accepted")
    };
    assert!(
        text.starts_with("pgcopydb copy: unknown command \"bd\""),
        "{text}"
    );
    assert!(text.contains("    db "), "{text}");
    let bare = pgcopydb::help::expected_command("pgcopydb copy");
    assert!(
        bare.starts_with("pgcopydb copy: expected a command\n"),
        "{bare}"
    );
    assert!(pgcopydb::help::whole_tree().contains("pgcopydb copy: available commands\n"));
}

#[test]
fn help_is_a_result_and_shows_no_hidden_option() {
    for line in [
        "pgcopydb --help",
        "pgcopydb clone -h",
        "pgcopydb copy db --help",
        "pgcopydb ping -h",
        "pgcopydb stream replay -h",
    ] {
        let Ok(Parsed::Help(text)) = parse(&words(line)) else {
            panic!("{line} is no help")
        };
        let path = usage::path_of(&words(line));
        assert!(text.starts_with(&format!("{path}: ")), "{text}");
        assert!(text.contains("\nusage: pgcopydb"), "{text}");
        assert!(!text.contains("--max-replaydb-size"), "{text}");
    }
}

#[test]
fn prefixes_aliases_and_short_letters_of_the_existing_program_are_accepted() {
    let cases = [
        "pgcopydb clone --di d --table 4 --drop --split-m 3",
        "pgcopydb fork --jobs 4 --large-object-jobs 2 --split-at 10GB --skip-blobs",
        "pgcopydb copy-db --skip-ext-comment --with-copy-binary --skip-tablespaces --notice",
        "pgcopydb copy db -S x -T y -D z -I 4 -b 2 -L 1GB -u 3 -mcAPOXj 4 -xBeMlUagkyn -Q f -i",
        "pgcopydb clone --filter x -F y -fwp wal2json -s y",
        "pgcopydb --json version",
        "pgcopydb version -J",
        "pgcopydb clone -vvv --table-jobs 4 --table-jobs 5 --drop-if-exists --drop-if-exists",
    ];
    for line in cases {
        assert!(matches!(parse(&words(line)), Ok(Parsed::Root(_))), "{line}");
    }
    let Ok(Parsed::Root(root)) = parse(&words("pgcopydb -J version")) else {
        panic!("refused")
    };
    assert!(root.globals.json);
}

#[test]
fn the_command_line_is_kept_in_one_line_and_without_passwords() {
    let line = words("pgcopydb clone --source postgres://u:secret@h/db");
    let kept = cmdline(&line, RUNS.redact);
    assert!(
        kept.starts_with("pgcopydb clone --source postgres://u:***@h/db"),
        "{kept}"
    );
    let kept = cmdline(&["a".into(), "b c'd".into(), "".into()], RUNS.redact);
    assert_eq!(kept, r"a 'b c'\''d' ''");
}

mod man;

fn built(path: &[&str]) -> clap::Command {
    let mut tree = args::tree();
    tree.build();
    path.iter().fold(tree, |command, word| {
        command.find_subcommand(word).unwrap().clone()
    })
}
