//! What a clone refuses, with which exit status, and that it touches nothing then.

use std::time::Duration;

use crate::support::program::run_among_mounts;
use crate::support::{Cluster, Pair, WorkDir, pair, run, start};

/// Failing at once means within this.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Nobody listens there.
const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/postgres";

/// Exit status of a clone between these two.
fn clone_between(source: &str, target: &str) -> crate::support::Output {
    let work = WorkDir::new();
    run(&[
        "clone",
        "--source",
        source,
        "--target",
        target,
        "--dir",
        &work.dir(),
    ])
}

#[test]
fn a_used_work_directory_is_refused_with_both_ways_out() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    pair.clone(&work, &[]).exits(0);
    pair.clone(&work, &[])
        .exits(3)
        .says(&["--resume", "--restart"]);
}

#[test]
fn a_completed_work_directory_is_refused_although_the_target_was_emptied() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    pair.clone(&work, &[]).exits(0);
    pair.in_target("drop table t");
    pair.clone(&work, &[]).exits(3);
    assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
}

#[test]
fn resume_and_restart_exclude_each_other() {
    pair()
        .clone(&WorkDir::new(), &["--resume", "--restart"])
        .exits(1);
}

#[test]
fn resume_alone_is_refused_once_the_snapshot_is_gone() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    pair.in_target("create table t (id integer)");
    pair.clone(&work, &[]).exits(7);
    pair.clone(&work, &["--resume"])
        .exits(1)
        .says(&["--not-consistent"]);
}

#[test]
fn an_unreachable_server_is_exit_status_6_or_7() {
    // side by side, as a server that is just starting is waited for
    let (pair, one, other) = (pair(), WorkDir::new(), WorkDir::new());
    let (source, target) = (pair.source(), pair.target());
    let start = |source, target, dir: &str| {
        start(&[
            "clone", "--source", source, "--target", target, "--dir", dir,
        ])
    };
    let no_source = start(NOWHERE, target.as_str(), &one.dir());
    let no_target = start(source.as_str(), NOWHERE, &other.dir());
    no_source.wait().exits(6);
    no_target.wait().exits(7);
}

/// Where the distribution puts client tools, hidden.
const NO_TOOLS: &str = "mkdir -p \"$PGCOPYDB_TEST\"
    for place in /usr/lib/postgresql /usr/pgsql-*; do
        if [ -d $place ]; then mount -t tmpfs none $place; fi
    done; PATH=$PGCOPYDB_TEST:/bin:/sbin; export PATH
    for tool in pg_dump pg_restore; do
        if [ -e /usr/bin/$tool ]; then mount --bind /dev/null /usr/bin/$tool; fi
    done";

#[test]
fn missing_and_old_client_tools_are_exit_status_5() {
    let pair = Pair::with("create table t (id integer)");
    let (source, target, work) = (pair.source(), pair.target(), WorkDir::new());
    let old = "for tool in pg_dump pg_restore; do
            printf '#!/bin/sh\\necho \"'$tool' (PostgreSQL) 9.5.25\"\\n' > $PGCOPYDB_TEST/$tool
            chmod +x $PGCOPYDB_TEST/$tool
        done";
    let tools = work.path().with_extension("tools");
    for before in ["", old] {
        let before = format!("PGCOPYDB_TEST='{}'\n{NO_TOOLS}\n{before}", tools.display());
        let dir = work.dir();
        let arguments = [
            "clone",
            "--restart",
            "--source",
            &source,
            "--target",
            &target,
            "--dir",
            &dir,
        ];
        let Some(out) = run_among_mounts(&before, &arguments) else {
            return;
        };
        out.exits(5).says(&["pg_dump"]);
        assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
    }
}

#[test]
fn a_work_directory_that_cannot_be_written_is_exit_status_3() {
    let pair = Pair::with("create table t (id integer)");
    let (source, target, work) = (pair.source(), pair.target(), WorkDir::new());
    let below_a_file = format!("{}/run", work.file("file", ""));
    for dir in ["/proc/nowhere/run", &below_a_file] {
        let out = run(&[
            "clone", "--source", &source, "--target", &target, "--dir", dir,
        ]);
        out.exits(3).says(&["--dir"]);
    }
    assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
}

