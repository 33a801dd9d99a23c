//! Changes after a base copy that was resumed: each table begins where its own copy ends.

use crate::follow_apply::{assert_same_rows, catchup, ready};
use crate::support::follow::{Follow, PLUGINS};

const SCHEMA: &str = "create table early (id int primary key, v text);
    create table late (id int primary key, v text);
    create table never (id int primary key, v text);";

/// Where the source is, after a commit.
fn position(follow: &Follow) -> String {
    follow.pair.in_source(
        "select pg_logical_emit_message(true, 'test', ''); select pg_current_wal_flush_lsn()",
    );
    follow.pair.in_source("select pg_current_wal_flush_lsn()")
}

/// Copies a table as it is now, as a resumed run number `run` does.
fn copy(follow: &Follow, table: &str, run: i64) {
    let rows = follow.pair.in_source(&format!(
        "select coalesce(string_agg(format('(%L,%L)', id, v), ','), '') from {table}"
    ));
    if !rows.is_empty() {
        follow
            .pair
            .in_target(&format!("insert into {table} values {rows}"));
    }
    let lsn = position(follow);
    let ledger = pgcopydb::catalog::Ledger::open(&follow.work.path().join("schema/source.db"));
    ledger
        .unwrap()
        .connection()
        .execute_batch(&format!(
            "insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence, filenode, relpages, bytes, main_bytes, reltuples)
                 values ({run}, 'public', '{table}', '{table}', 'r', 'heap', 'p', 0, 0, 0, 0, 0);
             insert into unit (kind, state, table_oid, object, plan, rank, run_id) values ('copy', 'done', {run}, 0, 0, 1, {run});
             create table if not exists cdc_start (run_id integer primary key, lsn text not null);
             insert into cdc_start values ({run}, '{lsn}')"
        ))
        .unwrap();
}

#[test]
fn dl_48_tables_copied_at_different_positions_become_equal_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, SCHEMA, &[]) else {
            continue;
        };
        let change = |n: i32| {
            follow.pair.in_source(&format!(
                "begin; insert into early values ({n}, 'e{n}'); insert into late values ({n}, 'l{n}');
                        insert into never values ({n}, 'n{n}'); commit;
                 update late set v = v || '+'; delete from early where id = {n} - 1;
                 begin; insert into late select {n} * 100000 + i, 'many' from generate_series(1, 6000) i; commit;"
            ));
        };
        change(1);
        follow.pair.in_source("truncate early, late");
        change(2);
        copy(&follow, "early", 1);
        change(3);
        // Up to here nothing of it may be applied to late, and all of it to early and never.
        follow.pair.in_source(
            "begin; truncate never, late; insert into never values (99, 'kept'); commit",
        );
        copy(&follow, "late", 2);
        change(4);
        let early = follow.sentinel("--startpos");
        follow
            .command(&["sentinel", "set", "endpos", &early], &[])
            .exits(3)
            .says(&["up to where tables were copied"]);
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        // Again: nothing is left, whatever the rule says.
        catchup(&follow, &[]).exits(0).says(&["previously reached"]);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_48_what_the_copies_show_is_not_applied_by_a_file_alone_nor_before_it_is_received() {
    let follow = ready("pgoutput", SCHEMA, &[]).unwrap();
    follow.pair.in_source("insert into late values (1, 'x')");
    follow.receive_all();
    follow.pair.in_source("insert into late values (2, 'y')");
    copy(&follow, "late", 1);
    follow.pair.in_source("insert into late values (3, 'z')");
    catchup(&follow, &[])
        .exits(3)
        .says(&["up to where tables were copied"]);
    follow
        .command(&["sentinel", "set", "endpos", "0/0"], &[])
        .exits(0);
    catchup(&follow, &[])
        .exits(3)
        .says(&["changes are received up to"]);
    let target = follow.pair.target();
    follow
        .command(&["apply"], &["--target", &target, "--resume", "x.sql"])
        .exits(3)
        .says(&["the base copy was resumed"]);
    follow.receive_all();
    catchup(&follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
}
