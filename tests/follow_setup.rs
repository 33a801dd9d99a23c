//! What a follow leaves on both servers: setup, publications, sentinel, cleanup, what is refused.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::follow_random::connect;
use crate::support::follow::{Follow, TABLE, servers};
use crate::support::program::{WorkDir, run, start};
use crate::support::servers::pair_on;
use crate::support::{Cluster, PATIENCE, within};

#[test]
fn the_sentinel_is_printed_as_scripts_know_it() {
    let follow = Follow::bare("pgoutput", TABLE).unwrap();
    let quiet = follow.command(&["sentinel", "get"], &[]);
    assert_eq!(quiet.exits(3).stdout, "");
    assert!(!follow.work.path().exists(), "it makes no work directory");
    follow.setup(&[]).exits(0);
    let start = follow.confirmed();
    let text = follow.command(&["sentinel", "get"], &[]).exits(0).stdout;
    assert_eq!(
        text,
        format!(
            "startpos   {start}\nendpos     0/0\napply      disabled\nwrite_lsn  0/0\nflush_lsn  0/0\nreplay_lsn 0/0\n"
        )
    );
    let set = follow
        .command(&["sentinel", "set", "endpos"], &["0/1A"])
        .exits(0);
    assert_eq!(set.stdout, "0/1A\n");
    assert_eq!(
        follow
            .command(&["sentinel", "set", "apply"], &[])
            .exits(0)
            .stdout,
        ""
    );
    let json = follow
        .command(&["sentinel", "get"], &["--json"])
        .exits(0)
        .stdout;
    assert_eq!(
        json,
        format!(
            "{{\n    \"startpos\": \"{start}\",\n    \"endpos\": \"0/1A\",\n    \"apply\": true,\n    \"write_lsn\": \"0/0\",\n    \"flush_lsn\": \"0/0\",\n    \"replay_lsn\": \"0/0\"\n}}\n"
        )
    );
    assert_eq!(follow.sentinel("--apply"), "enabled");
    follow
        .command(&["sentinel", "set", "prefetch"], &[])
        .exits(0);
    assert_eq!(follow.sentinel("--apply"), "disabled");
    follow
        .command(&["sentinel", "get"], &["--apply", "--endpos"])
        .exits(1);
    follow.command(&["sentinel", "set", "endpos"], &[]).exits(1);
    follow
        .command(&["sentinel", "set", "endpos"], &["--current", "0/1"])
        .exits(1);
    follow
        .command(&["sentinel", "set", "endpos"], &["xyz"])
        .exits(1);
    follow
        .command(&["sentinel", "setup"], &["0/5", "0/6"])
        .exits(0);
    assert_eq!(
        (follow.sentinel("--startpos"), follow.sentinel("--endpos")),
        ("0/5".into(), "0/6".into())
    );
}

#[test]
fn setup_is_repeated_with_resume_only_and_cleanup_always() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    let slot = |sql: &str| follow.pair.in_source(sql).replace("{}", &follow.slot);
    let before = std::fs::read_to_string(follow.cdc().join("slot")).unwrap();
    follow.setup(&[]).exits(3).says(&["--resume"]);
    follow
        .setup(&["--resume"])
        .exits(0)
        .says(&["Re-using replication slot"]);
    assert_eq!(
        std::fs::read_to_string(follow.cdc().join("slot")).unwrap(),
        before
    );
    let start = before.lines().nth(1).unwrap();
    assert_eq!(follow.sentinel("--startpos"), start);
    let origin = format!(
        "select pg_replication_origin_progress('{}', true)",
        follow.slot
    );
    assert_eq!(follow.pair.in_target(&origin), start);
    follow.receive(&["--slot-name", "another"]).exits(3);
    follow.receive(&["--plugin", "wal2json"]).exits(3);
    assert_eq!(slot("select count(*) from pg_publication"), "1");
    follow.cleanup(&[]).exits(0);
    let left = format!(
        "select (select count(*) from pg_replication_slots where slot_name = '{0}') + (select count(*) from pg_publication)",
        follow.slot
    );
    assert_eq!(follow.pair.in_source(&left), "0");
    let origin = format!(
        "select count(*) from pg_replication_origin where roname = '{}'",
        follow.slot
    );
    assert_eq!(follow.pair.in_target(&origin), "0");
    follow.cleanup(&[]).exits(0);
    follow.setup(&[]).exits(0);
    // Without the work directory, by names alone.
    std::fs::remove_dir_all(follow.work.path()).unwrap();
    let names = [
        "--slot-name",
        follow.slot.as_str(),
        "--origin",
        follow.slot.as_str(),
    ];
    follow.cleanup(&names).exits(0);
    assert_eq!(follow.pair.in_source(&left), "0");
    assert_eq!(follow.pair.in_target(&origin), "0");
}