#[test]
fn a_work_directory_that_is_full_is_exit_status_3() {
    let pair = Pair::with("create table t (id integer)");
    let (source, target, work) = (pair.source(), pair.target(), WorkDir::new());
    let dir = work.dir();
    for room in ["8k", "64k", "200k"] {
        let before =
            format!("mkdir -p '{dir}'; mount -t tmpfs -o mode=0700,size={room} none '{dir}'");
        let arguments = [
            "clone", "--source", &source, "--target", &target, "--dir", &dir,
        ];
        let Some(out) = run_among_mounts(&before, &arguments) else {
            return;
        };
        out.exits(3);
        assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
    }
}

#[test]
fn a_wrong_password_fails_at_once() {
    let cluster = Cluster::start();
    cluster.sql(
        "postgres",
        "create role scram_role login password 'right';
        set password_encryption = 'md5'; create role md5_role login password 'right'",
    );
    cluster.hba("host all scram_role 127.0.0.1/32 scram-sha-256");
    cluster.hba("host all md5_role 127.0.0.1/32 md5");
    for role in ["scram_role", "md5_role"] {
        let wrong = cluster.uri_as("postgres", role, "wrong");
        let out = clone_between(&wrong, &pair().target()).exits(6);
        assert!(
            out.took < AT_ONCE,
            "{role} took {:?}\n{}",
            out.took,
            out.stderr
        );
    }
}

#[test]
fn the_right_password_is_taken_by_scram_and_md5() {
    let cluster = Cluster::start();
    cluster.sql(
        "postgres",
        "create role scram_role superuser login password 'r:i@g/h%t';
        set password_encryption = 'md5'; create role md5_role superuser login password 'right'",
    );
    cluster.hba("host all scram_role 127.0.0.1/32 scram-sha-256");
    cluster.hba("host all md5_role 127.0.0.1/32 md5");
    for (role, password) in [("scram_role", "r%3Ai%40g%2Fh%25t"), ("md5_role", "right")] {
        clone_between(
            &cluster.uri_as("postgres", role, password),
            &pair().target(),
        )
        .exits(0);
    }
}

#[test]
fn a_missing_database_fails_at_once() {
    let pair = pair();
    let out = clone_between(&pair.from.uri("no_such_database"), &pair.target()).exits(6);
    assert!(out.took < AT_ONCE, "took {:?}", out.took);
    out.says(&["no_such_database"]);
    clone_between(&pair.source(), &pair.to.uri("no_such_database")).exits(7);
}

