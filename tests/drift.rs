//! The source changes its tables between the snapshot and a table's turn: right rows, or an error that
//! names the table. Never fewer rows, another table's rows or other columns' values, and exit status 0.

use crate::support::servers::GATED;
use crate::support::{PATIENCE, Pair, WorkDir, pair, within};

/// A table whose turn comes after the gate's, and one to swap it with.
const LATE: &str = "
    create table late (id integer, a text, b text);
    insert into late select i, 'a' || i, 'b' || i from generate_series(1, 20) i;
    create table other (id integer, a text, b text);
    insert into other select i, 'x', 'y' from generate_series(1, 20) i;";

/// Clones while the gate is closed, changes the source meanwhile; exit status and log.
fn clone_while(change: &str) -> (Pair, crate::support::Output) {
    let (pair, work) = (pair(), WorkDir::new());
    pair.in_source(GATED);
    pair.in_source(LATE);
    let gate = pair.gate();
    let run = pair.start(&work, &["--table-jobs", "1"]);
    pair.wait_for_gate(&run);
    pair.in_source(change);
    drop(gate);
    let output = run.wait();
    (pair, output)
}

#[test]
fn swapped_column_names_fail_by_the_tables_name() {
    let (_pair, output) = clone_while(
        "alter table late rename a to c; alter table late rename b to a;
         alter table late rename c to b",
    );
    output.exits(6).says(&["public.late", "columns"]);
}

#[test]
fn a_column_that_was_dropped_and_added_again_fails_by_the_tables_name() {
    let (_pair, output) = clone_while("alter table late drop a; alter table late add a text");
    output.exits(6).says(&["public.late", "columns"]);
}

#[test]
fn a_truncated_table_fails_by_name() {
    let (_pair, output) = clone_while("truncate late");
    output
        .exits(6)
        .says(&["public.late", "truncated or rewritten"]);
}

#[test]
fn a_rewritten_table_fails_by_name() {
    let (_pair, output) = clone_while("alter table late alter id type bigint");
    output
        .exits(6)
        .says(&["public.late", "truncated or rewritten"]);
}

#[test]
fn swapped_table_names_fail_by_name() {
    let (_pair, output) = clone_while(
        "alter table late rename to x; alter table other rename to late;
         alter table x rename to other",
    );
    output.exits(6).says(&["no longer means the table"]);
}

#[test]
fn a_vacuum_full_keeps_all_rows_and_is_told() {
    let (pair, output) = clone_while("vacuum full late");
    output.exits(0).says(&["public.late was rewritten"]);
    pair.assert_equal();
}

#[test]
fn a_truncate_between_the_snapshot_and_the_catalogs_fails_by_name() {
    let (pair, work) = (pair(), WorkDir::new());
    pair.in_source(LATE);
    // The session's name tells the id of the snapshot that it holds.
    let text = "begin isolation level repeatable read;
        select set_config('application_name', 'holds ' || pg_export_snapshot(), false);
        select pg_sleep(60);";
    let (cluster, db) = (pair.from, pair.db.clone());
    let _session = std::thread::spawn(move || drop(cluster.try_sql(&db, text)));
    let holder = format!(
        "from pg_stat_activity where datname = '{}' and application_name like 'holds %'",
        pair.db
    );
    let find = format!("select substr(application_name, 7) {holder}");
    let there = within(PATIENCE, || !pair.from.sql("postgres", &find).is_empty());
    assert!(there, "no snapshot was exported");
    let id = pair.from.sql("postgres", &find);
    pair.in_source("truncate late");
    let output = pair.clone(&work, &["--snapshot", &id]);
    let end = format!("select pg_terminate_backend(pid) {holder}");
    pair.from.sql("postgres", &end);
    output
        .exits(6)
        .says(&["public.late", "truncated or rewritten"]);
}

#[test]
fn a_column_that_the_target_has_in_another_form_is_told() {
    let (pair, work) = (pair(), WorkDir::new());
    pair.in_source(
        "create table t (id integer primary key, n numeric(10, 5), at timestamp, same varchar(9),
                         g integer generated always as (id * 2) stored);
         insert into t values (1, 1.23456, '2024-01-01 12:00:00.6', 'x')",
    );
    pair.in_target(
        "create table t (id bigint primary key, n numeric(10, 2), at timestamp(0), same varchar(9), g integer)",
    );
    let out = pair.does(&work, "copy table-data", &[]).exits(0).says(&[
        "Column id of table public.t is integer on the source and bigint on the target",
        "Column n of table public.t is numeric(10,5) on the source and numeric(10,2) on the target",
        "Column at of table public.t is timestamp without time zone on the source",
        "Column g of table public.t is generated on the source alone: its values are not copied",
    ]);
    assert!(!out.stderr.contains("Column same"));
}

#[test]
fn what_names_no_tablespace_goes_where_the_database_is() {
    let (pair, work) = (pair(), WorkDir::new());
    pair.in_source(
        "create table t (id integer primary key, v integer unique); insert into t values (1, 1);
         create index t_v on t (v)",
    );
    let setting = "set default_tablespace = 'pg_global'";
    pair.in_source(&format!("alter database {} {setting}", pair.db));
    pair.clone(&work, &[]).exits(0);
    let elsewhere = "select count(*) from pg_class where relname like 't%' and reltablespace <> 0";
    assert_eq!(pair.in_target(elsewhere), "0");
}
