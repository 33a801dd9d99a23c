//! `stream cleanup`: removes slot, publications and origin, whatever is left of them.
//!
//! Runs in the main program as a leaf. Each step is tried whatever became of the others: a slot that
//! stays keeps the source's WAL. Publications of users are never dropped, nor slots of another plugin
//! or database.

use super::files::CdcDir;
use super::{origin, publication, setup, slot, source};
use crate::catalog::{CdcSetup, CdcStatus, Ledger};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::quote::ident;
use crate::pg::{PgSession, Profile};
use crate::sys::clock;
use crate::units::Side;
use crate::workdir::Layout;
use std::time::{Duration, Instant};

/// Title of the sessions.
const TITLE: &str = "stream cleanup";
/// How long a server is tried: the other side must not wait for one that is gone.
const CONNECT_BUDGET: Duration = Duration::from_secs(5);
/// How long a slot in use is waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// What to remove.
pub struct CleanupSettings {
    /// The source.
    pub source: ConnInfo,
    /// The target; none: nothing was made there.
    pub target: Option<ConnInfo>,
    /// The work directory; it need not be there.
    pub layout: Layout,
    /// The folder of change data; it need not be there.
    pub cdc: CdcDir,
    /// Name of the slot.
    pub slot: String,
    /// A publication of the user, which is kept.
    pub publication: Option<String>,
    /// Name of the origin.
    pub origin: String,
}

/// Removes everything; the error is that of the first step that failed, the others are logged. Blocks.
pub fn run(settings: &CleanupSettings) -> Result<()> {
    let mut ledger = match settings.layout.ledger() {
        path if path.exists() => Some(Ledger::open(&path)?),
        _ => None,
    };
    let mut first: Option<Error> = None;
    let mut keep = |result: Result<()>| {
        if let Err(error) = result {
            if first.is_none() {
                first = Some(error);
            } else {
                log::error!("{error}");
            }
        }
    };
    keep(target(settings, ledger.as_ref()));
    keep(on_source(settings, ledger.as_ref()));
    for path in [
        settings.cdc.slot(),
        settings.layout.snapshot(),
        settings.cdc.origin(),
    ] {
        if path.exists() {
            log::info!("Removing file \"{}\"", path.display());
            let removed = std::fs::remove_file(&path);
            keep(removed.map_err(|error| super::files::trouble("remove", &path, &error)));
        }
    }
    if let Some(error) = first {
        return Err(error);
    }
    if let Some(ledger) = &mut ledger {
        CdcSetup::forget(ledger)?;
    }
    let left = settings.cdc.segments()?.len();
    if left > 0 {
        log::info!(
            "{left} files of received changes are left in \"{}\"",
            settings.cdc.top().display()
        );
    }
    Ok(())
}

fn target(settings: &CleanupSettings, ledger: Option<&Ledger>) -> Result<()> {
    let Some(conn) = &settings.target else {
        return Ok(());
    };
    let link = setup::link_within(CONNECT_BUDGET, conn, Side::Target, TITLE)?;
    let mut session = link.session(TITLE, &Profile::TargetPlain)?;
    if origin::drop_all(&mut session, &settings.origin)? > 0 {
        log::info!(
            "Dropped replication origin \"{}\" on the target",
            settings.origin
        );
    }
    if origin::drop_row(&mut session, ledger, &settings.origin)? {
        log::info!(
            "Removed progress \"{}\" from table pgcopydb.cdc_applied on the target",
            settings.origin
        );
    }
    Ok(())
}

fn on_source(settings: &CleanupSettings, ledger: Option<&Ledger>) -> Result<()> {
    let link = setup::link_within(CONNECT_BUDGET, &settings.source, Side::Source, TITLE)?;
    let mut session = source::connect_beside(&link, TITLE)?;
    let mut result = Ok(());
    if session.server_version >= crate::units::PgVersion(100_000) {
        result = drop_publications(&mut session, settings, ledger);
    }
    let backend = match &ledger {
        Some(ledger) => CdcStatus::read(ledger.connection())?.receive_backend,
        None => 0,
    };
    if let Some(ledger) = ledger {
        slot::end_maker(&mut session, ledger)?;
    }
    let dropped = drop_slot(&mut session, &settings.slot, backend);
    match (result, dropped) {
        (Err(error), Err(other)) => {
            log::error!("{other}");
            Err(error)
        }
        (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(()),
    }
}

fn drop_publications(
    session: &mut PgSession,
    settings: &CleanupSettings,
    ledger: Option<&Ledger>,
) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    let recorded = match ledger {
        Some(ledger) => CdcSetup::get(ledger.connection(), "own_publications")?,
        None => None,
    };
    match (&settings.publication, recorded) {
        (_, Some(recorded)) if !recorded.is_empty() => {
            names.extend(recorded.lines().map(str::to_owned));
        }
        (Some(_), _) => {}
        (None, _) => names.extend(publication::names_of(&settings.slot)),
    }
    for name in names
        .iter()
        .filter(|name| Some(*name) != settings.publication.as_ref())
    {
        if publication::fingerprint(session, name)?.is_some() {
            session
                .batch_execute(&format!("drop publication if exists {}", ident(name)))
                .context(|| format!("dropping publication \"{name}\" on the source"))?;
            log::info!("Dropped publication \"{name}\" on the source");
        }
    }
    Ok(())
}

fn drop_slot(session: &mut PgSession, name: &str, backend: i32) -> Result<()> {
    let since = Instant::now();
    loop {
        let Some(found) = source::read_slot(session, name)? else {
            return Ok(());
        };
        let row = session.query_one("select pg_catalog.current_database()::text", &[])?;
        let database: String = row.get(0);
        let is_known = super::files::Plugin::of_name(&found.plugin).is_some();
        if !is_known || found.database != database {
            return Err(Error::bad_state(format!(
                "replication slot \"{name}\" is not ours and was left alone"
            ))
            .detail(format!(
                "It is of plugin \"{}\" in database \"{}\".",
                found.plugin, found.database
            )));
        }
        match found.active_pid {
            None => {
                slot::drop_slot(session, name)?;
                log::info!("Dropped replication slot \"{name}\" on the source");
                return Ok(());
            }
            Some(pid) if pid == i64::from(backend) && since.elapsed() >= Duration::from_secs(2) => {
                session.query("select pg_catalog.pg_terminate_backend($1)", &[&backend])?;
            }
            Some(pid) if since.elapsed() >= BUSY_LIMIT => {
                return Err(Error::new(
                    Kind::Source,
                    format!("replication slot \"{name}\" is in use by process {pid} of the source"),
                )
                .with_sqlstate("55006")
                .hint("Stop the process that receives changes, then repeat the cleanup: the slot keeps WAL on the source."));
            }
            Some(_) => {}
        }
        clock::nap(Duration::from_millis(200));
    }
}
