//! What the commands that copy see of the source: nothing that a snapshot came before, and nothing that filters
//! leave out.

use std::collections::BTreeSet;

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use crate::support::{Output, PATIENCE, Pair, WorkDir, pair, run, start};

/// Something for each command that reads with a snapshot.
const EARLY: &str = "
    create extension hstore; create sequence s;
    create table t (id integer, n integer); insert into t values (1, 1);
    create index t_i on t (n); alter table t add constraint t_u unique (id);
    select lo_create(4711);";

/// More of each, made after the snapshot.
const LATE: &str = "
    create extension citext; create sequence late_s;
    insert into t values (2, 2); create table late (id integer); insert into late values (1);
    create index late_i on t (n); alter table t add constraint late_u unique (n);
    select lo_create(4712);";

/// Commands that read with a snapshot; a look at the target that is true with what was there before alone.
const WITH_SNAPSHOT: [(&str, &str); 9] = [
    (
        "clone",
        "select (select count(*) from t) = 1 and to_regclass('late') is null and to_regclass('late_i') is null
            and (select count(*) from pg_largeobject_metadata) = 1",
    ),
    (
        "copy schema",
        "select to_regclass('t_i') is not null and to_regclass('late') is null and to_regclass('late_i') is null",
    ),
    ("copy data", "select count(*) = 1 from t"),
    ("copy table-data", "select count(*) = 1 from t"),
    (
        "copy extensions",
        "select string_agg(extname, ' ' order by extname) = 'hstore plpgsql' from pg_extension",
    ),
    (
        "copy blobs",
        "select string_agg(oid::text, ' ') = '4711' from pg_largeobject_metadata",
    ),
    // the target lacks the other sequence, which would be an error
    ("copy sequences", "select to_regclass('s') is not null"),
    (
        "copy indexes",
        "select to_regclass('t_i') is not null and to_regclass('late_i') is null",
    ),
    (
        "copy constraints",
        "select string_agg(conname, ' ') = 't_u' from pg_constraint where conrelid = 't'::regclass and contype = 'u'",
    ),
];

/// Takes all that a copy made away from the target.
fn empty_target(pair: &Pair) {
    pair.in_target(
        "set client_min_messages = error; drop extension if exists hstore, citext; drop schema public cascade;
         create schema public; select lo_unlink(oid) from pg_largeobject_metadata",
    );
}

fn does(pair: &Pair, work: &WorkDir, command: &str, options: &[&str]) -> Output {
    match command {
        "clone" => pair.clone(work, options),
        _ => pair.does(work, command, options),
    }
}

#[test]
fn what_was_made_after_a_snapshot_is_not_copied_with_it() {
    let pair = Pair::with(EARLY);
    let (holder, id) = pair.hold(&WorkDir::new(), &[]);
    let with = ["--snapshot", id.as_str()];
    let schema = WorkDir::new();
    pair.does(&schema, "dump schema", &with).exits(0);
    pair.in_source(LATE);
    for (command, probe) in WITH_SNAPSHOT {
        empty_target(&pair);
        let makes_tables = ["clone", "copy schema", "copy extensions"].contains(&command);
        if !makes_tables {
            pair.does(&schema, "restore pre-data", &["--restart"])
                .exits(0);
        }
        does(&pair, &WorkDir::new(), command, &with).exits(0);
        assert_eq!(pair.in_target(probe), "t", "{command}");
    }
    holder.kill(SIGTERM);
    holder.wait().exits(0);
}

