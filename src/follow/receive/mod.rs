//! Receiving: the source's stream of changes into JSON files, never confirming what is not on disk.
//!
//! Runs as a leaf: the process of `stream receive`, or one of a follow. Reads the source over a
//! replication connection, writes the JSON files, the transaction index and its columns of the
//! sentinel. It goes on after every loss of the connection, from the last complete transaction in
//! its files, and refuses what would leave a gap.
//!
//! ```text
//! recover -> connect -> stream --> endpos, stop: close the file
//!    ^                    |
//!    +--- wait <----------+  connection lost, no room
//! ```

mod behind;
mod connect;
mod line;
mod outlet;
mod recover;
mod space;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod timeline;
mod watch;

use super::decode::{Decoder, Encoding};
use super::files::{CdcDir, Plugin, SlotFile};
use super::json_line::Join;
use super::prune;
use super::source;
use super::source_table::SourceTables;
use super::txn_index::Place;
use crate::catalog::{CdcSetup, CdcStatus, Ledger, Sentinel};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::Link;
use crate::pg::retry::{self, RECONNECT_BUDGET, Retry};
use crate::sys::{clock, lock, notify};
use crate::units::Lsn;
use behind::Behind;
use connect::Connected;
use outlet::Outlet;
use recover::{Recovered, recover};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store::Store;
use stream::{Ended, Stream};
use timeline::Timelines;
use watch::Watch;

/// Title of the process and name of its sessions.
pub const TITLE: &str = "follow receive";
/// Waits between attempts: 1, 2, 4 … seconds.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A stream that held for so long was no failure, whatever came through it.
const HELD: Duration = Duration::from_secs(10);
/// How long a slot may be in use by another connection.
const BUSY_LIMIT: Duration = Duration::from_secs(90);
/// How often the same error at the same place is taken for an accident.
const SAME_ERROR_MAX: u32 = 3;
/// Where everything received is applied and there is still no room, it will not come by itself.
const HOPELESS_AFTER: Duration = Duration::from_secs(60);

/// Files of applied changes are removed so often while there is no room.
const PRUNE_EVERY: Duration = Duration::from_secs(2);

/// What to receive and where to.
#[derive(Clone, Debug)]
pub struct ReceiveSettings {
    /// How to reach the source.
    pub link: Link,
    /// The folder of change data.
    pub cdc: CdcDir,
    /// The ledger.
    pub ledger: PathBuf,
    /// Where to stop, when it was given; it goes into the sentinel.
    pub endpos: Option<Lsn>,
    /// Lines go to standard output, too.
    pub to_stdout: bool,
    /// Most bytes of change data.
    pub max_cdc_size: Option<u64>,
}

/// How receiving came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything up to this endpos is received.
    Endpos(Lsn),
    /// It was asked to stop.
    Stopped,
}

/// Receives until the endpos of the sentinel is reached or `stop` says so. Blocks.
pub fn run(settings: &ReceiveSettings, stop: &dyn Fn() -> bool) -> Result<Outcome> {
    let cdc = &settings.cdc;
    let slot = cdc.read_slot()?.ok_or_else(|| {
        Error::bad_state(format!("no file \"{}\"", cdc.slot().display()))
            .hint("Run \"pgcopydb stream setup\" in this work directory first.")
    })?;
    let _lock = lock::try_lock(&cdc.receive_lock())?.ok_or_else(|| {
        Error::bad_state(format!(
            "another process receives into \"{}\" already",
            cdc.top().display()
        ))
        .hint("Wait for it, or stop it.")
    })?;
    let mut ledger = Ledger::open(&settings.ledger)?;
    set_endpos(&mut ledger, settings.endpos)?;
    let tables = SourceTables::load_filtered(cdc.top(), &ledger)?;
    let left_out = tables.left_out();
    let mut watch = Watch::new(
        cdc.clone(),
        Behind::of(slot.slot.clone(), slot.plugin, tables),
        ledger,
        source::watching(&settings.link),
    );
    watch.most = settings.max_cdc_size;
    watch.read_sentinel()?;
    Receiver {
        settings,
        slot,
        left_out,
        watch,
        stop,
        last_contact: Instant::now(),
        failures: 0,
        same_error: None,
        unfit: None,
    }
    .run()
}

/// Stores an endpos that was given.
fn set_endpos(ledger: &mut Ledger, given: Option<Lsn>) -> Result<()> {
    let Some(endpos) = given else {
        return Ok(());
    };
    let before = Sentinel::set_endpos(ledger, endpos)?;
    if before.is_set() && before != endpos {
        log::warn!("Sentinel endpos was {before} and is now updated to --endpos option {endpos}");
    }
    log::info!("Streaming is setup to end at LSN {endpos}");
    Ok(())
}

