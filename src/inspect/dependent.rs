//! What filters leave out because something else is left out.
//!
//! Runs in the main program. Reads the source; writes nothing.

use super::{Choice, Source};
use crate::error::Result;
use crate::filter::What;
use crate::units::Oid;

/// An object that goes with a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependent {
    /// Schema of the relation that it hangs on, raw; empty where it hangs on something else.
    pub schema: String,
    /// Name of that relation, raw.
    pub table: String,
    /// The object's catalog.
    pub catalog: Oid,
    /// The object.
    pub oid: Oid,
    /// Its kind.
    pub kind: String,
    /// Its full name, quoted.
    pub identity: String,
    /// Why it is left out.
    pub reason: String,
}

/// Lists them, by relation. Blocks.
pub fn list_dependents(source: &mut Source, choice: &Choice) -> Result<Vec<Dependent>> {
    let selection = source.select(choice)?;
    let hanging = selection
        .explained
        .into_iter()
        .filter(|e| e.what == What::Object && e.is_hanging);
    let mut rows: Vec<Dependent> = hanging
        .map(|e| {
            let (schema, table) = e.hangs_on.unwrap_or_default();
            Dependent {
                schema,
                table,
                catalog: e.id.0,
                oid: e.id.1,
                kind: e.kind,
                identity: e.name,
                reason: e.reason,
            }
        })
        .collect();
    rows.sort_by(|one, other| {
        let key = |row: &Dependent| (row.schema.clone(), row.table.clone());
        key(one)
            .cmp(&key(other))
            .then(one.identity.cmp(&other.identity))
    });
    Ok(rows)
}
