//! `clone --follow --resume` of a copy that is not whole, and whose snapshot is gone: exact all the same.
//!
//! Tables that are left are copied with the snapshot of a second, temporary slot, which shows exactly what
//! ends up to its consistent point. That position is written down for this run before it copies anything;
//! changes up to there are not applied to these tables. Until the last such position is applied, tables of
//! different positions stand side by side, so foreign keys are validated after that.

use super::prepare::PrepareInput;
use super::settings::CloneSettings;
use crate::catalog::unit::Item;
use crate::catalog::{Ledger, Run, TableStarts, sqlite_error};
use crate::error::{Context, Error, Result};
use crate::follow::files::SlotFile;
use crate::follow::run::FollowSettings;
use crate::follow::source_table::SourceTables;
use crate::follow::{drift, setup, slot};
use crate::index::VALIDATE_LATER;
use crate::pg::{Canceller, PgSession, quote};
use crate::snapshot;
use crate::supervisor::Leaf;
use crate::units::Side;
use crate::workdir::Layout;
use rusqlite::params;

/// Characters of the slot's name that go into that of the temporary one, which has 63 at most.
const SLOT_NAME_MAX: usize = 45;

/// What was asked for, but that tables are read in a snapshot where changes follow on them.
pub(super) fn exact(settings: &CloneSettings) -> CloneSettings {
    let mut settings = settings.clone();
    settings.switches.not_consistent &= settings.follow.is_none();
    settings
}

/// Refuses where rows were copied before there was a slot: what was committed in between would be lost.
pub(super) fn refuse_without_slot(layout: &Layout) -> Result<()> {
    let path = layout.ledger();
    if !path.exists() {
        return Ok(());
    }
    let copied: bool = Ledger::open_read_only(&path)?
        .connection()
        .query_row(
            "select exists (select 1 from unit where kind = 'copy' and (attempts > 0 or state = 'done'))",
            [],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))?;
    if !copied {
        return Ok(());
    }
    Err(Error::bad_state(format!(
        "rows were copied in work directory \"{}\" before changes were followed",
        layout.top().display()
    ))
    .hint("What was committed in between would be lost: use --restart to begin anew."))
}

/// The rest of the body of the snapshot process, for a slot that was made before.
pub(super) fn hold(
    leaf: &mut Leaf<'_>,
    canceller: &Canceller,
    (settings, input): (&FollowSettings, &PrepareInput),
    (run, file): (Run, &SlotFile),
) -> Result<()> {
    let title = leaf.role.label();
    let link = setup::link(&settings.source, Side::Source, title)?;
    let means = slot::Means {
        link: &link,
        cdc: &settings.cdc,
        title,
        canceller,
    };
    // That of an earlier try may still be going.
    let name: String = file.slot.chars().take(SLOT_NAME_MAX).collect();
    let name = format!("{name}_again_{}", std::process::id());
    let (holder, created) = slot::create(&means, (&name, file.plugin), true, &mut |_| Ok(()))?;
    let (mut session, id) = snapshot::export_again(leaf, &link, &created.snapshot)?;
    // The temporary slot goes with its session; the snapshot is held by ours now.
    holder.close();
    let mut ledger = Ledger::open(&input.layout.ledger())?;
    refuse_altered(&mut session, &ledger, settings)?;
    TableStarts::note(&mut ledger, run.id, created.lsn)?;
    run.set_snapshot(&ledger, &id)?;
    log::info!(
        "Tables that are left are copied as of {}; changes up to there are not applied to them",
        created.lsn
    );
    snapshot::hold(leaf, session, &id, Some(&input.layout))
}

/// Refuses to copy tables that have another shape now than the archive gave them on the target.
fn refuse_altered(
    session: &mut PgSession,
    ledger: &Ledger,
    settings: &FollowSettings,
) -> Result<()> {
    let recorded = SourceTables::load(settings.cdc.top())?;
    let left: Vec<String> = ledger
        .connection()
        .prepare(
            "select distinct t.nspname, t.relname from unit u join s_table t on t.oid = u.table_oid
              where u.kind = 'copy' and u.state <> 'done'",
        )
        .and_then(|mut statement| {
            statement
                .query_map([], |row| {
                    let (nspname, relname): (String, String) = (row.get(0)?, row.get(1)?);
                    Ok(quote::qualified(&nspname, &relname))
                })?
                .collect()
        })
        .map_err(|error| sqlite_error("read", &error))?;
    let altered: Vec<String> = drift::look(session, &recorded)?
        .into_iter()
        .filter(|drift| left.contains(&drift.table))
        .map(|drift| format!("{} {}.", drift.table, drift.what))
        .collect();
    if altered.is_empty() {
        return Ok(());
    }
    Err(Error::bad_state(
        "tables that are left to copy were altered on the source since the first run",
    )
    .detail(altered.join("\n"))
    .hint("Alter the source's tables back for the time of the copy, or begin anew with --restart."))
}

/// Validates the foreign keys that waited for the changes.
pub(super) fn validate(target: &mut PgSession, ledger: &Ledger) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let waiting: Vec<(i64, Option<String>)> = ledger
        .connection()
        .prepare(
            "select id, sql from unit where kind = 'validate' and state = 'skipped'
                and json_extract(error, '$.message') = ?1 order by id",
        )
        .and_then(|mut statement| {
            statement
                .query_map([VALIDATE_LATER], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(failed)?;
    for (id, sql) in waiting {
        let items: Vec<Item> = serde_json::from_str(sql.as_deref().unwrap_or("[]"))
            .map_err(|error| Error::internal(format!("unit {id} has no statements: {error}")))?;
        for item in items {
            for statement in &item.statements {
                target
                    .batch_execute(statement)
                    .context(|| format!("validating foreign key {}", item.name))?;
            }
            log::info!("VALIDATE {}, after the changes", item.name);
        }
        ledger
            .connection()
            .execute(
                "update unit set state = 'done', error = null where id = ?1",
                params![id],
            )
            .map_err(|error| sqlite_error("write", &error))?;
    }
    Ok(())
}
