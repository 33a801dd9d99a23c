//! Two servers shared by all tests of a program that need no restart, and databases on them.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Cluster, Output, PATIENCE, Running, WorkDir, assert_equal, start};

static SOURCE: OnceLock<Cluster> = OnceLock::new();
static TARGET: OnceLock<Cluster> = OnceLock::new();

/// A database on the source's server and an empty one on the target's.
pub struct Pair {
    pub from: &'static Cluster,
    pub to: &'static Cluster,
    /// The name of both databases.
    pub db: String,
}

/// The shared servers and two new, empty databases of one unique name.
pub fn pair() -> Pair {
    pair_of("")
}

/// The same, with options as in `create database`.
pub fn pair_of(options: &str) -> Pair {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let db = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let from = SOURCE.get_or_init(Cluster::start);
    let to = TARGET.get_or_init(Cluster::start);
    pair_on(from, to, db, options)
}

/// Two servers of its own, for a test that copies or changes roles; they go when the
/// test program ends.
pub fn lonely_pair() -> Pair {
    let start = || -> &'static Cluster { Box::leak(Box::new(Cluster::start())) };
    pair_on(start(), start(), "db".to_owned(), "")
}

/// A database of that name on each of two servers.
pub fn pair_on(from: &'static Cluster, to: &'static Cluster, db: String, options: &str) -> Pair {
    from.create_database(&db, &format!("template template0 {options}"));
    to.create_database(&db, &format!("template template0 {options}"));
    Pair { from, to, db }
}

impl Pair {
    /// The same with SQL run in the source.
    pub fn with(sql: &str) -> Self {
        let pair = pair();
        pair.from.sql(&pair.db, sql);
        pair
    }

    /// Loads a file of tests/data into the source.
    pub fn load(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name);
        self.from.psql_file(&self.db, &file);
    }

    pub fn source(&self) -> String {
        self.from.uri(&self.db)
    }

    pub fn target(&self) -> String {
        self.to.uri(&self.db)
    }

    /// Runs SQL in the source.
    pub fn in_source(&self, sql: &str) -> String {
        self.from.sql(&self.db, sql)
    }

    /// Runs SQL in the target.
    pub fn in_target(&self, sql: &str) -> String {
        self.to.sql(&self.db, sql)
    }
}

/// A table whose COPY into the target, and one whose index there, waits for `Pair::gate`.
pub const GATED: &str = "
    create function gate(i integer) returns boolean language plpgsql immutable as
        'begin perform pg_catalog.pg_advisory_xact_lock_shared(42); return true; end';
    create table before (id integer primary key, t text);
    insert into before select i, repeat('x', 100) from generate_series(1, 5000) i;
    create table gated (id integer primary key, t text, check (gate(id)));
    insert into gated select i, repeat('y', 100) from generate_series(1, 5000) i;
    select count(lo_create(30000 + i)) from generate_series(1, 20) i;";

/// The same, where only the index of a split table waits.
pub const GATED_INDEX: &str = "
    create function gate(i integer) returns boolean language plpgsql immutable as
        'begin perform pg_catalog.pg_advisory_xact_lock_shared(42); return true; end';
    create table gated (id integer primary key, t text);
    insert into gated select i, repeat('y', 100) from generate_series(1, 20000) i;
    create index gated_index on gated (gate(id));";

/// A session that holds something until it is dropped.
pub struct Session {
    cluster: &'static Cluster,
    name: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{}'",
            self.name
        );
        let _ = self.cluster.try_sql("postgres", &end);
    }
}

impl Pair {
    /// Closes the gate of `GATED` on the target until the session is dropped.
    ///
    /// The session counts for `is_quiet`: drop it before asking.
    pub fn gate(&self) -> Session {
        let session = Session {
            cluster: self.to,
            name: format!("gate {}", self.db),
        };
        let text = format!(
            "set application_name = '{}'; select pg_advisory_lock(42); select pg_sleep(600);",
            session.name
        );
        let (cluster, db) = (self.to, self.db.clone());
        std::thread::spawn(move || drop(cluster.try_sql(&db, &text)));
        let held = "select count(*) = 1 from pg_locks where locktype = 'advisory' and objid = 42
                       and granted and mode = 'ExclusiveLock' and database = (select oid from pg_database where datname = current_database())";
        assert!(
            self.to.wait_until(&self.db, held, PATIENCE),
            "the gate is not closed"
        );
        session
    }

    /// Runs SQL on the target in a transaction that stays open until the session is dropped.
    pub fn hold_open(&self, sql: &str) -> Session {
        let session = Session {
            cluster: self.to,
            name: format!("hold {}", self.db),
        };
        let text = format!(
            "set application_name = '{}'; begin; {sql}; select pg_sleep(600);",
            session.name
        );
        let (cluster, db) = (self.to, self.db.clone());
        std::thread::spawn(move || drop(cluster.try_sql(&db, &text)));
        let held = format!(
            "select count(*) = 1 from pg_stat_activity where application_name = '{}' and wait_event = 'PgSleep'",
            session.name
        );
        assert!(
            self.to.wait_until(&self.db, &held, PATIENCE),
            "not held: {sql}"
        );
        session
    }

    /// Waits until something of the run stands before the gate.
    #[track_caller]
    pub fn wait_for_gate(&self, run: &Running) {
        let waiting = "select count(*) > 0 from pg_locks where locktype = 'advisory' and not granted
                          and database = (select oid from pg_database where datname = current_database())";
        let there = self
            .to
            .wait_until(&self.db, waiting, Duration::from_secs(60));
        assert!(there, "nothing came to the gate:\n{}", run.said());
    }

    /// Starts a clone of this pair into that work directory.
    pub fn start(&self, work: &WorkDir, more: &[&str]) -> Running {
        start(
            &self
                .arguments(work, more)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
    }

    /// Clones this pair.
    pub fn clone(&self, work: &WorkDir, more: &[&str]) -> Output {
        self.start(work, more).wait()
    }

    fn arguments(&self, work: &WorkDir, more: &[&str]) -> Vec<String> {
        let (source, target, dir) = (self.source(), self.target(), work.dir());
        let mut all = vec![
            "clone", "--source", &source, "--target", &target, "--dir", &dir,
        ];
        all.extend(more);
        all.into_iter().map(str::to_owned).collect()
    }

    /// Both sides are the same in every respect.
    #[track_caller]
    pub fn assert_equal(&self) {
        assert_equal(&self.source(), &self.target());
    }
}
