//! `compare schema` and `compare data`: what differs is found, what is equal is not accused, and what
//! cannot be read is an error.

mod schema;
mod values;

use std::time::Duration;

use nix::sys::signal::Signal;

use values::VALUES;

use crate::support::servers::lonely_pair;
use crate::support::{Cluster, Output, Pair, WorkDir, pair, run, start};

/// The arguments of a comparison of two databases.
fn arguments<'a>(what: &'a str, source: &'a str, target: &'a str) -> Vec<&'a str> {
    vec!["compare", what, "--source", source, "--target", target]
}

fn compare(pair: &Pair, what: &str, more: &[&str]) -> Output {
    let (source, target) = (pair.source(), pair.target());
    run(&[&arguments(what, &source, &target), more].concat())
}

/// A pair with the same SQL on both sides.
fn twins(sql: &str) -> Pair {
    let pair = Pair::with(sql);
    pair.in_target(sql);
    pair
}

/// The flagged tables of a printed comparison.
fn flagged(out: &Output) -> Vec<String> {
    out.stdout
        .lines()
        .filter_map(|line| line.split_once(" | ! | "))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "Table Name")
        .collect()
}

#[test]
fn a_changed_value_of_every_built_in_type_is_found() {
    let table = |number: usize, (name, one, other): &(&str, &str, &str)| {
        let same = format!(
            "create table same{number:03} (v {name}); insert into same{number:03} values ({one});"
        );
        let changed = |value: &str| {
            format!(
                "create table changed{number:03} (v {name}); insert into changed{number:03} values ({value});"
            )
        };
        (same.clone() + &changed(one), same + &changed(other))
    };
    let (source, target): (String, String) =
        VALUES.iter().enumerate().map(|(n, v)| table(n, v)).unzip();
    let pair = Pair::with(&source);
    pair.in_target(&target);
    let left_out = pair.in_source(&format!(
        "select string_agg(typname, ' ') from pg_type t
          where typtype in ('b', 'r', 'm') and typnamespace = 'pg_catalog'::regnamespace and typcategory <> 'A'
            and typname !~ '^pg_(node_tree|ndistinct|dependencies|mcv_list|brin.*)$'
            and oid <> all ('{{{}}}'::regtype[])",
        VALUES.iter().map(|(name, _, _)| name.replace('"', "\\\"")).collect::<Vec<_>>().join(",")
    ));
    assert_eq!(left_out, "", "built-in types without values here");
    let out = compare(&pair, "data", &[]).exits(10);
    let expected: Vec<String> = VALUES
        .iter()
        .enumerate()
        .filter(|(_, (name, _, _))| *name != "gtsvector")
        .map(|(number, _)| format!("public.changed{number:03}"))
        .collect();
    assert_eq!(flagged(&out), expected);
}

#[test]
fn rows_swapped_for_duplicates_and_nulls_for_empty_texts_are_found() {
    let pair = Pair::with(
        "create table dup (v text); insert into dup values ('a'), ('b'), ('a'), ('b');
         create table nil (v text, w text); insert into nil values ('', null), ('x', 'y');
         create table cut (v text, w text); insert into cut values ('a', 'b'), (E'a\\tb', '');
         create table same (v text); insert into same values ('a'), ('b'), (E'\\n'), (null)",
    );
    pair.in_target(
        "create table dup (v text); insert into dup values ('a'), ('a'), ('a'), ('b');
         create table nil (v text, w text); insert into nil values (null, ''), ('x', 'y');
         create table cut (v text, w text); insert into cut values ('a', 'b'), ('a', E'b\\t');
         create table same (v text); insert into same values (null), (E'\\n'), ('b'), ('a')",
    );
    let out = compare(&pair, "data", &[]).exits(10).says(&[
        "3 of 4 tables differ",
        "\"public\".\"dup\" has 4 rows on both sides",
    ]);
    assert_eq!(flagged(&out), ["public.cut", "public.dup", "public.nil"]);
}

