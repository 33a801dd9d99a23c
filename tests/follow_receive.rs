//! Receiving changes: each plugin, the end that was asked for, kills, restarts, what others see.

use std::fmt::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::follow::{Follow, PLUGINS, TABLE, servers};
use crate::support::program::WorkDir;
use crate::support::servers::pair_on;
use crate::support::{Cluster, pause, within};

#[test]
fn changes_of_each_plugin_are_in_the_files_once() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::with(plugin, TABLE) else {
            continue;
        };
        follow.pair.in_source(
            "insert into t values (1, 'a''b'), (2, null);
             update t set v = 'c' where id = 1; update t set id = 3 where id = 2; delete from t where id = 3;
             begin; insert into t values (4, 'x'); savepoint s; insert into t values (5, 'y');
             rollback to s; insert into t values (6, 'z'); commit;
             begin; insert into t values (7, 'lost'); rollback;
             create table other (id integer primary key); truncate t;
             select pg_logical_emit_message(true, 'p', 'm'), pg_logical_emit_message(false, 'p', 'm')",
        );
        follow.receive_all();
        let changes: String = follow
            .letters()
            .chars()
            .filter(|c| "BCIUDT".contains(*c))
            .collect();
        assert_eq!(changes, "BIICBUCBUCBDCBIICBTC", "{plugin}");
        let before = follow.lines();
        follow.receive(&[]).exits(0).says(&["was received before"]);
        assert_eq!(follow.lines(), before, "a second receive adds nothing");
        let first = &before[1];
        let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["action", "xid", "lsn", "timestamp", "message"],
            "{plugin}"
        );
        assert_eq!(
            first["timestamp"].as_str().unwrap().len(),
            "2024-07-30 11:12:03.673700+0000".len()
        );
        let message = &first["message"];
        if plugin == "test_decoding" {
            assert_eq!(first["xid"], "0");
            assert_eq!(
                message,
                "table public.t: INSERT: id[integer]:1 v[text]:'a''b'"
            );
        } else {
            assert_eq!(message["table"], "t");
            assert_eq!(message["columns"][1]["value"], "a'b");
        }
    }
}

/// Transactions of several statements that interleave with those of other sessions.
fn script(session: u32, transactions: u32) -> String {
    let mut text = String::new();
    for n in 0..transactions {
        let key = session * 100_000 + n * 10;
        let _ = write!(text, "begin; insert into t values ({key}, 'a');");
        if n % 3 == 0 {
            let _ = write!(text, "select pg_sleep(0.0{});", (n + session) % 4);
        }
        if n % 5 == 0 {
            let _ = write!(
                text,
                "savepoint s; insert into t values ({}, 'void'); rollback to s;",
                key + 1
            );
        }
        if n % 7 == session % 7 {
            text.push_str("select pg_switch_wal();");
        }
        let _ = write!(
            text,
            "update t set v = repeat('x', {}) where id = {key}; insert into t values ({}, 'b');",
            (n * 37) % 3000,
            key + 2
        );
        text.push_str(if n % 11 == 10 {
            "rollback;\n"
        } else {
            "commit;\n"
        });
    }
    text
}

/// A number that differs from call to call.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() % below
}

fn storm(plugin: &'static str) {
    let Some(follow) = Follow::with(plugin, TABLE) else {
        return;
    };
    follow.start_record();
    let (from, db) = (follow.pair.from, follow.pair.db.clone());
    let writers: Vec<_> = (1..=4)
        .map(|session| {
            let db = db.clone();
            std::thread::spawn(move || from.sql(&db, &script(session, 120)))
        })
        .collect();
    let mut kills = 0;
    while !writers.iter().all(std::thread::JoinHandle::is_finished) || kills < 5 {
        let run = follow.start(&[]);
        let end = Instant::now() + Duration::from_millis(30 + random(500));
        while Instant::now() < end {
            pause();
        }
        run.kill(Signal::SIGKILL);
        drop(run);
        kills += 1;
    }
    for writer in writers {
        writer.join().unwrap();
    }
    follow.receive_all();
    let (received, record) = (follow.received(), follow.record());
    let first = received
        .iter()
        .zip(&record)
        .position(|(one, other)| one != other);
    assert!(
        first.is_none(),
        "{plugin}: differs at {first:?} after {kills} kills"
    );
    assert!(record.len() > 400, "{}", record.len());
    assert_eq!(received, record, "{plugin}: after {kills} kills");
    assert!(follow.files().len() > 10);
}

