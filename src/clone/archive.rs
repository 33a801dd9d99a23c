//! Glue between the ledger and the archive: facts for the list editor, units from the archive's SQL.
//!
//! Runs in the pre-data and post-data processes. What is taken out of `pg_restore`'s list is owed
//! whole: the statements of an entry become the unit's statements, only the first one of a key is
//! replaced by one that adopts a ready index.

use crate::catalog::unit::{Item, Makes, SMALL_TABLE_BYTES};
use crate::catalog::{CdcSetup, Ledger, sqlite_error};
use crate::clone::settings::{CloneSettings, Switches};
use crate::dump::archive_list::{PG_CLASS, PG_CONSTRAINT};
use crate::dump::list_plan::{Facts, Skip, SourceSchema};
use crate::dump::script::{
    self, Deferral, KeyKind, Script, ScriptEntry, constraint_using_index, not_valid, validate,
};
use crate::dump::{Entry, RestoreFlag};
use crate::error::{Error, Result};
use crate::units::Oid;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};

/// The choices that `pg_restore` carries out itself.
pub(super) fn restore_flags(settings: &CloneSettings) -> BTreeSet<RestoreFlag> {
    let s = &settings.switches;
    [
        (s.drop_if_exists, RestoreFlag::Clean),
        (s.no_owner, RestoreFlag::NoOwner),
        (s.no_acl, RestoreFlag::NoAcl),
        (s.no_comments, RestoreFlag::NoComments),
        (s.no_tablespaces, RestoreFlag::NoTablespaces),
    ]
    .into_iter()
    .filter_map(|(on, flag)| on.then_some(flag))
    .collect()
}

/// What the editor of the archive list must know.
pub(super) fn list_facts(
    ledger: &Ledger,
    switches: &Switches,
    target_schemas: Vec<String>,
) -> Result<Facts> {
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let connection = ledger.connection();
    let schemas = read_pairs(
        connection,
        "select oid, nspname, coalesce(owner, '') from s_namespace",
    )
    .map_err(failed)?;
    let extensions =
        read_pairs(connection, "select oid, extname, nspname from s_extension").map_err(failed)?;
    let extension_schemas = extension_only_schemas(connection).map_err(failed)?;
    let built = read_built(connection).map_err(failed)?;
    let (filtered, unfilled) = crate::filter::load(connection)?;
    let skips = [
        (switches.skip_extensions, Skip::Extensions),
        (switches.skip_ext_comments, Skip::ExtensionComments),
        (switches.skip_collations, Skip::Collations),
        (switches.no_owner, Skip::Owners),
    ];
    Ok(Facts {
        skips: skips
            .into_iter()
            .filter_map(|(on, skip)| on.then_some(skip))
            .collect(),
        extension_names: extensions
            .into_iter()
            .map(|(oid, name, _)| (oid, name))
            .collect(),
        schemas: schemas
            .into_iter()
            .map(|(oid, name, owner)| (oid, SourceSchema { name, owner }))
            .collect(),
        extension_schemas,
        target_schemas: target_schemas.into_iter().collect(),
        built,
        filtered,
        unfilled,
        own_publications: own_publications(connection)?,
        ..Facts::default()
    })
}

/// Publications that were made on the source to follow its changes: they are no part of the database.
fn own_publications(connection: &Connection) -> Result<BTreeSet<Oid>> {
    let recorded = CdcSetup::get(connection, "own_publication_oids")?.unwrap_or_default();
    Ok(recorded
        .lines()
        .filter_map(|oid| oid.parse().ok())
        .collect())
}

