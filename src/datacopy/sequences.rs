//! Which sequences are set: those that selected columns use and, where nothing was included or excluded by
//! name, those that stand alone.
//!
//! Runs in the processes that plan. A sequence of the source is matched with the one that the same column uses
//! on the target, then with the one of its name.

use super::compare::Findings;
use super::facts::{self, Sequence};
use super::plan::{Drawn, Sides};
use super::settings::CopySettings;
use crate::error::Result;
use crate::pg::quote;
use crate::units::Oid;
use std::collections::{HashMap, HashSet};

/// A sequence and its twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pairing {
    /// On the source.
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    /// Quoted names.
    pub(super) source: String,
    pub(super) target: String,
}

/// Schema, table and column.
type ColumnName = (String, String, String);

/// Plans the sequences.
pub(super) fn plan(
    sides: &mut Sides<'_>,
    settings: &CopySettings,
    tables: &HashSet<(String, String)>,
    (drawn, findings): (&mut Drawn, &mut Findings),
) -> Result<()> {
    let ours = facts::read_sequences(sides.source.0)?;
    let theirs = facts::read_sequences(sides.target.0)?;
    let by_column: HashMap<ColumnName, &Sequence> = theirs
        .iter()
        .flat_map(|sequence| {
            sequence
                .columns
                .iter()
                .map(move |column| (place(column), sequence))
        })
        .collect();
    let by_name: HashMap<String, &Sequence> = theirs.iter().map(|s| (s.shown(), s)).collect();
    let choice = &settings.choice;
    let with_lone = choice.include.is_empty() && choice.exclude.is_empty();
    for sequence in &ours {
        let columns: Vec<ColumnName> = sequence
            .columns
            .iter()
            .map(place)
            .filter(|(schema, table, _)| tables.contains(&(schema.clone(), table.clone())))
            .collect();
        let in_schema = choice.schemas.is_empty() || choice.schemas.contains(&sequence.schema);
        let is_lone = sequence.columns.is_empty() && with_lone && in_schema;
        if columns.is_empty() && !is_lone {
            continue;
        }
        let twin = columns
            .iter()
            .find_map(|column| by_column.get(column))
            .or_else(|| by_name.get(&sequence.shown()));
        let Some(twin) = twin else {
            findings.warnings.push(format!(
                "sequence {} of the source has no counterpart on the target",
                sequence.shown()
            ));
            continue;
        };
        if !sequence.can_read {
            findings.faults.push(format!(
                "source: no SELECT on sequence {}; run there: grant select on sequence {} to the role",
                sequence.shown(),
                quote::qualified(&sequence.schema, &sequence.name)
            ));
        }
        if !twin.can_set {
            findings.faults.push(format!(
                "target: no UPDATE on sequence {}; run there: grant update on sequence {} to the role",
                twin.shown(),
                quote::qualified(&twin.schema, &twin.name)
            ));
        }
        drawn.plan.sequences.push(sequence.shown());
        drawn.sequences.push(Pairing {
            oid: sequence.oid,
            schema: sequence.schema.clone(),
            name: sequence.name.clone(),
            source: quote::qualified(&sequence.schema, &sequence.name),
            target: quote::qualified(&twin.schema, &twin.name),
        });
    }
    Ok(())
}

fn place((_, schema, table, column): &(Oid, String, String, String)) -> ColumnName {
    (schema.clone(), table.clone(), column.clone())
}
