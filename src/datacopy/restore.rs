//! Putting back, as processes: one adds keys NOT VALID and sets triggers, one proves at the end; between them
//! workers of `fkey` validate.

use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::{Error, Kind, Result};
use crate::fkey::{self, Limits};
use crate::pg::{PgSession, Profile, Registration, Token, quote};
use crate::supervisor::{Leaf, Report};
use crate::units::Oid;
use crate::worker::{self, Means};
use rusqlite::OptionalExtension;

/// Mark with the keys that are to be checked once all rows are there.
pub(super) const TO_CHECK: &str = "keys-to-check";

/// A ledger and a session of this process, which the canceller knows.
fn open(leaf: &Leaf<'_>, means: &Means) -> Result<(Ledger, PgSession, Registration)> {
    let canceller = worker::enter(leaf)?;
    let ledger = Ledger::open(&means.layout.ledger())?;
    let target = means
        .target()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    let registered = canceller.register(Token::from_session(&target));
    let activity = crate::catalog::Activity {
        role: leaf.role.key(),
        worker: leaf.number,
    };
    activity.begin(ledger.connection(), means.run, leaf.role.label(), None)?;
    worker::register_backends(&ledger, &activity, None, Some(target.backend_id().clone()))?;
    Ok((ledger, target, registered))
}

/// Adds what is quick. Blocks.
pub(super) fn add(leaf: &mut Leaf<'_>, means: &Means, limits: Limits) -> Result<()> {
    let (mut ledger, mut target, _registered) = open(leaf, means)?;
    let builds = fkey::add(leaf, &mut target, (&mut ledger, means.run), limits)?;
    leaf.report(&Report::Planned {
        copies: 0,
        parts: 0,
        builds,
        vacuums: 0,
        blobs: 0,
        extensions: 0,
        fresh: false,
    });
    Ok(())
}

/// Keys that stayed and were not checked in this run.
fn keys_to_check(ledger: &Ledger, means: &Means) -> Result<Vec<Oid>> {
    let mark = Run::marked(ledger.connection(), TO_CHECK)?;
    let of_this_run = mark.filter(|(run, _)| *run == means.run.id);
    let keys = of_this_run.map_or(Ok(Vec::new()), |(_, text)| serde_json::from_str(&text));
    keys.map_err(|error| Error::internal(format!("could not read the keys to check: {error}")))
}

/// Tables that nobody copied in this run, though nothing failed: a run must never end well over one.
fn not_copied(ledger: &Ledger, means: &Means) -> Result<Option<Error>> {
    if Run::marked(ledger.connection(), TO_CHECK)?.is_none_or(|(run, _)| run != means.run.id) {
        return Ok(None);
    }
    let left: Option<String> = ledger
        .connection()
        .query_row(
            "select group_concat(distinct t.qname) from unit u join s_table t on t.oid = u.table_oid
              where u.kind = 'copy' and u.state in ('waiting', 'todo', 'running')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))?;
    Ok(left.map(|tables| {
        Error::internal(format!("tables were not copied: {tables}"))
            .hint("Use \"pgcopy copy --resume\"; what was removed is back.")
    }))
}

/// Unlogged tables that a crash of the target has emptied after their rows were marked: they are to be copied again.
fn emptied_by_a_crash(
    target: &mut PgSession,
    ledger: &mut Ledger,
    means: &Means,
) -> Result<Option<Error>> {
    if Run::marked(ledger.connection(), TO_CHECK)?.is_none_or(|(run, _)| run != means.run.id) {
        return Ok(None);
    }
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let mut lost = Vec::new();
    for row in target.query(include_str!("sql/list_unlogged.sql"), &[])? {
        let (schema, name): (String, String) = (row.get(0), row.get(1));
        let copied: Option<(Oid, i64)> = ledger
            .connection()
            .query_row(
                "select t.oid, sum(u.rows) from unit u join s_table t on t.oid = u.table_oid
                  where u.kind = 'copy' and u.state = 'done' and t.nspname = ?1 and t.relname = ?2
                  group by t.oid",
                [&schema, &name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(failed)?;
        let Some((oid, _)) = copied.filter(|(_, rows)| *rows > 0) else {
            continue;
        };
        let qname = quote::qualified(&schema, &name);
        let has_rows: bool = target
            .query_one(&format!("select exists (select from only {qname})"), &[])?
            .get(0);
        if !has_rows {
            lost.push((oid, qname));
        }
    }
    if lost.is_empty() {
        return Ok(None);
    }
    ledger.write_durably(|tx| {
        let sql = "update unit set state = 'todo' where kind = 'copy' and table_oid = ?1";
        lost.iter()
            .try_for_each(|(oid, _)| tx.execute(sql, [oid]).map(|_| ()))
            .map_err(|error| sqlite_error("write", &error))
    })?;
    let names: Vec<&str> = lost.iter().map(|(_, qname)| qname.as_str()).collect();
    Ok(Some(
        Error::new(
            Kind::Target,
            format!(
                "unlogged tables lost their rows in a crash of the target: {}",
                names.join(", ")
            ),
        )
        .hint("Use \"pgcopy copy --resume\", which copies them again."),
    ))
}

/// Adds the rest and proves all of it. Blocks.
pub(super) fn prove(leaf: &mut Leaf<'_>, means: &Means, limits: Limits) -> Result<()> {
    let (mut ledger, mut target, _registered) = open(leaf, means)?;
    ledger
        .connection()
        .execute("delete from notice where topic = 'foreign key'", [])
        .map_err(|error| sqlite_error("write", &error))?;
    let (back, flaw) = fkey::finish(
        leaf,
        &mut target,
        (&mut ledger, means.run),
        (&means.layout, limits),
    )?;
    leaf.report(&Report::PutBack {
        keys: back.keys,
        proven: back.proven,
    });
    if let Some(error) = not_copied(&ledger, means)? {
        leaf.report(&Report::GivenUp { error });
    }
    if let Some(error) = emptied_by_a_crash(&mut target, &mut ledger, means)? {
        leaf.report(&Report::GivenUp { error });
    }
    let not_held = match keys_to_check(&ledger, means)? {
        keys if keys.is_empty() => None,
        keys => fkey::check_unchecked(leaf, &mut target, (&mut ledger, means.run), &keys)?,
    };
    if let Some(error) = flaw.or(not_held) {
        leaf.report(&Report::Flawed { error });
    }
    Ok(())
}
