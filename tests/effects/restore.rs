//! What each option of a restore does: a source with one thing for each of them, and a look for that thing on
//! the target.

use std::process::Command;

use crate::support::servers::lonely_pair;
use crate::support::{Output, Pair, WorkDir, pair, run};

/// Something for each option.
const SOURCE: &str = "
    create table t (id integer primary key, c text) tablespace aside; alter table t owner to keeper;
    grant select on t to public; comment on table t is 'a table';
    create index t_c on t (c) tablespace aside; comment on index t_c is 'an index';
    create table junk (id integer); insert into t values (1, 'x');
    create extension hstore; comment on extension hstore is 'mine';
    create collation mine (provider = icu, locale = 'de');
    create function told() returns event_trigger language plpgsql as 'begin end';
    create publication p for table t; alter publication p owner to keeper;";

/// An option, and what is true on the target without it and is not with it.
const LEFT_OUT: [(&str, &str); 7] = [
    (
        "--no-owner",
        "select relowner = 'keeper'::regrole from pg_class where relname = 't'",
    ),
    (
        "--no-acl",
        "select relacl is not null from pg_class where relname = 't'",
    ),
    (
        "--no-comments",
        "select obj_description('t'::regclass) is not null",
    ),
    (
        "--no-tablespaces",
        "select reltablespace <> 0 from pg_class where relname = 't'",
    ),
    (
        "--skip-ext-comments",
        "select obj_description(oid, 'pg_extension') = 'mine' from pg_extension where extname = 'hstore'",
    ),
    (
        "--skip-collations",
        "select exists (select from pg_collation where collname = 'mine')",
    ),
    (
        "--skip-db-properties",
        "select exists (select from pg_db_role_setting s join pg_database d on d.oid = setdatabase where datname = current_database())",
    ),
];

/// Databases on servers that have the role and the tablespace.
fn ready(base: &Pair, number: usize) -> Pair {
    let db = format!("e{number}");
    let pair = crate::support::servers::pair_on(base.from, base.to, db, "");
    pair.in_source(SOURCE);
    pair.in_source(&format!("alter database {} set work_mem = '5MB'", pair.db));
    pair
}

fn servers() -> Pair {
    let base = lonely_pair();
    for side in [base.from, base.to] {
        side.sql(
            "postgres",
            "create role keeper; set allow_in_place_tablespaces = on; create tablespace aside location ''",
        );
    }
    base
}

/// Runs one of the commands that restore pre-data, with a dump before it where it needs one.
fn restore(pair: &Pair, command: &str, options: &[&str]) -> Output {
    let work = WorkDir::new();
    if command == "clone" {
        return pair.clone(&work, options);
    }
    if command.starts_with("restore") {
        // what was dumped through filters is restored through them
        let filters = options.iter().position(|word| *word == "--filters");
        let of_dump = filters.map_or(&[][..], |at| &options[at..at + 2]);
        pair.does(&work, "dump schema", of_dump).exits(0);
    }
    pair.does(&work, command, options)
}

const COMMANDS: [&str; 4] = ["clone", "copy schema", "restore schema", "restore pre-data"];

fn takes(command: &str, option: &str) -> bool {
    option != "--skip-collations" || !command.starts_with("restore")
}

#[test]
fn each_option_of_a_restore_leaves_out_one_thing() {
    let base = servers();
    for (number, command) in COMMANDS.into_iter().enumerate() {
        let whole = ready(&base, 10 * number);
        restore(&whole, command, &[]).exits(0);
        let less = ready(&base, 10 * number + 1);
        let options: Vec<&str> = LEFT_OUT.iter().map(|(option, _)| *option).collect();
        let options: Vec<&str> = options.into_iter().filter(|o| takes(command, o)).collect();
        restore(&less, command, &options).exits(0);
        for (option, probe) in LEFT_OUT {
            let found = [whole.in_target(probe), less.in_target(probe)];
            let with = if takes(command, option) { "f" } else { "t" };
            let is_right = found[0] == "t" && (found[1] == with || found[1].is_empty());
            assert!(is_right, "{command} {option}: {found:?}");
        }
        let less_still = ready(&base, 10 * number + 2);
        restore(&less_still, command, &["--skip-extensions"]).exits(0);
        let there = "select count(*) from pg_extension where extname = 'hstore'";
        assert_eq!(
            (whole.in_target(there), less_still.in_target(there)),
            ("1".into(), "0".into()),
            "{command}"
        );
        let work = WorkDir::new();
        let filters = work.file("filters.ini", "[exclude-table]\npublic.junk\n");
        let source = less_still.source();
        let mut options = vec!["--filters", &filters];
        if command.starts_with("restore") {
            options.extend(["--source", &source]);
        }
        let filtered = ready(&base, 10 * number + 3);
        let source = filtered.source();
        if let Some(place) = options.get_mut(3) {
            *place = &source;
        }
        restore(&filtered, command, &options).exits(0);
        let there = "select to_regclass('junk') is null";
        assert_eq!(
            (whole.in_target(there), filtered.in_target(there)),
            ("f".into(), "t".into()),
            "{command}"
        );
        restore(&filtered, command, &options)
            .exits(7)
            .says(&["not empty"]);
        options.push("--drop-if-exists");
        restore(&filtered, command, &options).exits(0);
    }
}

#[test]
fn an_extension_is_made_in_the_version_that_is_required() {
    let required = "[{\"name\": \"hstore\", \"version\": \"1.4\"}]";
    for command in ["clone", "copy schema", "copy extensions"] {
        let (pair, work) = (Pair::with("create extension hstore"), WorkDir::new());
        let file = work.file("wanted.json", required);
        restore(&pair, command, &["--requirements", &file]).exits(0);
        let version = "select extversion from pg_extension where extname = 'hstore'";
        assert_eq!(pair.in_target(version), "1.4", "{command}");
    }
}