#[test]
fn one_database_on_both_sides_is_refused() {
    let pair = Pair::with("create table t (id integer); insert into t values (1)");
    clone_between(&pair.source(), &pair.source()).exits(3);
    let other_way = pair.source().replace("127.0.0.1", "localhost");
    clone_between(&pair.source(), &other_way).exits(3);
    assert_eq!(pair.in_source("select count(*) from t"), "1");
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_left_alone() {
    let pair = Pair::with("create table t (id integer); create table u (id integer)");
    pair.in_target("create table t (id integer, mine text); insert into t values (1, 'precious')");
    pair.clone(&WorkDir::new(), &[]).exits(7).says(&["t"]);
    assert_eq!(
        pair.in_target("select mine, to_regclass('u') is null from t"),
        "precious|t"
    );
}

#[test]
fn values_out_of_range_are_refused() {
    let pair = pair();
    for (option, value) in [
        ("--table-jobs", "0"),
        ("--table-jobs", "100000"),
        ("--index-jobs", "-1"),
        ("--table-jobs", "many"),
        ("--split-tables-larger-than", "10 parsec"),
    ] {
        let option = format!("{option}={value}");
        pair.clone(&WorkDir::new(), &[&option]).exits(1);
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let (pair, work) = (pair(), WorkDir::new());
    pair.clone(&work, &["--all-databases", "--follow"])
        .exits(1)
        .says(&["--all-databases", "--follow"]);
    pair.clone(&work, &["--all-databases", "--snapshot", "x"])
        .exits(1)
        .says(&["--snapshot cannot be used with --all-databases"]);
}

/// A pair whose source is read by that role.
fn clone_as(pair: &Pair, role: &str) -> crate::support::Output {
    clone_between(&pair.from.uri_as(&pair.db, role, ""), &pair.target())
}

#[test]
fn dl_08_a_role_from_whom_rows_are_hidden_is_refused() {
    let pair = Pair::with(
        "create role sees_less login; create table guarded (id integer);
         insert into guarded select generate_series(1, 100);
         alter table guarded enable row level security;
         create policy few on guarded using (id < 10);
         grant select on guarded to sees_less",
    );
    clone_as(&pair, "sees_less").exits(6).says(&["guarded"]);
    assert_eq!(pair.in_target("select to_regclass('guarded') is null"), "t");
}

#[test]
fn a_table_that_may_not_be_read_is_named() {
    let pair = Pair::with(
        "create role reads_less login; create table open (id integer); create table shut (id integer);
         grant select on open to reads_less",
    );
    clone_as(&pair, "reads_less").exits(6).says(&["shut"]);
    assert_eq!(pair.in_target("select to_regclass('open') is null"), "t");
}

#[test]
fn a_schema_of_the_user_that_is_named_like_ours_is_refused_as_it_is_not_copied() {
    let pair = Pair::with(
        "create table t (id integer); create schema pgcopydb;
         create table pgcopydb.table_size (oid oid, bytes bigint)",
    );
    pair.clone(&WorkDir::new(), &["--dry-run"]).exits(0);
    // With a name of ours, too, which ours would be made and dropped for.
    pair.in_source(
        "create table pgcopydb.precious (id integer); create table pgcopydb.progress (work text);
         create table pgcopydb.sentinel (id integer)",
    );
    pair.clone(&WorkDir::new(), &[]).exits(6).says(&[
        "pgcopydb.precious, pgcopydb.progress, pgcopydb.sentinel",
        "HINT",
        "rename",
    ]);
    assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
}

#[test]
fn large_objects_of_the_target_are_not_overwritten_by_a_first_run() {
    let pair = Pair::with("select lo_from_bytea(4711, 'new'), lo_from_bytea(4713, 'new')");
    pair.in_target("select lo_from_bytea(4711, 'precious'), lo_from_bytea(4712, 'mine')");
    pair.clone(&WorkDir::new(), &[])
        .exits(7)
        .says(&["4711", "lo_unlink", "--skip-large-objects"]);
    let of = |oid: u32| pair.in_target(&format!("select encode(lo_get({oid}), 'escape')"));
    assert_eq!((of(4711).as_str(), of(4712).as_str()), ("precious", "mine"));
    pair.clone(&WorkDir::new(), &["--skip-large-objects"])
        .exits(0);
    assert_eq!(of(4711), "precious");
    pair.clone(&WorkDir::new(), &["--drop-if-exists"]).exits(0);
    assert_eq!((of(4711).as_str(), of(4712).as_str()), ("new", "mine"));
}

#[test]
fn drop_if_exists_drops_nothing_that_the_source_does_not_have() {
    let schema = "create table t (id integer primary key); create view seen as select id from t";
    let pair = Pair::with(schema);
    pair.in_target(schema);
    pair.in_target(
        "create view mine as select id from seen;
         create table child (id integer constraint its references t); insert into t values (1)",
    );
    let work = WorkDir::new();
    pair.clone(&work, &["--drop-if-exists"])
        .exits(7)
        .says(&["view public.mine", "foreign key its of table public.child"]);
    assert_eq!(pair.in_target("select count(*) from mine"), "1");
    pair.in_target("drop view mine; alter table child drop constraint its");
    pair.clone(&work, &["--drop-if-exists"])
        .exits(0)
        .says(&[&format!("database \"{}\"", pair.db), "public.t"]);
    pair.in_target("drop table child");
    pair.assert_equal();
}

#[test]
fn a_schema_of_the_target_that_is_named_like_ours_is_refused_before_anything_happens() {
    let pair = Pair::with("create table t (id integer)");
    pair.in_target("create schema pgcopydb create table progress (mine text)");
    let work = WorkDir::new();
    pair.clone(&work, &[])
        .exits(7)
        .says(&["pgcopydb.progress", "alter schema pgcopydb rename"]);
    assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
    pair.in_target("drop table pgcopydb.progress; create table pgcopydb.other (mine text)");
    pair.clone(&WorkDir::new(), &[]).exits(0);
    assert_eq!(
        pair.in_target("select to_regclass('pgcopydb.other') is not null"),
        "t"
    );
}
