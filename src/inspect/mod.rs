//! What there is on the source: databases, extensions, collations, tables with their parts, sequences,
//! indexes.
//!
//! Runs in the main program, which does not fork for this. Reads the source in one read-only
//! transaction, and the ledger of a work directory where that has the answer; keeps what it read in
//! memory. Writes nothing and takes no lock.

mod catalog;
mod dependent;
mod relation;
mod server;

pub use catalog::{Catalog, Choice, Places, SplitChoice, Wanted};
pub use dependent::{Dependent, list_dependents};
pub use relation::{
    Column, Constraint, Index, Part, Sequence, Table, TableName, find_table, read_columns,
    read_indexes, read_sequences, read_tables, why_whole,
};
pub use server::{
    Collation, ConfigRelation, Database, Extension, ExtensionVersions, list_available_versions,
    list_collations, list_databases, list_extensions,
};

use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::filter::{self, Selection};
use crate::logging;
use crate::pg::{Link, PgSession, Profile, application_name, endpoint};
use crate::schema::server::{ServerFacts, read_server_facts};
use crate::units::Side;
use postgres::Row;
use postgres::types::{FromSql, ToSql};

/// Oldest source that is read.
const VERSION_MIN: u32 = 90_600;

/// A session on the source, inside a transaction that only reads.
pub struct Source {
    session: PgSession,
    /// What there is to know about the server.
    pub facts: ServerFacts,
    /// Its connection string without secrets.
    pub uri: String,
}

impl Source {
    /// Connects. Blocks. Errors: the connection string (`BadArgs`), the server (`Source`).
    pub fn connect(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let conn = ConnInfo::parse(text, env).context(|| "reading option --source".to_owned())?;
        for secret in conn.secrets() {
            logging::register_secret(&secret);
        }
        let (first, pin) = endpoint::find(&conn, Side::Source, &application_name("list"))?;
        first.close();
        let link = Link {
            conn: conn.pinned(&pin),
            pin,
            side: Side::Source,
        };
        let mut session = link.session("list", &Profile::Catalog)?;
        session.batch_execute("begin isolation level repeatable read, read only")?;
        let facts = read_server_facts(&mut session.client, Side::Source)?;
        if facts.version.0 < VERSION_MIN {
            return Err(Error::new(
                Kind::Source,
                format!(
                    "the source is PostgreSQL {}, which is too old",
                    facts.version
                ),
            )
            .hint("Upgrade it to 9.6 or newer first."));
        }
        Ok(Self {
            session,
            facts,
            uri: conn.safe_uri(),
        })
    }

    /// What filters come to, with a warning for each rule without effect; nothing without filters.
    fn select(&mut self, choice: &Choice) -> Result<Selection> {
        let Some(rules) = &choice.rules else {
            return Ok(Selection::default());
        };
        let selection = filter::select(&mut self.session, rules)?;
        for warning in &selection.warnings {
            log::warn!("{warning}");
        }
        Ok(selection)
    }

    /// Runs a query and maps its rows; `what` completes `could not ...`.
    fn collect<T>(
        &mut self,
        what: &str,
        (sql, params): (&str, &[&(dyn ToSql + Sync)]),
        map: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let rows = self
            .session
            .query(sql, params)
            .context(|| format!("trying to {what}"))?;
        rows.iter().map(map).collect()
    }
}

/// A column of a row; a type other than the query's header says is a bug of ours.
fn get<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T> {
    row.try_get(column)
        .map_err(|error| Error::internal(format!("column \"{column}\" of a result: {error}")))
}
