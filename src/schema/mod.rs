//! Reads the schemas of the two servers: what there is to copy, what stands in the way, and how
//! large tables are cut.
//!
//! Runs in leaf processes, over a client whose session has an empty `search_path` and
//! `quote_all_identifiers` off; on the source inside the transaction that imported the snapshot.
//! Reads PostgreSQL catalogs, one statement for each kind of object; writes the `s_*` rows of the
//! ledger, through a transaction of its caller. Must not begin or end transactions (savepoints
//! apart), or change anything on a server.

#![allow(
    clippy::result_large_err,
    reason = "the size of an error is the error module's choice, and rows do not fail by the million"
)]

pub mod copy_format;
pub mod hooks;
pub mod plan;
pub mod preflight;
pub mod select_list;
pub mod server;
pub mod split;
pub mod spread;
pub mod target;

mod attribute;
mod database;
mod extension;
mod foreign_key;
mod index;
mod query;
mod sequence;
mod table;

use postgres::GenericClient;
use rusqlite::Transaction;

use crate::error::Result;
use crate::filter;
use crate::units::{Oid, PgVersion};
use query::ledger;

pub use attribute::fetch_attributes;
pub use database::{
    count_large_objects, fetch_analyze, fetch_database_properties, fetch_database_statements,
    fetch_namespaces, has_large_objects,
};
pub use extension::fetch_extensions;
pub use foreign_key::fetch_foreign_keys;
pub use index::{fetch_constraints, fetch_indexes};
pub use sequence::{
    SequenceValue, fetch_sequence_values, fetch_sequences, list_sequences, read_sequence_values,
};
pub use table::{fetch_routes, fetch_tables};

/// What the fetch must know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct FetchOptions {
    /// Version of the source.
    pub version: PgVersion,
    /// Sizes from `pg_class.relpages`; otherwise files are measured.
    pub estimate_sizes: bool,
    /// The encodings of the two databases differ, so that hashes of texts differ too.
    pub encodings_differ: bool,
}

/// How many rows of each kind the ledger got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Schemas.
    pub namespaces: u64,
    /// Tables, configuration tables of extensions among them.
    pub tables: u64,
    /// Tables that are loaded through an ancestor.
    pub routes: u64,
    /// Columns.
    pub attributes: u64,
    /// Indexes.
    pub indexes: u64,
    /// Constraints that an index backs.
    pub constraints: u64,
    /// Foreign keys.
    pub foreign_keys: u64,
    /// Sequences.
    pub sequences: u64,
    /// Extensions.
    pub extensions: u64,
    /// Settings of the database.
    pub properties: u64,
    /// Partitioned tables and materialized views.
    pub analyze: u64,
    /// Whether there are large objects.
    pub has_large_objects: bool,
}

/// Fills all `s_*` tables but `s_part`, replacing what they had. Blocks on the network and on
/// locks that others hold on tables (sizes).
pub fn fetch_all(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
    options: &FetchOptions,
) -> Result<FetchCounts> {
    let properties = fetch_database_properties(client, tx)?;
    let namespaces = fetch_namespaces(client, tx)?;
    fetch_tables(client, tx, options)?;
    // What is fetched from here on is about the tables that are left.
    filter::prune(tx)?;
    let mut counts = FetchCounts {
        properties,
        namespaces,
        routes: fetch_routes(client, tx, options)?,
        attributes: fetch_attributes(client, tx, options.version)?,
        indexes: fetch_indexes(client, tx)?,
        constraints: fetch_constraints(client, tx)?,
        foreign_keys: fetch_foreign_keys(client, tx)?,
        sequences: fetch_sequences(client, tx)?,
        extensions: fetch_extensions(client, tx)?,
        analyze: fetch_analyze(client, tx)?,
        has_large_objects: has_large_objects(client)?,
        ..FetchCounts::default()
    };
    filter::prune(tx)?;
    spread::fetch_spread(client, tx)?;
    counts.recount(tx)?;
    fetch_database_statements(client, tx)?;
    fetch_sequence_values(client, tx)?;
    Ok(counts)
}

impl FetchCounts {
    /// Counts again what filters may have taken out.
    fn recount(&mut self, tx: &Transaction<'_>) -> Result<()> {
        let count = |table: &str| -> Result<u64> {
            let sql = format!("select count(*) from {table}");
            let count = tx.query_row(&sql, [], |row| row.get::<_, i64>(0));
            count
                .map(|count| u64::try_from(count).unwrap_or(0))
                .map_err(ledger)
        };
        self.tables = count("s_table")?;
        self.indexes = count("s_index")?;
        self.constraints = count("s_constraint")?;
        self.foreign_keys = count("s_fkey")?;
        self.sequences = count("s_seq")?;
        self.extensions = count("s_extension")?;
        self.analyze = count("s_analyze")?;
        Ok(())
    }
}

/// Which tables of the ledger a query is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    /// All of them.
    All,
    /// Those that step 4 copies: no configuration tables of extensions.
    Ours,
}

/// The oids of tables that the ledger has now: 4 bytes a table, and filters have had their say.
fn table_oids(tx: &Transaction<'_>, which: Tables) -> Result<Vec<Oid>> {
    let sql = match which {
        Tables::All => "select oid from s_table order by oid",
        Tables::Ours => "select oid from s_table where is_extension = 0 order by oid",
    };
    let mut statement = tx.prepare(sql).map_err(ledger)?;
    let oids = statement.query_map([], |row| row.get(0)).map_err(ledger)?;
    oids.collect::<rusqlite::Result<Vec<Oid>>>().map_err(ledger)
}

/// Empties a table of the ledger before it is filled again.
fn clear(tx: &Transaction<'_>, delete: &str) -> Result<()> {
    tx.execute(delete, []).map(|_| ()).map_err(ledger)
}