/// The loop over connections.
struct Receiver<'a> {
    settings: &'a ReceiveSettings,
    slot: SlotFile,
    /// Schema and name of the tables that filters leave out.
    left_out: Vec<(String, String)>,
    watch: Watch,
    stop: &'a dyn Fn() -> bool,
    last_contact: Instant,
    failures: u32,
    /// The last error of the server, where it came, and how often.
    same_error: Option<(String, Lsn, u32)>,
    /// The transaction that there was no room for, its bytes so far, and where the one before it ends. It comes
    /// again: where there is still none for what is received before it, waiting helps no more than within it.
    unfit: Option<(u32, u64, Lsn)>,
}

impl Receiver<'_> {
    fn run(mut self) -> Result<Outcome> {
        loop {
            let found = recover(&self.settings.cdc)?;
            if let Some(outcome) = self.nothing_to_do(&found)? {
                return Ok(outcome);
            }
            let start = if found.boundary.is_set() {
                found.boundary
            } else {
                self.slot.lsn
            };
            let ended = match self.connect(&found, start) {
                Ok(connected) => self.stream(connected, &found, start),
                Err(error) => Err(error),
            };
            match ended {
                Ok(Ended::Endpos(endpos)) => return Ok(Outcome::Endpos(endpos)),
                Ok(Ended::Stopped) => return Ok(Outcome::Stopped),
                Ok(Ended::Full) => {
                    if !self.wait_for_room(self.unfit)? {
                        return Ok(Outcome::Stopped);
                    }
                }
                Ok(Ended::Renew) if self.outlet_is_broken() => {
                    return Err(
                        Error::bad_state("the reader of standard output is gone").hint(
                            "All that was received is in the files; start again with --resume.",
                        ),
                    );
                }
                Ok(Ended::Renew) => {}
                Ok(Ended::ByServer) => {
                    log::info!("The source ended the stream, reconnecting in 1s");
                }
                Err(_) if (self.stop)() => return Ok(Outcome::Stopped),
                Err(error) => self.judge(error, start)?,
            }
            if matches!(self.pause(), Outcome::Stopped) {
                return Ok(Outcome::Stopped);
            }
        }
    }

    fn outlet_is_broken(&self) -> bool {
        self.watch.outlet.as_ref().is_some_and(Outlet::is_broken)
    }

    /// Waits before the next attempt, longer each time.
    fn pause(&mut self) -> Outcome {
        let seconds = 1_u64 << self.failures.saturating_sub(1).min(5);
        let end = Instant::now() + Duration::from_secs(seconds).min(WAIT_MAX);
        while Instant::now() < end {
            if (self.stop)() {
                return Outcome::Stopped;
            }
            clock::nap(Duration::from_millis(50));
        }
        Outcome::Endpos(Lsn::UNSET)
    }

    /// What is asked for may be in the files already.
    fn nothing_to_do(&mut self, found: &Recovered) -> Result<Option<Outcome>> {
        self.watch.read_sentinel()?;
        let endpos = self.watch.endpos;
        let reached = found.ended_at.is_some_and(|ended| ended >= endpos);
        let start = found.boundary.max(self.slot.lsn);
        if !endpos.is_set() || !(reached || start >= endpos) {
            return Ok(None);
        }
        let Some((tli, segment_size)) = self.settings.cdc.naming()? else {
            return Ok(None);
        };
        self.look_at_publications()?;
        let mut store = Store::new(
            self.settings.cdc.clone(),
            Timelines::only(tli),
            segment_size,
            found,
            start,
        );
        if reached {
            // A run that was killed may have left the file open.
            store.close_left_over()?;
        } else {
            // Those who read the files stop at this line.
            store.end(endpos)?;
            store.close()?;
        }
        self.watch.tell_through(&store, endpos);
        log::info!("Everything up to endpos {endpos} was received before, up to {start}");
        Ok(Some(Outcome::Endpos(endpos)))
    }

    /// What was received before counts as all there is only where the publications had all of it.
    fn look_at_publications(&mut self) -> Result<()> {
        let recorded = CdcSetup::get(self.watch.ledger.connection(), "publications")?;
        match recorded.filter(|_| self.slot.plugin == Plugin::Pgoutput) {
            Some(recorded) => {
                self.watch.publications = Some((self.slot.publications.clone(), recorded));
                self.watch.look_at_end()
            }
            None => Ok(()),
        }
    }

    /// Streams over a connection until something ends it.
    fn stream(&mut self, connected: Connected, found: &Recovered, start: Lsn) -> Result<Ended> {
        let cdc = self.settings.cdc.clone();
        if self.watch.look_at_space(None)? {
            return Ok(Ended::Full);
        }
        let Connected {
            session,
            facts,
            timelines,
            segment_size,
        } = connected;
        let encoding = encoding(self.slot.plugin, &facts.encoding)?;
        self.announce(found, start)?;
        self.open_outlet(found, start, segment_size, timelines.current)?;
        let backend = session.backend_pid();
        CdcStatus::set_receive_backend(&mut self.watch.ledger, backend)?;
        let copy = session
            .copy_both(&source::start_command(&self.slot, start, &self.left_out))
            .map_err(|error| explain_start(error, &self.slot))?;
        notify::tell("READY=1\nSTATUS=Changes are being received");
        let mut store = Store::new(cdc, timelines, segment_size, found, start);
        let mut stream = Stream::new(
            copy,
            Decoder::new(self.slot.plugin, encoding),
            &mut store,
            self.stop,
        );
        stream.sender_timeout = facts.sender_timeout;
        stream.is_synchronous = self.is_synchronous(backend);
        let begun = Instant::now();
        let result = stream.run(&mut self.watch);
        // A quiet source sends nothing for long: a stream that held is a success, too.
        if begun.elapsed() >= HELD {
            self.failures = 0;
        }
        self.after_stream(result, &mut store)
    }

    /// Leaves the files in order after a stream, and tells what it came to.
    fn after_stream(&mut self, result: Result<Ended>, store: &mut Store) -> Result<Ended> {
        self.last_contact = Instant::now();
        if store.transactions > 0 {
            self.failures = 0;
            self.unfit = None;
        }
        let result = match result {
            Err(_) if store.is_full() => Ok(Ended::Full),
            other => other,
        };
        match &result {
            Ok(Ended::Endpos(endpos)) => {
                store.close()?;
                self.watch.look_at_end()?;
                self.watch.tell_through(store, *endpos);
                log::info!(
                    "Streamed up to write_lsn {}, flush_lsn {}, stopping: endpos is {endpos}",
                    store.boundary(),
                    store.safe()
                );
            }
            Ok(Ended::Stopped) => {
                store.close()?;
                self.watch.tell(store);
                log::info!(
                    "Streamed up to write_lsn {}, flush_lsn {}, stopping",
                    store.boundary(),
                    store.safe()
                );
            }
            Ok(Ended::Full) => {
                if let Some((xid, bytes)) = store.open_transaction() {
                    self.unfit = Some((xid, bytes, store.boundary()));
                    return self.wait_for_room(self.unfit).map(|goes_on| {
                        if goes_on {
                            Ended::Renew
                        } else {
                            Ended::Stopped
                        }
                    });
                }
            }
            Ok(Ended::ByServer | Ended::Renew) => {}
            Err(_) => {
                // What is complete goes on disk; what is not comes again.
                store.void().and_then(|()| store.sync())?;
                self.watch.tell(store);
                log::warn!(
                    "Streaming got interrupted at {} after {} transactions",
                    store.boundary(),
                    store.transactions
                );
            }
        }
        if let (Ok(Ended::Endpos(_) | Ended::Stopped), Some(outlet)) =
            (&result, self.watch.outlet.take())
        {
            outlet.finish(self.stop);
        }
        result
    }

    fn announce(&mut self, found: &Recovered, start: Lsn) -> Result<()> {
        match found.newest {
            Some(name) => log::info!(
                "Resuming streaming at LSN {start} from JSON file \"{}\"",
                self.settings.cdc.json(name).display()
            ),
            None => log::info!(
                "Resuming streaming at LSN {start} from replication slot \"{}\"",
                self.slot.slot
            ),
        }
        self.watch.read_sentinel()
    }

    fn open_outlet(
        &mut self,
        found: &Recovered,
        start: Lsn,
        segment_size: u64,
        tli: u32,
    ) -> Result<()> {
        if !self.settings.to_stdout || self.watch.outlet.is_some() {
            return Ok(());
        }
        let cdc = &self.settings.cdc;
        let mut from = None;
        if let Some(segment) = cdc.segments()?.last() {
            let bytes = if segment.is_partial() {
                segment.partial
            } else {
                segment.closed
            };
            from = Some(Place {
                segment: segment.name,
                offset: bytes.unwrap_or(0),
            });
        }
        let name = found
            .newest
            .unwrap_or_else(|| super::files::SegmentName::of(tli, start, segment_size));
        let join = Join {
            file: format!("{name}.json"),
            offset: from.map_or(0, |place| place.offset),
            tli,
            wal_segment_size: segment_size,
        };
        self.watch.outlet = Some(Outlet::start(
            cdc.clone(),
            from,
            (start, join),
            Box::new(std::io::stdout()),
        )?);
        Ok(())
    }

    /// Whether commits on the source wait for our confirmation.
    fn is_synchronous(&mut self, backend: i32) -> bool {
        let Some(session) = &mut self.watch.beside else {
            return false;
        };
        let row = session.query_opt(
            "select sync_state in ('sync', 'quorum') from pg_catalog.pg_stat_replication where pid = $1",
            &[&backend],
        );
        let is = row
            .ok()
            .flatten()
            .and_then(|row| row.get::<_, Option<bool>>(0))
            .unwrap_or(false);
        if is {
            log::warn!(
                "synchronous_standby_names of the source names us: its commits wait for our disk"
            );
        }
        is
    }

    /// Waits until there is room again; false: asked to stop meanwhile.
    fn wait_for_room(&mut self, open: Option<(u32, u64, Lsn)>) -> Result<bool> {
        let since = Instant::now();
        let (mut told, mut pruned): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            if (self.stop)() {
                return Ok(false);
            }
            if pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY) {
                pruned = Some(Instant::now());
                prune::clear_away(&self.settings.cdc, &mut self.watch.ledger);
            }
            if !self.watch.look_at_space(None)? {
                log::info!("There is room again, receiving goes on");
                return Ok(true);
            }
            if told.is_none_or(|last| last.elapsed() >= Duration::from_secs(60)) {
                told = Some(Instant::now());
                log::warn!(
                    "Receiving pauses for want of room in \"{}\": {}",
                    self.settings.cdc.top().display(),
                    self.watch.shortage.as_deref().unwrap_or("the disk is full")
                );
            }
            let _ignored = self.watch.read_sentinel();
            if let Some((xid, bytes, boundary)) = open
                && self.watch.replayed >= boundary
                && since.elapsed() >= HOPELESS_AFTER
            {
                return Err(space::too_large(&self.settings.cdc, xid, bytes));
            }
            clock::nap(Duration::from_millis(500));
        }
    }

    /// Decides whether another attempt can help. `at`: where the stream was started.
    fn judge(&mut self, error: Error, at: Lsn) -> Result<()> {
        self.failures = self.failures.saturating_add(1);
        let out_of_time = self.last_contact.elapsed() >= RECONNECT_BUDGET;
        if retry::policy(&error) != Retry::Never && !out_of_time {
            log::warn!("{error}");
            log::info!("Streaming got interrupted at {at}, reconnecting");
            return Ok(());
        }
        let is_decoding = matches!(error.sqlstate(), Some(code) if !is_final(code));
        if !is_decoding || out_of_time {
            return Err(error);
        }
        // Each connection has a backend of its own, which the message begins with.
        let told = error.message();
        let told = told.split_once("] ").map_or(told, |(_, rest)| rest);
        let count = match &self.same_error {
            Some((message, place, count)) if message == told && *place == at => count + 1,
            _ => 1,
        };
        if count >= SAME_ERROR_MAX {
            return Err(error
                .context(format!(
                    "the source failed {count} times to decode its changes at {at}"
                ))
                .hint(
                    "This replication slot can never go on: begin a new migration with \
                     \"pgcopydb stream cleanup\" and a new copy.",
                ));
        }
        self.same_error = Some((told.to_owned(), at, count));
        log::warn!("{error}");
        Ok(())
    }
}