fn read_pairs(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<(Oid, String, String)>> {
    connection
        .prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Schemas in which extensions live and no table or sequence of a user does.
fn extension_only_schemas(connection: &Connection) -> rusqlite::Result<BTreeSet<Oid>> {
    connection
        .prepare(
            "select n.oid from s_namespace n
              where n.nspname in (select nspname from s_extension) and n.nspname <> 'public'
                and not exists (select 1 from s_table t
                                 where t.nspname = n.nspname and t.is_extension = 0)
                and not exists (select 1 from s_seq s where s.nspname = n.nspname)",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn read_built(connection: &Connection) -> rusqlite::Result<BTreeSet<(Oid, Oid)>> {
    connection
        .prepare("select catalog_oid, object_oid from taken")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The entries that our workers make: those of the ledger's indexes, their constraints, and foreign
/// keys between plain tables. Returns them in the order of the list.
pub(super) fn entries_to_take<'e>(ledger: &Ledger, entries: &'e [Entry]) -> Result<Vec<&'e Entry>> {
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let known = |sql: &str| -> rusqlite::Result<BTreeSet<Oid>> {
        ledger
            .connection()
            .prepare(sql)?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let indexes = known(
        "select i.oid from s_index i join s_table t on t.oid = i.table_oid
          where i.is_valid = 1 and i.con_oid is null and t.is_extension = 0",
    )
    .map_err(failed)?;
    let constraints = known(
        "select c.oid from s_constraint c join s_table t on t.oid = c.table_oid
          where t.is_extension = 0
            and exists (select 1 from s_index i where i.oid = c.index_oid and i.is_valid = 1)",
    )
    .map_err(failed)?;
    let foreign_keys = known(
        "select f.oid from s_fkey f
           join s_table a on a.oid = f.table_oid and a.is_extension = 0
           join s_table b on b.oid = f.ref_oid and b.is_extension = 0
          where f.is_plain = 1 and f.is_enforced = 1",
    )
    .map_err(failed)?;
    Ok(entries
        .iter()
        .filter(|entry| match (entry.catalog_oid, entry.desc.as_str()) {
            (PG_CLASS, "INDEX") => indexes.contains(&entry.object_oid),
            (PG_CONSTRAINT, "CONSTRAINT") => constraints.contains(&entry.object_oid),
            (PG_CONSTRAINT, "FK CONSTRAINT") => foreign_keys.contains(&entry.object_oid),
            _ => false,
        })
        .collect())
}

/// Units by table that are gathered while the script is read.
#[derive(Default)]
struct Gathered {
    /// Constraints of each table, and what hangs on its indexes.
    per_table: BTreeMap<Oid, Vec<Item>>,
    /// Size up to which a table's indexes are built with its constraints, bytes.
    small_bytes: i64,
}

/// Writes units for the taken entries: indexes, constraints, foreign keys. Idempotent: it runs again
/// after a crash before its end was marked. `all_alone`: each index is a unit of its own, also those of
/// small tables, so that indexes can be built without constraints.
pub(super) fn plan_builds(connection: &Connection, script: &Script, all_alone: bool) -> Result<()> {
    let mut gathered = Gathered {
        small_bytes: if all_alone { -1 } else { SMALL_TABLE_BYTES },
        ..Gathered::default()
    };
    for entry in &script.entries {
        plan_entry(connection, entry, &mut gathered)?;
    }
    for (table, items) in &gathered.per_table {
        let bytes = table_bytes(connection, *table)?;
        insert_unit(connection, ("constraint", *table, 0), bytes, items)?;
    }
    Ok(())
}

/// Writes units for the rows of tables, whole or in parts.
pub(super) fn plan_tables(connection: &Connection) -> Result<()> {
    execute(
        connection,
        &format!(
            "insert or ignore into unit (kind, state, table_oid, object, plan, rank)
             select 'copy', 'waiting', oid, 0, 0,
                    -- what is on other servers is not put together with small tables
                    case when oid in (select oid from s_spread) then max(bytes, {above_small})
                         else bytes end from s_table t
              where is_extension = 0 and exclude_data = 0
                and not exists (select 1 from s_part p where p.table_oid = t.oid);
             insert or ignore into unit (kind, state, table_oid, object, plan, rank)
             select 'copy', 'waiting', p.table_oid, p.part, p.plan,
                    t.bytes / (select count(*) from s_part q where q.table_oid = t.oid)
               from s_part p join s_table t on t.oid = p.table_oid
              where t.is_extension = 0 and t.exclude_data = 0",
            above_small = SMALL_TABLE_BYTES + 1
        ),
    )
}

/// Writes units for the VACUUM of tables.
pub(super) fn plan_vacuum(connection: &Connection) -> Result<()> {
    execute(
        connection,
        "insert or ignore into unit (kind, state, table_oid, object, plan, rank)
         select 'vacuum', 'waiting', oid, 0, 0, bytes from s_table where is_extension = 0",
    )
}

/// Writes units for the configuration tables of extensions.
pub(super) fn plan_extensions(connection: &Connection) -> Result<()> {
    execute(
        connection,
        "insert or ignore into unit (kind, state, object, rank)
         select 'extension', 'todo', ext_oid, 0 from s_extension_config group by ext_oid",
    )
}

fn execute(connection: &Connection, sql: &str) -> Result<()> {
    connection
        .execute_batch(sql)
        .map_err(|error| sqlite_error("write", &error))
}

fn table_bytes(connection: &Connection, table: Oid) -> Result<i64> {
    connection
        .prepare_cached("select bytes from s_table where oid = ?1")
        .and_then(|mut statement| statement.query_row([table], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

fn insert_unit(
    connection: &Connection,
    (kind, table, object): (&str, Oid, Oid),
    rank: i64,
    items: &[Item],
) -> Result<()> {
    let sql = serde_json::to_string(items)
        .map_err(|error| Error::internal(format!("could not write statements: {error}")))?;
    connection
        .prepare_cached(
            "insert or ignore into unit (kind, state, table_oid, object, rank, sql)
             values (?1, 'waiting', ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| statement.execute(params![kind, table, object, rank, sql]))
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}

fn take(connection: &Connection, entry: &ScriptEntry, kind: &str) -> Result<()> {
    connection
        .prepare_cached(
            "insert or ignore into taken (catalog_oid, object_oid, unit_kind) values (?1, ?2, ?3)",
        )
        .and_then(|mut statement| {
            statement.execute(params![entry.catalog_oid, entry.object_oid, kind])
        })
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}

fn plan_entry(connection: &Connection, entry: &ScriptEntry, gathered: &mut Gathered) -> Result<()> {
    match entry.desc.as_str() {
        "INDEX" => plan_index(connection, entry, gathered),
        "CONSTRAINT" => plan_constraint(connection, entry, gathered),
        "FK CONSTRAINT" => plan_foreign_key(connection, entry),
        other => Err(Error::internal(format!(
            "an entry of kind {other} was taken"
        ))),
    }
}

/// An index of the ledger: table, raw and quoted name, rank, definition, tablespace.
struct IndexRow {
    table: Oid,
    relname: String,
    qname: String,
    rank: i64,
    table_bytes: i64,
    definition: String,
}

fn index_row(connection: &Connection, oid: Oid) -> Result<Option<IndexRow>> {
    connection
        .prepare_cached(
            "select i.table_oid, i.relname, i.qname,
                    i.bytes * case i.amname when 'gin' then 4 when 'gist' then 4 else 1 end,
                    i.definition, t.bytes
               from s_index i join s_table t on t.oid = i.table_oid where i.oid = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([oid], |row| {
                    Ok(IndexRow {
                        table: row.get(0)?,
                        relname: row.get(1)?,
                        qname: row.get(2)?,
                        rank: row.get(3)?,
                        definition: row.get(4)?,
                        table_bytes: row.get(5)?,
                    })
                })
                .optional()
        })
        .map_err(|error| sqlite_error("read", &error))
}

fn plan_index(connection: &Connection, entry: &ScriptEntry, gathered: &mut Gathered) -> Result<()> {
    let Some(row) = index_row(connection, entry.object_oid)? else {
        return Ok(());
    };
    let Some((create, rest)) = entry.statements.split_first() else {
        return Ok(());
    };
    let item = |makes: Makes, statements: Vec<String>| Item {
        name: row.qname.clone(),
        raw_name: row.relname.clone(),
        makes,
        oid: entry.object_oid,
        tablespace: entry.default_tablespace.clone(),
        statements,
    };
    if row.table_bytes <= gathered.small_bytes {
        let items = gathered.per_table.entry(row.table).or_default();
        items.push(item(Makes::Index, entry.statements.clone()));
    } else {
        let items = [item(Makes::Index, vec![create.clone()])];
        insert_unit(
            connection,
            ("index", row.table, entry.object_oid),
            row.rank,
            &items,
        )?;
        if !rest.is_empty() {
            // They lock the table, so they wait until no other index of it is being built.
            let items = gathered.per_table.entry(row.table).or_default();
            items.push(item(Makes::Nothing, rest.to_vec()));
        }
    }
    take(connection, entry, "index")
}

fn plan_constraint(
    connection: &Connection,
    entry: &ScriptEntry,
    gathered: &mut Gathered,
) -> Result<()> {
    let found: Option<(Oid, Oid, String, bool)> = connection
        .prepare_cached(
            "select table_oid, index_oid, contype, is_temporal from s_constraint where oid = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([entry.object_oid], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()
        })
        .map_err(|error| sqlite_error("read", &error))?;
    let Some((table, index_oid, contype, is_temporal)) = found else {
        return Ok(());
    };
    let Some(row) = index_row(connection, index_oid)? else {
        return Ok(());
    };
    let Some((first, rest)) = entry.statements.split_first() else {
        return Ok(());
    };
    // A small table gains nothing from an index of its own unit.
    // Citus adds no constraint that takes a ready index.
    let adopts = matches!(contype.as_str(), "p" | "u")
        && !is_temporal
        && !is_spread(connection, table)?
        && row.table_bytes > gathered.small_bytes;
    let mut statements = Vec::with_capacity(entry.statements.len());
    if adopts {
        let index = Item {
            name: row.qname.clone(),
            raw_name: row.relname.clone(),
            makes: Makes::Index,
            oid: index_oid,
            tablespace: entry.default_tablespace.clone(),
            statements: vec![row.definition.clone()],
        };
        insert_unit(connection, ("index", table, index_oid), row.rank, &[index])?;
        let kind = if contype == "p" {
            KeyKind::Primary
        } else {
            KeyKind::Unique
        };
        let deferral: Deferral = script::deferral(first)?;
        let name = crate::pg::quote::ident(&row.relname);
        statements.push(constraint_using_index(first, &name, kind, deferral)?);
    } else {
        statements.push(first.clone());
    }
    statements.extend(rest.iter().cloned());
    gathered.per_table.entry(table).or_default().push(Item {
        name: row.qname,
        raw_name: row.relname,
        makes: Makes::Constraint,
        oid: entry.object_oid,
        tablespace: entry.default_tablespace.clone().filter(|_| !adopts),
        statements,
    });
    take(connection, entry, "constraint")
}

fn plan_foreign_key(connection: &Connection, entry: &ScriptEntry) -> Result<()> {
    let found: Option<(Oid, String, String, i64)> = connection
        .prepare_cached("select table_oid, conname, definition, bytes from s_fkey where oid = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([entry.object_oid], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()
        })
        .map_err(|error| sqlite_error("read", &error))?;
    let Some((table, conname, _, bytes)) = found else {
        return Ok(());
    };
    let Some((first, rest)) = entry.statements.split_first() else {
        return Ok(());
    };
    let (add, was_not_valid) = not_valid(first)?;
    let item = |statements: Vec<String>| Item {
        name: conname.clone(),
        raw_name: unquote(&conname),
        makes: Makes::Constraint,
        oid: entry.object_oid,
        tablespace: None,
        statements,
    };
    let mut statements = vec![add];
    statements.extend(rest.iter().cloned());
    insert_unit(
        connection,
        ("fkey", table, entry.object_oid),
        bytes,
        &[item(statements)],
    )?;
    if lacks_rows(connection, entry.object_oid)? {
        log::info!(
            "Foreign key {conname} stays NOT VALID, as the rows that it refers to are left out"
        );
    } else if !was_not_valid {
        let statements = vec![validate(first)?];
        insert_unit(
            connection,
            ("validate", table, entry.object_oid),
            bytes,
            &[item(statements)],
        )?;
    }
    take(connection, entry, "fkey")
}

/// True for a table that citus spreads.
fn is_spread(connection: &Connection, table: Oid) -> Result<bool> {
    connection
        .prepare_cached("select exists (select 1 from s_spread where oid = ?1)")
        .and_then(|mut statement| statement.query_row([table], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

/// True for a foreign key of a table with rows to one whose rows filters leave out.
fn lacks_rows(connection: &Connection, key: Oid) -> Result<bool> {
    connection
        .prepare_cached(
            "select exists (select 1 from s_fkey f
                              join s_table a on a.oid = f.table_oid and a.exclude_data = 0
                              join s_table b on b.oid = f.ref_oid and b.exclude_data = 1
                             where f.oid = ?1)",
        )
        .and_then(|mut statement| statement.query_row([key], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

/// The raw name of an identifier as `format('%I')` prints it.
fn unquote(quoted: &str) -> String {
    quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or_else(|| quoted.to_owned(), |inner| inner.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_names_come_back_raw() {
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unquote("\"We\"\"ird\""), "We\"ird");
    }
}
