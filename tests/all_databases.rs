//! `clone --all-databases`: every database of a cluster, each as if it had been cloned alone.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::program::{lives, signal};
use crate::support::servers::{GATED, Pair, lonely_pair};
use crate::support::{Output, PATIENCE, WorkDir, assert_equal, run, start, within};

/// A name that needs quotes in SQL, and escapes in a URI and in a file name.
const ODD: &str = "Odd \"name\"/%";

/// A pair of clusters; the source has three databases beside its own, and some that are left out.
fn clusters() -> Pair {
    let pair = lonely_pair();
    let from = pair.from;
    from.sql(
        "postgres",
        "create role \"The owner\"; create role reader login password 'secret';
         create database plain owner \"The owner\" connection limit 7;
         create database \"Odd \"\"name\"\"/%\" template template0 encoding 'LATIN1' locale 'C' owner reader;
         create database objects;
         create database a_template is_template true; create database closed allow_connections false;
         comment on database plain is 'it''s plain'; grant connect on database plain to reader;
         revoke connect on database plain from public;
         alter database plain set work_mem = '5MB'; alter role reader in database plain set datestyle = 'SQL, DMY'",
    );
    from.sql("plain", "create table t (id integer primary key, v text); alter table t owner to \"The owner\";
         insert into t select i, repeat('x', 300) from generate_series(1, 2000) i; create index on t (v)");
    from.sql(ODD, "create table \"T\" (v text); insert into \"T\" values (U&'gr\\00fc\\00df'); create sequence s; select nextval('s')");
    from.sql("objects", "select lo_from_bytea(4000 + i, convert_to(repeat('y', i), 'UTF8')) from generate_series(1, 50) i;
         create extension hstore; create table h (v hstore); insert into h values ('a=>1')");
    from.sql(&pair.db, GATED);
    // The harness makes a database on both sides; here the program is to make it.
    pair.to
        .sql("postgres", &format!("drop database {}", pair.db));
    pair
}

fn arguments<'a>(pair: &'a [String; 2], dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = [
        "clone",
        "--all-databases",
        "--source",
        &pair[0],
        "--target",
        &pair[1],
        "--dir",
        dir,
    ];
    [&all[..], more].concat()
}

fn uris(pair: &Pair) -> [String; 2] {
    [pair.from.uri("postgres"), pair.to.uri("postgres")]
}

/// The URI of a database whose name may hold anything.
fn uri_of(base: &str, name: &str) -> String {
    let name: Vec<String> = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (server, _) = base.rsplit_once('/').expect("a URI with a database");
    format!("{server}/{}", name.concat())
}

fn clone(pair: &Pair, work: &WorkDir, more: &[&str]) -> Output {
    let (uris, dir) = (uris(pair), work.dir());
    run(&arguments(&uris, &dir, more))
}

/// What the clusters say about their databases.
const ATTRIBUTES: &str =
    "select datname, datdba::regrole, pg_encoding_to_char(encoding), datcollate, datctype,
        datconnlimit, shobj_description(oid, 'pg_database'),
        (select string_agg(a::text, ' ' order by a::text)
           from unnest(coalesce(datacl, acldefault('d', datdba))) a),
        (select string_agg(setrole || array_to_string(setconfig, ' '), ' ' order by setrole)
           from (select coalesce(rolname, '') as setrole, setconfig from pg_db_role_setting
                        left join pg_roles r on r.oid = setrole where setdatabase = d.oid) s)
   from pg_database d where not datistemplate and datallowconn order by datname";

#[track_caller]
fn assert_all_equal(pair: &Pair) {
    let uris = uris(pair);
    for name in ["plain", ODD, "objects", &pair.db, "postgres"] {
        let [source, target] = [0, 1].map(|side| uri_of(&uris[side], name));
        assert_equal(&source, &target);
    }
    let attributes = [pair.from, pair.to].map(|cluster| cluster.sql("postgres", ATTRIBUTES));
    assert_eq!(attributes[0], attributes[1]);
}

#[test]
fn every_database_arrives_with_its_attributes_and_one_summary_tells_of_all() {
    let (pair, work) = (clusters(), WorkDir::new());
    let out = clone(&pair, &work, &["--json"]).exits(0).says(&[
        "Leaving out database \"a_template\": it is a template",
        "Leaving out database \"closed\": it allows no connections",
        "Database \"postgres\" already exists on the target",
    ]);
    assert_all_equal(&pair);
    let read: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let written = std::fs::read_to_string(work.path().join("summary.json")).unwrap();
    assert_eq!(written, out.stdout);
    let names: Vec<&str> = read["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|database| database["database"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 5);
    assert!(names.contains(&ODD), "{names:?}");
    // Compared as a whole, until something differs in one of them.
    let all = |what: &str| {
        let uris = uris(&pair);
        let more = [
            "--all-databases",
            "--source",
            &uris[0],
            "--target",
            &uris[1],
        ];
        run(&[&["compare", what][..], &more].concat())
    };
    all("data").exits(0);
    all("schema").exits(0);
    pair.to.sql(
        "plain",
        "update t set v = 'y' where id = 7; drop index t_v_idx",
    );
    pair.to.sql(
        "postgres",
        "create database more; alter database plain owner to pg_monitor",
    );
    all("data")
        .exits(10)
        .says(&["plain.public.t |", "database more", "2 of"]);
    all("schema").exits(10).says(&[
        "database \"plain\": index \"public\".\"t_v_idx\": only on the source",
        "database \"more\": only on the target",
        "owner is",
    ]);
    // The same cannot be done again by mistake, and a plain clone does not take the directory for its own.
    clone(&pair, &work, &[]).exits(3).says(&["complete"]);
    let (uris, dir) = (uris(&pair), work.dir());
    run(&[
        "clone",
        "--source",
        &uris[0],
        "--target",
        &uris[1],
        "--dir",
        &dir,
        "--resume",
        "--not-consistent",
    ])
    .exits(3);
}

#[test]
fn killed_in_the_middle_it_goes_on_where_it_stopped() {
    let (pair, work) = (clusters(), WorkDir::new());
    pair.to
        .sql("postgres", &format!("create database {}", pair.db));
    let gate = pair.gate();
    let (uris, dir) = (uris(&pair), work.dir());
    let running = start(&arguments(&uris, &dir, &[]));
    pair.wait_for_gate(&running);
    running.kill(Signal::SIGKILL);
    assert!(running.is_gone_within(Duration::from_secs(10)));
    drop(gate);
    clone(&pair, &work, &[]).exits(3).says(&["did not finish"]);
    clone(&pair, &work, &["--resume"])
        .exits(1)
        .says(&["--not-consistent"]);
    let more = ["--resume", "--not-consistent"];
    let out = clone(&pair, &work, &more)
        .exits(0)
        .says(&["Printing summary for 5 databases"]);
    assert!(out.stdout.contains("Database |"), "{}", out.stdout);
    assert_all_equal(&pair);
}

/// When each table of each database was copied: database, bytes, begin, end.
#[allow(
    clippy::disallowed_methods,
    reason = "a test looks into ledgers from outside"
)]
fn copies(work: &WorkDir) -> Vec<(String, i64, i64, i64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(work.path().join("db")).unwrap() {
        let entry = entry.unwrap();
        let ledger = rusqlite::Connection::open(entry.path().join("schema/source.db")).unwrap();
        let mut statement = ledger
            .prepare("select rank, started_at, finished_at from unit where kind = 'copy'")
            .unwrap();
        let name = entry.file_name().into_string().unwrap();
        let rows = statement
            .query_map([], |row| {
                Ok((name.clone(), row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        all.extend(rows.map(Result::unwrap));
    }
    all
}

#[test]
fn the_largest_table_of_all_is_first_and_jobs_count_for_all_databases_together() {
    let pair = lonely_pair();
    for (name, tables, rows) in [("many", 6, 4000), ("one", 1, 12000), ("few", 3, 2000)] {
        pair.from
            .sql("postgres", &format!("create database {name}"));
        for table in 1..=tables {
            let sql = format!(
                "create table t{table} (id integer primary key, v text);
                 insert into t{table} select i, repeat('x', 500) from generate_series(1, {rows}) i"
            );
            pair.from.sql(name, &sql);
        }
    }
    let work = WorkDir::new();
    let jobs = ["--table-jobs", "2", "--index-jobs", "1", "--not-consistent"];
    clone(&pair, &work, &jobs).exits(0);
    let mut copies = copies(&work);
    copies.sort_by_key(|copy| copy.2);
    // The largest one does not belong to the largest database.
    let largest = copies.iter().max_by_key(|copy| copy.1).unwrap();
    assert_eq!((copies.len(), largest.0.as_str()), (10, "one"));
    assert!(copies[..2].contains(largest), "{copies:?}");
    // Whenever one begins, at most one other is under way.
    for copy in &copies {
        let beside = copies.iter().filter(|o| o.2 <= copy.2 && copy.2 < o.3);
        assert!(beside.count() <= 2, "{copies:?}");
    }
    let uris = uris(&pair);
    for name in ["many", "one", "few"] {
        let [source, target] = [0, 1].map(|side| uri_of(&uris[side], name));
        assert_equal(&source, &target);
    }
}

#[test]
fn a_worker_killed_in_one_database_is_replaced_there() {
    let (pair, work) = (clusters(), WorkDir::new());
    pair.to
        .sql("postgres", &format!("create database {}", pair.db));
    let gate = pair.gate();
    let (uris, dir) = (uris(&pair), work.dir());
    let running = start(&arguments(&uris, &dir, &["--table-jobs", "1"]));
    pair.wait_for_gate(&running);
    let workers = running.children_named("gated");
    assert_eq!(workers.len(), 1);
    signal(workers[0], Signal::SIGKILL);
    assert!(within(PATIENCE, || !lives(workers[0])));
    drop(gate);
    running.wait().exits(0).says(&["\"copy worker\" again"]);
    assert_all_equal(&pair);
}

#[test]
fn what_fails_in_one_database_is_named_and_the_others_arrive() {
    let (pair, work) = (clusters(), WorkDir::new());
    pair.to.sql("postgres", "create database plain");
    pair.to.sql("plain", "create table t (i integer)");
    let out = clone(&pair, &work, &[]).exits(7).says(&[
        "database \"plain\": the target is not empty",
        "\"t\"",
        "nothing was changed in database \"plain\".",
        "1 of 5 databases did not end well, the others are complete",
        "On the target nothing was changed in: \"plain\".",
    ]);
    for once in ["the target is not empty", "may not survive a reboot"] {
        assert_eq!(out.stderr.matches(once).count(), 1, "{}", out.stderr);
    }
    let uris = uris(&pair);
    for name in [ODD, "objects", &pair.db] {
        let [source, target] = [0, 1].map(|side| uri_of(&uris[side], name));
        assert_equal(&source, &target);
    }
    // Nothing was done to the database that was not empty; once it is, the rest follows.
    pair.to.sql("plain", "drop table t");
    clone(&pair, &work, &["--resume", "--not-consistent"])
        .exits(0)
        .says(&[", is complete"]);
    let rows = "select count(*) from t";
    assert_eq!(pair.from.sql("plain", rows), pair.to.sql("plain", rows));
}

#[test]
fn a_check_looks_at_every_database_and_says_what_is_common_once() {
    let pair = clusters();
    let uris = uris(&pair);
    let check = |more: &[&str]| {
        let all = [
            "check",
            "--all-databases",
            "--source",
            &uris[0],
            "--target",
            &uris[1],
            "--json",
        ];
        run(&[&all[..], more].concat())
    };
    let findings = |out: &Output| -> Vec<serde_json::Value> {
        let document: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        assert_eq!(document["databases"].as_array().unwrap().len(), 5);
        document["findings"].as_array().unwrap().clone()
    };
    assert_eq!(
        findings(&check(&[]).exits(0)),
        Vec::<serde_json::Value>::new()
    );
    // one of them is there and not empty, two have a schema that a clone needs for itself
    pair.to.sql("postgres", "create database objects");
    pair.to.sql("objects", "create table h (i integer)");
    for name in ["plain", ODD] {
        pair.from.sql(
            name,
            "create schema pgcopydb; create table pgcopydb.mine (i integer)",
        );
    }
    let found = findings(&check(&[]).exits(2));
    let about = |database: serde_json::Value| {
        let of: Vec<_> = found.iter().filter(|f| f["database"] == database).collect();
        assert_eq!(of.len(), 1, "{found:#?}");
        of[0]["message"].as_str().unwrap().to_owned()
    };
    assert!(about("objects".into()).contains("not empty"));
    assert!(about(serde_json::Value::Null).contains("pgcopydb"));
    check(&["--follow"]).exits(1).says(&["--all-databases"]);
}