#[test]
fn kills_of_receive_lose_and_repeat_no_transaction_of_pgoutput() {
    storm("pgoutput");
}

#[test]
fn kills_of_receive_lose_and_repeat_no_transaction_of_test_decoding() {
    storm("test_decoding");
}

#[test]
fn kills_of_receive_lose_and_repeat_no_transaction_of_wal2json() {
    storm("wal2json");
}

#[test]
fn dl_45_a_kill_inside_of_a_transaction_over_three_files_voids_its_first_copy() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::with(plugin, TABLE) else {
            continue;
        };
        follow.start_record();
        follow.pair.in_source("insert into t values (0, 'before')");
        // Begins below the next one, and ends behind it.
        follow.pair.in_source(
            "begin; insert into t select i, repeat('x', 2000) from generate_series(1, 3000) i;
             select pg_switch_wal(); insert into t select i, 'y' from generate_series(3001, 5000) i;
             select pg_switch_wal(); insert into t select i, 'z' from generate_series(5001, 7000) i; commit;
             insert into t values (8000, 'after')",
        );
        // What a process that was killed in the middle of it leaves: the files cut there, and no
        // record of what comes behind.
        follow.receive_all();
        let files = follow.files();
        assert!(files.len() >= 3, "{plugin}: {} files", files.len());
        let (name, _) = &files[1];
        let stem = name.split('.').next().unwrap();
        for (later, _) in &files[2..] {
            std::fs::remove_file(follow.cdc().join(later)).unwrap();
        }
        let text = std::fs::read_to_string(follow.cdc().join(name)).unwrap();
        std::fs::remove_file(follow.cdc().join(name)).unwrap();
        let cut = text.floor_char_boundary(text.len() / 2);
        std::fs::write(
            follow.cdc().join(format!("{stem}.json.partial")),
            &text[..cut],
        )
        .unwrap();
        let index = follow.cdc().join("txn.idx");
        let records = std::fs::read(&index).unwrap();
        std::fs::write(&index, &records[..96]).unwrap();
        // The slot has been told of all: another one from before takes its place.
        let error = follow.receive(&[]);
        error
            .exits(3)
            .says(&["were confirmed but are not in the work directory"]);
        let begin = follow.pair.in_source(&format!(
            "select pg_drop_replication_slot('{0}');
             select pg_copy_logical_replication_slot('{0}_record', '{0}', false, '{1}') is not null",
            follow.slot, follow.plugin
        ));
        assert!(begin.ends_with('t'));
        follow.receive(&[]).exits(0);
        assert_eq!(follow.received(), follow.record(), "{plugin}");
        let newest = follow.files().pop().unwrap().0;
        assert!(newest > *name, "what came again stands in the newest files");
    }
}