/// A copy of a work directory, so that one dump serves several restores.
fn copy_of(work: &WorkDir) -> WorkDir {
    let copy = WorkDir::new();
    let done = Command::new("cp")
        .args(["-a", &work.dir(), &copy.dir()])
        .status();
    assert!(done.is_ok_and(|status| status.success()));
    copy
}

#[test]
fn post_data_takes_the_options_of_pre_data() {
    let base = servers();
    let pair = ready(&base, 90);
    let work = WorkDir::new();
    pair.does(&work, "dump schema", &[]).exits(0);
    pair.does(&work, "restore pre-data", &[]).exits(0);
    let probes = [
        (
            "--no-owner",
            "select pubowner = 'keeper'::regrole from pg_publication",
        ),
        (
            "--no-comments",
            "select obj_description('t_c'::regclass) is not null",
        ),
        (
            "--no-tablespaces",
            "select reltablespace <> 0 from pg_class where relname = 't_c'",
        ),
    ];
    let again = "drop publication p; drop index t_c; alter table t drop constraint t_pkey";
    let whole = copy_of(&work);
    pair.does(&whole, "restore post-data", &[]).exits(0);
    for (option, probe) in probes {
        assert_eq!(pair.in_target(probe), "t", "{option}");
    }
    pair.in_target(again);
    let less = copy_of(&work);
    let options = probes.map(|(option, _)| option);
    pair.does(&less, "restore post-data", &options).exits(0);
    for (option, probe) in probes {
        assert_eq!(pair.in_target(probe), "f", "{option}");
    }
    // nothing of post-data has privileges of its own, or is an extension: what they change is the tool's command line
    // and what the step was begun with
    for option in ["--no-acl", "--skip-extensions", "--skip-ext-comments"] {
        pair.in_target(again);
        let one = copy_of(&work);
        pair.does(&one, "restore post-data", &[option]).exits(0);
        pair.does(&one, "restore post-data", &["--resume", "--no-owner"])
            .exits(3)
            .says(&["other options"]);
    }
    pair.in_target(again);
    let one = WorkDir::new();
    let filters = one.file("filters.ini", "[exclude-index]\npublic.t_c\n");
    let through = ["--filters", &filters, "--source", &pair.source()];
    pair.does(&one, "dump schema", &through[..2]).exits(0);
    pair.does(&work, "restore post-data", &through)
        .exits(3)
        .says(&["other filters"]);
    pair.in_target("drop table t, junk cascade; drop extension hstore; drop collation mine; drop function told()");
    pair.does(&one, "restore pre-data", &through).exits(0);
    pair.does(&one, "restore post-data", &through).exits(0);
    assert_eq!(pair.in_target("select to_regclass('t_c') is null"), "t");
}

#[test]
fn the_schema_is_restored_again_with_restart_and_gone_on_with_with_resume() {
    let sql = "create table t (id integer primary key)";
    for command in [
        "copy schema",
        "restore schema",
        "restore pre-data",
        "restore post-data",
    ] {
        let (pair, work) = (Pair::with(sql), WorkDir::new());
        if command.starts_with("restore") {
            pair.does(&work, "dump schema", &[]).exits(0);
        }
        if command == "restore post-data" {
            pair.does(&work, "restore pre-data", &[]).exits(0);
        }
        pair.does(&work, command, &[]).exits(0);
        pair.does(&work, command, &[]).exits(3).says(&["--resume"]);
        let resume = ["--resume", "--not-consistent"];
        let resume = &resume[..if command.starts_with("restore") { 1 } else { 2 }];
        pair.does(&work, command, resume).exits(0);
        let again = match command {
            "restore post-data" => "alter table t drop constraint t_pkey",
            _ => "drop table t",
        };
        pair.in_target(again);
        pair.does(&work, command, &["--restart"]).exits(0);
        let there = "select to_regclass('t') is not null";
        assert_eq!(pair.in_target(there), "t", "{command}");
    }
    let (pair, work) = (Pair::with(sql), WorkDir::new());
    pair.does(&work, "copy schema", &["--not-consistent"])
        .exits(0);
    assert!(!work.path().join("snapshot").exists());
}

#[test]
fn requirements_come_through_a_pipe_and_an_extension_that_the_source_lacks_is_named() {
    let (pair, work) = (Pair::with("create extension hstore"), WorkDir::new());
    let pipe = work.file("wanted.pipe", "");
    std::fs::remove_file(&pipe).unwrap();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(pipe.as_str(), mode).unwrap();
    let to = pipe.clone();
    let writer = std::thread::spawn(move || {
        let text =
            r#"[{"name": "hstore", "version": "1.4"}, {"name": "citext", "version": "1.6"}]"#;
        std::fs::write(to, text).unwrap();
    });
    pair.clone(&work, &["--requirements", &pipe])
        .exits(0)
        .says(&["extension \"citext\", which the source does not have"]);
    writer.join().unwrap();
    let version = "select string_agg(extversion, ' ') from pg_extension where extname in ('hstore', 'citext')";
    assert_eq!(pair.in_target(version), "1.4");
    pair.clone(&WorkDir::new(), &["--requirements", "/nowhere/at/all"])
        .exits(1)
        .says(&["does not exist"]);
}

#[test]
fn a_restore_of_what_was_never_dumped_makes_no_directory() {
    let (pair, work) = (pair(), WorkDir::new());
    let (target, dir) = (pair.target(), work.dir());
    for command in ["schema", "pre-data", "post-data", "roles"] {
        run(&["restore", command, "--target", &target, "--dir", &dir])
            .exits(3)
            .says(&["does not exist", "--dir"]);
        assert!(!work.path().exists(), "{command}");
    }
}
