//! Tables with their parts and columns, sequences and indexes, as the lists show them.
//!
//! Runs in the main program. Reads catalogs in memory, and asks the source for what a clone needs not
//! know: whose a sequence is, what a key is made of.

use super::catalog::Catalog;
use super::{Source, get};
use crate::catalog::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::pg::quote;
use crate::schema::plan::TID_RANGE_SCAN_VERSION;
use crate::schema::preflight::list_unreadable_sequences;
use crate::schema::{SequenceValue, read_sequence_values};
use crate::units::{Oid, Side, pretty_bytes};
use rusqlite::Row;
use std::collections::{HashMap, HashSet};

/// Sequences whose values are read with one statement.
const SEQUENCES_AT_ONCE: usize = 300;

/// A part of a table that several workers copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: u32,
    /// Bounds are pages, not keys.
    pub is_ctid: bool,
    /// First page or lowest key; `None`: open.
    pub low: Option<i64>,
    /// Page or key after the last one; `None`: open.
    pub high: Option<i64>,
    /// It also has the rows without a key.
    pub with_null: bool,
}

/// A table whose rows are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Oid.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// Raw name; `None`: the role is gone.
    pub owner: Option<String>,
    /// Table access method.
    pub amname: String,
    /// It is emptied by a crash.
    pub is_unlogged: bool,
    /// Rows by the statistics; -1: never analyzed.
    pub reltuples: i64,
    /// Bytes on disk, TOAST included.
    pub bytes: u64,
    /// The rows are left out.
    pub exclude_data: bool,
    /// Column to split by, quoted.
    pub part_key: Option<String>,
    /// There is a primary key.
    pub has_pkey: bool,
    /// Parts, none when it is copied whole.
    pub parts: Vec<Part>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Number.
    pub attnum: i64,
    /// Type.
    pub type_oid: Oid,
    /// Raw name.
    pub name: String,
    /// Of the primary key.
    pub is_primary: bool,
    /// Of the index that is the replica identity.
    pub is_identity: bool,
    /// Generated, and not copied.
    pub is_generated: bool,
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Oid.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// Raw name of the role; `None`: it is gone.
    pub owner: Option<String>,
    /// Table that owns it.
    pub owned_by: Option<Oid>,
    /// Table with a column default that uses it.
    pub default_of: Option<Oid>,
    /// That default.
    pub default_oid: Option<Oid>,
    /// Last value and whether it was given out; `None`: not asked, or not allowed.
    pub value: Option<(i64, bool)>,
}

/// The table of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// Oid.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// Raw name of the role that owns it.
    pub owner: Option<String>,
}

/// A constraint that an index backs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// Oid.
    pub oid: Oid,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// `p`, `u` or `x`.
    pub kind: String,
    /// As the server prints it.
    pub definition: String,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Oid.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// Of the primary key.
    pub is_primary: bool,
    /// Unique.
    pub is_unique: bool,
    /// Quoted columns with commas between; expressions are left out.
    pub columns: String,
    /// `CREATE INDEX`, as the server prints it.
    pub definition: String,
    /// Its table.
    pub table: TableName,
    /// The constraint that it backs.
    pub constraint: Option<Constraint>,
}

