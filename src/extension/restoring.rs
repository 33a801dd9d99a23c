//! timescaledb: the restoring mode of the target, from before its first table is made until all of it is there.
//!
//! Runs in the pre-data, plan, post-data and finish processes. `timescaledb_pre_restore()` stops the background
//! jobs of the database and sets `timescaledb.restoring` for its new sessions, in which hypertables are ordinary
//! tables; `timescaledb_post_restore()` ends that. The ledger knows beforehand that the mode is about to begin.

use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{Link, PgSession, Profile};
use crate::schema::hooks::{Function, POST_RESTORE, PRE_RESTORE, TIMESCALEDB, find_extension};
use crate::units::Side;

/// Mark: the mode is on, or about to be; detail: the function that ends it.
const ON: &str = "timescaledb-restoring";
/// Mark: the mode was ended, as all is there.
const ENDED: &str = "timescaledb-restored";
/// Schema of the chunks.
const CHUNKS: &str = "_timescaledb_internal";

/// Whether this work directory copies timescaledb; its version.
pub fn version(ledger: &Ledger) -> Result<Option<String>> {
    use rusqlite::OptionalExtension;
    ledger
        .connection()
        .query_row(
            "select version from s_extension where extname = ?1",
            [TIMESCALEDB],
            |row| row.get(0),
        )
        .optional()
        .map_err(|error| sqlite_error("read", &error))
}

/// Whether the mode was ended, as all was there.
pub fn is_ended(ledger: &Ledger) -> Result<bool> {
    Ok(Run::marked(ledger.connection(), ENDED)?.is_some())
}

/// Whether rows of its own tables are still to be copied.
pub fn is_to_configure(ledger: &Ledger) -> Result<bool> {
    ledger
        .connection()
        .query_row(
            "select exists (select 1 from unit u join s_extension e on e.oid = u.object
              where u.kind = 'extension' and u.state not in ('done', 'skipped') and e.extname = ?1)",
            [TIMESCALEDB],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))
}

/// What a person must know while the mode is on; nothing when it is not.
pub fn warning(ledger: &Ledger) -> Result<Option<String>> {
    let mark = Run::marked(ledger.connection(), ON)?;
    Ok(mark.map(|(_, post)| line(&post)))
}

fn line(post: &str) -> String {
    format!(
        "The target is in timescaledb's restoring mode, in which its background jobs stand still, until this \
         copy has reached its end; to end it without that, run there: select {post}();"
    )
}

/// Begins the mode, or makes sure that it is on. An extension that is not there is an error where one is
/// `needed`, or where there are chunks.
pub fn begin(
    ledger: &mut Ledger,
    run: Run,
    (target, link): (&mut PgSession, &Link),
    needed: bool,
) -> Result<()> {
    let Some(version) = version(ledger)? else {
        return Ok(());
    };
    let functions = [PRE_RESTORE, POST_RESTORE];
    let Some(installed) =
        find_extension(&mut target.client, Side::Target, TIMESCALEDB, &functions)?
    else {
        return if needed || has_chunks(ledger)? {
            Err(absent())
        } else {
            Ok(())
        };
    };
    if installed.version != version {
        return Err(other_version(&installed.version, &version));
    }
    let find = |name: &str| -> Result<Function> {
        let function = installed.function(name).cloned();
        function.ok_or_else(|| no_function(name))
    };
    let (pre, post) = (find(PRE_RESTORE)?.qname, find(POST_RESTORE)?.qname);
    ledger.write_durably(|tx| {
        forget(tx)?;
        run.mark(tx, ON, &post)?;
        run.notice(tx, TIMESCALEDB, &line(&post))
    })?;
    log::info!("Calling {pre}() on the target: its restoring mode begins");
    call(target, &pre)?;
    let mut later = link.session("look at restoring mode", &Profile::Catalog)?;
    let row = later.query_one(
        "select coalesce(pg_catalog.current_setting('timescaledb.restoring', true), '')",
        &[],
    )?;
    match row.get::<_, &str>(0) {
        "on" | "true" | "yes" | "1" => Ok(()),
        _ => Err(Error::new(
            Kind::Target,
            format!("new sessions of the target are not in restoring mode after {pre}()"),
        )
        .detail("The setting timescaledb.restoring is off there.")
        .hint(
            "Connect to the target without a pooler that keeps sessions open, and take the setting \
             from the role: alter role ... reset timescaledb.restoring;",
        )),
    }
}

/// Ends the mode, if it is on: all is there.
pub fn end(ledger: &mut Ledger, run: Run, target: &mut PgSession) -> Result<()> {
    let Some((_, post)) = Run::marked(ledger.connection(), ON)? else {
        return Ok(());
    };
    log::info!("Calling {post}() on the target: its restoring mode ends");
    call(target, &post)?;
    ledger.write_durably(|tx| {
        forget(tx)?;
        run.mark(tx, ENDED, "")
    })
}

fn call(target: &mut PgSession, function: &str) -> Result<()> {
    target
        .batch_execute(&format!("select {function}()"))
        .context(|| format!("calling {function}() on the target"))
}

fn forget(tx: &rusqlite::Connection) -> Result<()> {
    tx.execute("delete from mark where name in (?1, ?2)", [ON, ENDED])
        .and_then(|_| tx.execute("delete from notice where topic = ?1", [TIMESCALEDB]))
        .map(drop)
        .map_err(|error| sqlite_error("write", &error))
}

fn has_chunks(ledger: &Ledger) -> Result<bool> {
    ledger
        .connection()
        .query_row(
            "select exists (select 1 from s_table where nspname = ?1 and is_extension = 0)",
            [CHUNKS],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))
}

fn absent() -> Error {
    Error::new(
        Kind::Target,
        "extension timescaledb, whose chunks are to be copied, is not on the target",
    )
    .hint("Make it first: pgcopydb restore pre-data, or pgcopydb copy extensions.")
}

fn other_version(there: &str, wanted: &str) -> Error {
    Error::new(
        Kind::Target,
        format!("timescaledb has version {there} on the target and {wanted} on the source"),
    )
    .hint(format!(
        "Its catalogs are copied, so both must be the same. Run on the side with the older one, as the first \
         statement of a session: alter extension timescaledb update to '{wanted}'; or the other version."
    ))
}

fn no_function(name: &str) -> Error {
    Error::new(
        Kind::Target,
        format!("extension timescaledb of the target has no function {name}()"),
    )
    .hint("Install a release of timescaledb that has it, the same on both sides.")
}
