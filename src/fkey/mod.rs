//! Foreign keys and triggers that stand in the way of a copy of rows: found, written down, removed, put back.
//!
//! No superuser is needed: an owner may drop and add keys and switch triggers. What is about to be removed is
//! on disk before ([`journal`]); whether it is there, or back, is asked of the target's catalogs each time, so
//! that every step can be repeated after a crash at any line.

pub mod discover;
pub mod journal;
mod layers;
mod lock;
mod remove;
mod restore;
mod validate;

pub use layers::{Cycle, order};
pub use lock::{Limits, look_patiently, patiently};
pub use remove::{Removed, remove};
pub use restore::{Back, add, finish};
pub use validate::{check_unchecked, run as validate};

use crate::error::Result;
use crate::pg::PgSession;
use journal::Entry;
use std::collections::HashMap;

/// A key or trigger as the target has it now.
#[derive(Clone, Debug)]
struct Present {
    definition: String,
    is_valid: bool,
    state: String,
    comment: Option<String>,
    oid: u32,
}

/// What the target has of these entries, by thing and place.
type Presence = HashMap<(bool, (String, String, String)), Present>;

/// Asks the target what it has of these entries' tables.
fn look(session: &mut PgSession, entries: &[&Entry]) -> Result<Presence> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = entries
        .iter()
        .map(|entry| (entry.child.schema.as_str(), entry.child.name.as_str()))
        .unzip();
    let rows = session.query(include_str!("sql/list_present.sql"), &[&schemas, &names])?;
    Ok(rows
        .iter()
        .map(|row| {
            let is_key = row.get::<_, &str>("kind") == "key";
            let place = (row.get("nspname"), row.get("relname"), row.get("name"));
            let present = Present {
                definition: row.get("definition"),
                is_valid: row.get("is_valid"),
                state: row.get("state"),
                comment: row.get("comment"),
                oid: row.get("oid"),
            };
            ((is_key, place), present)
        })
        .collect())
}

/// What the target has of one entry.
fn find<'p>(presence: &'p Presence, entry: &Entry) -> Option<&'p Present> {
    presence.get(&(entry.thing == journal::Thing::Key, entry.place()))
}

/// A definition without what validating changes.
fn bare(definition: &str) -> &str {
    definition.strip_suffix(" NOT VALID").unwrap_or(definition)
}
