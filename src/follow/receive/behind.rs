//! How far the target is behind the source: noted for those who look, told to the log and the service manager.
//!
//! Runs in the receive process, beside the stream. A failure costs a figure, nothing else.

use crate::catalog::{CdcSetup, Lag, Ledger};
use crate::error::{Error, Kind, Result};
use crate::follow::drift::{self, Drift};
use crate::follow::files::Plugin;
use crate::follow::source;
use crate::follow::source_table::SourceTables;
use crate::pg::PgSession;
use crate::sys::{clock, notify};
use crate::units::Lsn;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// It is noted so often.
const EVERY: Duration = Duration::from_secs(5);
/// The tables of the source are compared with what they were so often.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// It is told so often, and so often once there is an end to reach.
const REPORT_EVERY: Duration = Duration::from_secs(60);
const REPORT_EVERY_NEAR_THE_END: Duration = Duration::from_secs(10);

/// What was noted and told.
pub(super) struct Behind {
    slot: String,
    noted_at: Option<Instant>,
    told_at: Instant,
    told: String,
    warned: bool,
    tables: SourceTables,
    compared_at: Option<Instant>,
    drifts: BTreeSet<Drift>,
    plugin: Plugin,
    /// A table of which changes may go to the wrong rows.
    misled: Option<Drift>,
}

impl Behind {
    /// That of a slot.
    pub(super) fn of(slot: String, plugin: Plugin, tables: SourceTables) -> Self {
        Self {
            slot,
            noted_at: None,
            told_at: Instant::now(),
            told: String::new(),
            warned: false,
            tables,
            compared_at: None,
            drifts: BTreeSet::new(),
            plugin,
            misled: None,
        }
    }

    /// The tables as they were.
    pub(super) fn tables(&self) -> &SourceTables {
        &self.tables
    }

    /// Whether it is time for a look at the source; then it is not for a while.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.noted_at.is_none_or(|last| last.elapsed() >= EVERY);
        if due {
            self.noted_at = Some(Instant::now());
        }
        due
    }

    /// Looks at the source, and notes where it is.
    pub(super) fn note(&mut self, session: &mut PgSession, ledger: &mut Ledger) -> Result<()> {
        let look = source::look(session, &self.slot)?;
        let status = look.wal_status.as_deref().unwrap_or("reserved");
        let is_near_loss = matches!(status, "unreserved" | "lost");
        if is_near_loss && !self.warned {
            log::warn!(
                "The source is about to remove WAL that slot \"{}\" needs ({status}): raise \
                 max_slot_wal_keep_size there",
                self.slot
            );
        }
        self.warned = is_near_loss;
        look.note(ledger)?;
        self.compare(session, ledger)
    }

    /// The last look at the source's tables, whenever the one before was.
    pub(super) fn compare_at_end(
        &mut self,
        session: &mut PgSession,
        ledger: &mut Ledger,
    ) -> Result<()> {
        self.compared_at = None;
        self.compare(session, ledger)
    }

    /// Refuses to go on where changes of a table may go to the wrong rows.
    pub(super) fn refuse_misled(&self) -> Result<()> {
        let Some(drift) = &self.misled else {
            return Ok(());
        };
        Err(Error::new(
            Kind::Source,
            format!("on the source, table {} {}", drift.table, drift.what),
        )
        .detail(
            "test_decoding does not say which columns tell a row: changes since then may have been applied to other \
             rows.",
        )
        .hint("Begin anew with a new copy, or with pgoutput, which says it."))
    }

    /// Tells what became of the source's tables, each change once.
    fn compare(&mut self, session: &mut PgSession, ledger: &mut Ledger) -> Result<()> {
        let last = self.compared_at;
        if self.tables.is_empty() || last.is_some_and(|last| last.elapsed() < COMPARE_EVERY) {
            return Ok(());
        }
        self.compared_at = Some(Instant::now());
        let found = drift::look_with_rows(session, &self.tables)?;
        if self.plugin == Plugin::TestDecoding {
            self.misled = drift::misleading(&found, &self.tables);
        }
        let found: BTreeSet<Drift> = found.into_iter().collect();
        if found == self.drifts {
            return Ok(());
        }
        for drift in found.difference(&self.drifts) {
            log::warn!("On the source, table {} {}", drift.table, drift.what);
        }
        let lines: Vec<String> = found
            .iter()
            .map(|drift| format!("table {} {}", drift.table, drift.what))
            .collect();
        self.drifts = found;
        CdcSetup::put(ledger, &[("drift", &lines.join("\n"))])
    }

    /// Tells it, when it is time.
    pub(super) fn report(&mut self, ledger: &Ledger, endpos: Lsn) {
        let every = if endpos.is_set() {
            REPORT_EVERY_NEAR_THE_END
        } else {
            REPORT_EVERY
        };
        if self.told_at.elapsed() < every {
            return;
        }
        self.told_at = Instant::now();
        match Lag::read(ledger.connection(), clock::epoch_ms()) {
            Ok(Some(lag)) => {
                let line = lag.line();
                notify::tell(&format!("STATUS={line}"));
                if line != self.told {
                    log::info!("{line}");
                    self.told = line;
                }
            }
            Ok(None) => {}
            Err(error) => log::debug!("{error}"),
        }
    }
}
