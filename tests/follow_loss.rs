//! What users of such tools lost, each with every output plugin: the numbers are those of the promises.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::follow_apply::{assert_same_rows, catchup, ready};
use crate::follow_random::connect;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{Running, signal, start};
use crate::support::servers::pair_on;
use crate::support::within;
use crate::support::{PATIENCE, WorkDir};

/// Both databases with that schema, set up and allowed to apply, with each plugin that is there.
fn with_each(schema: &str, test: impl Fn(&Follow)) {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        test(&follow);
        follow.cleanup(&[]).exits(0);
    }
}

/// All that was committed is brought over, by the single commands.
fn bring_over(follow: &Follow) {
    follow.receive_all();
    catchup(follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
}

fn start_follow(follow: &Follow) -> Running {
    let (source, target) = (follow.pair.source(), follow.pair.target());
    start(&[
        "follow",
        "--dir",
        &follow.work.dir(),
        "--source",
        &source,
        "--target",
        &target,
        "--slot-name",
        &follow.slot,
        "--origin",
        &follow.slot,
        "--resume",
    ])
}

fn wait_for(follow: &Follow, query: &str) {
    let (to, db) = (follow.pair.to, &follow.pair.db);
    assert!(to.wait_until(db, query, PATIENCE), "{query}");
}

#[test]
fn dl_27_a_file_that_is_read_again_does_not_take_one_statement_for_another() {
    with_each(
        "create table a (id int primary key); create table b (id int primary key)",
        |follow| {
            let mut run = start_follow(follow);
            follow.pair.in_source("insert into a values (1)");
            wait_for(follow, "select count(*) = 1 from a");
            // In the next file, b comes first.
            follow
                .pair
                .in_source("select pg_switch_wal(); insert into b values (1)");
            wait_for(follow, "select count(*) = 1 from b");
            let before = run.children_named("transform");
            for pid in &before {
                signal(*pid, Signal::SIGKILL);
            }
            let replaced = || {
                !run.children_named("transform")
                    .iter()
                    .all(|pid| before.contains(pid))
            };
            assert!(within(PATIENCE, replaced), "{}", run.said());
            follow.pair.in_source("insert into b values (2)");
            follow.end_here();
            run.wait_within(PATIENCE).exits(0);
            assert_same_rows(&follow.pair);
        },
    );
}

#[test]
fn dl_03_07_what_begins_first_and_commits_last_arrives_with_all_that_commit_between() {
    with_each("create table t (id int primary key, v text)", |follow| {
        follow
            .command(&["sentinel", "set", "prefetch"], &[])
            .exits(0);
        let mut run = start_follow(follow);
        let (mut first, mut other) = (
            connect(&follow.pair.source()),
            connect(&follow.pair.source()),
        );
        first
            .batch_execute("begin; insert into t values (1, 'first')")
            .unwrap();
        for id in 10..300 {
            let sql = format!("insert into t values ({id}, 'between')");
            other.batch_execute(&sql).unwrap();
        }
        first
            .batch_execute("insert into t values (3, 'last'); commit")
            .unwrap();
        // Nothing happens for a while: the log goes on without a transaction of ours.
        follow.pair.from.sql("postgres", "select pg_switch_wal()");
        other
            .batch_execute("insert into t values (4, 'later')")
            .unwrap();
        follow.end_here();
        // What is received is a backlog when receiving ends.
        let latest = follow.cdc().join("latest");
        let received = || {
            std::fs::read_link(&latest).is_ok_and(|to| to.extension().is_some_and(|e| e == "json"))
                && follow.letters().ends_with('E')
        };
        assert!(within(PATIENCE, received), "{}", run.said());
        assert_eq!(follow.pair.in_target("select count(*) from t"), "0");
        follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
        run.wait_within(Duration::from_secs(30)).exits(0);
        assert_same_rows(&follow.pair);
    });
}

#[test]
fn dl_06_26_rows_without_a_key_are_found_by_columns_without_an_equal_sign_and_by_null() {
    with_each(
        "create table fj (a int, b text, j json, x xml, p point); alter table fj replica identity full;
         create table nul (a int, b text); alter table nul replica identity full;
         create table later (id int primary key)",
        |follow| {
            follow.pair.in_source(
                "insert into fj values (1, 'a', '{\"a\": 1}', '<x/>', '(1,2)'), (2, null, null, null, null), (3, 'c', '[]', '<y/>', '(0,0)');
                 insert into nul values (1, 'x'), (null, 'y'), (null, null), (2, null), (2, null);
                 update fj set b = 'u' where a = 1; delete from fj where a in (2, 3);
                 update nul set b = 'z' where a is null; delete from nul where b is null; delete from nul where a is null;
                 insert into later values (1);",
            );
            bring_over(follow);
        },
    );
}

#[test]
fn dl_51_a_composite_value_of_nulls_is_not_taken_for_a_null() {
    with_each(
        "create type two as (a int, b text); create table c (id int, v two); alter table c replica identity full",
        |follow| {
            follow.pair.in_source(
                "insert into c values (1, '(,)'), (1, null), (2, null), (2, '(,)'), (3, '(,)'), (3, null);
                 delete from c where id = 1 and v is not distinct from null;
                 delete from c where id = 2 and v is distinct from null;
                 update c set id = 4 where id = 3 and v is not distinct from null",
            );
            bring_over(follow);
        },
    );
}

#[test]
fn dl_12_a_follow_that_dies_while_it_drains_is_resumed_and_drained() {
    with_each("create table t (id int primary key, v text)", |follow| {
        let mut source = connect(&follow.pair.source());
        for id in 0..2000 {
            let sql = format!("insert into t values ({id}, repeat('x', 100))");
            source.batch_execute(&sql).unwrap();
        }
        follow.end_here();
        let mut run = start_follow(follow);
        wait_for(follow, "select count(*) > 0 from t");
        let tree = run.children();
        run.kill(Signal::SIGKILL);
        run.wait_within(PATIENCE);
        let gone = || !tree.iter().any(|pid| crate::support::program::lives(*pid));
        assert!(within(PATIENCE, gone));
        start_follow(follow).wait().exits(0);
        assert_same_rows(&follow.pair);
    });
}

#[test]
fn dl_19_20_names_with_quotes_are_followed_and_unlogged_tables_do_not_stop_it() {
    let schema = "create schema \"S\"\"\\\"; create table \"S\"\"\\\".\"We\"\"ird\" (\"a\"\"b\" int primary key, \"new\nline\" text);
        create unlogged table u (id int primary key)";
    with_each(schema, |follow| {
        follow.pair.in_source(
            "insert into \"S\"\"\\\".\"We\"\"ird\" values (1, 'x'), (2, 'y'); update \"S\"\"\\\".\"We\"\"ird\" set \"new\nline\" = 'z' where \"a\"\"b\" = 2;
             truncate \"S\"\"\\\".\"We\"\"ird\"; insert into \"S\"\"\\\".\"We\"\"ird\" values (3, null)",
        );
        bring_over(follow);
        follow.pair.in_source("insert into u values (1)");
        follow.receive_all();
        catchup(follow, &[]).exits(0);
        assert_eq!(follow.pair.in_target("select count(*) from u"), "0");
    });
}

#[test]
fn dl_24_a_long_value_that_was_not_touched_is_not_touched() {
    let columns = "id int, v text, n int";
    let schema = format!(
        "create table k ({columns}, primary key (id)); alter table k alter v set storage external;
         create table f ({columns}); alter table f alter v set storage external; alter table f replica identity full"
    );
    with_each(&schema, |follow| {
        for table in ["k", "f"] {
            follow.pair.in_source(&format!(
                "insert into {table} values (1, repeat('unchanged-toast-datum', 1000), 1), (2, repeat('y', 9000), 1);
                 update {table} set n = 2; update {table} set id = 3 where id = 1; update {table} set v = null where id = 2;
                 begin; update {table} set n = 3 where id = 3; update {table} set id = 4 where id = 3; commit"
            ));
        }
        bring_over(follow);
    });
}

#[test]
fn dl_38_what_was_committed_without_waiting_for_the_disk_lies_before_the_current_end() {
    with_each("create table t (id int primary key)", |follow| {
        let mut source = connect(&follow.pair.source());
        source
            .batch_execute("set synchronous_commit to off")
            .unwrap();
        for id in 0..3 {
            let sql = format!("insert into t values ({id})");
            source.batch_execute(&sql).unwrap();
            follow.end_here();
            follow.receive(&[]).exits(0);
            catchup(follow, &[]).exits(0);
            assert_same_rows(&follow.pair);
        }
    });
}

#[test]
fn dl_39_43_tables_whose_rows_nothing_tells_are_refused_and_never_break_the_source() {
    for (table, made) in [
        (
            "dk",
            "create table dk (id int primary key deferrable, v text)",
        ),
        ("nk", "create table nk (id int, v text)"),
    ] {
        for plugin in PLUGINS {
            let schema = format!("{made}; insert into {table} values (1, 'a'), (2, 'b')");
            let Some(follow) = Follow::bare(plugin, &schema) else {
                continue;
            };
            follow.pair.in_target(&schema);
            let change = format!(
                "update {table} set v = 'c', id = id + 10; delete from {table} where id = 12"
            );
            let out = follow.setup(&[]);
            let refused = out.code != 0;
            if refused {
                out.says(&[table, "REPLICA IDENTITY"]);
                follow.setup(&["--allow-no-identity"]).exits(0);
            }
            // The source goes on as before, with us or without.
            follow.pair.in_source(&change);
            if !refused {
                follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
                follow.receive_all();
                let out = catchup(&follow, &[]);
                assert_ne!(out.code, 0, "{plugin} {table}");
                out.says(&[table]);
            }
            follow.cleanup(&[]).exits(0);
            // Told by all of its columns it is followed.
            let Some(follow) = Follow::bare(
                plugin,
                &format!("{schema}; alter table {table} replica identity full"),
            ) else {
                continue;
            };
            follow.pair.in_target(&schema);
            follow.setup(&[]).exits(0);
            follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
            follow.pair.in_source(&change);
            bring_over(&follow);
            follow.cleanup(&[]).exits(0);
        }
    }
}

#[test]
fn dl_40_a_partition_that_comes_later_is_followed_or_named() {
    let schema = "create table root (id int primary key, v text) partition by range (id);
        create table low partition of root for values from (0) to (100)";
    let later = "create table high (id int primary key, v text);
        alter table root attach partition high for values from (100) to (200)";
    with_each(schema, |follow| {
        follow.pair.in_source(&format!(
            "{later}; insert into root values (1, 'a'), (2, 'b'), (150, 'c'), (151, 'd');
             update root set id = 160 where id = 1; truncate low; delete from root where id = 151"
        ));
        follow.receive_all();
        let out = catchup(follow, &[]);
        if out.code != 0 {
            out.says(&["high"]);
            follow.pair.in_target(later);
            catchup(follow, &[]).exits(0);
        }
        assert_same_rows(&follow.pair);
    });
}

#[test]
fn dl_47_each_transaction_is_applied_once_however_often_the_connection_is_cut() {
    with_each(
        "create table t (id int); alter table t replica identity full",
        |follow| {
            let mut run = start_follow(follow);
            let mut source = connect(&follow.pair.source());
            let mut cutter = connect(&follow.pair.to.uri("postgres"));
            let cut = format!(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity
              where datname = '{}' and application_name like 'pgcopydb%'",
                follow.pair.db
            );
            source.batch_execute("insert into t values (0)").unwrap();
            wait_for(follow, "select count(*) = 1 from t");
            for id in 1..1500 {
                let sql = format!("insert into t values ({id})");
                source.batch_execute(&sql).unwrap();
                if id % 100 == 50 {
                    cutter.simple_query(&cut).unwrap();
                }
            }
            follow.end_here();
            run.wait_within(Duration::from_secs(60)).exits(0);
            assert_same_rows(&follow.pair);
        },
    );
}

#[test]
fn dl_62_a_slot_that_the_source_cannot_decode_is_given_up_and_not_tried_for_ever() {
    with_each(
        "create type mood as enum ('sad', 'ok'); create table t (id int primary key, m mood, n int)",
        |follow| {
            follow.pair.in_source(
                "insert into t values (1, 'sad', 1);
                 delete from pg_enum where enumlabel = 'sad'; update t set n = 2",
            );
            follow.end_here();
            let out = follow.receive(&[]);
            assert_ne!(out.code, 0);
            out.says(&["3 times", "never go on", "new migration"]);
        },
    );
}

#[test]
fn dl_46_when_a_commit_fails_nothing_behind_it_is_committed() {
    with_each("create table t (id int primary key, v text)", |follow| {
        follow.pair.in_target(
        "create function no() returns trigger language plpgsql as 'begin raise exception ''not this one''; end';
         create constraint trigger late after insert on t deferrable initially deferred
            for each row when (new.v = 'bad') execute function no();
         alter table t enable always trigger late",
    );
        let mut source = connect(&follow.pair.source());
        for id in 1..60 {
            let v = if id == 30 { "bad" } else { "good" };
            let sql = format!("insert into t values ({id}, '{v}')");
            source.batch_execute(&sql).unwrap();
        }
        follow.receive_all();
        let out = catchup(follow, &[]);
        assert_ne!(out.code, 0);
        out.says(&["not this one"]);
        assert_eq!(
            follow.pair.in_target("select count(*), max(id) from t"),
            "29|29"
        );
        follow.pair.in_target("drop trigger late on t");
        catchup(follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
    });
}

#[test]
fn dl_50_a_target_from_before_the_files_that_are_gone_is_refused() {
    with_each("create table t (id int primary key)", |follow| {
        let begin = follow.sentinel("--startpos");
        follow
            .pair
            .in_source("insert into t values (1); select pg_switch_wal()");
        follow
            .pair
            .in_source("insert into t values (2); select pg_switch_wal()");
        follow.pair.in_source("insert into t values (3)");
        follow.receive_all();
        catchup(follow, &[]).exits(0);
        follow.command(&["prune"], &[]).exits(0).says(&["Removed"]);
        follow.pair.in_target(&format!(
            "select pg_replication_origin_drop('{0}'); select pg_replication_origin_create('{0}');
         select pg_replication_origin_advance('{0}', '{begin}')",
            follow.slot
        ));
        follow.pair.in_source("insert into t values (4)");
        follow.receive_all();
        catchup(follow, &[])
            .exits(3)
            .says(&["files of applied changes were removed"]);
    });
}

#[test]
fn dl_23_bytes_that_are_of_no_encoding_arrive_as_they_are_or_are_refused() {
    for plugin in PLUGINS {
        let (from, to) = crate::support::follow::servers();
        let name = format!("bytes_{plugin}");
        let options = "encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'";
        let follow = Follow {
            role: None,
            pair: pair_on(from, to, name.clone(), options),
            work: WorkDir::new(),
            slot: name,
            plugin,
        };
        let schema = "create table t (id int primary key, v text)";
        follow.pair.in_source(schema);
        follow.pair.in_target(schema);
        if follow.setup(&[]).code != 0 {
            println!("refused at setup, or not installed: {plugin}");
            continue;
        }
        follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
        follow
            .pair
            .in_source("insert into t values (1, E'\\xff\\xfe'), (2, E'\\xc3\\xa9')");
        follow.end_here();
        let out = follow.receive(&[]);
        if out.code == 0 {
            catchup(&follow, &[]).exits(0);
            let bytes = "select id, encode(v::bytea, 'hex') from t order by id";
            assert_eq!(follow.pair.in_target(bytes), follow.pair.in_source(bytes));
        } else {
            let names_it = ["encoding", "UTF-8"]
                .iter()
                .any(|word| out.stderr.contains(word));
            assert!(names_it, "{}", out.stderr);
        }
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_53_a_pipe_takes_nothing_before_what_lies_in_files_and_no_half_line() {
    let schema = "create table t (id int primary key, v text)";
    with_each(schema, |follow| {
        follow
            .pair
            .in_source("insert into t values (1, 'in a file')");
        follow.receive_all();
        follow
            .pair
            .in_source("insert into t values (2, 'a'); insert into t values (3, 'b')");
        follow.end_here();
        let lines = follow.receive(&["--to-stdout"]).exits(0).stdout;
        let through_pipes = |lines: &str| {
            let file = follow.work.file("lines.json", lines);
            let (dir, target) = (follow.work.dir(), follow.pair.target());
            let program = env!("CARGO_BIN_EXE_pgcopydb");
            let script = format!(
                "'{program}' stream transform --dir '{dir}' - - <'{file}' |
             '{program}' stream apply --dir '{dir}' --target '{target}' --resume - 2>&1"
            );
            let out = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            (
                out.status.code(),
                String::from_utf8_lossy(&out.stdout).into_owned(),
            )
        };
        let (code, said) = through_pipes(&lines);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("stream catchup"), "{said}");
        assert_eq!(follow.pair.in_target("select count(*) from t"), "0");
        let first = lines.lines().next().unwrap();
        assert!(first.contains("\"action\":\"J\""), "{first}");
        // What lies in files, and then the pipe, which breaks in the middle of the last COMMIT.
        follow.command(&["sentinel", "set", "endpos"], &["0/0"]);
        catchup(follow, &[]);
        let cut = lines.rfind("\"action\":\"C\"").unwrap();
        through_pipes(&lines[..cut]);
        let there = follow
            .pair
            .in_target("select string_agg(id::text, ' ' order by id) from t");
        assert!(["1 2", "1 2 3"].contains(&there.as_str()), "{there}");
        follow.end_here();
        follow.receive(&[]).exits(0);
        catchup(follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
    });
}