#[test]
fn endpos_lets_a_transaction_in_when_its_end_is_reached_and_never_a_part_of_it() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::with(plugin, TABLE) else {
            continue;
        };
        follow.start_record();
        follow.pair.in_source(
            "insert into t values (1, 'a');
             begin; insert into t values (2, 'b'); insert into t values (3, 'c'); commit;",
        );
        // Where the records of the second transaction begin and end, as the server tells.
        let peek = follow.pair.in_source(&format!(
            "select lsn || ' ' || split_part(data, ' ', 1) from pg_logical_slot_peek_changes('{}_record', null, null)",
            follow.slot
        ));
        let at: Vec<&str> = peek
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        // BEGIN, INSERT, COMMIT, BEGIN, INSERT, INSERT, COMMIT
        let [_, _, first_end, _, _, middle, end] = at[..] else {
            panic!("{peek}")
        };
        let inside = follow
            .pair
            .in_source(&format!("select '{end}'::pg_lsn - 1"));
        for (endpos, transactions) in [(first_end, 1), (middle, 1), (&inside, 1), (end, 2)] {
            let run = follow.receive(&["--endpos", endpos]).exits(0);
            assert!(
                run.took < Duration::from_secs(10),
                "{plugin} {endpos} took {:?}",
                run.took
            );
            assert_eq!(
                follow.received().len(),
                transactions,
                "{plugin} at {endpos}"
            );
            let last: Vec<String> = follow
                .letters()
                .chars()
                .rev()
                .take(2)
                .map(String::from)
                .collect();
            assert!(
                last[0] == "E" || (last[0] == "R" && last[1] == "E"),
                "{plugin}: {}",
                follow.letters()
            );
            let before = follow.lines();
            follow.receive(&["--endpos", endpos]).exits(0);
            assert_eq!(
                follow.lines(),
                before,
                "{plugin}: a second receive adds nothing"
            );
        }
        assert_eq!(follow.received(), follow.record(), "{plugin}");
    }
}

#[test]
fn an_endpos_inside_of_a_commit_record_loses_nothing_later() {
    let follow = Follow::with("test_decoding", TABLE).unwrap();
    follow.start_record();
    for n in 0..20 {
        follow
            .pair
            .in_source(&format!("insert into t values ({n}, 'x')"));
        let now = follow
            .pair
            .in_source("select pg_current_wal_insert_lsn() - 20");
        follow.receive(&["--endpos", &now]).exits(0);
    }
    follow.receive_all();
    assert_eq!(follow.received(), follow.record());
}

#[test]
fn an_idle_source_ends_at_an_endpos_that_is_past_and_at_one_set_while_it_runs() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    let mut run = follow.start(&[]);
    assert!(within(Duration::from_secs(10), || run
        .said()
        .contains("Resuming streaming")));
    let set = Instant::now();
    follow.end_here();
    run.wait_within(Duration::from_secs(10)).exits(0);
    assert!(
        set.elapsed() < Duration::from_secs(3),
        "{:?}",
        set.elapsed()
    );
    let past = follow
        .pair
        .in_source("select pg_current_wal_flush_lsn() - 10000");
    let run = follow.receive(&["--endpos", &past]).exits(0);
    assert!(run.took < Duration::from_secs(3));
    assert_eq!(follow.received(), []);
}

#[test]
fn what_is_confirmed_moves_on_while_nothing_is_applied_and_an_idle_database_keeps_no_wal() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    let run = follow.start(&[]);
    let before = follow.confirmed();
    follow.pair.in_source("insert into t values (1, 'x')");
    let end = follow.pair.in_source("select pg_current_wal_flush_lsn()");
    let moved = format!(
        "select confirmed_flush_lsn > '{before}' and confirmed_flush_lsn <= '{end}'::pg_lsn + 100000
           from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    let db = &follow.pair.db;
    assert!(
        follow
            .pair
            .from
            .wait_until(db, &moved, Duration::from_secs(10)),
        "{}",
        run.said()
    );
    // Another database writes, this one is idle.
    let other = follow.pair.from;
    let at = other.sql(
        "postgres",
        "create table if not exists noise (t text); select pg_current_wal_lsn()",
    );
    other.sql(
        "postgres",
        "insert into noise select repeat('x', 1000) from generate_series(1, 5000)",
    );
    let passed = format!(
        "select confirmed_flush_lsn > '{at}' from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    assert!(
        other.wait_until(db, &passed, Duration::from_secs(45)),
        "{}",
        run.said()
    );
    run.kill(Signal::SIGTERM);
    run.wait().exits(0).says(&["Streamed up to"]);
    assert_eq!(follow.received().len(), 1);
}

