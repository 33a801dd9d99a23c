//! The standing oracle of change data capture: random tables, random transactions woven into each other,
//! random kills of whatever runs; at the end every table must be the same on both sides.
//!
//! `ci/torture follow --runs N --seed S` runs more of it. A run is known by its seed: schema and statements
//! come again, moments of kills nearly so.

mod dice;
mod judge;
mod load;
mod schema;
mod steps;
mod values;
mod whole;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use dice::Dice;
use postgres::{Client, NoTls};
use schema::Schema;

use crate::support::follow::{Follow, PLUGINS};
use crate::support::servers::pair_on;
use crate::support::{Cluster, WorkDir};

/// Runs of a test that says nothing else.
const RUNS: usize = 4;
/// Runs side by side, where nothing else is said: they wait for most of their time.
const AT_ONCE: u64 = 2;
/// After so many failures the rest is not tried.
const FAILURES_MAX: usize = 4;

/// Two servers for all runs.
fn servers() -> (&'static Cluster, &'static Cluster) {
    static SERVERS: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    let (from, to) = SERVERS.get_or_init(|| {
        let (from, to) = (Cluster::start(), Cluster::start());
        // Transactions go through the files of the reorder buffer soon.
        from.conf("logical_decoding_work_mem = '64kB'");
        if std::env::var_os("PGCOPYDB_FOLLOW_TRACE").is_some() {
            to.conf("log_statement = 'all'");
        }
        (from, to)
    });
    (from, to)
}

/// A session of a superuser.
#[allow(
    clippy::disallowed_methods,
    reason = "a test's own session, none of the program's"
)]
pub fn connect(uri: &str) -> Client {
    Client::connect(uri, NoTls).expect("the server answers")
}

/// A number that the environment gives.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().expect("a number"))
}

