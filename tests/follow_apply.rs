//! What transform and apply bring to the target: equal rows, each transaction once, or a stop that says why.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::PATIENCE;
use crate::support::cluster::client;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{self, Output, Running, start};
use crate::support::servers::Pair;

/// Most kills of one backlog.
const KILLS_MAX: u64 = 10;

/// Tables of the source and a sum of each one's rows; what the target has of them.
fn sums(pair: &Pair, of: impl Fn(&str) -> String) -> Vec<(String, String)> {
    let tables = pair.in_source(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c
                join pg_namespace n on n.oid = c.relnamespace
          where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pgcopydb')
          order by 1",
    );
    tables
        .lines()
        .map(|table| {
            let sql = format!(
                "set timezone to utc; select count(*), md5(coalesce(string_agg(x::text, E'\\n' order by x::text collate \"C\"), ''))
                   from {table} x"
            );
            (table.to_owned(), of(&sql))
        })
        .collect()
}

#[track_caller]
pub fn assert_same_rows(pair: &Pair) {
    let source = sums(pair, |sql| pair.in_source(sql));
    let target = sums(pair, |sql| pair.in_target(sql));
    assert_eq!(source, target);
}

fn catchup_words(follow: &Follow, more: &[&str]) -> Vec<String> {
    let (source, target) = (follow.pair.source(), follow.target());
    let mut all = vec!["--source", &source, "--target", &target, "--resume"];
    all.extend(more);
    follow.words(&["catchup"], &all)
}

