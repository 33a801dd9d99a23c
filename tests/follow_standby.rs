//! A physical standby as the source: PostgreSQL 16 and later decodes there, and goes on when it is promoted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::follow_apply::assert_same_rows;
use crate::follow_random::connect;
use crate::support::follow::{Follow, PLUGINS};
use crate::support::program::{Output, Running, run, start};
use crate::support::servers::Pair;
use crate::support::{Cluster, PATIENCE, WorkDir, within};

const SCHEMA: &str = "create table t (id int primary key, v text);
    create table d (a int, b text); alter table d replica identity full";
/// What writes down which transactions are under way, for a standby that makes a slot.
const LOG: &str = "select pg_log_standby_snapshot()";

/// A primary, and a server for targets.
struct Servers {
    primary: Cluster,
    target: Cluster,
}

fn servers() -> Option<&'static Servers> {
    static SERVERS: OnceLock<Option<Servers>> = OnceLock::new();
    let start = || {
        let primary = ["17", "18", "16"]
            .into_iter()
            .find_map(Cluster::with_version)?;
        let target = Cluster::start();
        Some(Servers { primary, target })
    };
    SERVERS.get_or_init(start).as_ref()
}

/// A database of the primary, followed on the standby.
struct Standby {
    primary: Pair,
    follow: Follow,
}

impl Standby {
    /// Databases with the schema, not set up yet; none where the plugin is not installed.
    fn bare(standby: &'static Cluster, plugin: &'static str, name: &str) -> Option<Self> {
        let servers = servers()?;
        let db = format!("{name}_{plugin}");
        let (primary, target) = (&servers.primary, &servers.target);
        primary.create_database(&db, "");
        target.create_database(&db, "");
        let probe = format!("select pg_create_logical_replication_slot('probe', '{plugin}', true)");
        if let Err(why) = primary.try_sql(&db, &probe) {
            println!("skipped: {plugin}: {why}");
            return None;
        }
        primary.sql(&db, SCHEMA);
        primary.sql(&db, "create publication made_by_hand for all tables");
        target.sql(&db, SCHEMA);
        let pair = |from| Pair {
            from,
            to: target,
            db: db.clone(),
        };
        let made = Self {
            primary: pair(primary),
            follow: Follow {
                pair: pair(standby),
                work: WorkDir::new(),
                slot: db.clone(),
                plugin,
                role: None,
            },
        };
        made.wait_for_replay();
        Some(made)
    }

    fn wait_for_replay(&self) {
        let at = self.primary.in_source("select pg_current_wal_insert_lsn()");
        let query = format!("select pg_last_wal_replay_lsn() >= '{at}'");
        let (standby, db) = (self.follow.pair.from, &self.follow.pair.db);
        assert!(standby.wait_until(db, &query, PATIENCE));
    }

    /// Sets it up while the primary tells of its transactions; what waits for one that is open is told of.
    fn set_up(&self, is_told: bool) -> Output {
        let (source, target, dir) = (
            self.follow.pair.source(),
            self.follow.pair.target(),
            self.follow.work.dir(),
        );
        let mut words = vec!["stream", "setup", "--dir", &dir, "--source", &source];
        words.extend(["--target", &target, "--plugin", self.follow.plugin]);
        words.extend([
            "--slot-name",
            &self.follow.slot,
            "--origin",
            &self.follow.slot,
        ]);
        if self.follow.plugin == "pgoutput" {
            words.extend(["--publication", "made_by_hand"]);
        }
        let mut writer = connect(&self.primary.source());
        writer
            .batch_execute("begin; select txid_current()")
            .unwrap();
        let mut setup = start(&words);
        if is_told {
            let hint = || setup.said().contains("pg_log_standby_snapshot()");
            assert!(within(PATIENCE, hint), "{}", setup.said());
        }
        writer.batch_execute("commit").unwrap();
        let is_over = AtomicBool::new(false);
        let out = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    self.primary.in_source(LOG);
                    pause(200);
                }
            });
            let out = setup.wait_within(Duration::from_secs(60));
            is_over.store(true, Ordering::Relaxed);
            out
        });
        self.follow
            .command(&["sentinel", "set", "apply"], &[])
            .exits(0);
        out.exits(0)
    }

    fn begin(&self) -> Running {
        let (source, target, dir) = (
            self.follow.pair.source(),
            self.follow.pair.target(),
            self.follow.work.dir(),
        );
        start(&[
            "follow",
            "--dir",
            &dir,
            "--source",
            &source,
            "--target",
            &target,
            "--slot-name",
            &self.follow.slot,
            "--origin",
            &self.follow.slot,
            "--resume",
        ])
    }

    fn end_at(&self, source: &str) -> Output {
        self.follow.command(
            &["sentinel", "set", "endpos"],
            &["--current", "--source", source],
        )
    }

    fn wait_for(&self, run: &Running, query: &str) {
        let (to, db) = (self.follow.pair.to, &self.follow.pair.db);
        assert!(
            to.wait_until(db, query, PATIENCE),
            "{query}: {}",
            run.said()
        );
    }
}