/// Owner of a sequence; table that owns it, table of a default that uses it, that default.
type Uses = (Option<String>, [Option<Oid>; 3]);

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn rows<T>(
    ledger: &Ledger,
    sql: &str,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let read = || -> rusqlite::Result<Vec<T>> {
        ledger
            .connection()
            .prepare(sql)?
            .query_map([], map)?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Tables, largest first; configuration tables of extensions are not among them.
pub fn read_tables(catalog: &Catalog) -> Result<Vec<Table>> {
    let mut parts: HashMap<Oid, Vec<Part>> = HashMap::new();
    let listed = rows(
        &catalog.ledger,
        "select table_oid, part, kind = 'ctid', low, high, with_null from s_part p
          where plan = (select max(plan) from s_part last where last.table_oid = p.table_oid)
          order by table_oid, part",
        |row| {
            let part = Part {
                number: row.get(1)?,
                is_ctid: row.get(2)?,
                low: row.get(3)?,
                high: row.get(4)?,
                with_null: row.get(5)?,
            };
            Ok((row.get(0)?, part))
        },
    )?;
    for (table, part) in listed {
        parts.entry(table).or_default().push(part);
    }
    rows(
        &catalog.ledger,
        "select oid, nspname, relname, qname, owner, amname, persistence = 'u', reltuples, bytes,
                exclude_data, part_key,
                exists (select 1 from s_index i where i.table_oid = t.oid and i.is_primary)
           from s_table t where is_extension = 0 order by bytes desc, nspname, relname",
        |row| {
            let oid = row.get(0)?;
            Ok(Table {
                oid,
                schema: row.get(1)?,
                name: row.get(2)?,
                qname: row.get(3)?,
                owner: row.get(4)?,
                amname: row.get(5)?,
                is_unlogged: row.get(6)?,
                reltuples: row.get(7)?,
                bytes: unsigned(row.get(8)?),
                exclude_data: row.get(9)?,
                part_key: row.get(10)?,
                has_pkey: row.get(11)?,
                parts: parts.remove(&oid).unwrap_or_default(),
            })
        },
    )
}

/// The one table of that name; a name may be given raw or as SQL quotes it. Errors (`BadArgs`): there is
/// none.
pub fn find_table(tables: Vec<Table>, schema: &str, name: &str) -> Result<Table> {
    let is_named = |raw: &str, given: &str| raw == given || quote::ident(raw) == given;
    let mut found: Vec<Table> = tables
        .into_iter()
        .filter(|table| is_named(&table.schema, schema) && is_named(&table.name, name))
        .collect();
    // Where a name has quotes in it, both may fit.
    found.sort_by_key(|table| (table.schema != schema, table.name != name));
    match found.into_iter().next() {
        Some(table) => Ok(table),
        None => Err(Error::bad_args(format!(
            "table {} is not among the tables that are copied from the source",
            quote::qualified(schema, name)
        ))
        .hint("See \"pgcopydb list tables\" for names; give schemas with --schema-name.")),
    }
}

/// Why a table without parts is copied whole.
pub fn why_whole(table: &Table, catalog: &Catalog, source: &Source, skip_ctid: bool) -> String {
    let limit = catalog.split_bytes;
    if limit == 0 {
        return "tables are not split, per --split-tables-larger-than 0".to_owned();
    }
    if table.bytes < limit {
        return format!(
            "it is {} large, tables are split from {} on",
            pretty_bytes(table.bytes),
            pretty_bytes(limit)
        );
    }
    if table.is_unlogged {
        return "it is unlogged, and a crash of the target would empty it".to_owned();
    }
    let by_ctid = if table.amname != "heap" {
        Some(format!("its access method is {}, not heap", table.amname))
    } else if skip_ctid {
        Some("splits by ctid are off, per --skip-split-by-ctid".to_owned())
    } else if source.facts.version.0 < TID_RANGE_SCAN_VERSION {
        Some(format!(
            "PostgreSQL {} would read it whole for each part",
            source.facts.version
        ))
    } else {
        None
    };
    match (by_ctid, &table.part_key) {
        (Some(why), None) => {
            format!("{why}, and it has no unique column of an integer type to split by")
        }
        _ => "one part is enough for what it holds outside of TOAST".to_owned(),
    }
}

/// Columns of all tables.
pub fn read_columns(catalog: &Catalog, source: &mut Source) -> Result<HashMap<Oid, Vec<Column>>> {
    let listed = rows(
        &catalog.ledger,
        "select table_oid, attnum, type_oid, attname, generated from s_attr order by table_oid, attnum",
        |row| {
            let quoted: String = row.get(3)?;
            let column = Column {
                attnum: row.get(1)?,
                type_oid: row.get(2)?,
                name: quote::raw(&quoted),
                is_primary: false,
                is_identity: false,
                is_generated: row.get(4)?,
            };
            Ok((row.get::<_, Oid>(0)?, column))
        },
    )?;
    let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
    for (table, column) in listed {
        columns.entry(table).or_default().push(column);
    }
    let tables: Vec<Oid> = columns.keys().copied().collect();
    let sql = include_str!("sql/list_key_columns.sql");
    let keys = source.collect("list the columns of keys", (sql, &[&tables]), |row| {
        let (table, attnum): (Oid, i16) = (get(row, "table_oid")?, get(row, "attnum")?);
        let flags: (bool, bool) = (get(row, "is_primary")?, get(row, "is_identity")?);
        Ok((table, i64::from(attnum), flags))
    })?;
    for (table, attnum, (is_primary, is_identity)) in keys {
        let of_table = columns.entry(table).or_default();
        for column in of_table.iter_mut().filter(|one| one.attnum == attnum) {
            column.is_primary |= is_primary;
            column.is_identity |= is_identity;
        }
    }
    Ok(columns)
}

/// Sequences by name, with their values when these are wanted and may be read.
pub fn read_sequences(
    catalog: &Catalog,
    source: &mut Source,
    with_values: bool,
) -> Result<Vec<Sequence>> {
    let mut sequences = rows(
        &catalog.ledger,
        "select oid, nspname, relname, qname from s_seq order by nspname, relname",
        |row| {
            Ok(Sequence {
                oid: row.get(0)?,
                schema: row.get(1)?,
                name: row.get(2)?,
                qname: row.get(3)?,
                owner: None,
                owned_by: None,
                default_of: None,
                default_oid: None,
                value: None,
            })
        },
    )?;
    let oids: Vec<Oid> = sequences.iter().map(|sequence| sequence.oid).collect();
    let sql = include_str!("sql/list_sequence_uses.sql");
    let uses = source.collect("list the owners of sequences", (sql, &[&oids]), |row| {
        let oid: Oid = get(row, "oid")?;
        let tables = [
            get(row, "owned_by")?,
            get(row, "default_of")?,
            get(row, "default_oid")?,
        ];
        Ok((oid, (get(row, "owner")?, tables)))
    })?;
    let mut uses: HashMap<Oid, Uses> = uses.into_iter().collect();
    let mut values = if with_values {
        read_values(source, &sequences)?
    } else {
        HashMap::new()
    };
    // One that was dropped since the work directory was filled has no uses.
    sequences.retain_mut(|sequence| {
        let Some((owner, [owned_by, default_of, default_oid])) = uses.remove(&sequence.oid) else {
            return false;
        };
        sequence.owner = owner;
        sequence.owned_by = owned_by;
        sequence.default_of = default_of;
        sequence.default_oid = default_oid;
        sequence.value = values.remove(&sequence.oid);
        true
    });
    Ok(sequences)
}

/// Values as they are now; those that the role may not read are left out.
fn read_values(source: &mut Source, sequences: &[Sequence]) -> Result<HashMap<Oid, (i64, bool)>> {
    let client = &mut source.session.client;
    let hidden: HashSet<String> = list_unreadable_sequences(client)?
        .into_iter()
        .map(|finding| finding.qname)
        .collect();
    let wanted: Vec<(Oid, String)> = sequences
        .iter()
        .filter(|sequence| !hidden.contains(&sequence.qname))
        .map(|sequence| (sequence.oid, sequence.qname.clone()))
        .collect();
    let mut values = HashMap::new();
    for batch in wanted.chunks(SEQUENCES_AT_ONCE) {
        for value in read_sequence_values(client, Side::Source, batch)? {
            let SequenceValue {
                oid,
                last_value,
                is_called,
            } = value;
            values.insert(oid, (last_value, is_called));
        }
    }
    Ok(values)
}

/// Indexes by schema and name, those of one table when its oid is given.
pub fn read_indexes(catalog: &Catalog, source: &mut Source, of: Option<Oid>) -> Result<Vec<Index>> {
    let mut indexes = rows(
        &catalog.ledger,
        "select i.oid, i.nspname, i.relname, i.qname, i.is_primary, i.is_unique, i.definition,
                t.oid, t.nspname, t.relname, t.qname, t.owner,
                c.oid, c.conname, c.contype, c.definition
           from s_index i join s_table t on t.oid = i.table_oid
                left join s_constraint c on c.oid = i.con_oid
          order by i.nspname, i.relname",
        |row| {
            let constraint = match row.get::<_, Option<Oid>>(12)? {
                Some(oid) => Some(Constraint {
                    oid,
                    name: quote::raw(&row.get::<_, String>(13)?),
                    qname: row.get(13)?,
                    kind: row.get(14)?,
                    definition: row.get(15)?,
                }),
                None => None,
            };
            Ok(Index {
                oid: row.get(0)?,
                schema: row.get(1)?,
                name: row.get(2)?,
                qname: row.get(3)?,
                is_primary: row.get(4)?,
                is_unique: row.get(5)?,
                columns: String::new(),
                definition: row.get(6)?,
                table: TableName {
                    oid: row.get(7)?,
                    schema: row.get(8)?,
                    name: row.get(9)?,
                    qname: row.get(10)?,
                    owner: row.get(11)?,
                },
                constraint,
            })
        },
    )?;
    indexes.retain(|index| of.is_none_or(|table| index.table.oid == table));
    let mut tables: Vec<Oid> = indexes.iter().map(|index| index.table.oid).collect();
    tables.sort_unstable();
    tables.dedup();
    let sql = include_str!("sql/list_index_columns.sql");
    let columns = source.collect("list the columns of indexes", (sql, &[&tables]), |row| {
        Ok((get::<Oid>(row, "index_oid")?, get(row, "columns")?))
    })?;
    let mut columns: HashMap<Oid, String> = columns.into_iter().collect();
    for index in &mut indexes {
        index.columns = columns.remove(&index.oid).unwrap_or_default();
    }
    Ok(indexes)
}