fn start_catchup(follow: &Follow) -> Running {
    let words = catchup_words(follow, &[]);
    start(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn catchup(follow: &Follow, more: &[&str]) -> Output {
    let words = catchup_words(follow, more);
    program::run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Both databases with that schema, set up and allowed to apply.
pub fn ready(plugin: &'static str, schema: &str, more: &[&str]) -> Option<Follow> {
    let follow = Follow::bare(plugin, schema)?;
    follow.pair.in_target(schema);
    follow.setup(more).exits(0);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    Some(follow)
}

fn data(name: &str) -> String {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn dl_23_24_25_changes_of_every_kind_and_type_arrive_with_each_plugin() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, &data("follow_schema.sql"), &[]) else {
            continue;
        };
        follow.pair.in_source(&data("follow_changes.sql"));
        if plugin != "wal2json" {
            // Its version 2.5 makes NULL of them, undetectably.
            follow.pair.in_source(
                "insert into t (id, n, f) values (11, 'NaN', 'NaN'), (12, 0, '-Infinity')",
            );
        }
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        // Once more: nothing is left to do.
        catchup(&follow, &[]).exits(0).says(&["previously reached"]);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_09_51_one_of_two_equal_rows_changes_and_not_the_one_that_only_equals_it() {
    for plugin in PLUGINS {
        let schema = "create table d (a int, n numeric); alter table d replica identity full;
            create table p (a int, v text) partition by list (a);
            create table p1 partition of p for values in (1); create table p2 partition of p for values in (2);
            alter table p1 replica identity full; alter table p2 replica identity full; alter table p replica identity full;";
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        follow.pair.in_source(
            "insert into d values (1, 1.0), (1, 1.00), (1, 1.00), (null, null), (null, null);
             insert into p values (1, 'x'), (1, 'x'), (2, 'x'), (2, 'x');
             delete from d where ctid = (select max(ctid) from d where n::text = '1.00');
             update d set a = 7 where ctid = (select ctid from d where n::text = '1.0');
             delete from d where ctid = (select max(ctid) from d where a is null);
             delete from p2 where ctid = (select min(ctid) from p2);
             update p1 set v = 'y' where ctid = (select min(ctid) from p1);",
        );
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_05_a_conflict_stops_before_its_transaction_and_goes_on_once_it_is_mended() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, "create table t (id int primary key, v text)", &[]) else {
            continue;
        };
        follow.pair.in_target("insert into t values (3, 'mine')");
        follow.pair.in_source(
            "insert into t values (1, 'a'); insert into t values (2, 'b');
             begin; insert into t values (30, 'x'); insert into t values (3, 'c'); commit;
             insert into t values (4, 'd'); update t set v = 'e' where id = 1;",
        );
        follow.receive_all();
        catchup(&follow, &[])
            .exits(7)
            .says(&["23505", "\"public\".\"t\"", "(id)=(3)", "line "]);
        assert_eq!(
            follow
                .pair
                .in_target("select string_agg(id||v, ' ' order by id) from t"),
            "1a 2b 3mine"
        );
        let report = std::fs::read_to_string(follow.cdc().join("conflicts.jsonl")).unwrap();
        assert!(report.contains("\"sqlstate\":\"23505\""), "{report}");
        // Not mended: the same again.
        catchup(&follow, &[]).exits(7);
        follow.pair.in_target("delete from t where id = 3");
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn an_update_or_delete_of_a_missing_row_stops() {
    for (change, word) in [
        ("update t set v = 'y' where id = 2", "UPDATE"),
        ("delete from t where id = 2", "DELETE"),
    ] {
        let schema =
            "create table t (id int primary key, v text); insert into t values (1, 'a'), (2, 'b')";
        let follow = ready("test_decoding", schema, &[]).unwrap();
        follow.pair.in_target("delete from t where id = 2");
        follow.pair.in_source(&format!(
            "update t set v = 'z' where id = 1; {change}; insert into t values (5, 'x')"
        ));
        follow.receive_all();
        catchup(&follow, &[])
            .exits(7)
            .says(&[word, "0 rows instead of 1", "(id) = (2)"]);
        assert_eq!(
            follow
                .pair
                .in_target("select string_agg(id||v, ' ' order by id) from t"),
            "1z"
        );
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_commit_that_fails_takes_no_later_transaction_with_it() {
    let follow = ready(
        "test_decoding",
        "create table t (id int primary key, v text)",
        &[],
    )
    .unwrap();
    follow.pair.in_target(
        "create function no() returns trigger language plpgsql as 'begin if new.v = ''bad'' then raise ''not at commit''; end if; return null; end';
         create constraint trigger no after insert on t deferrable initially deferred for each row execute function no();
         alter table t enable always trigger no;",
    );
    follow.pair.in_source("insert into t values (1, 'a'); insert into t values (2, 'bad'); insert into t values (3, 'c');");
    follow.receive_all();
    catchup(&follow, &[])
        .exits(7)
        .says(&["COMMIT", "not at commit"]);
    assert_eq!(
        follow
            .pair
            .in_target("select string_agg(id||v, ' ' order by id) from t"),
        "1a"
    );
    follow.pair.in_target("drop function no() cascade");
    catchup(&follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn dl_44_nothing_behind_the_endpos_is_applied_and_all_of_it_once_later() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, "create table t (id int primary key)", &[]) else {
            continue;
        };
        follow
            .pair
            .in_source("insert into t values (1); insert into t values (2)");
        let middle = follow.pair.in_source("select pg_current_wal_insert_lsn()");
        follow
            .pair
            .in_source("insert into t values (3); insert into t select generate_series(4, 20000)");
        follow.receive_all();
        let last = follow.sentinel("--endpos");
        catchup(&follow, &["--endpos", &middle]).exits(0);
        assert_eq!(follow.pair.in_target("select count(*) from t"), "2");
        catchup(&follow, &["--endpos", &last]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_file_is_transformed_and_applied_by_hand_and_a_second_time_to_no_effect() {
    let follow = ready(
        "test_decoding",
        "create table t (id int primary key, v text)",
        &[],
    )
    .unwrap();
    follow.pair.in_source("insert into t values (1, 'a'), (2, 'b'); update t set v = 'c' where id = 2; delete from t where id = 1");
    follow.receive_all();
    let (name, _) = follow.files().pop().unwrap();
    let json = follow.cdc().join(name).display().to_string();
    let sql = follow.work.path().join("by-hand.sql").display().to_string();
    follow.command(&["transform"], &[&json, &sql]).exits(0);
    let text = std::fs::read_to_string(&sql).unwrap();
    for part in [
        "BEGIN; -- {\"xid\":",
        " AS INSERT INTO public.t (id, v) overriding system value VALUES ($1, $2), ($3, $4);",
        "[\"1\",\"a\",\"2\",\"b\"];",
        " AS UPDATE public.t SET v = $1 WHERE id = $2;",
        " AS DELETE FROM public.t WHERE id = $1;",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let target = follow.pair.target();
    follow
        .command(
            &["apply"],
            &[
                "--target",
                &target,
                "--origin",
                &follow.slot,
                "--resume",
                &sql,
            ],
        )
        .exits(0);
    assert_same_rows(&follow.pair);
    follow
        .command(&["apply"], &["--target", &target, "--resume", &sql])
        .exits(0)
        .says(&["Skipped 3 transactions"]);
    assert_same_rows(&follow.pair);
    follow
        .command(
            &["apply"],
            &["--target", &target, "--origin", "other", &sql],
        )
        .exits(3);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn dl_52_a_truncate_leaves_tables_alone_that_refer_to_it() {
    let schema = "create table a (id int primary key); create table b (id int primary key, a int references a);";
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, schema, &[]) else {
            continue;
        };
        follow.pair.in_source("insert into a values (1), (2); insert into b values (1, 1); truncate b, a; insert into a values (1), (2); insert into b values (1, 1)");
        follow.receive_all();
        catchup(&follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        follow.pair.in_target(
            "create table mine (a int references a); alter table mine disable trigger all; insert into mine values (1)",
        );
        follow
            .pair
            .in_source("truncate a cascade; insert into a values (3)");
        follow.receive_all();
        catchup(&follow, &[])
            .exits(0)
            .says(&["Emptying with DELETE"]);
        assert_eq!(follow.pair.in_target("select count(*) from mine"), "1");
        assert_eq!(
            follow
                .pair
                .in_target("select (select count(*) from b), (select id from a)"),
            "0|3"
        );
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn rows_of_a_partition_that_the_target_lacks_go_to_the_root() {
    let schema = "create table p (id int primary key, v text) partition by range (id);
        create table p1 partition of p for values from (0) to (100); create table p2 partition of p for values from (100) to (200);
        create table plain (id int primary key);";
    let follow = Follow::bare("test_decoding", schema).unwrap();
    follow.pair.in_target(
        "create table p (id int primary key, v text) partition by hash (id);
         create table h1 partition of p for values with (modulus 2, remainder 0); create table h2 partition of p for values with (modulus 2, remainder 1);
         create table plain (id int primary key) partition by range (id); create table plain1 partition of plain default;",
    );
    follow.setup(&[]).exits(0);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    follow.pair.in_source(
        "insert into p select i, 'v' from generate_series(1, 199) i where i < 40 or i > 140; update p set id = id + 95 where id between 5 and 15; delete from p where id = 3;
         update p set v = 'w' where id > 120; insert into plain values (1), (2); truncate plain; insert into plain values (3);",
    );
    follow.receive_all();
    catchup(&follow, &[]).exits(0);
    let sum = "select count(*), md5(string_agg(p::text, ' ' order by id)) from p";
    assert_eq!(follow.pair.in_source(sum), follow.pair.in_target(sum));
    assert_eq!(
        follow
            .pair
            .in_target("select string_agg(id::text, ' ') from plain"),
        "3"
    );
    follow.cleanup(&[]).exits(0);
}

#[test]
fn a_materialized_view_is_refreshed_for_changes_of_its_rows() {
    let schema = "create table t (id int primary key, v text); create materialized view mv as select id, v from t; create unique index on mv (id);";
    let follow = ready("test_decoding", schema, &["--allow-no-identity"]).unwrap();
    follow.pair.in_source("insert into t values (1, 'a'), (2, 'b'); refresh materialized view concurrently mv;
        update t set v = 'c' where id = 1; delete from t where id = 2; refresh materialized view concurrently mv; insert into t values (9, 'z');");
    follow.receive_all();
    catchup(&follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn dl_04_a_role_that_may_not_keep_triggers_quiet_is_refused() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, "create table t (id int primary key)", &[]) else {
            continue;
        };
        follow.pair.in_source("insert into t values (1)");
        follow.receive_all();
        let role = format!("{}_role", follow.slot);
        follow.pair.in_target(&format!(
            "create role {role} login; grant all on t to {role}"
        ));
        let target = follow.pair.to.uri_as(&follow.pair.db, &role, "");
        let words = follow.words(
            &["catchup"],
            &["--source", &follow.pair.source(), "--target", &target],
        );
        program::run(&words.iter().map(String::as_str).collect::<Vec<_>>())
            .exits(7)
            .says(&["session_replication_role", "GRANT SET ON PARAMETER"]);
        assert_eq!(follow.pair.in_target("select count(*) from t"), "0");
        follow.cleanup(&[]).exits(0);
    }
}

/// Runs pgbench on the source, several sessions at a time, with multi-statement transactions.
fn pgbench(follow: &Follow, arguments: &[&str]) {
    let output = Command::new(client("pgbench"))
        .args(arguments)
        .arg(follow.pair.source())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn dl_03_47_apply_that_is_killed_at_any_moment_applies_each_transaction_once() {
    for plugin in PLUGINS {
        if let Some(follow) = Follow::bare(plugin, "") {
            kill_at_any_moment(&follow);
        }
    }
}

/// A backlog of pgbench and of large transactions, and apply killed again and again.
pub fn kill_at_any_moment(follow: &Follow) {
    pgbench(follow, &["-i", "-s", "1", "-q"]);
    // Rows without a key: one applied twice would be there twice.
    let twice = "create table log (n int, t text); create sequence s";
    follow.pair.in_source(twice);
    let dump = Command::new(client("pg_dump"))
        .arg(follow.pair.source())
        .output()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, dump.stdout).unwrap();
    follow.pair.to.psql_file(&follow.pair.db, &file);
    if let Some(role) = &follow.role {
        let sql = format!(
            "do $$ declare t regclass; begin for t in select oid from pg_class where relkind in ('r', 'S')
               and relnamespace = 'public'::regnamespace loop execute format('alter table %s owner to {role}', t); end loop; end $$"
        );
        follow.pair.in_target(&sql);
    }
    follow.setup(&["--allow-no-identity"]).exits(0);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    pgbench(follow, &["-b", "tpcb-like", "-c", "4", "-t", "500", "-n"]);
    // Large transactions that are sent in parts.
    follow.pair.in_source("insert into log select i, repeat('x', 50) from generate_series(1, 12000) i; update pgbench_accounts set abalance = abalance + 1 where aid % 10 = 0");
    pgbench(
        follow,
        &["-b", "simple-update", "-c", "4", "-t", "300", "-n"],
    );
    follow.receive_all();
    let (mut kills, mut wait) = (0, 60);
    loop {
        let run = start_catchup(follow);
        let pid = run.pid();
        // Enough is enough: the last run may take as long as this machine needs.
        let limit = if kills < KILLS_MAX {
            Duration::from_millis(wait)
        } else {
            PATIENCE * 10
        };
        if crate::support::within(limit, || !program::lives(pid)) {
            run.wait().exits(0);
            break;
        }
        run.kill(Signal::SIGKILL);
        run.wait();
        kills += 1;
        assert!(kills <= KILLS_MAX, "it does not come to an end");
        wait = (wait * 7 + 311) % 700 + kills * 100;
    }
    assert!(kills > 0, "it was never killed");
    assert_same_rows(&follow.pair);
    assert_eq!(
        follow
            .pair
            .in_target("select count(*) from pgbench_history"),
        "3200"
    );
    follow.cleanup(&[]).exits(0);
}

#[test]
fn a_target_that_restarts_in_between_is_taken_up_again() {
    let follow = ready(
        "test_decoding",
        "create table t (id int primary key, v text)",
        &[],
    )
    .unwrap();
    follow.pair.in_source("do $$ begin for i in 1..3000 loop insert into t values (i, repeat('x', 100)); commit; end loop; end $$");
    follow.receive_all();
    // A lock that keeps the first group waiting, so that its session can be ended in the middle.
    let name = format!("hold {}", follow.slot);
    let hold = format!(
        "set application_name = '{name}'; begin; lock table t in exclusive mode; select pg_sleep(60)"
    );
    let (to, db) = (follow.pair.to, follow.pair.db.clone());
    let holder = std::thread::spawn(move || drop(to.try_sql(&db, &hold)));
    let is_locked = "select count(*) = 1 from pg_locks where relation = 't'::regclass and mode = 'ExclusiveLock' and granted";
    assert!(to.wait_until(&follow.pair.db, is_locked, Duration::from_secs(10)));
    let run = start_catchup(&follow);
    let waiting =
        "select count(*) > 0 from pg_locks where relation = 't'::regclass and not granted";
    assert!(
        to.wait_until(&follow.pair.db, waiting, Duration::from_secs(20)),
        "{}",
        run.said()
    );
    follow.pair.in_target("select pg_terminate_backend(pid) from pg_locks where relation = 't'::regclass and not granted");
    follow.pair.in_target(&format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{name}'"
    ));
    run.wait().exits(0).says(&["Lost the target"]);
    holder.join().unwrap();
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn files_pruned_up_to_an_endpos_between_transactions_do_not_shut_the_target_out() {
    let Some(follow) = ready(PLUGINS[0], "create table t (id int primary key)", &[]) else {
        return;
    };
    for id in 1..4 {
        follow.pair.in_source(&format!(
            "insert into t values ({id}); select pg_switch_wal()"
        ));
    }
    // The log goes on without transactions of this database: the endpos is no end of one.
    follow.pair.from.sql("postgres", "select txid_current()");
    follow.receive_all();
    catchup(&follow, &[]).exits(0);
    follow.command(&["prune"], &[]).exits(0);
    follow.pair.in_source("insert into t values (4)");
    follow.receive_all();
    catchup(&follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
    // What is written beside the SQL files is for nobody else, either.
    for entry in std::fs::read_dir(follow.cdc()).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = entry.unwrap().path();
        let mode = path.symlink_metadata().unwrap().permissions().mode() & 0o077;
        assert!(
            path.is_symlink() || mode == 0,
            "{}: {mode:o}",
            path.display()
        );
    }
    follow.cleanup(&[]).exits(0);
}
