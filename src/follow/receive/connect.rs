//! Connecting to the source, and what is refused before a stream is started: another server or
//! database, a slot that is not what it was, publications that were changed, gaps.
//!
//! Runs in the receive process.

use super::recover::Recovered;
use super::timeline::Timelines;
use super::{BUSY_LIMIT, Receiver, TITLE};
use crate::catalog::{CdcSetup, CdcStatus};
use crate::error::{Error, Kind, Result};
use crate::follow::files::{Plugin, SlotFile};
use crate::follow::publication;
use crate::follow::selection;
use crate::follow::source::{self, SourceFacts};
use crate::pg::PgSession;
use crate::pg::retry::RECONNECT_BUDGET;
use crate::sys::clock;
use crate::units::{Lsn, PgVersion};
use crate::wire::Session;
use std::time::{Duration, Instant};

/// One connection, ready to stream.
pub(super) struct Connected {
    pub(super) session: Session,
    pub(super) facts: SourceFacts,
    pub(super) timelines: Timelines,
    pub(super) segment_size: u64,
}

impl Receiver<'_> {
    /// Connects, and refuses what is not the stream that the files go on with.
    pub(super) fn connect(&mut self, found: &Recovered, start: Lsn) -> Result<Connected> {
        log::info!("Connecting to logical decoding replication stream");
        let link = &self.settings.link;
        let budget = RECONNECT_BUDGET.saturating_sub(self.last_contact.elapsed());
        let mut beside = source::connect_beside(&self.watch.link, TITLE)?;
        let facts = source::read_facts(&mut beside)?;
        let confirmed = self.check_source(&facts, &mut beside, start)?;
        self.free_slot(&mut beside)?;
        let mut session = source::connect_replication(link, TITLE, budget)?;
        let identity = source::identify(&mut session)?;
        if identity.system_id != facts.system_id {
            return Err(Error::new(
                Kind::Source,
                "two connections went to two servers",
            ));
        }
        let timelines = self.timelines(&mut session, identity.tli)?;
        let newest = found.newest.map_or(0, |name| name.tli);
        if newest > 0
            && newest != identity.tli
            && timelines
                .end_of(newest)
                .is_none_or(|end| start > end && confirmed <= end)
        {
            // A standby that is promoted goes on with the same stream, whose next changes may lie in a file with
            // the name of the old timeline: then its slot was told of positions behind the end of that one.
            return Err(Error::bad_state(
                "the source has gone another way than the received changes",
            )
            .detail(format!(
                "Received up to {start} on timeline {newest}; the source is on timeline {}.",
                identity.tli
            ))
            .hint(
                "The server was restored or failed over to an older copy: begin a new migration.",
            ));
        }
        let segment_size = source::segment_size(&mut session)?;
        self.settings.cdc.write_naming(identity.tli, segment_size)?;
        self.watch.standby_tli = facts.is_standby.then_some(identity.tli);
        self.watch.beside = Some(beside);
        self.last_contact = Instant::now();
        Ok(Connected {
            session,
            facts,
            timelines,
            segment_size,
        })
    }

    fn timelines(&self, session: &mut Session, tli: u32) -> Result<Timelines> {
        if tli <= 1 {
            return Ok(Timelines::only(tli));
        }
        let text = source::timeline_history(session, tli)?;
        let cdc = &self.settings.cdc;
        cdc.write_whole(&cdc.history(tli), &text)?;
        Timelines::parse(tli, &text)
    }

    /// Refuses another server or database, a slot that is not what it was, and gaps. Gives what the slot
    /// was told.
    fn check_source(
        &mut self,
        facts: &SourceFacts,
        beside: &mut PgSession,
        start: Lsn,
    ) -> Result<Lsn> {
        let ledger = self.watch.ledger.connection();
        let recorded = CdcSetup::get(ledger, "system_id")?;
        if recorded.is_some_and(|recorded| recorded != facts.system_id) {
            return Err(Error::bad_state("the source is another server than before")
                .hint("Give the connection string that the follow was set up with."));
        }
        let database = CdcSetup::get(ledger, "database_oid")?;
        if database.is_some_and(|recorded| recorded != facts.database_oid.to_string()) {
            return Err(
                Error::bad_state("the source is another database than before")
                    .hint("Give the connection string that the follow was set up with."),
            );
        }
        let publications = CdcSetup::get(ledger, "publications")?;
        if facts.is_standby && facts.version < PgVersion(160_000) {
            return Err(Error::new(
                Kind::Source,
                "logical decoding on a standby needs PostgreSQL 16",
            ));
        }
        let confirmed = check_slot(&self.slot, facts, beside, start)?;
        if self.slot.plugin == Plugin::Pgoutput
            && let Some(recorded) = publications
        {
            let names = self.slot.publications.clone();
            publication::check(beside, &names, &recorded)?;
            selection::refuse_unpublished(beside, &names, self.watch.behind.tables())?;
            self.watch.publications = Some((names, recorded));
        }
        Ok(confirmed)
    }

    /// Sees to it that nobody else uses the slot: a connection of ours that was cut off is ended, any
    /// other one is waited for.
    fn free_slot(&mut self, beside: &mut PgSession) -> Result<()> {
        let ours = CdcStatus::read(self.watch.ledger.connection())?.receive_backend;
        let since = Instant::now();
        let mut told = false;
        loop {
            let slot = source::read_slot(beside, &self.slot.slot)?;
            let Some(pid) = slot.and_then(|slot| slot.active_pid) else {
                return Ok(());
            };
            if i64::from(ours) == pid {
                // Whoever it served is gone: this process holds the lock of the folder.
                beside.query(
                    "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
                     where pid::int8 = $1 and usename = current_user and application_name like 'pgcopydb%'",
                    &[&pid],
                )?;
            }
            if since.elapsed() >= BUSY_LIMIT {
                return Err(Error::new(
                    Kind::Source,
                    format!(
                        "replication slot \"{}\" is in use by process {pid} of the source",
                        self.slot.slot
                    ),
                )
                .hint("Stop the other program that receives from this slot, or use another --slot-name."));
            }
            if !told && since.elapsed() >= Duration::from_secs(2) {
                told = true;
                log::warn!(
                    "Replication slot \"{}\" is in use by process {pid} of the source, waiting for up to {} s",
                    self.slot.slot,
                    BUSY_LIMIT.as_secs()
                );
            }
            if (self.stop)() {
                return Err(Error::new(
                    Kind::Stopped(15),
                    "stopped while a slot was in use",
                ));
            }
            clock::nap(Duration::from_millis(200));
        }
    }
}

