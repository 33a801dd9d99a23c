//! Which tables are followed: what there is on the source, and what filters leave of it.
//!
//! Runs in leaf processes that make a slot or look at the source. What filters leave out is decided once, in
//! the snapshot of the slot, and stands in `tables.json`: publications, receiving and transforming go by that.

use super::files::CdcDir;
use super::publication::{self, Candidate};
use super::slot::Means;
use super::source::{self, SourceFacts};
use super::source_table::{self, Column, Identity, SourceTable, SourceTables};
use crate::error::{Error, Kind, Result};
use crate::filter::{self, PG_CLASS, Rules, What};
use crate::pg::PgSession;
use crate::pg::quote::{literal, qualified};
use crate::units::{Oid, PgVersion};
use std::collections::BTreeSet;

/// The relations that filters leave out, altogether or their rows. Blocks.
pub fn left_out(session: &mut PgSession, rules: Option<&Rules>) -> Result<BTreeSet<Oid>> {
    let Some(rules) = rules else {
        return Ok(BTreeSet::new());
    };
    let selection = filter::select(session, rules)?;
    let gone = |what| matches!(what, What::Object | What::Part | What::Rows);
    Ok(selection
        .explained
        .iter()
        .filter(|object| object.id.0 == PG_CLASS && gone(object.what))
        .map(|object| object.id.1)
        .collect())
}

/// The tables that could be published, with those that filters leave out marked; none before 10.
pub fn candidates(
    session: &mut PgSession,
    version: PgVersion,
    rules: Option<&Rules>,
) -> Result<Vec<Candidate>> {
    if version < PgVersion(100_000) {
        return Ok(Vec::new());
    }
    let left_out = left_out(session, rules)?;
    let mut tables = publication::candidates(session)?;
    for table in &mut tables {
        table.is_excluded = Oid::try_from(table.oid).is_ok_and(|oid| left_out.contains(&oid));
    }
    Ok(tables)
}

/// Refuses partitions that were made since and that no publication has: their changes do not come. A root
/// that is not published itself, as one of its partitions is left out, has no room for new ones.
pub fn refuse_unpublished(
    session: &mut PgSession,
    names: &[String],
    recorded: &SourceTables,
) -> Result<()> {
    let now = source_tables(session)?;
    let is_followed = |root: &(String, String)| {
        let root = recorded.get(&root.0, &root.1);
        root.is_some_and(|root| !root.excluded)
    };
    for leaf in &now {
        let is_new = recorded.get(&leaf.schema, &leaf.name).is_none()
            && !recorded.all().any(|before| before.oid == leaf.oid)
            && leaf.root.as_ref().is_some_and(is_followed);
        if !is_new {
            continue;
        }
        // The tables of a publication are its leaves: one that has partitions itself is none.
        let row = session.query_one(
            "select exists (select 1 from pg_catalog.pg_publication_tables t where t.pubname = any ($1) \
                               and t.schemaname = $2 and t.tablename = $3) \
                 or exists (select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                             where n.nspname = $2 and c.relname = $3 and c.relkind = 'p')",
            &[&names, &leaf.schema, &leaf.name],
        )?;
        if !row.get::<_, bool>(0) {
            return Err(Error::new(
                Kind::Source,
                format!(
                    "partition {} was made on the source while changes are followed, and is in no publication",
                    qualified(&leaf.schema, &leaf.name)
                ),
            )
            .detail("Its changes did not come: rows of its partitioned table are missing on the target.")
            .hint(
                "Move its rows into a partition that is followed and drop it, or begin anew; where filters leave a \
                 partition out, new ones cannot be followed with pgoutput.",
            ));
        }
    }
    Ok(())
}

/// Leaves the tables for those who transform and apply.
pub fn write(cdc: &CdcDir, tables: &[SourceTable]) -> Result<()> {
    let text = source_table::to_json(tables)?;
    let path = cdc.top().join(source_table::FILE_NAME);
    cdc.write_whole(&path, &String::from_utf8_lossy(&text))
}

/// The tables as the slot's snapshot shows them.
pub fn in_snapshot(
    means: &Means<'_>,
    snapshot: &str,
    facts: &SourceFacts,
    rules: Option<&Rules>,
) -> Result<(Vec<Candidate>, Vec<SourceTable>)> {
    let mut session = source::connect_beside(means.link, means.title)?;
    session.batch_execute(&format!(
        "begin isolation level repeatable read, read only; set transaction snapshot {}",
        literal(snapshot)
    ))?;
    let candidates = candidates(&mut session, facts.version, rules)?;
    let left_out = left_out(&mut session, rules)?;
    let mut tables = source_tables(&mut session)?;
    for table in &mut tables {
        table.excluded = left_out.contains(&table.oid);
    }
    session.batch_execute("commit")?;
    Ok((candidates, tables))
}

#[derive(serde::Deserialize)]
struct ColumnRow {
    name: String,
    generated: bool,
    is_key: bool,
    #[serde(rename = "type")]
    data_type: String,
}

/// The tables of the source as they are now.
pub fn source_tables(session: &mut PgSession) -> Result<Vec<SourceTable>> {
    let rows = session.query(include_str!("sql/list_source_tables.sql"), &[])?;
    rows.iter()
        .map(|row| {
            let text: String = row.get("columns");
            let columns: Vec<ColumnRow> = serde_json::from_str(&text)
                .map_err(|error| Error::internal(format!("could not read columns: {error}")))?;
            let identity: String = row.get("identity");
            let root_schema: Option<String> = row.get("root_nspname");
            let root_name: Option<String> = row.get("root_relname");
            let key = columns.iter().filter(|column| column.is_key);
            let oid: i64 = row.get("oid");
            Ok(SourceTable {
                oid: Oid::try_from(oid).unwrap_or(0),
                schema: row.get("nspname"),
                name: row.get("relname"),
                identity: match identity.as_str() {
                    "full" => Identity::Full,
                    "key" => Identity::Key(key.map(|column| column.name.clone()).collect()),
                    _ => Identity::Nothing,
                },
                columns: columns
                    .into_iter()
                    .map(|column| Column {
                        name: column.name,
                        generated: column.generated,
                        data_type: Some(column.data_type),
                    })
                    .collect(),
                root: root_schema.zip(root_name),
                excluded: false,
                rewritten: row.get("rewritten"),
            })
        })
        .collect()
}