/// Errors that another attempt at the same place cannot mend: something is missing or forbidden.
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "58P01" | "55000" | "42704" | "42601" | "3D000" | "22023" | "0A000"
    ) || code.starts_with("28")
        || code.starts_with("42")
}

fn explain_start(error: Error, slot: &SlotFile) -> Error {
    let hint = match error.sqlstate() {
        Some("42704") => {
            "The slot was dropped: changes since then are lost. Begin a new migration."
        }
        _ if error.message().contains("is unknown") && slot.plugin == Plugin::Wal2json => {
            "This version of wal2json does not know an option; numbers as strings need wal2json 2.6."
        }
        _ => return error,
    };
    error
        .context(format!(
            "starting the stream of replication slot \"{}\"",
            slot.slot
        ))
        .hint(hint)
}

/// How the plugin's text is encoded.
fn encoding(plugin: Plugin, server: &str) -> Result<Encoding> {
    match (plugin, server) {
        (Plugin::Pgoutput, _) | (_, "UTF8" | "SQL_ASCII") => Ok(Encoding::Utf8),
        (_, "LATIN1") => Ok(Encoding::Latin1),
        _ => Err(Error::new(
            Kind::Source,
            format!(
                "{} sends text in encoding {server}, which is not supported",
                plugin.name()
            ),
        )
        .hint("Use --plugin pgoutput, which converts to UTF-8.")),
    }
    .context(|| "looking at the encoding of the source".to_owned())
}
