//! What goes on beside the stream: the sentinel, the room on the disk, the publications.
//!
//! Runs in the receive process. Troubles of the ledger do not stop receiving: the sentinel is for
//! others to look at, and what it says of the end is read again a moment later.

use super::behind::Behind;
use super::outlet::Outlet;
use super::space::{Settled, Space};
use super::store::Store;
use super::stream::{Beside, Look};
use crate::catalog::sentinel::{self, Position};
use crate::catalog::{CdcStatus, Ledger, Sentinel};
use crate::error::{Error, Result};
use crate::follow::files::CdcDir;
use crate::follow::publication;
use crate::follow::selection;
use crate::follow::source;
use crate::pg::{Link, PgSession};
use crate::units::{Lsn, Tli, pretty_bytes};
use std::time::{Duration, Instant};

/// The room is looked at so often; at each look where it is scarce.
const SPACE_EVERY: Duration = Duration::from_secs(3);
/// The source is looked at so often.
const SOURCE_EVERY: Duration = Duration::from_secs(60);
/// A standby, which can be promoted at any moment, is looked at so often: from then on files are to carry
/// the name of another timeline.
const STANDBY_EVERY: Duration = Duration::from_secs(2);
/// Whether files were pruned is looked at so often.
const PRUNED_EVERY: Duration = Duration::from_secs(60);

/// A question that fails after so long has met a network that is cut.
const CUT_AFTER: Duration = Duration::from_secs(5);

/// What is watched.
pub(super) struct Watch {
    pub(super) cdc: CdcDir,
    pub(super) behind: Behind,
    pub(super) ledger: Ledger,
    pub(super) link: Link,
    pub(super) most: Option<u64>,
    /// Names and recorded fingerprints.
    pub(super) publications: Option<(Vec<String>, String)>,
    pub(super) outlet: Option<Outlet>,
    /// The source is, or was, a standby: its timeline can change under the stream.
    pub(super) standby_tli: Option<Tli>,
    /// Session for the looks at the source.
    pub(super) beside: Option<PgSession>,
    /// When it had got no answer for long, as no packet passed.
    cut_at: Option<Instant>,
    /// When it could be made again after that.
    came_back: Option<Instant>,
    pub(super) endpos: Lsn,
    pub(super) replayed: Lsn,
    space_at: Option<Instant>,
    source_at: Instant,
    standby_at: Instant,
    pruned_at: Option<Instant>,
    warned_scarce: bool,
    warned_large: bool,
    warned_ledger: bool,
    /// Why there is no room, when there is none.
    pub(super) shortage: Option<String>,
    /// The room there was at the last look.
    space: Option<Space>,
    /// Bytes that were received then.
    spaced_bytes: u64,
    settled: Settled,
}

impl Watch {
    pub(super) fn new(cdc: CdcDir, behind: Behind, ledger: Ledger, link: Link) -> Self {
        Self {
            cdc,
            behind,
            ledger,
            link,
            most: None,
            publications: None,
            outlet: None,
            standby_tli: None,
            beside: None,
            cut_at: None,
            came_back: None,
            endpos: Lsn::UNSET,
            replayed: Lsn::UNSET,
            space_at: None,
            source_at: Instant::now(),
            standby_at: Instant::now(),
            pruned_at: None,
            warned_scarce: false,
            warned_large: false,
            warned_ledger: false,
            shortage: None,
            space: None,
            spaced_bytes: 0,
            settled: Settled::default(),
        }
    }

    /// Reads the sentinel.
    pub(super) fn read_sentinel(&mut self) -> Result<()> {
        let row = Sentinel::must_read(self.ledger.connection())?;
        self.replayed = row.replay_lsn;
        if row.endpos != self.endpos {
            if row.endpos.is_set() {
                log::info!("endpos is now set to {}", row.endpos);
            } else {
                log::info!("endpos is not set any more");
            }
            self.endpos = row.endpos;
        }
        Ok(())
    }

    /// Tells others how far receiving is.
    pub(super) fn tell(&mut self, store: &Store) {
        self.tell_through(store, store.safe());
    }

    /// The same where all that ends up to `through` is on disk, which need not be a boundary.
    pub(super) fn tell_through(&mut self, store: &Store, through: Lsn) {
        let positions = [
            (Position::Write, store.boundary()),
            (Position::Flush, store.safe()),
            (Position::ReceivedThrough, through.max(store.safe())),
        ];
        match sentinel::advance(&mut self.ledger, &positions) {
            Ok(()) => self.warned_ledger = false,
            Err(error) if !self.warned_ledger => {
                self.warned_ledger = true;
                log::warn!("Could not write the sentinel, receiving goes on: {error}");
            }
            Err(_) => {}
        }
    }

