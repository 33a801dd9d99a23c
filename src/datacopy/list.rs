//! The tables that a copy would take.
//!
//! Runs in the main program, which forks nothing for it. Reads the source, writes nothing.

use super::facts;
use super::select;
use super::settings::{Choice, End};
use crate::check::connect;
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Result};
use crate::logging;
use crate::units::Side;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// Raw name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Rows; `None`: not known.
    pub rows: Option<u64>,
    /// Whether they were counted.
    pub rows_exact: bool,
    /// Bytes, indexes included.
    pub bytes: u64,
}

/// Lists the tables that a choice comes to, by schema and name. Blocks. Errors: those of a copy.
pub fn list(
    source: &End,
    env: &dyn Fn(&str) -> Option<String>,
    choice: &Choice,
    exact: bool,
) -> Result<Vec<ListedTable>> {
    let conn =
        ConnInfo::parse(&source.text, env).context(|| "reading option --source".to_owned())?;
    for secret in conn.secrets() {
        logging::register_secret(&secret);
    }
    let mut side = connect("list tables", &conn, Side::Source)?;
    let session = &mut side.session;
    session.batch_execute("begin isolation level repeatable read, read only")?;
    let relations = facts::read_relations(session)?;
    let selected = select::select(&relations, choice);
    for fault in &selected.faults {
        log::error!("{fault}");
    }
    if !selected.faults.is_empty() {
        return Err(Error::bad_state("patterns find no table, named above")
            .hint("Use \"pgcopy list\" without them to see all tables."));
    }
    for warning in &selected.warnings {
        log::warn!("{warning}");
    }
    let mut tables = Vec::new();
    for table in &selected.tables {
        let rows = if exact {
            let count: i64 = session
                .query_one(&format!("select count(*) from only {}", table.qname()), &[])
                .context(|| format!("counting the rows of {}", table.shown()))?
                .get(0);
            u64::try_from(count).ok()
        } else {
            table.rows
        };
        tables.push(ListedTable {
            schema: table.schema.clone(),
            name: table.name.clone(),
            rows,
            rows_exact: exact,
            bytes: table.bytes,
        });
    }
    Ok(tables)
}