#[test]
fn a_table_in_parts_is_compared_whole_and_one_changed_byte_of_it_is_found() {
    let pair = twins(
        "create table big (id integer, v text); alter table big alter v set storage external;
         insert into big select i, repeat(md5(i::text), 250) from generate_series(1, 18000) i",
    );
    compare(&pair, "data", &[]).exits(0).says(&["18000"]);
    pair.in_target("update big set v = overlay(v placing '!' from 7999) where id = 17");
    let out = compare(&pair, "data", &["--table-jobs", "1"]).exits(10);
    assert_eq!(flagged(&out), ["public.big"]);
}

#[test]
fn settings_of_database_and_role_change_nothing() {
    let pair = lonely_pair();
    let sql = "create table t (d date, i interval, z timestamptz, f float8, b bytea, m money, a text[], x xml);
         insert into t values ('2020-03-04', '1 day -2 hours', '2020-01-01 12:00+00', 1.0/3, '\\x0102', 12.34,
                               '{NULL,a}', '<a/>');
         create table u (v numeric default 1, w timestamptz default '2020-01-01 00:00+00',
                         g text generated always as (v::text) stored)";
    pair.in_source(sql);
    pair.in_target(sql);
    pair.in_target(
        "alter database db set datestyle = 'SQL, DMY'; alter database db set intervalstyle = 'sql_standard';
         alter database db set timezone = 'Asia/Tokyo'; alter database db set extra_float_digits = -5;
         alter role postgres set bytea_output = 'escape'; alter role postgres in database db set xmloption = 'document';
         alter database db set default_transaction_isolation = 'serializable';
         alter database db set search_path = 'nowhere';
         alter database db set quote_all_identifiers = on; alter database db set array_nulls = off;
         alter role postgres set client_encoding = 'LATIN1'; alter role postgres set row_security = off",
    );
    compare(&pair, "data", &[]).exits(0);
    // These settings are all that differs.
    let out = compare(&pair, "schema", &[]).exits(10);
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert!(
        lines.iter().all(|line| line.starts_with("database ")),
        "{lines:?}"
    );
}

#[test]
fn the_order_of_columns_does_not_count_and_generated_ones_do() {
    let pair = Pair::with(
        "create table t (a integer, dropped text, b text, c integer generated always as (a + 1) stored);
         alter table t drop dropped; insert into t values (1, 'x')",
    );
    pair.in_target(
        "create table t (c integer generated always as (a + 1) stored, b text, a integer);
         insert into t (a, b) values (1, 'x')",
    );
    compare(&pair, "data", &[]).exits(0);
    compare(&pair, "schema", &[]).exits(0);
    pair.in_target(
        "alter table t drop c; alter table t add c integer generated always as (a + 2) stored",
    );
    compare(&pair, "data", &[]).exits(10);
    compare(&pair, "schema", &[])
        .exits(10)
        .says(&["column \"public\".\"t\".\"c\": default is"]);
}

#[test]
fn a_table_or_column_of_one_side_only_is_a_difference() {
    let pair = Pair::with("create table a (i integer); create table c (i integer, j integer)");
    pair.in_target("create table b (i integer); create table c (i integer)");
    let out = compare(&pair, "data", &[]).exits(10).says(&[
        "3 of 3 tables differ",
        "only the source has column \"j\"",
        "missing",
    ]);
    assert_eq!(flagged(&out), ["public.a", "public.b", "public.c"]);
}

#[test]
fn large_objects_are_compared_too() {
    let sql = "select lo_from_bytea(4000 + i, convert_to(repeat('x', i), 'UTF8')) from generate_series(1, 9) i";
    let pair = twins(sql);
    let large = "select lo_put(4009, 17000000, 'end')";
    pair.in_source(large);
    pair.in_target(large);
    compare(&pair, "data", &[])
        .exits(0)
        .says(&["pg_largeobject"]);
    pair.in_target("select lo_put(4009, 16900000, 'x')");
    compare(&pair, "data", &[]).exits(10);
    pair.in_target("select lo_unlink(4009)");
    compare(&pair, "data", &[]).exits(10);
}

