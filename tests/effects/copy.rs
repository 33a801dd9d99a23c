//! What each option of a copy of rows does: processes, parts and formats, as the log and the ledger tell.

use rusqlite::Connection;

use crate::support::{Output, Pair, WorkDir};

/// Tables to split by key and by ctid, numbers for binary, large objects.
const SOURCE: &str = "
    create table keyed (id integer primary key, n double precision, m double precision);
    insert into keyed select i, i, i from generate_series(1, 20000) i;
    create table keyless (n double precision, m double precision);
    insert into keyless select i, i from generate_series(1, 20000) i;
    create table a (id integer primary key); insert into a select generate_series(1, 3000);
    create table b (id integer primary key); insert into b select generate_series(1, 3000);
    create table c (id integer primary key); insert into c select generate_series(1, 3000);
    create index on keyed (n); create index on a (id); create index on b (id); create index on c (id);
    select lo_create(50000 + i) from generate_series(1, 2000) i;";

const COMMANDS: [&str; 3] = ["clone", "copy data", "copy table-data"];

/// A pair that is ready for the command.
fn ready(command: &str) -> (Pair, WorkDir) {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    if command.starts_with("copy") {
        pair.does(&work, "dump schema", &[]).exits(0);
        pair.does(&work, "restore pre-data", &[]).exits(0);
    }
    (pair, work)
}

/// The same with a directory that has not read the source yet.
fn ready_elsewhere(command: &str) -> (Pair, WorkDir) {
    let (pair, _) = ready(command);
    (pair, WorkDir::new())
}

fn does(pair: &Pair, work: &WorkDir, command: &str, options: &[&str]) -> Output {
    match command {
        "clone" => pair.clone(work, options),
        _ => pair.does(work, command, options),
    }
}

/// One number of the work directory's ledger.
#[allow(
    clippy::disallowed_methods,
    reason = "a test is none of the processes that share the ledger"
)]
fn ledger(work: &WorkDir, sql: &str) -> i64 {
    let file = work.path().join("schema/source.db");
    let connection = Connection::open(file).expect("a ledger");
    let answer = connection.query_row(sql, [], |row| row.get(0));
    answer.expect("a number")
}

const PARTS: &str =
    "select count(*) from s_part p join s_table t on t.oid = p.table_oid where relname = ";

fn parts(work: &WorkDir, table: &str) -> i64 {
    ledger(work, &format!("{PARTS}'{table}'"))
}

#[test]
fn as_many_processes_are_started_as_jobs_are_asked_for() {
    let all = ["--table-jobs", "--index-jobs", "--large-objects-jobs"];
    for command in COMMANDS {
        let (pair, work) = ready(command);
        let jobs = if command == "copy table-data" {
            &all[..1]
        } else {
            &all[..]
        };
        let options: Vec<&str> = jobs.iter().flat_map(|option| [*option, "2"]).collect();
        let out = does(&pair, &work, command, &options).exits(0);
        out.says(&["STEP 4: starting 2 "]);
        if command != "copy table-data" {
            let (pair, work) = ready(command);
            let more = [
                "--restore-jobs",
                "3",
                "--index-jobs",
                "2",
                "--large-objects-jobs",
                "1",
            ];
            let out = does(&pair, &work, command, &more).exits(0);
            out.says(&[
                "STEP 4: starting 4 ",
                "STEP 5: starting 1 ",
                "STEP 6: starting 2 ",
            ]);
        }
    }
    for (command, option, words) in [
        ("copy indexes", "--index-jobs", "STEP 6: starting 2 "),
        ("copy constraints", "--index-jobs", "STEP 6: starting 2 "),
        ("copy blobs", "--large-objects-jobs", "STEP 5: starting 2 "),
    ] {
        let (pair, work) = ready("copy");
        pair.does(&work, command, &[option, "2"])
            .exits(0)
            .says(&[words]);
    }
    for command in [
        "clone",
        "copy schema",
        "restore schema",
        "restore post-data",
    ] {
        let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
        // indexes are built before, and what is attached to them one by one
        pair.in_source("create publication p for table a");
        if command.starts_with("restore") {
            pair.does(&work, "dump schema", &[]).exits(0);
        }
        if command == "restore post-data" {
            pair.does(&work, "restore pre-data", &[]).exits(0);
        }
        does(&pair, &work, command, &["--restore-jobs", "3"])
            .exits(0)
            .says(&["--jobs=3"]);
    }
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    pair.does(&work, "dump schema", &[]).exits(0);
    for command in ["restore pre-data", "copy data"] {
        pair.does(&work, command, &["--restore-jobs", "3"])
            .exits(0)
            .says(&["Option --restore-jobs has no effect"]);
    }
}

#[test]
fn tables_are_split_as_asked_and_statistics_are_made_only_when_asked() {
    for command in COMMANDS {
        let (pair, work) = ready_elsewhere(command);
        let analyzed = "select count(*) from pg_stat_user_tables where last_analyze is not null";
        let split = ["--split-tables-larger-than", "100kB"];
        let options = [
            &split[..],
            &["--split-max-parts", "2", "--estimate-table-sizes"],
        ]
        .concat();
        does(&pair, &work, command, &options).exits(0);
        assert_eq!(
            (parts(&work, "keyed"), parts(&work, "keyless")),
            (2, 2),
            "{command}"
        );
        let found: i32 = pair.in_source(analyzed).parse().unwrap();
        assert!(found >= 5, "{command}: {found}");
        let (pair, work) = ready_elsewhere(command);
        let more = [
            "--skip-split-by-ctid",
            "--estimate-table-sizes",
            "--skip-analyze",
        ];
        pair.in_source("analyze");
        pair.in_source("select pg_stat_reset()");
        does(&pair, &work, command, &[&split[..], &more].concat()).exits(0);
        assert!(parts(&work, "keyed") > 2, "{command}");
        assert_eq!(parts(&work, "keyless"), 0, "{command}");
        assert_eq!(pair.in_source(analyzed), "0", "{command}");
    }
}

