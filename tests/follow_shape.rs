//! Tables whose shape or names are out of the ordinary, or change under a follow: the right row, or word of it.

use crate::follow_apply::{assert_same_rows, catchup, ready};
use crate::support::follow::{Follow, PLUGINS};

/// 0 rows instead of 1: what an index only includes was taken for a part of the key.
#[test]
fn columns_that_the_index_of_the_identity_only_includes_tell_no_row() {
    let schema = "create table p (a int, b int, c text, primary key (a) include (b));
        create table u (a int not null, b int, c text); create unique index u_a on u (a) include (b);
        alter table u replica identity using index u_a;";
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        for table in ["p", "u"] {
            follow.pair.in_source(&format!(
                "insert into {table} values (1, 1, 'a'), (2, null, 'b'); update {table} set b = 2;
                 update {table} set a = 3 where a = 1; update {table} set b = null, c = 'd'; delete from {table} where a = 2"
            ));
        }
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

/// Without a way on: a column that the source had dropped was still compared with NULL, and one that it had
/// added made two rows of one.
#[test]
fn columns_that_come_and_go_under_a_full_identity_leave_its_rows_apart() {
    let schema = "create table gone (a int, b text, c int); create table come (a int, b text);
        create table other (a int, b text); create table late (a int, b int);
        alter table gone replica identity full; alter table come replica identity full; alter table other replica identity full;
        insert into gone values (1, 'x', 1), (2, 'y', null), (3, null, 3), (3, null, 4);
        insert into come values (1, 'x'), (1, 'x'), (2, 'y'); insert into other values (1, 'x'), (2, null);
        insert into late values (1, 1), (1, 1)";
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &["--allow-no-identity"]) else {
            continue;
        };
        follow.pair.in_source(
            "alter table gone drop column c; update gone set b = 'z' where a = 1; delete from gone where a = 2;
             delete from gone where ctid = (select min(ctid) from gone where a = 3);
             alter table come add column c int; update come set c = 5 where ctid = (select min(ctid) from come where a = 1);
             delete from come where a = 1 and c is null; update come set b = 'w' where a = 2;
             alter table other rename column b to d; update other set d = 'v' where d is null; delete from other where a = 1;",
        );
        if plugin != "pgoutput" {
            // Its publication goes on without updates and deletes: that is said, and tested below.
            follow.pair.in_source(
                "alter table late replica identity full; insert into late values (2, null), (2, 5), (2, null);
                 delete from late where ctid = (select max(ctid) from late where b is null);
                 delete from late where ctid = (select min(ctid) from late where a = 1); update late set a = 3 where b is null;",
            );
        }
        follow.receive_all();
        follow.pair.in_target(
            "alter table gone drop column c; alter table come add column c int; alter table other rename column b to d",
        );
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

/// Equal rows of the source may differ in a column that only the target has.
#[test]
fn one_of_two_equal_rows_changes_where_the_target_has_another_column() {
    for plugin in PLUGINS {
        let schema = "create table t (a int, j json); alter table t replica identity full";
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        follow
            .pair
            .in_target("alter table t add column own serial, add column note text default 'x'");
        follow.pair.in_source(
            r#"insert into t values (1, '{"a" : 1}'), (1, '{"a" : 1}'), (1, '{"a":1}'), (null, null), (null, null);
               delete from t where ctid = (select min(ctid) from t where a = 1);
               update t set a = 2 where ctid = (select max(ctid) from t where a is null)"#,
        );
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        let rows = "select string_agg(coalesce(a::text, '') || coalesce(j::text, ''), ' ' order by a, j::text) from t";
        assert_eq!(follow.pair.in_source(rows), follow.pair.in_target(rows));
        follow.cleanup(&[]).exits(0);
    }
}

/// wal2json does not escape the names of types: its JSON was none.
#[test]
fn types_whose_names_need_quotes_are_followed_whatever_the_source_quotes() {
    let schema = r#"create type "My ""T\ype" as enum ('a', 'b'); create schema "S c"; create domain "S c"."Dom" as int;
        create table "S c"."T\1" (id int primary key, e "My ""T\ype", a "My ""T\ype"[], d "S c"."Dom", v varchar(11));
        create table plain (id int primary key, e "My ""T\ype", v text);"#;
    for quoting in ["off", "on"] {
        for plugin in PLUGINS {
            let Some(follow) = ready(plugin, schema, &[]) else {
                continue;
            };
            let db = &follow.pair.db;
            follow.pair.in_source(&format!(
                "alter database {db} set quote_all_identifiers = {quoting}"
            ));
            follow.pair.in_source(
                r#"insert into "S c"."T\1" values (1, 'a', '{a,b}', 5, '","value":'); update "S c"."T\1" set e = 'b', id = 2;
                   insert into plain values (1, 'a', '"type":""'), (2, 'b', null); delete from plain where id = 1;
                   update plain set v = 'w\'; truncate "S c"."T\1"; insert into "S c"."T\1" values (5, 'a', null, 5, 'x')"#,
            );
            follow.receive_all();
            catchup(&follow, &[]).exits(0);
            for table in [r#""S c"."T\1""#, "plain"] {
                let rows = format!("select string_agg(x::text, ' ' order by id) from {table} x");
                assert_eq!(follow.pair.in_source(&rows), follow.pair.in_target(&rows));
            }
            follow.cleanup(&[]).exits(0);
        }
    }
}

/// They are neither published nor sent by wal2json: nobody would ever hear of them.
#[test]
fn dl_43_rows_that_change_where_nothing_tells_them_are_named_with_each_plugin() {
    for plugin in PLUGINS {
        let schema = "create table nk (id int, v text); create table quiet (id int); insert into nk values (1, 'a')";
        let Some(follow) = Follow::bare(plugin, schema) else {
            continue;
        };
        follow.pair.in_target(schema);
        follow.setup(&["--allow-no-identity"]).exits(0);
        follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
        follow.pair.in_source(
            "insert into nk values (2, 'b'); insert into quiet values (1); update nk set v = 'c'",
        );
        let out = follow.receive_all();
        let out = out.says(&["\"public\".\"nk\" had rows updated or deleted"]);
        assert!(!out.stderr.contains("\"quiet\""), "{}", out.stderr);
        let applied = catchup(&follow, &[]);
        assert_eq!(applied.code != 0, plugin == "test_decoding");
        follow.cleanup(&[]).exits(0);
    }
}

/// Prepared, rolled back in parts, larger than a group, with tables made and altered inside, over several files.
#[test]
fn dl_25_33_transactions_of_every_make_arrive_with_each_plugin() {
    let path = format!("{}/tests/data", env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(format!("{path}/{name}")).unwrap();
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, &read("follow_transactions_schema.sql"), &[]) else {
            continue;
        };
        follow.pair.in_source(&read("follow_transactions.sql"));
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

/// Exit 0 with another row changed: `test_decoding` does not say that other columns tell the rows now.
#[test]
fn rows_that_other_columns_tell_now_are_followed_or_it_is_an_error() {
    let schema = "create table t (id int primary key, u int not null unique, v text);
        insert into t select i, i, 'v' from generate_series(1, 9) i";
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        let other = "alter table t drop constraint t_pkey; alter table t add primary key (u)";
        follow.pair.in_source(other);
        follow.pair.in_target(other);
        follow
            .pair
            .in_source("update t set id = 6, v = 'w' where u = 5");
        follow.end_here();
        let received = follow.receive(&[]);
        if plugin == "test_decoding" {
            received
                .exits(6)
                .says(&["another replica identity: (id) before, (u) now", "HINT"]);
        } else {
            received.exits(0);
            catchup(&follow, &[]).exits(0);
            assert_same_rows(&follow.pair);
        }
        follow.cleanup(&[]).exits(0);
        // All columns of a row are always sent: that is understood.
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        follow.pair.in_source(
            "alter table t replica identity full; update t set id = 10, v = 'w' where u = 5; delete from t where u = 2",
        );
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}