#[test]
fn what_cannot_be_read_is_an_error_of_its_side_and_never_equal() {
    let pair = lonely_pair();
    let sql = "create table hidden (i integer); create table fine (i integer); insert into hidden values (1), (2);
        create role reader login; grant select on all tables in schema public to reader;
        create policy one_row on hidden using (i = 1); alter table hidden enable row level security";
    pair.in_source(sql);
    pair.in_target(sql);
    let (source, target) = (pair.source(), pair.target());
    let as_reader = |uri: &str| uri.replace("postgres@", "reader@");
    run(&arguments("data", &as_reader(&source), &target))
        .exits(6)
        .says(&[
            "row-level security",
            "1 of 2 tables could not be compared",
            "not compared",
        ]);
    run(&arguments("data", &source, &as_reader(&target))).exits(7);
    pair.in_target("revoke all on fine from reader; update hidden set i = 3 where i = 2");
    run(&arguments("data", &source, &as_reader(&target)))
        .exits(7)
        .says(&["permission denied", "2 of 2 tables could not be compared"]);
    run(&arguments(
        "schema",
        &source,
        &target.replace("/db", "/nothing"),
    ))
    .exits(7);
    run(&arguments(
        "data",
        &source.replace("/db", "/nothing"),
        &target,
    ))
    .exits(6);
}

#[test]
fn with_a_snapshot_that_is_held_what_the_source_wrote_since_does_not_count() {
    let pair = twins("create table t (i integer); insert into t values (1)");
    let (from, db) = (pair.from, pair.db.clone());
    std::thread::spawn(move || {
        let hold = "begin isolation level repeatable read; create temp table s on commit drop as select 1;
            select pg_advisory_lock(77); select set_config('application_name', 'held ' || pg_export_snapshot(), false);
            select pg_sleep(60)";
        drop(from.try_sql(&db, hold));
    });
    let held = format!(
        "select count(*) = 1 from pg_stat_activity where datname = '{}' and application_name like 'held %'",
        pair.db
    );
    assert!(
        pair.from
            .wait_until(&pair.db, &held, Duration::from_secs(10))
    );
    let name = pair.in_source(&format!(
        "select substr(application_name, 6) from pg_stat_activity where datname = '{}' and application_name like 'held %'",
        pair.db
    ));
    pair.in_source("insert into t values (2)");
    compare(&pair, "data", &["--snapshot", &name]).exits(0);
    compare(&pair, "data", &[]).exits(10);
    pair.in_source("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'held %'");
    compare(&pair, "data", &["--snapshot", &name])
        .exits(6)
        .says(&["has ended"]);
}

#[test]
fn results_are_printed_and_written_as_json() {
    let pair = Pair::with("create table \"A b\" (i integer); insert into \"A b\" values (1)");
    pair.in_target("create table \"A b\" (i bigint)");
    let work = WorkDir::new();
    let out = compare(&pair, "data", &["--json", "--dir", &work.dir()]).exits(10);
    let read: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(
        (&read["format"], &read["result"]),
        (&1.into(), &"different".into())
    );
    let table = &read["tables"][0];
    assert_eq!(
        (&table["schema"], &table["name"]),
        (&"public".into(), &"A b".into())
    );
    assert_eq!(
        (&table["source"]["rowcount"], &table["target"]["rowcount"]),
        (&1.into(), &0.into())
    );
    assert_eq!(table["target"]["checksum"], "0".repeat(32));
    let written = std::fs::read_to_string(work.path().join("compare/data.json")).unwrap();
    assert_eq!(written, out.stdout);
    let out = compare(&pair, "schema", &["--json"]).exits(10);
    let read: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let difference = &read["differences"][0];
    assert_eq!(difference["kind"], "different");
    assert_eq!(
        (&difference["source"], &difference["target"]),
        (&"integer".into(), &"bigint".into())
    );
}

