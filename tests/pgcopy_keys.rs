//! `pgcopy` and keys that are hard to put back: names that the server chose, partition trees whose locks meet, row
//! security at the end that is not copied. The role that copies owns the tables and is no superuser.

use crate::support::shops::{gated_shops, kill_all, shops};
use crate::support::{PATIENCE, Pair, WorkDir, within};

/// The same SQL on both sides, as app.
fn both(pair: &Pair, sql: &str) {
    let sql = format!("set role app; set search_path = shop; {sql}");
    pair.in_source(&sql);
    pair.in_target(&sql);
}

/// Two keys to partitioned tables, of which the second one is NOT VALID: when it comes back first, the server gives
/// the row that it keeps for `p2_1` the name of the first one.
const TAKEN: &str = "
    create table p1 (id integer, k integer, primary key (id, k)) partition by list (k);
    create table p1_1 partition of p1 for values in (1);
    create table p2 (id integer, k integer, primary key (id, k)) partition by list (k);
    create table p2_1 partition of p2 for values in (1);
    create table c (id integer, k integer, foreign key (id, k) references p1);
    alter table c add constraint x2 foreign key (id, k) references p2 not valid;";

const TAKEN_ROWS: &str = "insert into shop.p1 values (1, 1); insert into shop.p2 values (1, 1); insert into shop.c values (1, 1);";

#[test]
fn a_key_comes_back_though_the_server_gave_its_name_away() {
    let pair = shops();
    both(&pair, TAKEN);
    pair.in_source(TAKEN_ROWS);
    let before = pair.target_schema();
    pair.copy(&WorkDir::new(), &["--include", "shop.c,shop.p1*,shop.p2*"])
        .exits(0);
    assert_eq!(before, pair.target_schema());
    assert_eq!(pair.in_target("select count(*) from shop.c"), "1");
}

#[test]
fn the_script_for_psql_brings_a_key_back_though_the_server_gave_its_name_away() {
    let pair = gated_shops();
    both(&pair, TAKEN);
    pair.in_source(TAKEN_ROWS);
    let before = pair.target_schema();
    let work = WorkDir::new();
    let gate = pair.gate();
    let tables = "shop.c,shop.p1*,shop.p2*,shop.gated";
    let mut run = pair.start_copy(&work, &["--include", tables]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    // somebody mends by hand, the other way round
    pair.in_target(
        "set role app; set search_path = shop;
         alter table c add constraint x2 foreign key (id, k) references p2 not valid",
    );
    let script = work.path().join("restore-constraints.sql");
    for _ in 0..2 {
        pair.to.psql_file(&pair.db, &script);
        assert_eq!(before, pair.target_schema());
    }
    pair.pgcopy("restore-constraints", &work, &[]).exits(0);
    assert_eq!(before, pair.target_schema());
}

#[test]
fn keys_that_meet_in_a_partition_tree_do_not_wait_for_each_other() {
    let pair = shops();
    let mut sql = vec![
        "create table m (id integer, k integer, up integer, uk integer, primary key (id, k),
            foreign key (up, uk) references m) partition by list (k);"
            .to_owned(),
    ];
    let mut rows = vec![
        "insert into shop.m select i, 1 + i % 12, i, 1 + i % 12 from generate_series(1, 120) i;"
            .to_owned(),
    ];
    for k in 1..=12 {
        sql.push(format!(
            "create table m_{k} partition of m for values in ({k});"
        ));
    }
    for d in 1..=10 {
        sql.push(format!(
            "create table d{d} (id integer, k integer, foreign key (id, k) references m);"
        ));
        rows.push(format!("insert into shop.d{d} select id, k from shop.m;"));
    }
    both(&pair, &sql.concat());
    pair.in_source(&rows.concat());
    let before = pair.target_schema();
    let out = pair
        .copy(
            &WorkDir::new(),
            &["--include", "shop.m,shop.m_*,shop.d*", "-p", "8"],
        )
        .exits(0);
    assert!(!out.stderr.contains("Could not lock"), "{}", out.stderr);
    assert_eq!(before, pair.target_schema());
    assert_eq!(pair.in_target("select count(*) from shop.d10"), "120");
}

