//! Configuration tables of extensions: rows that users put there, as the extension declared.
//!
//! Runs in the extension process. The extension's own script has filled its tables already, so rows
//! go through a temporary table. One transaction for each extension, with a record on the target: done or
//! not done.

mod config;
pub mod restoring;
pub mod spread;

use crate::catalog::unit::{Done, Kind, Unit};
use crate::catalog::{Ledger, Step, sqlite_error};
use crate::error::{Context, Result};
use crate::pg::{Profile, Token, quote};
use crate::supervisor::Leaf;
use crate::worker::{self, Means, Worker};
use config::{Config, Copied};
use std::time::Instant;

/// Runs until all extensions are done. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means) -> Result<()> {
    let mut worker = Worker::start(leaf, means, &[Kind::Extension], &[])?;
    while let Some(unit) = worker.next_unit()? {
        if let Err(error) = one(&mut worker, &unit) {
            worker.failed(&[unit], error)?;
        }
    }
    Ok(())
}

fn one(worker: &mut Worker<'_, '_>, unit: &Unit) -> Result<()> {
    let since = Instant::now();
    let means = worker.means;
    let name: String = worker
        .ledger
        .connection()
        .query_row(
            "select extname from s_extension where oid = ?1",
            [unit.object],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))?;
    worker.begin(&format!("copy extension {name}"), Some(unit.id))?;
    let title = worker.leaf.role.label();
    let encoding = means.encoding.clone();
    let mut source = means.source()?.wire(
        title,
        &Profile::SourceCopy {
            encoding: encoding.clone(),
        },
    )?;
    let mut target = means
        .target()?
        .wire(title, &Profile::TargetCopy { encoding })?;
    worker::register_backends(
        &worker.ledger,
        &worker.activity,
        Some(source.backend_id().clone()),
        Some(target.backend_id().clone()),
    )?;
    let _source = worker
        .canceller
        .register(Token::Wire(source.session.cancel_token()?));
    let _target = worker
        .canceller
        .register(Token::Wire(target.session.cancel_token()?));
    let (source, target) = (&mut source.session, &mut target.session);
    source.simple("begin isolation level repeatable read, read only")?;
    if let Some(id) = means.snapshot.as_deref().filter(|_| means.consistent) {
        let sql = format!("set transaction snapshot {}", quote::literal(id));
        source
            .simple(&sql)
            .map_err(|error| crate::snapshot::explain(id, error))?;
    }
    target.simple("begin")?;
    let mark = format!(
        "insert into pgcopydb.progress (work, kind, object, part, plan, rows) \
         values ({}, 'extension', {}, 0, 0, 0) on conflict do nothing",
        quote::literal(&means.uuid),
        unit.object
    );
    let is_new = target
        .simple(&mark)?
        .first()
        .is_some_and(|result| result.tag == "INSERT 0 1");
    let mut copied = Copied::default();
    if is_new {
        for config in configs(&worker.ledger, unit)? {
            let one = config::copy((source, target), &config)
                .context(|| format!("copying {} of extension \"{name}\"", config.qname))?;
            copied.bytes += one.bytes;
            copied.notices.extend(one.notices);
        }
    }
    target.simple("commit")?;
    source.simple("commit")?;
    tell(worker, &copied.notices)?;
    log::info!("Copied the configuration of extension \"{name}\"");
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    worker.finish(
        Step::Copy,
        &[(
            unit,
            Done {
                bytes: copied.bytes,
                elapsed_ms,
                ..Done::default()
            },
        )],
    )
}

fn tell(worker: &Worker<'_, '_>, notices: &[String]) -> Result<()> {
    for notice in notices {
        log::warn!("{notice}");
        let connection = worker.ledger.connection();
        let run = worker.means.run;
        run.notice(connection, "configuration of an extension", notice)?;
    }
    Ok(())
}

fn configs(ledger: &Ledger, unit: &Unit) -> Result<Vec<Config>> {
    let read = || -> rusqlite::Result<Vec<Config>> {
        ledger
            .connection()
            .prepare(
                "select qname, relkind, condition from s_extension_config where ext_oid = ?1
                  order by position",
            )?
            .query_map([unit.object], |row| {
                Ok(Config {
                    qname: row.get(0)?,
                    relkind: row.get(1)?,
                    condition: row.get(2)?,
                })
            })?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}