#[test]
fn rows_go_in_the_format_that_is_asked_for() {
    let of = |format| format!("select count(*) from s_copy where format = '{format}'");
    for command in COMMANDS {
        for (options, text) in [
            (&["--copy-format", "text"][..], true),
            (&["--copy-format", "binary"], false),
            (&["--use-copy-binary"], false),
        ] {
            let (pair, work) = ready(command);
            does(&pair, &work, command, options).exits(0);
            let found = (ledger(&work, &of("text")), ledger(&work, &of("binary")));
            let expected = if text { (5, 0) } else { (0, 5) };
            assert_eq!(found, expected, "{command} {options:?}");
        }
    }
}

#[test]
fn vacuum_and_large_objects_are_left_out_on_request() {
    for command in ["clone", "copy data"] {
        let (pair, work) = ready(command);
        let options = ["--skip-vacuum", "--skip-large-objects"];
        does(&pair, &work, command, &options).exits(0);
        let found = "select (select count(*) from pg_largeobject_metadata),
            (select count(*) from pg_stat_user_tables where last_vacuum is not null or last_analyze is not null)";
        assert_eq!(pair.in_target(found), "0|0", "{command}");
        let (pair, work) = ready(command);
        does(&pair, &work, command, &[]).exits(0);
        assert_eq!(pair.in_target(found), "2000|5", "{command}");
    }
}

/// A server on which the rows and indexes of two tables fail, the largest ones.
const FAILING: &str = "
    create function fails(i integer) returns boolean language plpgsql immutable as
        'begin if current_setting(''port'')::integer = PORT then raise ''it fails''; end if; return true; end';
    create table bad (id integer, t text CHECK); insert into bad select i, repeat('x', 200) from generate_series(1, 5000) i;
    create table good (id integer); insert into good select generate_series(1, 3000);
    create index bad_i on bad (INDEX); create index good_i on good (id);
    create function slow(i integer) returns integer language plpgsql immutable as
        'begin if i = 1 then perform pg_sleep(0.3); end if; return i; end';
    create index slow1 on good (slow(id)); create index slow2 on good (slow(id)); create index slow3 on good (slow(id));
    create index slow4 on good (slow(id)); create index slow5 on good (slow(id)); create index slow6 on good (slow(id));
    create index slow7 on good (slow(id)); create index slow8 on good (slow(id)); create index slow9 on good (slow(id));
    alter table bad add constraint bad_u unique (id); alter table good add constraint good_u unique (id);";

fn failing(check: &str, index: &str) -> Pair {
    let pair = crate::support::pair();
    let port = pair.in_target("show port");
    let sql = FAILING.replace("PORT", &port).replace("CHECK", check);
    pair.in_source(&sql.replace("INDEX", index));
    pair
}

#[test]
fn the_first_failure_ends_a_run_that_is_to_fail_fast() {
    let by_rows = ("check (fails(id))", "id", "select count(*) from good");
    let built = "select count(*) from pg_class where relname like 'slow%'";
    let by_index = ("", "fails(id), (t || id)", built);
    for (command, (check, index, probe), jobs) in [
        ("clone", by_rows, "--table-jobs"),
        ("copy data", by_rows, "--table-jobs"),
        ("copy table-data", by_rows, "--table-jobs"),
        ("copy indexes", by_index, "--index-jobs"),
    ] {
        let mut found = Vec::new();
        for more in [&[][..], &["--fail-fast"]] {
            let (pair, work) = (failing(check, index), WorkDir::new());
            if command != "clone" {
                pair.does(&work, "dump schema", &[]).exits(0);
                pair.does(&work, "restore pre-data", &[]).exits(0);
            }
            if command == "copy indexes" {
                pair.does(&work, "copy table-data", &[]).exits(0);
            }
            does(&pair, &work, command, &[&[jobs, "1"], more].concat()).exits(7);
            found.push(pair.in_target(probe));
        }
        let found: Vec<i32> = found.iter().map(|text| text.parse().unwrap()).collect();
        assert!(found[1] < found[0], "{command}: {found:?}");
    }
}

#[test]
fn the_first_constraint_that_cannot_be_built_ends_a_run_that_is_to_fail_fast() {
    let mut found = Vec::new();
    for more in [&[][..], &["--fail-fast"]] {
        let (pair, work) = (failing("", "id"), WorkDir::new());
        for command in ["dump schema", "restore pre-data", "copy table-data"] {
            pair.does(&work, command, &[]).exits(0);
        }
        pair.in_target("insert into bad select * from bad");
        let options = [&["--index-jobs", "1"], more].concat();
        pair.does(&work, "copy constraints", &options).exits(7);
        found.push(pair.in_target("select count(to_regclass('good_u'))"));
    }
    assert_eq!(found, ["1", "0"]);
}
