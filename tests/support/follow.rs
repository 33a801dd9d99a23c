//! A pair of databases that is followed, step by step, and a reader of the files that receive writes.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::Cluster;
use super::program::{Output, Running, WorkDir, run, start};
use super::servers::{Pair, pair_on};

pub const PLUGINS: [&str; 3] = ["pgoutput", "test_decoding", "wal2json"];

/// A pair of databases that is followed, with names of its own, as slots wait for no other test's.
pub struct Follow {
    pub pair: Pair,
    pub work: WorkDir,
    pub slot: String,
    pub plugin: &'static str,
    /// The role on the target; none: the superuser.
    pub role: Option<String>,
}

/// What is complete in the files: each transaction with the number of its changes, in order.
pub type Received = Vec<(u32, u32)>;

pub fn servers() -> (&'static Cluster, &'static Cluster) {
    static SERVERS: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    let (from, to) = SERVERS.get_or_init(|| (Cluster::start(), Cluster::start()));
    (from, to)
}

impl Follow {
    /// Databases with that schema, not set up yet; none where the plugin is not installed.
    pub fn bare(plugin: &'static str, sql: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let (from, to) = servers();
        let name = format!("follow{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let pair = pair_on(from, to, name.clone(), "");
        pair.in_source(sql);
        if plugin == "wal2json" {
            let made = from.try_sql(
                &name,
                "select pg_create_logical_replication_slot('probe', 'wal2json', true)",
            );
            if made.is_err() {
                println!("skipped: there is no wal2json here");
                return None;
            }
        }
        Some(Self {
            pair,
            work: WorkDir::new(),
            slot: name,
            plugin,
            role: None,
        })
    }

    /// The target as the role sees it.
    pub fn target(&self) -> String {
        match &self.role {
            Some(role) => self.pair.to.uri_as(&self.pair.db, role, ""),
            None => self.pair.target(),
        }
    }

    /// The same, set up.
    pub fn with(plugin: &'static str, sql: &str) -> Option<Self> {
        let follow = Self::bare(plugin, sql)?;
        follow.setup(&[]).exits(0);
        Some(follow)
    }

    pub fn command(&self, words: &[&str], more: &[&str]) -> Output {
        run(&self
            .words(words, more)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>())
    }

    pub fn words(&self, words: &[&str], more: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = vec!["stream".to_owned()];
        all.extend(
            words
                .iter()
                .chain(&["--dir"])
                .map(|word| (*word).to_owned()),
        );
        all.push(self.work.dir());
        all.extend(more.iter().map(|word| (*word).to_owned()));
        all
    }

    pub fn setup_words(&self, more: &[&str]) -> Vec<String> {
        let (source, target) = (self.pair.source(), self.target());
        let mut all = vec![
            "--source",
            &source,
            "--target",
            &target,
            "--slot-name",
            &self.slot,
            "--origin",
            &self.slot,
            "--plugin",
            self.plugin,
        ];
        all.extend(more);
        self.words(&["setup"], &all)
    }

    pub fn setup(&self, more: &[&str]) -> Output {
        run(&self
            .setup_words(more)
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>())
    }

    pub fn cleanup(&self, more: &[&str]) -> Output {
        let (source, target) = (self.pair.source(), self.target());
        let mut all = vec!["--source", &source, "--target", &target];
        all.extend(more);
        self.command(&["cleanup"], &all)
    }

    pub fn start(&self, more: &[&str]) -> Running {
        let source = self.pair.source();
        let mut all = vec!["--source", &source, "--resume"];
        all.extend(more);
        start(
            &self
                .words(&["receive"], &all)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    pub fn receive(&self, more: &[&str]) -> Output {
        self.start(more).wait()
    }

    /// Receives all that is committed now.
    pub fn receive_all(&self) -> Output {
        self.end_here();
        self.receive(&[]).exits(0)
    }

    /// Sets the endpos to where the source is; gives it.
    pub fn end_here(&self) -> String {
        let source = self.pair.source();
        let set = self.command(
            &["sentinel", "set", "endpos"],
            &["--current", "--source", &source],
        );
        set.exits(0).stdout.trim_end().to_owned()
    }

    pub fn sentinel(&self, field: &str) -> String {
        let got = self.command(&["sentinel", "get"], &[field]).exits(0);
        got.stdout.trim_end().to_owned()
    }

    /// The same where it may not be there yet.
    pub fn sentinel_or_none(&self, field: &str) -> Option<String> {
        let got = self.command(&["sentinel", "get"], &[field]);
        (got.code == 0).then(|| got.stdout.trim_end().to_owned())
    }

    pub fn cdc(&self) -> PathBuf {
        self.work.path().join("cdc")
    }

    /// The lines of all files, first to last, and the files' names.
    pub fn files(&self) -> Vec<(String, Vec<Value>)> {
        let mut names: Vec<String> = std::fs::read_dir(self.cdc())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.len() >= 29 && name[24..].starts_with(".json"))
            .collect();
        names.sort();
        let read = |name: String| {
            let text = std::fs::read_to_string(self.cdc().join(&name)).unwrap();
            let lines = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            (name, lines)
        };
        names.into_iter().map(read).collect()
    }

    pub fn lines(&self) -> Vec<Value> {
        self.files()
            .into_iter()
            .flat_map(|(_, lines)| lines)
            .collect()
    }

    pub fn letters(&self) -> String {
        self.lines()
            .iter()
            .map(|line| line["action"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What a reader takes from the files, by their rules.
    pub fn received(&self) -> Received {
        let mut all = Received::new();
        let mut open: Option<(u32, u32)> = None;
        for line in self.lines() {
            let xid = || line["xid"].as_str().unwrap().parse().unwrap();
            match line["action"].as_str().unwrap() {
                "B" => assert!(
                    open.replace((xid(), 0)).is_none(),
                    "a transaction begins in another"
                ),
                "R" => open = None,
                "C" => {
                    let (begun, changes) = open.take().expect("a transaction is open");
                    assert_eq!(begun, xid());
                    all.push((begun, changes));
                }
                "I" | "U" | "D" | "T" => open.as_mut().expect("a transaction is open").1 += 1,
                "K" => assert!(open.is_none(), "a keepalive inside of a transaction"),
                "X" | "E" | "M" => {}
                other => panic!("action {other}"),
            }
        }
        all
    }

    /// The source's own record: another slot, made before, read by the server itself.
    pub fn record(&self) -> Received {
        let text = self.pair.in_source(&format!(
            "select data from pg_logical_slot_get_changes('{}_record', null, null)",
            self.slot
        ));
        let mut all = Received::new();
        let mut changes = 0;
        for line in text.lines() {
            if line.starts_with("BEGIN") {
                changes = 0;
            } else if let Some(xid) = line.strip_prefix("COMMIT ") {
                if changes > 0 {
                    all.push((xid.parse().unwrap(), changes));
                }
            } else if line.starts_with("table ") {
                changes += 1;
            }
        }
        all
    }

    pub fn start_record(&self) {
        self.pair.in_source(&format!(
            "select pg_create_logical_replication_slot('{}_record', 'test_decoding')",
            self.slot
        ));
    }

    pub fn confirmed(&self) -> String {
        self.pair.in_source(&format!(
            "select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}'",
            self.slot
        ))
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        // A slot that stays keeps the WAL of all tests.
        let sql = format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots
              where slot_name like '{0}%' and active;
             select pg_sleep(0.1);
             select pg_drop_replication_slot(slot_name) from pg_replication_slots
              where slot_name like '{0}%' and not active",
            self.slot
        );
        let _ = self.pair.from.try_sql(&self.pair.db, &sql);
        // The server has room for few origins.
        let sql = format!(
            "select pg_replication_origin_drop(roname) from pg_replication_origin where roname = '{}'",
            self.slot
        );
        let _ = self.pair.to.try_sql(&self.pair.db, &sql);
    }
}

pub const TABLE: &str = "create table t (id integer primary key, v text);";