/// Changes of every kind, with `n` in them.
fn change(pair: &Pair, n: u32) {
    pair.in_source(&format!(
        "insert into t select i, 'row ' || i from generate_series({n}000, {n}099) i; update t set v = 'new' where id = {n}001;
         update t set id = -id where id = {n}002; delete from t where id = {n}003;
         insert into d values ({n}, 'x'), ({n}, 'x'); update d set b = 'y' where ctid = (select max(ctid) from d)"
    ));
}

/// Lets that many milliseconds pass.
fn pause(millis: u64) {
    within(Duration::from_millis(millis), || false);
}

/// The primary is stopped to be copied.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn standby() -> Option<&'static Cluster> {
    Some(Box::leak(Box::new(servers()?.primary.standby())))
}

#[test]
fn dl_38_a_standby_is_followed_and_the_primary_says_where_its_end_is() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(standby) = standby() else { return };
    for plugin in PLUGINS {
        let Some(side) = Standby::bare(standby, plugin, "standby") else {
            continue;
        };
        if plugin == "pgoutput" {
            let out = side.follow.setup(&[]);
            assert_ne!(out.code, 0);
            out.says(&["standby", "on the primary", "--publication"]);
        }
        side.set_up(plugin == "test_decoding");
        let mut run = side.begin();
        change(&side.primary, 1);
        side.wait_for(&run, "select count(*) = 99 from t");
        // What the standby has not replayed lies before the end, too.
        standby.sql("postgres", "select pg_wal_replay_pause()");
        change(&side.primary, 2);
        side.end_at(&side.follow.pair.source())
            .exits(6)
            .says(&["standby", "Give the primary"]);
        run_cutover(&side)
            .exits(6)
            .says(&["standby", "Promote it first"]);
        assert_eq!(side.follow.sentinel("--endpos"), "0/0");
        side.end_at(&side.primary.source()).exits(0);
        pause(2000);
        assert!(!run.children().is_empty(), "{}", run.said());
        standby.sql("postgres", "select pg_wal_replay_resume()");
        run.wait_within(Duration::from_secs(60)).exits(0);
        assert_same_rows(&side.primary);
        side.follow.cleanup(&[]).exits(0);
        let left = "select count(*) from pg_replication_slots where slot_type = 'logical'";
        assert_eq!(standby.sql("postgres", left), "0");
    }
    end(standby);
}

fn run_cutover(side: &Standby) -> Output {
    let (source, target) = (side.follow.pair.source(), side.follow.pair.target());
    let dir = side.follow.work.dir();
    run(&[
        "cutover", "--source", &source, "--target", &target, "--dir", &dir,
    ])
}

/// The next standby gets the same slot on the primary.
fn end(standby: &Cluster) {
    standby.stop_immediate();
    let primary = &servers().expect("it was there").primary;
    let drop = "select pg_terminate_backend(active_pid) from pg_replication_slots where active;
        select pg_sleep(0.2); select pg_drop_replication_slot('standby')";
    primary.sql("postgres", drop);
}

#[test]
fn dl_38_a_standby_that_is_promoted_is_followed_on() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(standby) = standby() else { return };
    let sides: Vec<Standby> = PLUGINS
        .into_iter()
        .filter_map(|plugin| Standby::bare(standby, plugin, "promoted"))
        .collect();
    for side in &sides {
        side.set_up(false);
    }
    let mut runs: Vec<Running> = sides.iter().map(Standby::begin).collect();
    for (side, run) in sides.iter().zip(&runs) {
        change(&side.primary, 1);
        side.wait_for(run, "select count(*) = 99 from t");
    }
    standby.promote();
    for round in 2..=3 {
        for (side, run) in sides.iter().zip(&runs) {
            change(&side.follow.pair, round);
            let all = format!("select count(*) = {} from t", 99 * round);
            side.wait_for(run, &all);
        }
        if round == 2 {
            // Some at once, some once they know of the other timeline.
            pause(1000);
        }
        for (number, (side, run)) in sides.iter().zip(&mut runs).enumerate() {
            let how = [Signal::SIGTERM, Signal::SIGKILL][(number + round as usize) % 2];
            run.kill(how);
            let _ = run.wait_within(PATIENCE);
            let _ = within(PATIENCE, || run.children().is_empty());
            *run = side.begin();
        }
    }
    for (side, mut run) in sides.iter().zip(runs) {
        change(&side.follow.pair, 4);
        side.end_at(&side.follow.pair.source()).exits(0);
        run.wait_within(Duration::from_secs(60)).exits(0);
        assert_same_rows(&side.follow.pair);
        let names = side.follow.files();
        assert!(
            names.iter().any(|(name, _)| name.starts_with("00000002")),
            "{names:?}"
        );
        side.follow.cleanup(&[]).exits(0);
    }
    end(standby);
}