/// Commands that take filters and copy something of a table; a look at the target that is true when that is left
/// out of the table of the filters, and there of the other.
const WITH_FILTERS: [(&str, &str); 5] = [
    (
        "copy data",
        "select (select count(*) from t) = 1 and (select count(*) from junk) = 0
            and to_regclass('t_i') is not null and to_regclass('junk_i') is null
            and (select last_value from junk_s) = 1",
    ),
    (
        "copy table-data",
        "select (select count(*) from t) = 1 and (select count(*) from junk) = 0",
    ),
    (
        "copy sequences",
        "select (select last_value from t_s) = 5 and (select last_value from junk_s) = 1",
    ),
    (
        "copy indexes",
        "select to_regclass('t_i') is not null and to_regclass('junk_i') is null",
    ),
    (
        "copy constraints",
        "select string_agg(conname, ' ') = 't_u' from pg_constraint
          where contype = 'u' and conrelid in ('t'::regclass, 'junk'::regclass)",
    ),
];

#[test]
fn what_filters_leave_out_is_not_copied_where_the_target_has_it_either() {
    let pair = Pair::with(
        "create table t (id integer, n integer); create table junk (id integer, n integer);
         insert into t values (1, 1); insert into junk values (1, 1);
         create index t_i on t (n); create index junk_i on junk (n);
         alter table t add constraint t_u unique (id); alter table junk add constraint junk_u unique (id);
         create sequence t_s owned by t.id; create sequence junk_s owned by junk.id;
         select setval('t_s', 5), setval('junk_s', 5)",
    );
    let schema = WorkDir::new();
    let filters = schema.file("filters.ini", "[exclude-table]\npublic.junk\n");
    pair.does(&schema, "dump schema", &[]).exits(0);
    for (command, probe) in WITH_FILTERS {
        empty_target(&pair);
        pair.does(&schema, "restore pre-data", &["--restart"])
            .exits(0);
        pair.does(&WorkDir::new(), command, &["--filters", &filters])
            .exits(0);
        assert_eq!(pair.in_target(probe), "t", "{command}");
    }
}

#[test]
fn what_filters_leave_out_is_neither_listed_nor_restored_from_the_archive() {
    let pair = Pair::with("create table t (id integer); create table junk (id integer)");
    let work = WorkDir::new();
    let filters = work.file("filters.ini", "[exclude-table]\npublic.junk\n");
    let (source, dir) = (pair.source(), work.dir());
    let with = ["--source", &source, "--filters", &filters];
    let schema = run(&[&["list", "schema", "--json"][..], &with].concat()).exits(0);
    assert_eq!(names(&schema, "/tables"), ["t".to_owned()].into());
    pair.does(&work, "dump schema", &["--filters", &filters])
        .exits(0);
    let list = run(&[&["restore", "parse-list", "--dir", &dir][..], &with].concat());
    let list = list.exits(0).stdout;
    let is_kept = |name: &str| {
        let line = list.lines().find(|line| line.contains(name));
        line.is_some_and(|line| !line.starts_with(';'))
    };
    assert!(
        is_kept(" TABLE public t ") && !is_kept(" TABLE public junk "),
        "{list}"
    );
}

/// The names of the elements of a document's array.
fn names(out: &Output, place: &str) -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&out.stdout).expect("a document");
    let rows = document.pointer(place).and_then(Value::as_array);
    let names = rows.into_iter().flatten();
    names
        .filter_map(|row| row["name"].as_str().map(str::to_owned))
        .collect()
}

/// How many parts a list shows for a table.
fn parts(pair: &Pair, what: &str, table: &str, more: &[&str]) -> usize {
    let source = pair.source();
    let mut line = vec!["list", what, "--json", "--source", &source];
    let split = ["--split-tables-larger-than", "100kB"];
    line.extend(split.iter().chain(more));
    if what == "table-parts" {
        line.extend(["--table-name", table]);
    }
    let out = run(&line).exits(0);
    let document: Value = serde_json::from_str(&out.stdout).expect("a document");
    let rows = match what {
        "table-parts" => return document["parts"].as_array().map_or(0, Vec::len),
        "schema" => &document["tables"],
        _ => &document,
    };
    let mut rows = rows.as_array().into_iter().flatten();
    let row = rows.find(|row| row["name"] == table).expect("the table");
    row["parts"].as_array().map_or(0, Vec::len)
}

