//! `check` and `clone --dry-run`: what they find, how they end, that they change nothing.

use serde_json::Value;

use crate::support::servers::lonely_pair;
use crate::support::{Cluster, Output, Pair, WorkDir, pair, run};

/// Nobody listens there.
const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/postgres?connect_timeout=1";

fn check(source: &str, target: &str, more: &[&str]) -> Output {
    let mut all = vec![
        "check", "--source", source, "--target", target, "--dir", "/var/tmp",
    ];
    all.extend(more);
    run(&all)
}

fn findings(out: &Output) -> Vec<Value> {
    let json: Value = serde_json::from_str(&out.stdout).expect("JSON");
    json["findings"].as_array().expect("a list").clone()
}

#[test]
fn nothing_found_is_exit_status_0_and_leaves_no_work_directory() {
    let (pair, work) = (
        Pair::with("create table t (id integer primary key)"),
        WorkDir::new(),
    );
    let (source, target, dir) = (pair.source(), pair.target(), work.dir());
    let said = run(&[
        "check", "--source", &source, "--target", &target, "--dir", &dir,
    ])
    .exits(0);
    assert!(said.stdout.contains("Nothing was found"), "{}", said.stdout);
    let json = check(&source, &target, &["--json"]).exits(0);
    assert!(findings(&json).is_empty());
    let plan = pair.clone(&work, &["--dry-run"]).exits(0);
    assert!(plan.stdout.contains("COPY public.t"), "{}", plan.stdout);
    assert!(!work.path().exists());
    assert_eq!(pair.in_target("select to_regclass('t') is null"), "t");
}

#[test]
fn warnings_are_exit_status_1_and_reasons_to_fail_are_2_with_the_statements_that_mend_them() {
    let pair = Pair::with(
        "create foreign data wrapper w; create server s foreign data wrapper w;
         create foreign table f (i integer) server s; create table t (i integer)",
    );
    check(&pair.source(), &pair.target(), &[])
        .exits(1)
        .says(&["WARNING  source", "foreign tables"]);
    pair.clone(&WorkDir::new(), &["--dry-run"])
        .exits(1)
        .says(&["foreign tables", "COPY"]);
    pair.in_target("create table t (i integer)");
    let said = check(&pair.source(), &pair.target(), &["--json"]).exits(2);
    let levels: Vec<Value> = findings(&said)
        .iter()
        .map(|one| one["level"].clone())
        .collect();
    assert_eq!(levels, ["warning", "fail"]);
    pair.clone(&WorkDir::new(), &["--dry-run"])
        .exits(2)
        .says(&["FAIL     target", "not empty"]);
    check(&pair.source(), &pair.target(), &["--drop-if-exists"]).exits(1);
}

#[test]
fn a_check_refuses_what_a_clone_refuses_and_says_all_of_it_at_once() {
    let pair = Pair::with(
        "create table a (i integer); create table b (i integer) tablespace pg_default;
         create schema pgcopydb; create table pgcopydb.mine (i integer)",
    );
    pair.in_target("create table a (i integer)");
    let said = check(&pair.source(), &pair.target(), &[]).exits(2);
    let said = said.says(&[
        "schema pgcopydb of the source",
        "alter schema pgcopydb rename",
        "not empty",
    ]);
    assert!(
        said.stdout.contains("2 reasons to fail, 0 warnings"),
        "{}",
        said.stdout
    );
    let refused = pair.clone(&WorkDir::new(), &[]).exits(6);
    refused.says(&[
        "schema pgcopydb of the source",
        "Also: the target is not empty",
    ]);
}

#[test]
fn sides_that_cannot_be_reached_are_findings_and_bad_usage_is_none() {
    let pair = pair();
    let said = check(
        &pair.from.uri("no_such"),
        &pair.to.uri("no_such"),
        &["--json"],
    )
    .exits(2);
    let sides: Vec<Value> = findings(&said)
        .iter()
        .map(|one| one["side"].clone())
        .collect();
    assert_eq!(sides, ["source", "target"]);
    for bad in [
        &["--bogus"][..],
        &["--filters", "/no/such/file"],
        &["--table-jobs", "0"],
    ] {
        let said = check(NOWHERE, NOWHERE, bad).exits(1);
        assert!(said.stdout.is_empty(), "{}", said.stdout);
    }
    let said = check("postgres://[", NOWHERE, &[]).exits(1);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    check(&pair.source(), &pair.source(), &[])
        .exits(2)
        .says(&["are the same database"]);
}

#[test]
fn following_needs_logical_wal_a_slot_and_keys() {
    let cluster = Cluster::start();
    cluster.conf("wal_level = replica");
    cluster.conf("max_replication_slots = 1");
    cluster.restart();
    cluster.create_database("db", "");
    cluster.sql(
        "db",
        "create table keyed (id integer primary key); create table bare (i integer);
         create table late (id integer primary key deferrable);
         create unlogged table scratch (id integer primary key);
         create role reader login; grant select on all tables in schema public to reader",
    );
    let pair = pair();
    let source = cluster.uri("db").replace("postgres@", "reader@");
    let follow = ["--follow", "--plugin", "pgoutput"];
    check(&source, &pair.target(), &follow).exits(2).says(&[
        "alter system set wal_level = logical",
        "max_replication_slots",
        "alter role \"reader\" replication",
        "grant create on database \"db\" to \"reader\"",
        "nothing tells the rows of 2 tables apart",
        "alter table public.bare replica identity full",
        "unlogged tables are copied once",
    ]);
    let allowed = check(
        &source,
        &pair.target(),
        &["--follow", "--allow-no-identity", "--json"],
    );
    let identity = findings(&allowed.exits(2));
    let identity = identity
        .iter()
        .find(|one| one["message"].to_string().contains("apart"));
    assert_eq!(identity.expect("a finding")["level"], "warning");
}

#[test]
fn what_an_earlier_follow_has_left_is_named_with_the_statements_that_remove_it() {
    let pair = lonely_pair();
    pair.in_source(
        "create table t (id integer primary key); create table p (id integer) partition by range (id);
         create publication mine for table t; create publication mine_noid for table t;
         select pg_create_logical_replication_slot('mine', 'test_decoding')",
    );
    pair.in_target("select pg_replication_origin_create('pgcopydb')");
    let more = ["--follow", "--plugin", "pgoutput", "--slot-name", "mine"];
    check(&pair.source(), &pair.target(), &more)
        .exits(1)
        .says(&[
            "select pg_drop_replication_slot('mine');",
            "drop publication mine;",
            "drop publication mine_noid;",
            "select pg_replication_origin_drop('pgcopydb');",
            "1 partitioned tables may get partitions",
        ]);
    // Another name is in nobody's way.
    pair.in_target("select pg_replication_origin_drop('pgcopydb')");
    let other = check(
        &pair.source(),
        &pair.target(),
        &["--follow", "--slot-name", "other"],
    );
    assert!(
        !other.stdout.contains("is there already"),
        "{}",
        other.stdout
    );
}
