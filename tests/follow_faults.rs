//! What a follow makes of servers, disks and machines that fail under it. The long forms, with networks
//! that are cut and disks that fill under load, are those of `ci/torture faults`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::follow_apply::{assert_same_rows, catchup};
use crate::follow_random::connect;
use crate::support::cluster::client;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{Running, lives, run_among_mounts, start};
use crate::support::servers::{Pair, lonely_pair, pair_on};
use crate::support::{Cluster, PATIENCE, WorkDir, within};

const KEYED: &str = "create table t (id int primary key, v text)";
/// Rows are counted, as nothing keeps one from being there twice.
const KEYLESS: &str = "create table t (id int, v text); alter table t replica identity full";
/// A source that shuts down waits for those who stream: not longer than this for us.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

fn words(follow: &Follow, more: &[&str]) -> Vec<String> {
    let (source, target, dir) = (
        follow.pair.source(),
        follow.pair.target(),
        follow.work.dir(),
    );
    let mut all = vec![
        "follow",
        "--dir",
        &dir,
        "--source",
        &source,
        "--target",
        &target,
        "--slot-name",
        &follow.slot,
        "--origin",
        &follow.slot,
        "--resume",
    ];
    all.extend(more);
    all.into_iter().map(str::to_owned).collect()
}

fn begin(follow: &Follow, more: &[&str]) -> Running {
    let words = words(follow, more);
    start(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Both databases with that schema, set up.
fn set_up(pair: Pair, schema: &str, plugin: &'static str) -> Follow {
    pair.in_source(schema);
    pair.in_target(schema);
    let slot = format!("{}_{plugin}", pair.db);
    let follow = Follow {
        pair,
        work: WorkDir::new(),
        slot,
        plugin,
        role: None,
    };
    follow.setup(&[]).exits(0);
    follow
}

/// Both databases with that schema, not set up yet, with each plugin that is there.
fn with_each(schema: &str, test: impl Fn(&Follow)) {
    for plugin in PLUGINS {
        let Some(follow) = Follow::bare(plugin, schema) else {
            continue;
        };
        follow.pair.in_target(schema);
        test(&follow);
        follow.cleanup(&[]).exits(0);
    }
}

fn wal2json_is_missing(server: &Cluster, plugin: &str) -> bool {
    let made = "select pg_create_logical_replication_slot('probe', 'wal2json', true)";
    let missing = plugin == "wal2json" && server.try_sql("postgres", made).is_err();
    if missing {
        println!("skipped: there is no wal2json here");
    }
    missing
}

fn apply(follow: &Follow) {
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
}

fn says(run: &Running, text: &str) {
    let said = within(PATIENCE, || run.said().contains(text));
    assert!(said, "nothing about {text:?} in\n{}", run.said());
}

#[test]
fn dl_49_an_origin_of_another_migration_is_refused_and_one_of_a_similar_name_not_read() {
    with_each(KEYED, |follow| {
        let name = follow.slot.clone();
        let far = |name: &str| {
            follow.pair.in_target(&format!(
            "select pg_replication_origin_create('{name}'); select pg_replication_origin_advance('{name}', 'F/0')"
        ))
        };
        far(&name);
        follow.setup(&[]).exits(3).says(&[
            "exists on the target, at F/0",
            "not made for this work directory",
        ]);
        follow
            .pair
            .in_target(&format!("select pg_replication_origin_drop('{name}')"));
        let others = [format!("{name}_1"), format!("{name}1")];
        for other in &others {
            far(other);
        }
        follow.setup(&["--resume"]).exits(0);
        apply(follow);
        follow.pair.in_source("insert into t values (1, 'a')");
        follow.receive_all();
        catchup(follow, &[]).exits(0);
        assert_same_rows(&follow.pair);
        for other in others {
            follow
                .pair
                .in_target(&format!("select pg_replication_origin_drop('{other}')"));
        }
    });
}

#[test]
fn dl_54_a_source_that_shuts_down_waits_neither_for_apply_nor_for_room() {
    let base = lonely_pair();
    for plugin in PLUGINS {
        if wal2json_is_missing(base.from, plugin) {
            continue;
        }
        let pair = pair_on(base.from, base.to, format!("shutdown_{plugin}"), "");
        shut_down_under(&set_up(pair, KEYED, plugin));
    }
}

fn shut_down_under(follow: &Follow) {
    let mut run = begin(follow, &["--max-cdc-size", "200kB"]);
    says(&run, "Resuming streaming");
    let insert = |from: u32| {
        follow.pair.in_source(&format!(
            "insert into t select i, repeat('x', 1000) from generate_series({from}, {from} + 299) i; select pg_switch_wal()"
        ))
    };
    let restarts_soon = |run: &Running| {
        let begun = Instant::now();
        follow.pair.from.restart();
        assert!(begun.elapsed() < SHUTDOWN_LIMIT, "{}", run.said());
    };
    // Nothing may be applied yet.
    follow.pair.in_source("insert into t values (1, 'first')");
    restarts_soon(&run);
    insert(1000);
    insert(2000);
    says(&run, "pauses for want of room");
    insert(3000);
    restarts_soon(&run);
    insert(4000);
    run.kill(Signal::SIGTERM);
    run.wait_within(PATIENCE).exits(0);
    apply(follow);
    follow.end_here();
    begin(follow, &[]).wait().exits(0);
    assert_same_rows(&follow.pair);
}

#[test]
fn dl_55_what_a_crash_of_the_machine_took_from_the_files_is_sent_again_and_applied_once() {
    with_each(KEYLESS, crash_three_times);
}

fn crash_three_times(follow: &Follow) {
    follow.setup(&[]).exits(0);
    apply(follow);
    let mut source = connect(&follow.pair.source());
    let mut torn = 0;
    for round in 0..3 {
        let mut run = begin(follow, &[]);
        says(&run, "Resuming streaming");
        // The first is put on disk at once, the next ones not within a second.
        for id in 0..5 {
            let sql = format!("insert into t values ({round}, 'row {id}')");
            source.batch_execute(&sql).unwrap();
        }
        let end = follow.pair.in_source("select pg_current_wal_insert_lsn()");
        let all = format!("select count(*) = {} from t", (round + 1) * 5);
        let (to, db) = (follow.pair.to, &follow.pair.db);
        assert!(to.wait_until(db, &all, PATIENCE), "{}", run.said());
        let tree = run.children();
        for pid in &tree {
            crate::support::program::signal(*pid, Signal::SIGKILL);
        }
        run.kill(Signal::SIGKILL);
        run.wait_within(PATIENCE);
        assert!(within(PATIENCE, || !tree.iter().any(|pid| lives(*pid))));
        // The machine comes up again, and the end of the newest file never came to its disk.
        std::fs::write(follow.cdc().join("boot_id"), "another\n").unwrap();
        tear_unfinished_sql(follow);
        let confirmed = follow.confirmed();
        let query = format!("select '{confirmed}'::pg_lsn < '{end}'::pg_lsn - 100");
        if follow.pair.in_source(&query) == "t" {
            torn += 1;
            let newest = follow.files().pop().unwrap().0;
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(follow.cdc().join(newest))
                .unwrap();
            file.set_len(file.metadata().unwrap().len() - 10).unwrap();
        }
    }
    println!("the end of the files was lost {torn} times of 3");
    follow
        .pair
        .in_source("insert into t values (9, 'after the crash')");
    follow.end_here();
    begin(follow, &[])
        .wait()
        .exits(0)
        .says(&["what no record vouches for is received again"]);
    assert_same_rows(&follow.pair);
}

/// Blocks of SQL files that were being made never came to the disk either.
fn tear_unfinished_sql(follow: &Follow) {
    for entry in std::fs::read_dir(follow.cdc()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".sql.partial") {
            let mut bytes = std::fs::read(&path).unwrap();
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
            bytes.extend_from_slice(b"\nmore\n");
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_slot_that_is_invalidated_under_a_follow_is_an_error_that_says_what_is_lost() {
    let follow = set_up(lonely_pair(), KEYED, "pgoutput");
    apply(&follow);
    follow
        .pair
        .from
        .conf("max_slot_wal_keep_size = '1MB'\nmax_wal_size = '32MB'\nmin_wal_size = '32MB'");
    let mut run = begin(&follow, &[]);
    follow.pair.in_source("insert into t values (1, 'a')");
    says(&run, "replay mode");
    // The WAL of a transaction is needed as long as it is open, whatever is confirmed.
    let mut open = connect(&follow.pair.source());
    open.batch_execute("begin; insert into t values (-2, 'open')")
        .unwrap();
    let begun = Instant::now();
    let lost = within(PATIENCE, || {
        follow.pair.in_source(
            "insert into t select max(id) + 1, 'more' from t; select pg_switch_wal(); checkpoint",
        );
        let status = "select wal_status from pg_replication_slots ";
        follow.pair.in_source(status) == "lost"
    });
    assert!(lost, "{}", run.said());
    run.wait_within(Duration::from_secs(60)).exits(6).says(&[
        "can no longer be used",
        "are lost",
        "Begin a new migration",
        "max_slot_wal_keep_size",
    ]);
    println!(
        "it ended {:?} after the first WAL was gone",
        begun.elapsed()
    );
}

#[test]
fn transactions_on_a_small_disk_are_not_received_again_and_again_until_it_is_full() {
    let follow = Follow::bare("pgoutput", KEYED).expect("it is always there");
    follow.pair.in_target(KEYED);
    let (source, target, dir) = (
        follow.pair.source(),
        follow.pair.target(),
        follow.work.dir(),
    );
    let (psql, slot) = (client("psql").display().to_string(), &follow.slot);
    let program = crate::support::program::path_of("pgcopydb");
    let program = program.display();
    let insert = "insert into t select i, repeat('x', 1000) from generate_series(:n, :n + 3999) i";
    // Eight transactions of more than 4 MB each, which take as much again as SQL.
    let before = format!(
        "mkdir -p '{dir}'; mount -t tmpfs -o mode=0700,size=48m none '{dir}'
         '{program}' stream setup --dir '{dir}' --source '{source}' --target '{target}' --slot-name {slot} --origin {slot} --plugin pgoutput
         '{program}' stream sentinel set apply --dir '{dir}'
         for n in 1 2 3 4 5 6 7 8; do
             echo \"{insert};\" | '{psql}' -qX -v n=${{n}}0000 '{source}'
             '{psql}' -qAtX -c 'select pg_switch_wal()' '{source}'
         done
         '{program}' stream sentinel set endpos --current --dir '{dir}' --source '{source}'"
    );
    let words = words(&follow, &[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(out) = run_among_mounts(&before, &words) else {
        return;
    };
    out.exits(0);
    assert_same_rows(&follow.pair);
    assert_eq!(follow.pair.in_target("select count(*) from t"), "32000");
}