#[test]
fn lists_plan_parts_as_they_are_told() {
    let pair = Pair::with(
        "create table keyed (id integer primary key); insert into keyed select generate_series(1, 20000);
         create table keyless (id integer); insert into keyless select generate_series(1, 20000);
         create table grown (id integer) with (autovacuum_enabled = false);
         insert into grown values (0); analyze grown; insert into grown select generate_series(1, 20000)",
    );
    for what in ["tables", "schema", "table-parts"] {
        assert!(parts(&pair, what, "keyed", &[]) > 2, "{what}");
        let most = ["--split-max-parts", "2"];
        assert_eq!(parts(&pair, what, "keyed", &most), 2, "{what}");
        // what was counted before it grew counts
        let estimated = ["--estimate-table-sizes"];
        assert!(parts(&pair, what, "grown", &[]) > 2, "{what}");
        assert_eq!(parts(&pair, what, "grown", &estimated), 0, "{what}");
    }
    for what in ["schema", "table-parts"] {
        let by_key = ["--skip-split-by-ctid"];
        assert!(parts(&pair, what, "keyed", &by_key) > 2, "{what}");
        assert!(parts(&pair, what, "keyless", &[]) > 2, "{what}");
        assert_eq!(parts(&pair, what, "keyless", &by_key), 0, "{what}");
    }
}

#[test]
fn progress_of_another_source_is_told_with_a_warning() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    let other = Pair::with("select 1");
    pair.does(&work, "dump schema", &[]).exits(0);
    let progress = |source: &str| {
        let dir = work.dir();
        run(&["list", "progress", "--dir", &dir, "--source", source]).exits(0)
    };
    let own = progress(&pair.source());
    assert!(!own.stderr.contains("WARN"), "{}", own.stderr);
    progress(&other.source()).says(&["WARN", "is of source", &pair.db, &other.db]);
}

/// Runs `copy blobs` for a role of the target while somebody else makes one of its large objects; how many arrive.
fn blobs_copied_beside_another_writer(more: &[&str]) -> i32 {
    let pair = pair();
    let role = format!("writer_of_{}", pair.db);
    for side in [pair.from, pair.to] {
        side.sql("postgres", &format!("create role {role} login"));
    }
    pair.in_source(&format!(
        "set role {role}; select lo_create(50000 + i) from generate_series(1, 2000) i"
    ));
    pair.in_target(&format!("alter database {} owner to {role}", pair.db));
    let gate = pair.gate();
    let (cluster, db) = (pair.to, pair.db.clone());
    let other = std::thread::spawn(move || {
        let sql = "begin; select lo_create(50001); select pg_advisory_lock(42); commit";
        cluster.try_sql(&db, sql)
    });
    let waits = |who: &str| {
        let sql = format!(
            "select count(*) > 0 from pg_stat_activity
              where wait_event_type = 'Lock' and datname = current_database() and usename {who} '{role}'"
        );
        assert!(cluster.wait_until(&pair.db, &sql, PATIENCE), "{who}");
    };
    waits("<>");
    let (source, target) = (pair.source(), cluster.uri_as(&pair.db, &role, ""));
    let work = WorkDir::new();
    let dir = work.dir();
    let line = ["copy", "blobs", "--source", &source, "--target", &target];
    let more = [&["--dir", &dir, "--large-objects-jobs", "1"], more].concat();
    let run = start(&[&line[..], &more].concat());
    waits("=");
    drop(gate);
    other.join().unwrap().unwrap();
    run.wait().exits(7).says(&["50001"]);
    let count = "select count(*) from pg_largeobject_metadata";
    pair.in_target(count).parse().unwrap()
}

#[test]
fn the_first_batch_of_large_objects_that_fails_ends_a_run_that_is_to_fail_fast() {
    let others = blobs_copied_beside_another_writer(&[]);
    let few = blobs_copied_beside_another_writer(&["--fail-fast"]);
    assert!(few < others && others > 1000, "{few} {others}");
}
