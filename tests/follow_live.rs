//! `follow`: changes while they are made, with every process killed, until the endpos and not a row less.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::follow_apply::assert_same_rows;
use crate::support::cluster::client;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{self, Output, Running, WorkDir, start};
use crate::support::servers::lonely_pair;
use crate::support::within;

const KEYED: &str = "create table t (id int primary key, v text)";

fn follow_words(follow: &Follow, more: &[&str]) -> Vec<String> {
    let (source, target, dir) = (follow.pair.source(), follow.target(), follow.work.dir());
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
        "--plugin",
        follow.plugin,
    ];
    all.extend(more);
    all.into_iter().map(str::to_owned).collect()
}

pub fn start_follow(follow: &Follow, more: &[&str]) -> Running {
    let words = follow_words(follow, more);
    start(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn run_follow(follow: &Follow, more: &[&str]) -> Output {
    start_follow(follow, more).wait()
}

/// Both databases with that schema, set up and allowed to apply.
fn ready(plugin: &'static str, schema: &str) -> Option<Follow> {
    let follow = Follow::bare(plugin, schema)?;
    follow.pair.in_target(schema);
    follow.setup(&["--allow-no-identity"]).exits(0);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    Some(follow)
}

fn pgbench(follow: &Follow, arguments: &[&str]) -> Child {
    Command::new(client("pgbench"))
        .args(arguments)
        .arg(follow.pair.source())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// pgbench's tables on both sides.
fn with_pgbench(plugin: &'static str) -> Option<Follow> {
    let follow = Follow::bare(plugin, "")?;
    let filled = pgbench(&follow, &["-i", "-s", "1", "-q"]).wait().unwrap();
    assert!(filled.success());
    let dump = Command::new(client("pg_dump"))
        .arg(follow.pair.source())
        .output()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, dump.stdout).unwrap();
    follow.pair.to.psql_file(&follow.pair.db, &file);
    follow.setup(&["--allow-no-identity"]).exits(0);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    Some(follow)
}

/// Lets that many milliseconds pass, in which anything may happen.
fn pause(millis: u64) {
    within(Duration::from_millis(millis), || false);
}

fn wait_for(follow: &Follow, run: &Running, query: &str) -> Duration {
    let since = Instant::now();
    let (to, db) = (follow.pair.to, &follow.pair.db);
    let came = to.wait_until(db, query, Duration::from_secs(30));
    assert!(came, "{query}\n{}", run.said());
    since.elapsed()
}

/// The pids of the processes of that title.
fn named(run: &Running, title: &str) -> Vec<i32> {
    run.children_named(title)
}

#[test]
fn a_row_arrives_at_once_and_a_stop_saves_everything() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, KEYED) else {
            continue;
        };
        let run = start_follow(&follow, &["--resume"]);
        follow.pair.in_source("insert into t values (1, 'first')");
        wait_for(&follow, &run, "select count(*) = 1 from t");
        let mut slowest = Duration::ZERO;
        for id in 2..12 {
            let sql = format!("insert into t values ({id}, 'x')");
            follow.pair.in_source(&sql);
            let query = format!("select count(*) = {id} from t");
            slowest = slowest.max(wait_for(&follow, &run, &query));
        }
        assert!(slowest < Duration::from_millis(900), "{slowest:?}");
        run.kill(Signal::SIGTERM);
        let since = Instant::now();
        run.wait()
            .exits(0)
            .says(&["Main follow process was asked to terminate, exiting"]);
        assert!(since.elapsed() < Duration::from_secs(10));
        follow.pair.in_source("insert into t values (100, 'later')");
        run_follow(&follow, &[]).exits(3).says(&["--resume"]);
        let endpos = follow.end_here();
        follow
            .pair
            .in_source("insert into t values (101, 'beyond')");
        run_follow(&follow, &["--resume"])
            .exits(0)
            .says(&["Follow mode is now done, reached replay_lsn", &endpos]);
        assert_eq!(follow.pair.in_target("select max(id) from t"), "100");
        run_follow(&follow, &["--resume", "--endpos", &endpos])
            .exits(0)
            .says(&["previously reached"]);
        assert_eq!(follow.pair.in_target("select max(id) from t"), "100");
        // On from there.
        follow.end_here();
        run_follow(&follow, &["--resume"]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn a_quit_ends_it_at_once() {
    let follow = ready("pgoutput", KEYED).unwrap();
    let mut run = start_follow(&follow, &[]);
    follow.pair.in_source("insert into t values (1, 'a')");
    wait_for(&follow, &run, "select count(*) = 1 from t");
    let children = run.children();
    run.kill(Signal::SIGQUIT);
    run.wait_within(Duration::from_secs(5)).exits(131);
    assert!(children.iter().all(|pid| !program::lives(*pid)));
    follow.end_here();
    run_follow(&follow, &["--resume"]).exits(0);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn an_endpos_that_is_set_while_nothing_happens_ends_it() {
    let follow = ready("pgoutput", KEYED).unwrap();
    follow.pair.in_source("insert into t values (1, 'a')");
    let mut run = start_follow(&follow, &[]);
    wait_for(&follow, &run, "select count(*) = 1 from t");
    follow.end_here();
    run.wait_within(Duration::from_secs(20)).exits(0);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn dl_12_what_was_drained_once_is_applied_again_to_a_target_that_was_put_back() {
    let follow = ready("pgoutput", KEYED).unwrap();
    follow.pair.in_source("insert into t values (1, 'a')");
    follow.end_here();
    run_follow(&follow, &[]).exits(0);
    run_follow(&follow, &["--resume"]).exits(0);
    let put_back = format!(
        "delete from t; select pg_replication_origin_advance('{}', '{}')",
        follow.slot,
        follow.sentinel("--startpos")
    );
    follow.pair.in_target(&put_back);
    run_follow(&follow, &["--resume"])
        .exits(0)
        .says(&["before what was applied to it once"]);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn dl_03_any_process_may_be_killed_at_any_moment() {
    for plugin in PLUGINS {
        let Some(follow) = with_pgbench(plugin) else {
            continue;
        };
        let run = start_follow(&follow, &["--resume"]);
        let mut load = pgbench(
            &follow,
            &["-b", "tpcb-like", "-c", "3", "-n", "-T", "10", "-R", "300"],
        );
        let titles = ["follow receive", "follow transform", "follow apply"];
        let (mut kills, mut number) = (0, 0);
        while load.try_wait().unwrap().is_none() {
            pause(150 + (number * 7919) % 700);
            let title = titles[usize::try_from(number % 3).unwrap()];
            number += 1;
            for pid in named(&run, title) {
                program::signal(pid, Signal::SIGKILL);
                kills += 1;
            }
        }
        assert!(kills > 5, "{kills}");
        follow.end_here();
        run.wait().exits(0).says(&["starting it again"]);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}

#[test]
fn dl_03_when_the_supervisor_is_killed_all_go_and_resume_goes_on() {
    let follow = with_pgbench("pgoutput").unwrap();
    let mut load = pgbench(
        &follow,
        &["-b", "tpcb-like", "-c", "3", "-n", "-T", "6", "-R", "300"],
    );
    let mut more: &[&str] = &[];
    while load.try_wait().unwrap().is_none() {
        let run = start_follow(&follow, more);
        more = &["--resume"];
        pause(1700);
        let children = run.children();
        run.kill(Signal::SIGKILL);
        run.wait();
        let gone = within(Duration::from_secs(10), || {
            children.iter().all(|pid| !program::lives(*pid))
        });
        assert!(gone, "children outlive their supervisor");
    }
    follow.end_here();
    run_follow(&follow, &["--resume"]).exits(0);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

#[test]
fn servers_that_restart_are_waited_for_and_nothing_is_lost_or_repeated() {
    let pair = lonely_pair();
    let schema = "create table t (id int primary key, v text); create table log (n int);
                  alter table log replica identity full";
    pair.in_source(schema);
    pair.in_target(schema);
    let follow = Follow {
        role: None,
        pair,
        work: WorkDir::new(),
        slot: "restarts".to_owned(),
        plugin: "pgoutput",
    };
    follow.setup(&[]).exits(0);
    follow.command(&["sentinel", "set", "apply"], &[]).exits(0);
    let mut run = start_follow(&follow, &[]);
    let write = |id: u32| {
        let sql = format!("insert into t values ({id}, 'x'); insert into log values ({id})");
        follow.pair.in_source(&sql);
    };
    let arrived = |id: u32, run: &Running| {
        wait_for(&follow, run, &format!("select max(id) = {id} from t"));
    };
    write(1);
    arrived(1, &run);
    follow.pair.to.restart();
    write(2);
    arrived(2, &run);
    follow.pair.from.restart();
    write(3);
    arrived(3, &run);
    follow.pair.to.stop_immediate();
    write(4);
    follow.pair.to.start_again();
    arrived(4, &run);
    follow.pair.from.stop_immediate();
    follow.pair.from.start_again();
    write(5);
    follow.end_here();
    run.wait_within(Duration::from_secs(60)).exits(0);
    assert_same_rows(&follow.pair);
}

#[test]
fn a_slot_that_goes_while_it_is_followed_is_said_within_a_minute() {
    let follow = ready("pgoutput", KEYED).unwrap();
    let mut run = start_follow(&follow, &[]);
    follow.pair.in_source("insert into t values (1, 'a')");
    wait_for(&follow, &run, "select count(*) = 1 from t");
    follow.pair.in_source(&format!(
        "do $$ begin
           perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{0}';
           for i in 1..50 loop
             begin perform pg_drop_replication_slot('{0}'); return;
             exception when object_in_use then perform pg_sleep(0.01); end;
           end loop;
           raise 'still in use';
         end $$",
        follow.slot
    ));
    follow.pair.in_source("insert into t values (2, 'lost')");
    run.wait_within(Duration::from_secs(60))
        .exits(6)
        .says(&["does not exist", "not kept any more"]);
    // What is said stays true, and nothing is called done.
    run_follow(&follow, &["--resume"])
        .exits(6)
        .says(&["changes since then are lost"]);
}

#[test]
fn prefetch_transforms_all_it_receives_and_replay_applies_it() {
    let follow = ready("test_decoding", KEYED).unwrap();
    let (source, target) = (follow.pair.source(), follow.pair.target());
    for id in 0..50 {
        let sql = format!("insert into t values ({id}, 'x'); update t set v = 'y' where id = {id}");
        follow.pair.in_source(&sql);
    }
    let endpos = follow.end_here();
    let more = ["--source", &source, "--slot-name", &follow.slot];
    follow.command(&["prefetch"], &more).exits(0);
    let made = std::fs::read_dir(follow.cdc()).unwrap();
    let sql = made.filter_map(Result::ok).filter(|entry| {
        let path = entry.path();
        path.extension().is_some_and(|ending| ending == "sql")
            && std::fs::read_to_string(path).unwrap().contains(&endpos)
    });
    assert_eq!(sql.count(), 1);
    assert_eq!(follow.pair.in_target("select count(*) from t"), "0");
    let more = [
        "--source",
        &source,
        "--target",
        &target,
        "--origin",
        &follow.slot,
    ];
    follow.command(&["replay"], &more).exits(0);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

/// A thousand transactions behind it were applied: what it was told of the end before the pause counted for the next
/// group.
#[test]
fn dl_44_an_endpos_that_is_set_while_applying_pauses_holds_for_what_comes_next() {
    for plugin in PLUGINS {
        let Some(follow) = ready(plugin, KEYED) else {
            continue;
        };
        let set = |words: &[&str]| {
            let all: Vec<&str> = ["sentinel", "set"].iter().chain(words).copied().collect();
            follow.command(&all, &[]).exits(0);
        };
        let pausing = |id: u32| {
            let run = start_follow(&follow, &["--resume"]);
            follow
                .pair
                .in_source(&format!("insert into t values ({id}, 'before')"));
            wait_for(&follow, &run, &format!("select count(*) = {id} from t"));
            set(&["prefetch"]);
            let waits = "Waiting until the pgcopydb sentinel apply is enabled";
            let held = within(Duration::from_secs(10), || run.said().contains(waits));
            assert!(held, "{}", run.said());
            run
        };
        let received = |at: &str| {
            within(Duration::from_secs(30), || {
                let through = follow.sentinel("--transform-lsn");
                let query = format!("select '{through}'::pg_lsn >= '{at}'");
                follow.pair.in_source(&query) == "t"
            })
        };
        let now = "select pg_current_wal_insert_lsn()";
        // An end that is reached already.
        let run = pausing(1);
        let applied = follow.sentinel("--replay-lsn");
        follow.pair.in_source("insert into t values (2, 'behind')");
        let all = follow.pair.in_source(now);
        assert!(received(&all), "{}", run.said());
        set(&["endpos", &applied]);
        run.wait().exits(0);
        assert_eq!(follow.pair.in_target("select count(*) from t"), "1");
        // One between what was received meanwhile.
        set(&["endpos", "0/0"]);
        set(&["apply"]);
        let run = pausing(3);
        follow
            .pair
            .in_source("insert into t values (4, 'up to it')");
        let middle = follow.pair.in_source(now);
        follow
            .pair
            .in_source("insert into t values (5, 'behind'); insert into t values (6, 'behind')");
        let all = follow.pair.in_source(now);
        assert!(received(&all), "{}", run.said());
        set(&["endpos", &middle]);
        set(&["apply"]);
        run.wait().exits(0);
        assert_eq!(follow.pair.in_target("select max(id) from t"), "4");
        follow.end_here();
        run_follow(&follow, &["--resume"]).exits(0);
        assert_same_rows(&follow.pair);
        follow.cleanup(&[]).exits(0);
    }
}
