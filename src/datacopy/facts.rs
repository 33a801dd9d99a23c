//! What the catalogs of one side say about relations, columns and sequences, and what the role may do.
//!
//! Runs in the processes that plan, on either side, with an empty `search_path`. Reads catalogs, writes
//! nothing, judges nothing.

use crate::error::Result;
use crate::pg::{PgSession, quote};
use crate::units::Oid;
use std::collections::{BTreeMap, HashMap};

/// A relation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalogs, no states"
)]
pub(super) struct Relation {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    /// `r`, `p`, `v`, `m`, `f`.
    pub(super) kind: String,
    pub(super) owner: String,
    /// `None`: never analyzed.
    pub(super) rows: Option<u64>,
    pub(super) bytes: u64,
    /// The partitioned table above, 0 where there is none.
    pub(super) above: Oid,
    pub(super) is_extension: bool,
    pub(super) can_use: bool,
    pub(super) can_insert: bool,
    pub(super) can_truncate: bool,
    pub(super) can_delete: bool,
    pub(super) is_owned: bool,
    pub(super) hides_rows: bool,
    pub(super) has_rule: bool,
    /// A DELETE rule that some session obeys.
    pub(super) has_delete_rule: bool,
}

impl Relation {
    pub(super) fn qname(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Rows can be copied out of it and into it.
    pub(super) fn is_copyable(&self) -> bool {
        self.kind == "r" && !self.is_extension
    }

    /// What it is, for people.
    pub(super) fn what(&self) -> &'static str {
        match self.kind.as_str() {
            _ if self.is_extension => "member of an extension",
            "r" => "table",
            "p" => "partitioned table",
            "v" => "view",
            "m" => "materialized view",
            _ => "foreign table",
        }
    }
}

/// All relations of one side, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Relations {
    pub(super) all: Vec<Relation>,
    by_name: HashMap<(String, String), usize>,
    by_oid: HashMap<Oid, usize>,
}

impl Relations {
    pub(super) fn new(all: Vec<Relation>) -> Self {
        let by_name = all
            .iter()
            .enumerate()
            .map(|(at, relation)| ((relation.schema.clone(), relation.name.clone()), at));
        let by_oid = all
            .iter()
            .enumerate()
            .map(|(at, relation)| (relation.oid, at));
        Self {
            by_name: by_name.collect(),
            by_oid: by_oid.collect(),
            all,
        }
    }

    pub(super) fn named(&self, schema: &str, name: &str) -> Option<&Relation> {
        let at = self.by_name.get(&(schema.to_owned(), name.to_owned()))?;
        self.all.get(*at)
    }

    pub(super) fn of(&self, oid: Oid) -> Option<&Relation> {
        self.all.get(*self.by_oid.get(&oid)?)
    }

    /// The partitioned tables above one, nearest first.
    pub(super) fn ancestors(&self, relation: &Relation) -> Vec<&Relation> {
        let mut found = Vec::new();
        let mut above = relation.above;
        while let Some(next) = self.of(above) {
            found.push(next);
            above = next.above;
        }
        found
    }
}

