//! Filters: what the user leaves out of a copy, and what goes with it.
//!
//! `ini` reads the file into `rules`; `facts` reads the source's catalogs; `graph` and `closure` decide,
//! without I/O; `explain` says why; `ledger` writes the decision down. Everything else asks the ledger:
//! the list of the archive, the tables, indexes and sequences of the run.

mod closure;
mod explain;
mod facts;
mod graph;
mod ini;
mod ledger;
mod rules;

pub use closure::{LeftOut, Undumped, Why};
pub use explain::{Explained, What};
pub use facts::{ObjectId, PG_CLASS, PG_EXTENSION, PG_NAMESPACE};
pub use ini::{parse, read};
pub use ledger::{keep_left_out, list, load, prune, store};
pub use rules::{Rules, Section};

use crate::error::Result;
use crate::pg::PgSession;
use crate::units::Oid;
use std::collections::HashMap;

/// What filters come to on a source.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What is left out.
    pub left_out: LeftOut,
    /// The same for people, and for the ledger.
    pub explained: Vec<Explained>,
    /// Kind and name of kept objects that messages are about.
    pub names: HashMap<ObjectId, String>,
    /// Rules without effect, one line each.
    pub warnings: Vec<String>,
    /// Tables that lose the index of their replica identity, one line each.
    pub lost_identities: Vec<String>,
}

impl Selection {
    /// Of what an earlier run has found out.
    pub fn of(left_out: LeftOut) -> Self {
        Self {
            left_out,
            ..Self::default()
        }
    }
}

/// Finds out what filters leave out, as the session sees the source now. Blocks; changes nothing.
pub fn select(source: &mut PgSession, rules: &Rules) -> Result<Selection> {
    let facts = facts::read_facts(source, rules)?;
    let (left_out, mut warnings) = closure::close(&facts, rules)?;
    let (explained, names) = explain::explain(source, (&facts, rules), &left_out)?;
    warnings.splice(0..0, rules.warnings.iter().cloned());
    let lost_identities = lost_identities(source, &left_out)?;
    Ok(Selection {
        left_out,
        explained,
        names,
        warnings,
        lost_identities,
    })
}

/// Tables that lose the index of their replica identity, one line each.
fn lost_identities(source: &mut PgSession, left_out: &LeftOut) -> Result<Vec<String>> {
    let (catalogs, objects): (Vec<Oid>, Vec<Oid>) = left_out.objects.keys().copied().unzip();
    let sql = include_str!("sql/list_lost_identities.sql");
    let rows = source.query(sql, &[&catalogs, &objects])?;
    let line = |row: &postgres::Row| -> std::result::Result<String, postgres::Error> {
        let (relation, index): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!(
            "Table {relation} loses its replica identity with the index {index}"
        ))
    };
    rows.iter()
        .map(|row| line(row).map_err(|error| source.error(&error, sql)))
        .collect()
}

#[cfg(test)]
mod tests;
