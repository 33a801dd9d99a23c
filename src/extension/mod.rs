//! Configuration tables of extensions: rows that users put there, as the extension declared.
//!
//! Runs in the extension process. The extension's own script has filled its tables already, so rows
//! go through a temporary table and only those that are not there are added. One transaction for each
//! extension, with a record on the target: done or not done.

use crate::catalog::unit::{Done, Kind, Unit};
use crate::catalog::{Ledger, Step, sqlite_error};
use crate::error::{Context, Error, Result};
use crate::pg::{Profile, Token, quote, relay};
use crate::supervisor::Leaf;
use crate::wire;
use crate::worker::{self, Means, Worker};
use std::time::Instant;

/// A configuration relation in the order to copy.
struct Config {
    qname: String,
    relkind: String,
    condition: String,
}

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
    let mut source = means.source.wire(
        title,
        &Profile::SourceCopy {
            encoding: encoding.clone(),
        },
    )?;
    let mut target = means
        .target
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
    let mut bytes = 0;
    if is_new {
        for config in configs(&worker.ledger, unit)? {
            bytes += copy_config((source, target), &config)
                .context(|| format!("copying {} of extension \"{name}\"", config.qname))?;
        }
    }
    target.simple("commit")?;
    source.simple("commit")?;
    log::info!("Copied the configuration of extension \"{name}\"");
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    worker.finish(
        Step::Copy,
        &[(
            unit,
            Done {
                bytes,
                elapsed_ms,
                ..Done::default()
            },
        )],
    )
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

fn first_value(session: &mut wire::Session, sql: &str) -> Result<String> {
    let results = session.simple(sql)?;
    let value = results
        .first()
        .and_then(|result| result.rows.first()?.first()?.clone());
    value.ok_or_else(|| Error::internal("a query gave no value"))
}

fn copy_config(
    (source, target): (&mut wire::Session, &mut wire::Session),
    config: &Config,
) -> Result<u64> {
    if config.relkind == "S" {
        let sql = format!(
            "select last_value || ', ' || is_called from {}",
            config.qname
        );
        let value = first_value(source, &sql)?;
        let name = quote::literal(&config.qname);
        target.simple(&format!(
            "select pg_catalog.setval({name}::pg_catalog.regclass, {value})"
        ))?;
        return Ok(0);
    }
    let columns = common_columns((source, target), config)?;
    let (qname, condition) = (&config.qname, &config.condition);
    target.simple(&format!(
        "create temporary table pgcopydb_config on commit drop as \
         select {columns} from only {qname} where false"
    ))?;
    let mut out = source.copy_out(&format!(
        "copy (select {columns} from only {qname} {condition}) to stdout"
    ))?;
    let mut into = target.copy_in("copy pg_temp.pgcopydb_config from stdin")?;
    let bytes = relay::relay(&mut out, &mut into, &mut |_| Ok(()))?;
    out.finish()?;
    into.finish()?;
    target.simple(&format!(
        "insert into {qname} ({columns}) overriding system value \
         select {columns} from pg_temp.pgcopydb_config on conflict do nothing; \
         drop table pg_temp.pgcopydb_config"
    ))?;
    Ok(bytes)
}

/// Columns that both versions of the extension have, generated ones left out.
fn common_columns(
    (source, target): (&mut wire::Session, &mut wire::Session),
    config: &Config,
) -> Result<String> {
    let sql = format!(
        "select pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' order by attnum) \
           from pg_catalog.pg_attribute \
          where attrelid = {}::pg_catalog.regclass and attnum > 0 and not attisdropped",
        quote::literal(&config.qname)
    );
    let ours = first_value(source, &sql)?;
    let theirs = first_value(target, &sql)?;
    let theirs: Vec<&str> = theirs.split(", ").collect();
    let common: Vec<&str> = ours
        .split(", ")
        .filter(|name| theirs.contains(name))
        .collect();
    Ok(common.join(", "))
}