/// Reads the relations of users.
pub(super) fn read_relations(session: &mut PgSession) -> Result<Relations> {
    let rows = session.query(include_str!("sql/list_relations.sql"), &[])?;
    let all = rows
        .iter()
        .map(|row| Relation {
            oid: row.get("oid"),
            schema: row.get("nspname"),
            name: row.get("relname"),
            kind: row.get("relkind"),
            owner: row.get::<_, Option<String>>("owner").unwrap_or_default(),
            rows: u64::try_from(row.get::<_, i64>("reltuples")).ok(),
            bytes: u64::try_from(row.get::<_, Option<i64>>("bytes").unwrap_or(0)).unwrap_or(0),
            above: row.get("above"),
            is_extension: row.get("is_extension"),
            can_use: row.get("can_use"),
            can_insert: row.get("can_insert"),
            can_truncate: row.get("can_truncate"),
            can_delete: row.get("can_delete"),
            is_owned: row.get("is_owned"),
            hides_rows: row.get("hides_rows"),
            has_rule: row.get("has_rule"),
            has_delete_rule: row.get("has_delete_rule"),
        })
        .collect();
    Ok(Relations::new(all))
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Raw name.
    pub(super) name: String,
    /// With its modifier, qualified.
    pub(super) type_name: String,
    pub(super) type_oid: Oid,
    /// `atttypmod`; -1: none.
    pub(super) typmod: i32,
    pub(super) not_null: bool,
    /// Empty, `s` stored, `v` virtual.
    pub(super) generated: String,
    /// Empty, `a` always, `d` by default.
    pub(super) identity: String,
    pub(super) collation: Option<String>,
    pub(super) default: Option<String>,
    pub(super) can_select: bool,
    /// Of an enumerated type.
    pub(super) labels: Vec<String>,
    /// What types of users in it are made of, sorted.
    pub(super) made_of: Vec<String>,
}

/// Reads the columns of tables, in their order.
pub(super) fn read_columns(
    session: &mut PgSession,
    tables: &[Oid],
) -> Result<BTreeMap<Oid, Vec<Column>>> {
    let mut found: BTreeMap<Oid, Vec<Column>> = BTreeMap::new();
    let rows = session.query(include_str!("sql/list_columns.sql"), &[&tables])?;
    let mut types: Vec<Oid> = rows.iter().map(|row| row.get("type_oid")).collect();
    types.sort_unstable();
    types.dedup();
    let mut of_types = |sql, column| -> Result<HashMap<Oid, Vec<String>>> {
        let rows = session.query(sql, &[&types])?;
        let pairs = rows
            .iter()
            .map(|row| (row.get("type_oid"), row.get(column)));
        Ok(pairs.collect())
    };
    let labels = of_types(include_str!("sql/list_labels.sql"), "labels")?;
    let made_of = of_types(include_str!("sql/list_made_of.sql"), "made_of")?;
    for row in &rows {
        let type_oid: Oid = row.get("type_oid");
        found.entry(row.get("table_oid")).or_default().push(Column {
            name: row.get("name"),
            type_name: row.get("type"),
            type_oid,
            typmod: row.get("typmod"),
            not_null: row.get("not_null"),
            generated: row.get("generated"),
            identity: row.get("identity"),
            collation: row.get("collation"),
            default: row.get("default_value"),
            can_select: row.get("can_select"),
            labels: labels.get(&type_oid).cloned().unwrap_or_default(),
            made_of: made_of.get(&type_oid).cloned().unwrap_or_default(),
        });
    }
    Ok(found)
}

/// A sequence, and the columns that own it or have it in their default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) oid: Oid,
    pub(super) schema: String,
    pub(super) name: String,
    /// Oid, schema and name of the table, name of the column.
    pub(super) columns: Vec<(Oid, String, String, String)>,
    pub(super) can_read: bool,
    pub(super) can_set: bool,
}

impl Sequence {
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Reads the sequences of users.
pub(super) fn read_sequences(session: &mut PgSession) -> Result<Vec<Sequence>> {
    let mut found: Vec<Sequence> = Vec::new();
    for row in session.query(include_str!("sql/list_sequences.sql"), &[])? {
        let oid: Oid = row.get("oid");
        if found.last().is_none_or(|last| last.oid != oid) {
            found.push(Sequence {
                oid,
                schema: row.get("nspname"),
                name: row.get("relname"),
                columns: Vec::new(),
                can_read: row.get("can_read"),
                can_set: row.get("can_set"),
            });
        }
        let table: Oid = row.get("table_oid");
        if let Some(last) = found.last_mut().filter(|_| table != 0) {
            last.columns.push((
                table,
                row.get("nsptable"),
                row.get("reltable"),
                row.get("attname"),
            ));
        }
    }
    Ok(found)
}