#[test]
fn a_killed_walsender_and_a_restarted_source_are_survived() {
    let from: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let (_, to) = servers();
    let pair = pair_on(from, to, "survive".to_owned(), "");
    pair.in_source(TABLE);
    let follow = Follow {
        role: None,
        pair,
        work: WorkDir::new(),
        slot: "survive".to_owned(),
        plugin: "pgoutput",
    };
    follow.setup(&[]).exits(0);
    follow.start_record();
    let mut run = follow.start(&[]);
    assert!(within(Duration::from_secs(10), || run
        .said()
        .contains("Resuming streaming")));
    for n in 0..3 {
        follow
            .pair
            .in_source(&format!("insert into t values ({n}, 'x')"));
        follow
            .pair
            .in_source("select pg_terminate_backend(pid) from pg_stat_replication");
        follow
            .pair
            .in_source(&format!("insert into t values ({}, 'y')", n + 10));
    }
    let begun = Instant::now();
    from.restart();
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "a fast shutdown waits for nobody"
    );
    follow.pair.in_source("insert into t values (100, 'z')");
    follow.end_here();
    run.wait_within(Duration::from_secs(60)).exits(0);
    assert_eq!(follow.received(), follow.record());
    assert_eq!(follow.received().len(), 7);
}

#[test]
fn a_slot_that_is_gone_or_invalid_is_an_error_that_says_what_is_lost() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    follow.receive_all();
    follow.pair.in_source(&format!(
        "select pg_drop_replication_slot('{}')",
        follow.slot
    ));
    follow.pair.in_source("insert into t values (1, 'x')");
    follow
        .command(&["sentinel", "set", "endpos"], &["FF/0"])
        .exits(0);
    follow
        .receive(&[])
        .exits(6)
        .says(&["does not exist", "not kept any more"]);

    let from: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    from.conf("max_slot_wal_keep_size = '1MB'\nmax_wal_size = '32MB'\nmin_wal_size = '32MB'");
    let (_, to) = servers();
    let pair = pair_on(from, to, "invalid".to_owned(), "");
    pair.in_source(TABLE);
    let follow = Follow {
        role: None,
        pair,
        work: WorkDir::new(),
        slot: "invalid".to_owned(),
        plugin: "pgoutput",
    };
    follow.setup(&[]).exits(0);
    follow.pair.in_source("insert into t values (1, 'x')");
    for _ in 0..4 {
        follow.pair.in_source(
            "select pg_switch_wal(); checkpoint; insert into t values (random() * 1000000, 'y')",
        );
    }
    follow
        .receive(&[])
        .exits(6)
        .says(&["can no longer be used", "are lost"]);
}

#[test]
fn sessions_of_the_source_with_odd_settings_change_no_value() {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(
            plugin,
            "create table t (id integer primary key, d date, i interval, b bytea, f float8, m money, r regclass)",
        ) else {
            continue;
        };
        let db = &follow.pair.db;
        follow.pair.in_source(&format!(
            "alter database {db} set datestyle = 'SQL, DMY'; alter database {db} set intervalstyle = 'sql_standard';
             alter database {db} set bytea_output = 'escape'; alter database {db} set extra_float_digits = -15;
             alter database {db} set search_path = 'pg_catalog'"
        ));
        follow.setup(&[]).exits(0);
        follow.pair.in_source(
            "insert into public.t values (1, '2024-02-03', '1 day -2 hours', '\\x00ff41', 0.1::float8 + 0.2, '12.5', 'public.t'::regclass)",
        );
        follow.receive_all();
        let line = follow
            .lines()
            .into_iter()
            .find(|line| line["action"] == "I")
            .unwrap();
        let text = line["message"].to_string();
        let bytes = if plugin == "wal2json" {
            "\"00ff41\""
        } else {
            "x00ff41"
        };
        for value in [
            "2024-02-03",
            "1 day -02:00:00",
            bytes,
            "0.30000000000000004",
            "$12.50",
            "public.t",
        ] {
            assert!(text.contains(value), "{plugin}: no {value} in {text}");
        }
    }
}

