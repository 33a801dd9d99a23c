//! What there is to know about a server, the database and the role of a session.
//!
//! Runs in the leaf that checks, on either side. Reads settings and catalogs, writes nothing. Must
//! not fail for a privilege that managed services withhold.

use postgres::GenericClient;

use super::query::{Query, get, unsigned};
use crate::error::Result;
use crate::units::{Oid, PgVersion, Side};

/// A server as one session sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServerFacts {
    /// Version.
    pub version: PgVersion,
    /// Number of the cluster; `None`: the role may not read it.
    pub system_identifier: Option<String>,
    /// Every connection of the cluster is read-only.
    pub in_recovery: bool,
    /// Dates and times are integers in the binary format.
    pub integer_datetimes: bool,
    /// Bytes of a page.
    pub block_size: u32,
    /// The database.
    pub database: DatabaseFacts,
    /// The role.
    pub role: RoleFacts,
    /// Limits.
    pub limits: ServerLimits,
}

/// The current database.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DatabaseFacts {
    /// Raw name.
    pub datname: String,
    /// Oid.
    pub oid: Oid,
    /// Encoding of stored text.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: Option<String>,
    /// `LC_CTYPE`.
    pub ctype: Option<String>,
    /// `b`, `c`, `i`; `None` before 15, where it is `c`.
    pub locale_provider: Option<String>,
    /// Locale of the provider, when it is not the C library.
    pub icu_locale: Option<String>,
    /// Extensions in it that keep tables in ways of their own: timescaledb, citus.
    #[serde(default)]
    pub own_ways: Vec<String>,
}

impl DatabaseFacts {
    /// Whether it has an extension that keeps tables in ways of its own.
    pub fn has(&self, extension: &str) -> bool {
        self.own_ways.iter().any(|name| name == extension)
    }
}

/// The current role.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RoleFacts {
    /// Raw name.
    pub rolname: String,
    /// Superuser.
    pub is_superuser: bool,
    /// May create schemas in the database.
    pub can_create: bool,
    /// May create databases.
    pub can_create_db: bool,
}

/// Settings that bound what a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServerLimits {
    /// `max_connections`.
    pub max_connections: i64,
    /// Connections that this role may not take.
    pub reserved_connections: i64,
    /// Backends that there are now, this session among them.
    pub used_connections: i64,
    /// `max_worker_processes`.
    pub max_worker_processes: i64,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: i64,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i64,
}

impl ServerLimits {
    /// Sessions that can still be opened.
    pub fn free_connections(&self) -> u64 {
        unsigned(self.max_connections - self.reserved_connections - self.used_connections)
    }

    /// Locks that fit into the lock table for sure; there is some slack beyond.
    pub fn lock_room(&self) -> u64 {
        unsigned(
            self.max_locks_per_transaction
                * (self.max_connections + self.max_prepared_transactions),
        )
    }

    /// `max_locks_per_transaction` with which this many locks fit, with a tenth to spare.
    pub fn locks_setting_for(&self, locks: u64) -> u64 {
        let sessions = unsigned(self.max_connections + self.max_prepared_transactions).max(1);
        (locks + locks / 10).div_ceil(sessions).max(64)
    }
}

/// Reads the facts of one side.
pub fn read_server_facts(client: &mut impl GenericClient, side: Side) -> Result<ServerFacts> {
    let query = Query::on(
        side,
        "read the server's settings",
        include_str!("sql/read_server_facts.sql"),
    );
    let (mut facts, can_read_identity) = query.one(client, |row| {
        let facts = ServerFacts {
            version: PgVersion(get::<i32>(row, "version")?.unsigned_abs()),
            system_identifier: None,
            in_recovery: get(row, "in_recovery")?,
            integer_datetimes: get(row, "integer_datetimes")?,
            block_size: get::<i32>(row, "block_size")?.unsigned_abs(),
            database: database_facts(row)?,
            role: role_facts(row)?,
            limits: server_limits(row)?,
        };
        Ok((facts, get::<bool>(row, "can_read_identity")?))
    })?;
    if can_read_identity {
        let sql = include_str!("sql/read_system_identifier.sql");
        let query = Query::on(side, "read the system identifier", sql);
        facts.system_identifier = Some(query.one(client, |row| get(row, "system_identifier"))?);
    }
    Ok(facts)
}

fn database_facts(row: &postgres::Row) -> Result<DatabaseFacts> {
    Ok(DatabaseFacts {
        datname: get(row, "datname")?,
        oid: get(row, "database_oid")?,
        encoding: get(row, "server_encoding")?,
        collate: get(row, "datcollate")?,
        ctype: get(row, "datctype")?,
        locale_provider: get(row, "locale_provider")?,
        icu_locale: get(row, "icu_locale")?,
        own_ways: get(row, "own_ways")?,
    })
}

fn role_facts(row: &postgres::Row) -> Result<RoleFacts> {
    Ok(RoleFacts {
        rolname: get(row, "rolname")?,
        is_superuser: get(row, "is_superuser")?,
        can_create: get(row, "can_create")?,
        can_create_db: get(row, "can_create_db")?,
    })
}

fn server_limits(row: &postgres::Row) -> Result<ServerLimits> {
    let setting = |name: &str| -> Result<i64> { get::<i32>(row, name).map(i64::from) };
    Ok(ServerLimits {
        max_connections: setting("max_connections")?,
        reserved_connections: setting("reserved_connections")?,
        used_connections: get(row, "used_connections")?,
        max_worker_processes: setting("max_worker_processes")?,
        max_locks_per_transaction: setting("max_locks_per_transaction")?,
        max_prepared_transactions: setting("max_prepared_transactions")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_for_many_locks_gives_room_for_them() {
        let limits = ServerLimits {
            max_connections: 100,
            reserved_connections: 3,
            used_connections: 120,
            max_worker_processes: 8,
            max_locks_per_transaction: 64,
            max_prepared_transactions: 0,
        };
        assert_eq!((limits.lock_room(), limits.free_connections()), (6_400, 0));
        assert_eq!(limits.locks_setting_for(10), 64);
        assert_eq!(limits.locks_setting_for(100_000), 1_100);
    }
}
