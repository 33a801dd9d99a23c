//! What is on the target already and would be hit by a first run.
//!
//! Runs in the prepare process. Reads both servers, writes nothing; a target that nobody put anything
//! into costs one query or two.

use super::preflight::NAMED_MAX;
use crate::error::{Error, Kind, Result};
use crate::filter::LeftOut;
use crate::pg::{PgSession, quote};
use fallible_iterator::FallibleIterator;
use std::collections::HashSet;

/// The relations of users on either side: schema, name, relkind, oid.
const LIST_RELATIONS: &str = include_str!("sql/list_user_relations.sql");

/// Refuses a target whose schema pgcopydb, in which a run keeps its record, is somebody else's. Errors: that,
/// or a query that failed.
pub(super) fn refuse_foreign_record(target: &mut PgSession) -> Result<()> {
    let sql = include_str!("sql/find_foreign_record.sql");
    let Some(row) = target.query_opt(sql, &[])? else {
        return Ok(());
    };
    let (owner, may_create, is_ours): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if may_create && is_ours {
        return Ok(());
    }
    let what = if is_ours {
        format!(
            "schema pgcopydb of the target belongs to role {owner}, and this role may not use it"
        )
    } else {
        "table pgcopydb.progress of the target is not of pgcopydb".to_owned()
    };
    Err(Error::new(Kind::Target, what)
        .with_sqlstate("42501")
        .detail("A run keeps its record in that schema while it copies.")
        .hint(
            "Run on the target: alter schema pgcopydb rename to another_name; or drop it if it is of an earlier run \
             of another role.",
        ))
}

/// Refuses a target that has relations of the names that are to be created, or large objects of the
/// oids when `blobs` are copied. Schemas and members of extensions do not count; whatever else is
/// there is no obstacle.
pub fn target_is_empty(
    (source, left_out): (&mut PgSession, &LeftOut),
    target: &mut PgSession,
    blobs: bool,
) -> Result<()> {
    no_relation_clashes((source, left_out), target)?;
    if blobs {
        no_large_object_clashes(source, target)?;
    }
    Ok(())
}

/// Refuses a target that has relations of the names that are to be created.
pub fn no_relation_clashes(
    (source, left_out): (&mut PgSession, &LeftOut),
    target: &mut PgSession,
) -> Result<()> {
    let wanted = || -> Result<Vec<(String, String)>> {
        let rows = source.query(LIST_RELATIONS, &[])?;
        Ok(rows
            .iter()
            .filter(|row| !left_out.relation(row.get(3)))
            .map(|row| (row.get(0), row.get(1)))
            .collect())
    };
    refuse_relations(wanted, target)
}

/// Refuses a target that has relations of the wanted names, raw schema and name, which are asked for
/// only when there is something on the target.
pub fn refuse_relations(
    wanted: impl FnOnce() -> Result<Vec<(String, String)>>,
    target: &mut PgSession,
) -> Result<()> {
    let there: HashSet<(String, String)> = target
        .query(LIST_RELATIONS, &[])?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    let clashes: Vec<String> = wanted()?
        .into_iter()
        .filter(|name| there.contains(name))
        .map(|(nspname, relname)| quote::qualified(&nspname, &relname))
        .collect();
    if clashes.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Target,
        format!(
            "the target is not empty: it already has {} of the relations to create",
            clashes.len()
        ),
    )
    .detail(format!("They are: {}.", shown(&clashes, clashes.len())))
    .hint(
        "Give an empty database as --target, or drop what is there with --drop-if-exists; \
         nothing was changed.",
    ))
}

/// A batch empties the large objects of the target that have its oids before it writes.
pub fn no_large_object_clashes(source: &mut PgSession, target: &mut PgSession) -> Result<()> {
    const LIST: &str = include_str!("sql/list_large_objects.sql");
    const NONE: [&(dyn postgres::types::ToSql + Sync); 0] = [];
    let failed = |kind: Kind| {
        move |error: postgres::Error| {
            Error::new(kind, format!("could not list the large objects: {error}"))
        }
    };
    let (from, to) = (failed(Kind::Source), failed(Kind::Target));
    let mut theirs = target
        .query_raw(LIST, NONE)?
        .map(|row| row.try_get::<_, u32>(0));
    let Some(first) = theirs.next().map_err(to)? else {
        return Ok(());
    };
    let mut ours = source
        .query_raw(LIST, NONE)?
        .map(|row| row.try_get::<_, u32>(0));
    // Both lists are sorted: there may be millions, so neither is held.
    let (mut there, mut here) = (Some(first), ours.next().map_err(from)?);
    let (mut clashes, mut count) = (Vec::new(), 0);
    while let (Some(one), Some(other)) = (there, here) {
        if one == other {
            count += 1;
            if clashes.len() < NAMED_MAX {
                clashes.push(one.to_string());
            }
        }
        if one <= other {
            there = theirs.next().map_err(to)?;
        }
        if other <= one {
            here = ours.next().map_err(from)?;
        }
    }
    if count == 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Target,
        format!("the target already has {count} of the large objects to create"),
    )
    .detail(format!("They are: {}.", shown(&clashes, count)))
    .hint(
        "Remove them on the target with lo_unlink, or leave large objects out with \
         --skip-large-objects, or let them be overwritten with --drop-if-exists; nothing was changed.",
    ))
}

/// Refuses what `--drop-if-exists` would take along: views and tables of the target that hang on the
/// tables to drop, and foreign keys that refer to them, when the source does not have their relation.
pub fn nothing_else_is_dropped(
    (source, left_out): (&mut PgSession, &LeftOut),
    target: &mut PgSession,
) -> Result<()> {
    let (mut nspnames, mut relnames, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for row in source.query(LIST_RELATIONS, &[])? {
        if left_out.relation(row.get(3)) {
            continue;
        }
        nspnames.push(row.get::<_, String>(0));
        relnames.push(row.get::<_, String>(1));
        kinds.push(row.get::<_, String>(2));
    }
    let found: Vec<String> = target
        .query(
            include_str!("sql/list_dependents.sql"),
            &[&nspnames, &relnames, &kinds],
        )?
        .iter()
        .map(|row| format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Target,
        format!(
            "--drop-if-exists would also drop {} objects of the target that the source does not have",
            found.len()
        ),
    )
    .detail(format!("They are: {}.", shown(&found, found.len())))
    .hint("Drop them on the target yourself, then run again; nothing was changed."))
}

/// The first names of so many.
fn shown(names: &[String], count: usize) -> String {
    let mut shown: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    if count > shown.len() {
        shown.push("...");
    }
    shown.join(", ")
}