#[test]
fn a_slot_that_somebody_makes_under_our_name_after_a_crash_is_not_taken_for_ours() {
    let follow = Follow::bare("pgoutput", TABLE).unwrap();
    let sql = |text: &str| follow.pair.in_source(&text.replace("SLOT", &follow.slot));
    // The slot is there, its file cannot be written; then it goes, and somebody else makes one.
    let obstacle = follow.cdc().join("slot.tmp");
    std::fs::create_dir_all(&obstacle).unwrap();
    follow.setup(&[]).exits(3);
    std::fs::remove_dir(&obstacle).unwrap();
    sql("select pg_drop_replication_slot('SLOT')");
    sql("insert into t values (1, 'theirs')");
    sql("select pg_create_logical_replication_slot('SLOT', 'pgoutput')");
    let theirs = follow.confirmed();
    follow.setup(&["--resume"]).exits(6).says(&[
        "already exists",
        &format!("confirmed up to {theirs}"),
        &format!("pgcopydb stream cleanup --slot-name {}", follow.slot),
    ]);
    assert_eq!(follow.confirmed(), theirs);
    sql("select pg_drop_replication_slot('SLOT')");
    follow.setup(&["--resume"]).exits(0);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn a_slot_that_is_made_and_not_on_record_and_one_that_is_still_being_made_are_ours_the_next_time() {
    let follow = Follow::bare("pgoutput", TABLE).unwrap();
    let slots = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    // The slot is there, its file cannot be written.
    let obstacle = follow.cdc().join("slot.tmp");
    std::fs::create_dir_all(&obstacle).unwrap();
    follow.setup(&[]).exits(3);
    assert_eq!(follow.pair.in_source(&slots), "1");
    std::fs::remove_dir(&obstacle).unwrap();
    follow
        .setup(&["--resume"])
        .exits(0)
        .says(&["Dropping replication slot"]);
    follow.cleanup(&[]).exits(0);
    // The server process outlives the one that asked for the slot, as it waits for a writer.
    let mut writer = connect(&follow.pair.source());
    writer
        .batch_execute("begin; insert into t values (1, 'open')")
        .unwrap();
    let makers = "select count(*), max(pid) from pg_stat_activity
                   where query like 'CREATE_REPLICATION_SLOT%' and datname = current_database()";
    let start = || {
        let words = follow.setup_words(&["--resume"]);
        start(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut run = start();
    assert!(within(PATIENCE, || follow
        .pair
        .in_source(makers)
        .starts_with("1|")));
    let first = follow.pair.in_source(makers);
    run.kill(Signal::SIGKILL);
    run.wait_within(PATIENCE);
    let run = start();
    let another = || {
        let now = follow.pair.in_source(makers);
        now.starts_with("1|") && now != first
    };
    assert!(within(PATIENCE, another), "{}", run.said());
    writer.batch_execute("commit").unwrap();
    run.wait().exits(0);
    assert_eq!(follow.pair.in_source(&slots), "1");
    follow.cleanup(&[]).exits(0);
}

#[test]
fn cleanup_drops_the_slot_although_the_target_is_away_and_refuses_one_in_use() {
    let follow = Follow::with("test_decoding", TABLE).unwrap();
    let run = follow.start(&[]);
    assert!(within(Duration::from_secs(10), || run
        .said()
        .contains("Resuming streaming")));
    // A stranger uses it: the record of our own backend is not there.
    std::fs::remove_file(follow.work.path().join("schema/source.db")).unwrap();
    follow.cleanup(&[]).exits(6).says(&["is in use by process"]);
    run.kill(Signal::SIGKILL);
    drop(run);
    let source = follow.pair.source();
    let gone = follow.command(
        &["cleanup"],
        &[
            "--source",
            &source,
            "--target",
            "postgres://postgres@127.0.0.1:1/x?connect_timeout=1",
            "--slot-name",
            &follow.slot,
        ],
    );
    assert_ne!(gone.code, 0);
    let left = format!(
        "select count(*) from pg_replication_slots where slot_name = '{}'",
        follow.slot
    );
    assert_eq!(follow.pair.in_source(&left), "0");
}

#[test]
fn what_others_made_is_neither_used_nor_dropped() {
    let follow = Follow::bare("pgoutput", TABLE).unwrap();
    follow.pair.in_source(&format!(
        "select pg_create_logical_replication_slot('{}', 'test_decoding')",
        follow.slot
    ));
    follow.setup(&[]).exits(6).says(&[
        "already exists",
        "--slot-name",
        "--resume",
        "stream cleanup",
    ]);
    follow.pair.in_source(&format!(
        "select pg_drop_replication_slot('{}')",
        follow.slot
    ));
    assert_eq!(
        follow.pair.in_source("select count(*) from pg_publication"),
        "0"
    );

    follow.pair.in_target(&format!(
        "select pg_replication_origin_create('{0}'); select pg_replication_origin_advance('{0}', 'F/0')", follow.slot
    ));
    follow
        .setup(&[])
        .exits(3)
        .says(&["exists on the target, at F/0"]);
    follow.setup(&["--resume"]).exits(3);
    follow.pair.in_target(&format!(
        "select pg_replication_origin_drop('{}')",
        follow.slot
    ));
    follow.setup(&["--resume"]).exits(0);
    follow.cleanup(&[]).exits(0);

    follow
        .pair
        .in_source("create publication mine for all tables");
    follow.setup(&["--publication", "mine"]).exits(0);
    follow.pair.in_source("insert into t values (1, 'x')");
    follow.receive_all();
    assert_eq!(follow.received().len(), 1);
    follow.cleanup(&[]).exits(0);
    assert_eq!(
        follow
            .pair
            .in_source("select string_agg(pubname, ',') from pg_publication"),
        "mine"
    );
}

#[test]
fn dl_18_tables_without_identity_never_break_the_application_of_the_source() {
    let follow = Follow::bare(
        "pgoutput",
        "create table t (id integer primary key, v text); create table bare (a integer);
         create table late (a integer primary key deferrable);
         create unlogged table fast (a integer primary key); create table \"We\"\"ird\" (id integer primary key);
         insert into bare values (1); insert into late values (1)",
    )
    .unwrap();
    follow
        .setup(&[])
        .exits(6)
        .says(&["public.bare", "public.late", "REPLICA IDENTITY FULL"]);
    assert_eq!(
        follow.pair.in_source("select count(*) from pg_publication"),
        "0"
    );
    follow
        .setup(&["--allow-no-identity"])
        .exits(0)
        .says(&["Unlogged tables", "public.fast"]);
    follow.pair.in_source(
        "update bare set a = 2; delete from bare; update late set a = 2; delete from late;
         insert into bare values (3); insert into \"We\"\"ird\" values (1); insert into fast values (1); truncate bare",
    );
    follow.receive_all();
    let changes: String = follow
        .letters()
        .chars()
        .filter(|c| "IUDT".contains(*c))
        .collect();
    assert_eq!(changes, "IIT");
}

#[test]
fn dl_42_a_publication_that_was_made_anew_is_fatal() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    follow.receive_all();
    follow.pair.in_source(&format!(
        "drop publication \"{0}\"; create publication \"{0}\" for table t",
        follow.slot
    ));
    follow.pair.in_source("insert into t values (1, 'x')");
    follow.end_here();
    follow
        .receive(&[])
        .exits(6)
        .says(&["were changed while they were followed"]);
}

#[test]
fn dl_40_leaves_attached_later_are_followed_through_their_root() {
    let follow = Follow::with(
        "pgoutput",
        "create table root (id integer primary key, v text) partition by range (id);
         create table low partition of root for values from (0) to (100);",
    )
    .unwrap();
    follow.pair.in_source(
        "create table high (id integer primary key, v text);
         alter table root attach partition high for values from (100) to (200);
         insert into root values (1, 'a'), (150, 'b'); update root set id = 160 where id = 1; truncate high",
    );
    follow.receive_all();
    let changes: String = follow
        .letters()
        .chars()
        .filter(|c| "IUDT".contains(*c))
        .collect();
    assert_eq!(changes, "IIDIT");
}

#[test]
fn a_second_receive_and_a_foreign_source_are_refused() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    let run = follow.start(&[]);
    assert!(within(Duration::from_secs(10), || run
        .said()
        .contains("Resuming streaming")));
    follow.receive(&[]).exits(3).says(&["already"]);
    run.kill(Signal::SIGINT);
    run.wait().exits(0);
    let other = Follow::with("pgoutput", TABLE).unwrap();
    let stolen = other.pair.source();
    let words = follow.words(&["receive"], &["--source", &stolen, "--resume"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run_refused(&words);
}

#[track_caller]
fn run_refused(words: &[&str]) {
    run(words).exits(3).says(&["another database"]);
}

#[test]
fn a_source_that_cannot_be_followed_is_refused_with_all_reasons() {
    let from: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    from.conf("wal_level = replica\nmax_replication_slots = 0");
    from.restart();
    let (_, to) = servers();
    let pair = pair_on(from, to, "replica".to_owned(), "");
    pair.in_source(TABLE);
    let follow = Follow {
        role: None,
        pair,
        work: WorkDir::new(),
        slot: "replica".to_owned(),
        plugin: "pgoutput",
    };
    follow.setup(&[]).exits(6).says(&[
        "wal_level is \"replica\"",
        "ALTER SYSTEM",
        "max_replication_slots",
    ]);
    let left = follow.pair.in_source("select count(*) from pg_publication");
    assert_eq!(left, "0");
}

#[test]
fn receiving_pauses_at_a_limit_and_goes_on_once_files_are_pruned() {
    let follow = Follow::with("pgoutput", TABLE).unwrap();
    let mut run = follow.start(&["--max-cdc-size", "200kB"]);
    assert!(within(Duration::from_secs(10), || run
        .said()
        .contains("Resuming streaming")));
    let insert = |n: u32| {
        follow.pair.in_source(&format!(
            "insert into t select i, repeat('x', 1000) from generate_series({n}000, {n}299) i; select pg_switch_wal()"
        ))
    };
    insert(1);
    insert(2);
    assert!(within(Duration::from_secs(20), || run
        .said()
        .contains("pauses for want of room")));
    let begun = Instant::now();
    insert(3);
    run.kill(Signal::SIGTERM);
    run.wait_within(Duration::from_secs(10)).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert!(follow.received().len() < 3);
    // Applied, as apply would tell.
    let applied = "update sentinel set replay_lsn = flush_lsn";
    let set = std::process::Command::new("sqlite3")
        .arg(follow.work.path().join("schema/source.db"))
        .arg(applied)
        .status();
    if !set.is_ok_and(|status| status.success()) {
        println!("skipped: there is no sqlite3 here");
        return;
    }
    let before = follow.received();
    follow.command(&["prune"], &[]).exits(0);
    let kept = follow.received();
    follow.receive_all();
    let missing = 3 - before.len();
    assert_eq!(follow.received().len(), kept.len() + missing);
}