#[test]
fn a_stop_signal_ends_a_comparison_and_its_statements() {
    let pair = twins("create table t (i integer)");
    let (to, db) = (pair.to, pair.db.clone());
    std::thread::spawn(move || drop(to.try_sql(&db, "begin; lock table t; select pg_sleep(30)")));
    let locked = "select count(*) = 1 from pg_locks where relation = 't'::regclass and mode = 'AccessExclusiveLock'";
    assert!(
        pair.to
            .wait_until(&pair.db, locked, Duration::from_secs(10))
    );
    let (source, target) = (pair.source(), pair.target());
    let mut running = start(&arguments("data", &source, &target));
    let waiting = "select count(*) > 0 from pg_locks where not granted and database =
        (select oid from pg_database where datname = current_database())";
    assert!(
        pair.to
            .wait_until(&pair.db, waiting, Duration::from_secs(10))
    );
    running.kill(Signal::SIGTERM);
    assert_eq!(running.wait_within(Duration::from_secs(10)).code, 143);
    let gone =
        "select count(*) = 0 from pg_stat_activity where application_name like 'pgcopydb%compare%'
        and datname = current_database()";
    assert!(pair.to.wait_until(&pair.db, gone, Duration::from_secs(5)));
    pair.in_target("select pg_terminate_backend(pid) from pg_locks where relation = 't'::regclass");
}

#[test]
fn an_encoding_of_its_own_on_either_side_is_no_difference() {
    let pair = pair();
    for cluster in [pair.from, pair.to] {
        cluster.sql("postgres", &format!("drop database {}", pair.db));
    }
    pair.from
        .create_database(&pair.db, "template template0 encoding 'LATIN1' locale 'C'");
    pair.to
        .create_database(&pair.db, "template template0 encoding 'UTF8' locale 'C'");
    let sql = "create table t (v text); insert into t values (U&'gr\\00fc\\00df')";
    pair.in_source(sql);
    pair.in_target(sql);
    compare(&pair, "data", &[]).exits(0);
    pair.in_target("update t set v = U&'gr\\00fb\\00df'");
    compare(&pair, "data", &[]).exits(10);
}

#[test]
fn text_is_the_same_on_an_older_and_a_newer_server() {
    for version in ["13", "17", "18"] {
        let Some(other) = Cluster::with_version(version) else {
            continue;
        };
        let pair = pair();
        other.create_database("db", "");
        let older: Vec<_> = VALUES
            .iter()
            .filter(|(name, _, _)| !name.contains("multirange"))
            .collect();
        let statements: Vec<String> = older
            .iter()
            .enumerate()
            .map(|(n, (name, one, two))| {
                format!("create table t{n} (v {name}); insert into t{n} values ({one}), ({two});")
            })
            .collect();
        let mut sql = statements.concat();
        sql.push_str(
            "create table odd (c \"char\", f float8[]); insert into odd values ((-61)::\"char\", '{0.1,1e-300,NaN,-Infinity}');
             create table parent (id integer primary key, v text default 'x' || 'y', check (v <> ''));
             create view w as select p.id from parent p where id > 5;
             create function f(integer) returns integer language sql as 'select $1'",
        );
        other.sql("db", &sql);
        pair.in_source(&sql);
        let (source, other) = (pair.source(), other.uri("db"));
        run(&arguments("data", &source, &other)).exits(0);
        run(&arguments("data", &other, &source)).exits(0);
        let out = run(&arguments("schema", &source, &other));
        let lines: Vec<&str> = out.stdout.lines().collect();
        assert_eq!((out.code, lines), (0, vec![]), "{version}\n{}", out.stderr);
    }
}
