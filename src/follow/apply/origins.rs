//! Where a table that the target does not have comes from: of the copy, a partition, renamed, or made since.
//!
//! Runs in the apply process. What the source had when the follow was set up stands in `tables.json`; of a
//! table that is not there, the source is asked once, over a session that is closed again.

use super::recognize::TableName;
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Result};
use crate::follow::selection::source_tables;
use crate::follow::setup;
use crate::follow::source_table::{Identity, SourceTables};
use crate::pg::{Profile, quote};
use crate::units::Side;

/// What a table is to the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The copy had it.
    Known,
    /// A partition of this table.
    Leaf(TableName),
    /// The copy had it under this name.
    Renamed(TableName),
    /// It was made after the copy.
    Newcomer,
}

/// The tables of the source, as far as they are known.
#[derive(Default)]
pub(super) struct Origins {
    recorded: SourceTables,
    source: Option<ConnInfo>,
}

impl Origins {
    pub(super) fn new(recorded: SourceTables, source: Option<ConnInfo>) -> Self {
        Self { recorded, source }
    }

    /// Whether all columns together tell a row of the table, as far as is known: it had REPLICA IDENTITY FULL, or
    /// no identity, and where changes of its rows come all the same it was given one since.
    pub(super) fn is_full(&self, name: &TableName) -> bool {
        let known = self.recorded.get(&name.0, &name.1);
        known.is_some_and(|known| !matches!(known.identity, Identity::Key(_)))
    }

    /// What a table is that the target does not have. Blocks where it is not on record.
    pub(super) fn of(&self, name: &TableName) -> Result<Origin> {
        if let Some(known) = self.recorded.get(&name.0, &name.1) {
            return Ok(known.root.clone().map_or(Origin::Known, Origin::Leaf));
        }
        if self.recorded.is_empty() {
            return Ok(Origin::Known);
        }
        let shown = quote::qualified(&name.0, &name.1);
        let Some(source) = &self.source else {
            return Err(Error::bad_state(format!(
                "table {shown} is neither on the target nor among the tables that the follow was set up with"
            ))
            .hint("Use \"pgcopydb stream catchup\" or \"pgcopydb follow\", which ask the source whether it was made or renamed since."));
        };
        let what = || format!("looking up table {shown} on the source");
        let now = setup::link(source, Side::Source, "apply")
            .and_then(|link| link.session("apply", &Profile::Catalog))
            .and_then(|mut session| source_tables(&mut session))
            .context(what)?;
        let now: SourceTables = now.into_iter().collect();
        Ok(judge(&self.recorded, &now, name))
    }
}

/// What a table is that is not on record.
fn judge(recorded: &SourceTables, now: &SourceTables, name: &TableName) -> Origin {
    let Some(table) = now.get(&name.0, &name.1) else {
        // Made and dropped since.
        return Origin::Newcomer;
    };
    if let Some(root) = &table.root
        && recorded.get(&root.0, &root.1).is_some()
    {
        return Origin::Leaf(root.clone());
    }
    let before = recorded
        .all()
        .find(|before| before.oid != 0 && before.oid == table.oid);
    match before {
        Some(before) => Origin::Renamed((before.schema.clone(), before.name.clone())),
        None => Origin::Newcomer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::source_table::SourceTable;

    fn table(oid: u32, name: &str, root: Option<&str>) -> SourceTable {
        SourceTable {
            schema: "s".to_owned(),
            name: name.to_owned(),
            columns: Vec::new(),
            identity: Identity::Full,
            root: root.map(|root| ("s".to_owned(), root.to_owned())),
            oid,
            excluded: false,
            rewritten: None,
        }
    }

    #[test]
    fn a_table_that_is_not_on_record_is_a_partition_renamed_or_new() {
        let name = |name: &str| ("s".to_owned(), name.to_owned());
        let recorded: SourceTables = [table(1, "t", None), table(2, "root", None)]
            .into_iter()
            .collect();
        let now: SourceTables = [
            table(1, "t2", None),
            table(2, "root", None),
            table(3, "leaf", Some("root")),
            table(4, "fresh", None),
            table(5, "fresh_leaf", Some("fresh_root")),
        ]
        .into_iter()
        .collect();
        let judged = |one: &str| judge(&recorded, &now, &name(one));
        assert_eq!(judged("t2"), Origin::Renamed(name("t")));
        assert_eq!(judged("leaf"), Origin::Leaf(name("root")));
        assert_eq!(judged("fresh"), Origin::Newcomer);
        assert_eq!(judged("fresh_leaf"), Origin::Newcomer);
        assert_eq!(judged("gone"), Origin::Newcomer);
    }
}