/// Refuses a slot that cannot go on where the files end. Gives what it was told.
fn check_slot(
    ours: &SlotFile,
    facts: &SourceFacts,
    beside: &mut PgSession,
    start: Lsn,
) -> Result<Lsn> {
    let name = &ours.slot;
    let fatal = |what: String| Error::new(Kind::Source, what);
    let Some(slot) = source::read_slot(beside, name)? else {
        return Err(fatal(format!("replication slot \"{name}\" does not exist"))
            .detail(format!(
                "Changes of the source after {start} are not received and not kept any more."
            ))
            .hint("It was dropped, or the source failed over without it: begin a new migration."));
    };
    if let Some(why) = slot.lost {
        return Err(fatal(format!(
            "replication slot \"{name}\" can no longer be used: {why}"
        ))
        .detail(format!("Changes of the source after {start} are lost."))
        .hint("Begin a new migration; raise max_slot_wal_keep_size before."));
    }
    if slot.plugin != ours.plugin.name() || slot.database != facts.database {
        return Err(Error::bad_state(format!(
            "replication slot \"{name}\" is not the one that was set up"
        ))
        .detail(format!(
            "It is of plugin {} in database \"{}\", not of {} in \"{}\".",
            slot.plugin,
            slot.database,
            ours.plugin.name(),
            facts.database
        ))
        .hint("Somebody made a slot of this name anew: begin a new migration with another --slot-name."));
    }
    if slot.confirmed > start {
        return Err(Error::bad_state(format!(
            "changes between {start} and {} were confirmed but are not in the work directory",
            slot.confirmed
        ))
        .detail(format!(
            "Replication slot \"{name}\" does not send them again."
        ))
        .hint("Another program used this slot, or files were removed: begin a new migration."));
    }
    Ok(slot.confirmed)
}