#[test]
fn text_of_a_latin1_source_is_received_as_utf8() {
    for plugin in PLUGINS {
        let (from, to) = servers();
        let pair = pair_on(
            from,
            to,
            format!("latin_{plugin}"),
            "encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'",
        );
        pair.in_source(TABLE);
        let slot = format!("latin_{plugin}");
        let follow = Follow {
            role: None,
            pair,
            work: WorkDir::new(),
            slot,
            plugin,
        };
        if !follow
            .setup(&[])
            .stderr
            .contains("Created logical replication slot")
        {
            println!("skipped: {plugin} cannot be used here");
            continue;
        }
        follow
            .pair
            .in_source("insert into t values (1, chr(233) || chr(223))");
        follow.receive_all();
        let line = follow
            .lines()
            .into_iter()
            .find(|line| line["action"] == "I")
            .unwrap();
        assert!(
            line["message"].to_string().contains("éß"),
            "{plugin}: {line}"
        );
    }
}

#[test]
fn standard_output_has_the_lines_of_the_files_behind_a_join() {
    let follow = Follow::with("test_decoding", TABLE).unwrap();
    follow.pair.in_source("insert into t values (1, 'first')");
    follow.receive_all();
    let known = follow.lines().len();
    let joined = follow.files().last().unwrap().0.clone();
    follow.pair.in_source("insert into t values (2, 'second'); select pg_switch_wal(); insert into t values (3, 'third')");
    follow.end_here();
    let out = follow.receive(&["--to-stdout"]).exits(0).stdout;
    let mut printed: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let join = printed.remove(0);
    assert_eq!(join["action"], "J");
    assert_eq!(join["file"].as_str().unwrap(), joined);
    assert_eq!(printed, follow.lines()[known..]);
}

#[test]
fn prune_removes_what_is_applied_and_keeps_the_rest() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    for n in 0..5 {
        follow.pair.in_source(&format!(
            "insert into t values ({n}, 'x'); select pg_switch_wal()"
        ));
    }
    follow.receive_all();
    let files = follow.files();
    assert!(files.len() >= 5);
    follow
        .command(&["prune"], &[])
        .exits(0)
        .says(&["Removed 0 CDC file pair(s)"]);
    // The third transaction is applied, as apply would tell.
    let ends: Vec<String> = follow
        .lines()
        .iter()
        .filter(|line| line["action"] == "C")
        .map(|line| line["lsn"].as_str().unwrap().to_owned())
        .collect();
    let set = std::process::Command::new("sqlite3")
        .arg(follow.work.path().join("schema/source.db"))
        .arg(format!("update sentinel set replay_lsn = '{}'", ends[2]))
        .status();
    if !set.is_ok_and(|status| status.success()) {
        println!("skipped: there is no sqlite3 here");
        return;
    }
    let shown = follow.command(&["prune"], &["--dry-run"]).exits(0).stderr;
    // WAL of other tests may make a file without a transaction among them.
    let pairs = (3..files.len())
        .find(|n| shown.contains(&format!("would remove {n} CDC file pair(s)")))
        .unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(follow.files().len(), files.len());
    follow
        .command(&["prune"], &[])
        .exits(0)
        .says(&[&format!("Removed {pairs} CDC file pair(s)")]);
    assert_eq!(follow.received().len(), 2);
    follow.pair.in_source("insert into t values (9, 'x')");
    follow.receive_all();
    assert_eq!(follow.received().len(), 3);
}