/// A parent and a child, rows of an old copy on both, and row security that is forced on one end of the target.
fn hidden(table: &str) -> Pair {
    let pair = shops();
    both(
        &pair,
        "create table par (id integer primary key);
         create table ch (id integer primary key, par integer references par);
         insert into par select i from generate_series(1, 9) i;
         insert into ch select i, i from generate_series(1, 9) i;",
    );
    pair.in_source("insert into shop.par values (10); insert into shop.ch values (10, 3)");
    pair.in_target(&format!(
        "alter table shop.{table} enable row level security;
         alter table shop.{table} force row level security"
    ));
    pair
}

#[test]
fn a_key_that_row_security_outside_keeps_from_being_validated_stays() {
    let pair = hidden("par");
    let before = pair.target_schema();
    pair.copy(&WorkDir::new(), &["--include", "shop.ch", "--dry-run"])
        .exits(0)
        .says(&["stays: row security is forced on shop.par"]);
    pair.copy(&WorkDir::new(), &["--include", "shop.ch"])
        .exits(0);
    assert_eq!(before, pair.target_schema());
    assert_eq!(pair.in_target("select count(*) from shop.ch"), "10");
}

#[test]
fn a_key_from_outside_that_row_security_keeps_from_being_validated_is_refused() {
    let pair = hidden("ch");
    let before = pair.target_schema();
    pair.copy(&WorkDir::new(), &["--include", "shop.par"])
        .exits(3)
        .says(&[
            "ch_par_fkey -> shop.par: row security is forced on shop.ch",
            "no force row level security",
        ]);
    assert_eq!(before, pair.target_schema());
    assert_eq!(pair.in_target("select count(*) from shop.par"), "9");
}

/// A superuser has switched off what checks the key of the child.
fn mute() -> Pair {
    let pair = shops();
    both(
        &pair,
        "create table par (id integer primary key);
         create table ch (id integer primary key, par integer references par);
         insert into par select i from generate_series(1, 9) i;
         insert into ch select i, i from generate_series(1, 9) i;",
    );
    pair.in_target("alter table shop.ch disable trigger all");
    pair
}

#[test]
fn a_key_whose_triggers_are_disabled_is_not_said_to_check_rows() {
    let pair = mute();
    let both = ["--include", "shop.par,shop.ch"];
    pair.copy(&WorkDir::new(), &both).exits(3).says(&[
        "triggers of the key are disabled",
        "--constraints keep, with which keys stay and check each row, but for 1 key whose triggers are disabled",
    ]);
    let child = ["--include", "shop.ch", "--constraints", "keep"];
    let plan = [&child[..], &["--dry-run"]].concat();
    pair.copy(&WorkDir::new(), &plan)
        .exits(0)
        .says(&["stays, and checks no row, as its triggers are disabled"]);
    pair.copy(&WorkDir::new(), &child).exits(0);
    // what nobody checked is looked for at the end
    pair.in_target("set session_replication_role = replica; delete from shop.par where id = 3");
    pair.copy(&WorkDir::new(), &child).exits(10).says(&[
        "ch_par_fkey",
        "does not hold, though the server calls it valid: 1 rows",
    ]);
}

#[test]
fn who_locks_a_table_that_the_plan_has_to_look_at_is_said_while_it_waits() {
    let pair = shops();
    let lock = "lock table shop.customer in access exclusive mode";
    let holder = pair.hold_open(lock);
    let run = pair.start_copy(&WorkDir::new(), &["--dry-run"]);
    assert!(within(PATIENCE, || run.said().contains("waits for locks")));
    let said = run.said();
    assert!(
        said.contains("the target waits for locks: process ")
            && said.contains("has locked shop.customer"),
        "{said}"
    );
    drop(holder);
    run.wait().exits(0);
}