    /// Looks whether there is room.
    pub(super) fn look_at_space(&mut self, store: Option<&Store>) -> Result<bool> {
        let space = Space::look(&self.cdc, &mut self.settled)?;
        if space.is_scarce() && !self.warned_scarce {
            self.warned_scarce = true;
            log::warn!(
                "Only {} are free in \"{}\"",
                pretty_bytes(space.free),
                self.cdc.top().display()
            );
        }
        self.shortage = space.shortage(self.most);
        self.space = Some(space);
        if self.shortage.is_none() {
            return Ok(false);
        }
        // A limit of ours is exceeded rather than never reaching the end of a transaction.
        let is_limit_only = space.shortage(None).is_none();
        if let Some(store) = store
            && is_limit_only
            && store.is_open()
            && self.replayed >= store.boundary()
        {
            if !self.warned_large {
                self.warned_large = true;
                log::warn!(
                    "A transaction is larger than --max-cdc-size; it is received all the same"
                );
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Bytes that may be received before the next look.
    fn step(&self) -> u64 {
        self.space.map_or(0, |space| space.step(self.most))
    }

    /// Whether there is no room only until more is transformed.
    fn lags(&self) -> bool {
        self.shortage.is_some() && self.space.is_some_and(|space| space.is_lag(self.most))
    }

    /// Up to where files were pruned, when it is time for a look.
    fn pruned(&mut self) -> Option<Lsn> {
        let is_recent = self
            .pruned_at
            .is_some_and(|last| last.elapsed() < PRUNED_EVERY);
        if is_recent {
            return None;
        }
        self.pruned_at = Some(Instant::now());
        let status = CdcStatus::read(self.ledger.connection()).ok()?;
        Some(status.pruned_through).filter(|lsn| lsn.is_set())
    }

    /// The session beside the stream, to be put back; one that is not has failed.
    fn take_beside(&mut self) -> Result<PgSession> {
        if let Some(session) = self.beside.take() {
            return Ok(session);
        }
        let session = source::connect_watching(&self.link, "follow receive")?;
        if self.cut_at.take().is_some() {
            self.came_back = Some(Instant::now());
        }
        Ok(session)
    }

    /// Looks at the publications.
    fn look_at_source(&mut self) -> Result<()> {
        if self.publications.is_none() {
            return Ok(());
        }
        let mut session = self.take_beside()?;
        if let Some((names, recorded)) = &self.publications {
            publication::check(&mut session, names, recorded)?;
            selection::refuse_unpublished(&mut session, names, self.behind.tables())?;
        }
        self.beside = Some(session);
        Ok(())
    }

    /// Whether the standby that is followed was promoted, or goes on with another timeline: the stream
    /// itself holds and does not tell.
    fn is_other_timeline(&mut self, before: Tli) -> Result<bool> {
        let mut session = self.take_beside()?;
        let row = session.query_one(
            "select not pg_catalog.pg_is_in_recovery() or timeline_id::int8 > $1 \
               from pg_catalog.pg_control_checkpoint()",
            &[&i64::from(before)],
        )?;
        self.beside = Some(session);
        Ok(row.get(0))
    }

    /// Looks at the source now and then. Gives whether the connection is to be made anew.
    fn look_now_and_then(&mut self) -> Result<bool> {
        // The stream itself will tell when the source is away.
        let is_of_source = |error: &Error| error.is_transient() || error.sqlstate().is_some();
        if self.source_at.elapsed() >= SOURCE_EVERY {
            self.source_at = Instant::now();
            match self.look_at_source() {
                Err(error) if is_of_source(&error) => log::debug!("{error}"),
                looked => looked?,
            }
        }
        if let Some(before) = self.standby_tli
            && self.standby_at.elapsed() >= STANDBY_EVERY
        {
            self.standby_at = Instant::now();
            match self.is_other_timeline(before) {
                Ok(false) => {}
                Ok(true) => {
                    log::info!("The source is on another timeline now: connecting anew");
                    return Ok(true);
                }
                Err(error) if is_of_source(&error) => log::debug!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// A last look at the publications before the end is called reached. The source may be away by then.
    pub(super) fn look_at_end(&mut self) -> Result<()> {
        let compared = self.take_beside().and_then(|mut session| {
            self.behind.compare_at_end(&mut session, &mut self.ledger)?;
            self.beside = Some(session);
            Ok(())
        });
        if let Err(error) = compared {
            log::debug!("{error}");
        }
        self.behind.refuse_misled()?;
        match self.look_at_source() {
            Err(error) if !error.is_transient() && error.sqlstate().is_none() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Beside for Watch {
    fn look(&mut self, store: &Store) -> Result<Look> {
        if let Err(error) = self.read_sentinel() {
            log::debug!("{error}");
        }
        self.tell(store);
        let mut is_full = false;
        let received = store.received_bytes();
        if self.warned_scarce
            || received.saturating_sub(self.spaced_bytes) >= self.step()
            || self
                .space_at
                .is_none_or(|last| last.elapsed() >= SPACE_EVERY)
        {
            (self.space_at, self.spaced_bytes) = (Some(Instant::now()), received);
            is_full = self.look_at_space(Some(store))? && !self.lags();
        }
        let begun = Instant::now();
        let mut renew = self.look_now_and_then()?;
        if self.behind.is_due() {
            let session = self.take_beside();
            let noted = session.and_then(|mut session| {
                self.behind.note(&mut session, &mut self.ledger)?;
                Ok(session)
            });
            match noted {
                Ok(session) => self.beside = Some(session),
                Err(error) => log::debug!("{error}"),
            }
        }
        self.behind.refuse_misled()?;
        if self.beside.is_none() && begun.elapsed() >= CUT_AFTER {
            self.cut_at = Some(begun);
        }
        self.behind.report(&self.ledger, self.endpos);
        renew |= self.outlet.as_ref().is_some_and(Outlet::is_broken);
        Ok(Look {
            endpos: self.endpos,
            replayed: self.replayed,
            is_full,
            lags: self.lags(),
            step: self.step(),
            came_back: self.came_back.take(),
            renew,
            pruned: self.pruned(),
        })
    }

    fn flushed(&mut self, store: &Store) {
        if let Some(outlet) = &self.outlet {
            outlet.allow(store.place());
        }
    }
}