/// Everything of one run.
struct Run {
    dice: Dice,
    schema: Schema,
    follow: Follow,
    /// Where a whole follow listens, if it does.
    listens: Option<(&'static str, String)>,
}

/// An address that nothing but a listener uses: connections to the servers go from 127.0.0.1.
fn address() -> Option<(&'static str, String)> {
    let listener = std::net::TcpListener::bind("[::1]:0").ok()?;
    let port = listener.local_addr().ok()?.port();
    Some(("::1", port.to_string()))
}

impl Run {
    fn new(seed: u64, plugin: &'static str) -> Self {
        // One that failed has left its databases.
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let (from, to) = servers();
        let mut dice = Dice::new(seed);
        let schema = Schema::random(&mut dice);
        let slot = format!("oracle{}_{seed}", NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = pair_on(from, to, slot.clone(), "");
        pair.in_source(&schema.ddl);
        let follow = Follow {
            role: None,
            pair,
            work: WorkDir::new(),
            slot,
            plugin,
        };
        Self {
            dice,
            schema,
            follow,
            listens: (seed % 4 == 1).then(address).flatten(),
        }
    }

    /// Databases and what hangs on them go.
    fn end(self) {
        let (from, to, db) = (
            self.follow.pair.from,
            self.follow.pair.to,
            self.follow.pair.db.clone(),
        );
        drop(self.follow);
        for cluster in [from, to] {
            let _ = cluster.try_sql("postgres", &format!("drop database \"{db}\" with (force)"));
        }
    }
}

/// Whether that plugin is there.
fn is_installed(plugin: &str) -> bool {
    let made = servers().0.try_sql(
        "postgres",
        &format!("select pg_create_logical_replication_slot('probe_{plugin}', '{plugin}', true)"),
    );
    made.is_ok()
}

/// What somebody needs who looks at a failure.
fn keep(seed: u64, run: &Run, log: &[String], why: &str) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("follow-{seed}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("room for it");
    let text = format!("-- {why}\n{}\n{}\n", run.schema.ddl, log.join("\n"));
    std::fs::write(folder.join("run.sql"), text).expect("room for it");
    let _ = std::process::Command::new("cp")
        .arg("-a")
        .arg(run.follow.work.path())
        .arg(&folder)
        .status();
    if std::env::var_os("PGCOPYDB_FOLLOW_TRACE").is_some() {
        let to = &run.follow.pair;
        let log = to.in_target(
            "select pg_read_file(current_setting('data_directory') || '/../server.log')",
        );
        let of_run = log
            .lines()
            .filter(|line| !line.contains('@') || line.contains(&to.db));
        let lines: Vec<&str> = of_run.collect();
        std::fs::write(folder.join("target.log"), lines.join("\n")).expect("room for it");
    }
    println!("kept in {}", folder.display());
}

/// Runs until there were `runs`, or the time is over; gives the seeds that failed.
fn all(runs: usize, first: u64, case: fn(u64, &'static str) -> Result<(), String>) -> Vec<u64> {
    let only = std::env::var("PGCOPYDB_FOLLOW_PLUGIN").ok();
    let plugins: Vec<&'static str> = PLUGINS
        .into_iter()
        .filter(|plugin| {
            only.as_ref()
                .is_none_or(|only| only.is_empty() || only == plugin)
        })
        .filter(|plugin| {
            let there = is_installed(plugin);
            if !there {
                println!("skipped: there is no {plugin} here");
            }
            there
        })
        .collect();
    assert!(!plugins.is_empty(), "there is no such plugin");
    let until = number("PGCOPYDB_FOLLOW_SECONDS").map(|s| Instant::now() + Duration::from_secs(s));
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..number("PGCOPYDB_FOLLOW_AT_ONCE").unwrap_or(AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let over = until.is_some_and(|until| Instant::now() > until);
                    if n >= runs || over || failed.lock().unwrap().len() >= FAILURES_MAX {
                        return;
                    }
                    let seed = first + n as u64;
                    let plugin = plugins[usize::try_from(seed).unwrap() % plugins.len()];
                    let begun = Instant::now();
                    let result = catch_unwind(AssertUnwindSafe(|| case(seed, plugin)))
                        .unwrap_or_else(|_| Err("it panicked, see above".to_owned()));
                    let took = begun.elapsed().as_secs_f32();
                    match result {
                        Ok(()) => println!("seed {seed} {plugin}: equal, {took:.1} s"),
                        Err(why) => {
                            println!("seed {seed} {plugin}: FAILED\n{why}");
                            failed.lock().unwrap().push(seed);
                        }
                    }
                }
            });
        }
    });
    if std::env::var_os("TORTURE_NAMESPACE").is_some() {
        let queues = std::fs::read_to_string("/proc/sysvipc/msg").unwrap_or_default();
        assert!(queues.lines().count() <= 1, "queues are left:\n{queues}");
    }
    let run = next.load(Ordering::Relaxed).min(runs);
    let failed = failed.into_inner().unwrap();
    println!("{} passed, {} failed", run - failed.len(), failed.len());
    failed
}

fn wanted(what: &str) -> Option<(usize, u64)> {
    let mode = std::env::var("PGCOPYDB_FOLLOW_MODE").unwrap_or_default();
    if !mode.is_empty() && mode != what {
        println!("skipped: mode {mode} is asked for");
        return None;
    }
    let runs = number("PGCOPYDB_FOLLOW_RUNS").map_or(RUNS, |runs| usize::try_from(runs).unwrap());
    Some((runs, number("PGCOPYDB_FOLLOW_SEED").unwrap_or(1)))
}

fn try_all(mode: &str, case: fn(u64, &'static str) -> Result<(), String>) {
    let Some((runs, first)) = wanted(mode) else {
        return;
    };
    let failed = all(runs, first, case);
    assert!(
        failed.is_empty(),
        "seeds that failed: {failed:?}; again: ci/torture follow --mode {mode} --runs 1 --seed {}",
        failed[0]
    );
}

#[test]
fn random_transactions_arrive_by_single_commands_that_are_killed() {
    try_all("steps", steps::case);
}

#[test]
fn random_transactions_arrive_by_a_follow_whose_processes_are_killed() {
    try_all("follow", whole::follow);
}

#[test]
fn random_transactions_arrive_beside_and_behind_a_clone_whose_processes_are_killed() {
    try_all("clone", whole::clone);
}
