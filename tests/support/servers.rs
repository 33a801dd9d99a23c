//! Two servers shared by all tests of a program that need no restart, and databases on them.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Cluster;

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
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let db = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let from = SOURCE.get_or_init(Cluster::start);
    let to = TARGET.get_or_init(Cluster::start);
    from.create_database(&db, "template template0");
    to.create_database(&db, "template template0");
    Pair { from, to, db }
}

impl Pair {
    /// The same with SQL run in the source.
    pub fn with(sql: &str) -> Self {
        let pair = pair();
        pair.from.sql(&pair.db, sql);
        pair
    }

    /// The same with a file of tests/data loaded into the source.
    pub fn with_file(name: &str) -> Self {
        let pair = pair();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        pair.from.psql_file(&pair.db, &file);
        pair
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
