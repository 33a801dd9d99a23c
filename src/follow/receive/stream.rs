//! One connection's stream: messages to lines, feedback to the server, the end that was asked for.
//!
//! Runs in the receive process. Nothing is confirmed that is not on disk, and only positions that the
//! stream has shown to be boundaries between transactions. Where to stop is an `endpos`: all
//! transactions that end up to there are received, none that ends later.
//!
//! ```text
//! w  i64 start  i64 end of WAL  i64 time  message      k  i64 end of WAL  i64 time  u8 reply requested
//! r  i64 write  i64 flush  i64 apply  i64 time  u8 reply requested                   (to the server)
//! ```

use super::line::{Facts, Line, head_of, line_of};
use super::store::Store;
use crate::error::{Error, Kind, Result};
use crate::follow::decode::Decoder;
use crate::follow::json_line::{Action, timestamp_text};
use crate::sys::clock;
use crate::units::Lsn;
use crate::wire::{CopyBoth, Read};
use std::time::{Duration, Instant};

/// Lines are put on disk, and confirmed, so often at least.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Longest time between two feedbacks.
const FEEDBACK_MAX: Duration = Duration::from_secs(10);
/// The sentinel is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The stream is left unread for so long at most: a source that shuts down waits for its end.
const HELD_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at the clock meanwhile.
const HELD_NAP: Duration = Duration::from_millis(50);
/// Longest wait for a message before flags are looked at.
const WAIT: Duration = Duration::from_millis(100);
/// A server that is asked and says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// The same where the network was away, and is there again: what was sent meanwhile may be repeated much later.
const SILENCE_AFTER_CUT: Duration = Duration::from_secs(3);
/// Where nothing else is written, a K line is so often.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// A buffer that grew larger is given back.
const SCRATCH_BYTES: usize = 1 << 20;
/// Microseconds from 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Why a stream ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Everything up to this endpos is received.
    Endpos(Lsn),
    /// This process was asked to stop.
    Stopped,
    /// There is no room for more, or there will not be soon.
    Full,
    /// The server ended the stream.
    ByServer,
    /// Something that was looked at beside the stream asks for a new connection.
    Renew,
}

/// What the stream asks of the rest of the process while it runs: twice a second, and whenever so much was received that
/// room may get short.
pub(super) trait Beside {
    /// Tells how far it is; learns where to stop (unset: nowhere) and how far the target is.
    fn look(&mut self, store: &Store) -> Result<Look>;
    /// Lines were handed to the system: readers may take them.
    fn flushed(&mut self, store: &Store);
}

/// What was learnt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Where to stop.
    pub(super) endpos: Lsn,
    /// Applied on the target.
    pub(super) replayed: Lsn,
    /// There is no room for more.
    pub(super) is_full: bool,
    /// There is none until more is transformed.
    pub(super) lags: bool,
    /// Bytes that may be received before the next look.
    pub(super) step: u64,
    /// When a connection beside the stream, lost as no packet passed, could be made again.
    pub(super) came_back: Option<Instant>,
    /// The connection has to be made anew.
    pub(super) renew: bool,
    /// Files of what ends before this were removed; none where that was not looked at.
    pub(super) pruned: Option<Lsn>,
}

/// A stream under way.
pub(super) struct Stream<'a> {
    pub(super) copy: CopyBoth,
    pub(super) decoder: Decoder,
    pub(super) store: &'a mut Store,
    pub(super) stop: &'a dyn Fn() -> bool,
    /// The server waits for our confirmation at commit.
    pub(super) is_synchronous: bool,
    pub(super) sender_timeout: Option<Duration>,
    look: Look,
    /// End of WAL of the last keepalive.
    idle_at: Lsn,
    last_sync: Instant,
    last_feedback: Instant,
    last_look: Option<Instant>,
    /// Bytes that were received then.
    looked_bytes: u64,
    /// Since when the stream is left unread, for what is received to be transformed.
    held_since: Option<Instant>,
    last_heard: Instant,
    last_asked: Instant,
    /// Since when the network is there again.
    back_since: Option<Instant>,
    last_line: Instant,
    scratch: String,
    /// Messages read.
    pub(super) messages: u64,
}

fn short() -> Error {
    Error::new(
        Kind::Source,
        "the server sent a replication message that is too short",
    )
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or_else(short)?;
    *bytes = rest;
    Ok(*taken)
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        copy: CopyBoth,
        decoder: Decoder,
        store: &'a mut Store,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            copy,
            decoder,
            store,
            stop,
            is_synchronous: false,
            sender_timeout: None,
            look: Look::default(),
            idle_at: Lsn::UNSET,
            last_sync: now,
            last_feedback: now,
            last_look: None,
            looked_bytes: 0,
            held_since: None,
            last_heard: now,
            last_asked: now,
            back_since: None,
            last_line: now,
            scratch: String::new(),
            messages: 0,
        }
    }

    /// Reads until something ends it. On success the stream is ended in good order, and what is
    /// complete is on disk and confirmed. Blocks.
    pub(super) fn run(mut self, beside: &mut dyn Beside) -> Result<Ended> {
        let ended = self.read_on(beside)?;
        match &ended {
            Ended::Endpos(endpos) => self.store.end(*endpos)?,
            // Nothing can be written; what the files hold is looked through before the next start.
            Ended::Full => {
                self.copy.abandon();
                return Ok(ended);
            }
            Ended::Stopped | Ended::ByServer | Ended::Renew => self.store.void()?,
        }
        self.store.sync()?;
        beside.flushed(self.store);
        if !matches!(ended, Ended::ByServer) {
            // The position counts, not the manners: a server that is gone does not matter any more.
            let farewell = self.feedback(false);
            let finished = farewell.and_then(|()| self.copy.finish(Duration::from_secs(5)));
            if let Err(error) = finished {
                log::debug!("{error}");
            }
        }
        Ok(ended)
    }

    fn read_on(&mut self, beside: &mut dyn Beside) -> Result<Ended> {
        // The server knows where we are before anything else.
        self.feedback(false)?;
        loop {
            if let Some(ended) = self.look_around(beside)? {
                return Ok(ended);
            }
            if self.is_held() {
                self.store.flush()?;
                beside.flushed(self.store);
                clock::nap(HELD_NAP);
                continue;
            }
            let read = if self.copy.has_frame() {
                self.copy.read(Duration::ZERO)?
            } else {
                self.catch_breath(beside)?;
                self.copy.read(WAIT)?
            };
            match read {
                Read::Nothing => {}
                Read::End => return Ok(Ended::ByServer),
                Read::Frame(frame) => {
                    self.last_heard = Instant::now();
                    if let Some(ended) = self.frame(&frame)? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Whether the stream is left unread for a moment, as what is received is still to be transformed.
    /// Ending it would void a transaction that is open, whose first part then takes room for nothing.
    fn is_held(&mut self) -> bool {
        if !self.look.lags {
            self.held_since = None;
            return false;
        }
        let now = Instant::now();
        // It is our silence, not the source's.
        self.last_heard = now;
        let since = *self.held_since.get_or_insert(now);
        now - since < HELD_MAX
    }

    /// All that has arrived is worked off.
    fn catch_breath(&mut self, beside: &mut dyn Beside) -> Result<()> {
        self.store.flush()?;
        beside.flushed(self.store);
        let is_due = self.is_synchronous || self.last_sync.elapsed() >= SYNC_EVERY;
        if is_due && self.store.needs_sync() {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.last_sync = Instant::now();
        self.store.sync()?;
        self.feedback(false)
    }

    /// What is done by the clock.
    fn look_around(&mut self, beside: &mut dyn Beside) -> Result<Option<Ended>> {
        if (self.stop)() {
            return Ok(Some(Ended::Stopped));
        }
        let now = Instant::now();
        let received = self.store.received_bytes();
        if self.last_look.is_none_or(|last| now - last >= LOOK_EVERY)
            || received - self.looked_bytes >= self.look.step
        {
            (self.last_look, self.looked_bytes) = (Some(now), received);
            self.look = beside.look(self.store)?;
            if let Some(pruned) = self.look.pruned {
                self.store.prune_index(pruned);
            }
            let held_long = self.held_since.is_some_and(|since| now - since >= HELD_MAX);
            if self.look.is_full || (self.look.lags && held_long) {
                return Ok(Some(Ended::Full));
            }
            if self.look.renew {
                return Ok(Some(Ended::Renew));
            }
            if self.look.came_back.is_some() {
                self.back_since = self.look.came_back;
                self.feedback(true)?;
            }
            let known = self.idle_at.max(self.store.boundary());
            if self.look.endpos.is_set() && known >= self.look.endpos {
                return Ok(Some(Ended::Endpos(self.look.endpos)));
            }
        }
        if now - self.last_sync >= SYNC_EVERY && self.store.needs_sync() {
            self.sync()?;
            beside.flushed(self.store);
        }
        let every = self
            .sender_timeout
            .map_or(FEEDBACK_MAX, |timeout| FEEDBACK_MAX.min(timeout / 3));
        if now - self.last_feedback >= every {
            self.feedback(false)?;
        }
        // An idle server is asked where it is: soon when there is an end to reach, else to see that
        // it is still there.
        let quiet = now.saturating_duration_since(self.last_heard);
        if let Some(since) = self.back_since {
            if self.last_heard >= since {
                self.back_since = None;
            } else if now.saturating_duration_since(since) >= SILENCE_AFTER_CUT {
                log::info!("The source can be reached, and its stream is silent: connecting anew");
                return Ok(Some(Ended::Renew));
            }
        }
        let ask_every = if self.look.endpos.is_set() {
            SYNC_EVERY
        } else {
            FEEDBACK_MAX
        };
        if quiet >= ask_every && now - self.last_asked >= ask_every {
            self.last_asked = now;
            self.feedback(true)?;
        }
        if quiet >= SILENCE_MAX {
            return Err(Error::new(
                Kind::Source,
                format!("the source has said nothing for {} s", quiet.as_secs()),
            )
            .transient());
        }
        Ok(None)
    }

    fn feedback(&mut self, ask: bool) -> Result<()> {
        self.last_feedback = Instant::now();
        let safe = self.store.safe();
        let mut message = Vec::with_capacity(34);
        message.push(b'r');
        message.extend_from_slice(&self.store.boundary().0.to_be_bytes());
        message.extend_from_slice(&safe.0.to_be_bytes());
        message.extend_from_slice(&self.look.replayed.min(safe).0.to_be_bytes());
        let now = clock::epoch_ms().saturating_mul(1000) - EPOCH_MICROS;
        message.extend_from_slice(&now.to_be_bytes());
        message.push(u8::from(ask));
        self.copy.send(&message)
    }

    fn frame(&mut self, frame: &[u8]) -> Result<Option<Ended>> {
        let mut rest = frame;
        let [kind] = take(&mut rest)?;
        match kind {
            b'w' => {
                let start = Lsn(u64::from_be_bytes(take(&mut rest)?));
                let _end_of_wal: [u8; 8] = take(&mut rest)?;
                let time = i64::from_be_bytes(take(&mut rest)?);
                self.message(start, time, rest)
            }
            b'k' => {
                let end = Lsn(u64::from_be_bytes(take(&mut rest)?));
                let time = i64::from_be_bytes(take(&mut rest)?);
                let [asked] = take(&mut rest)?;
                self.keepalive(end, time, asked != 0)
            }
            other => Err(Error::new(
                Kind::Source,
                format!(
                    "the server sent a replication message of kind \"{}\"",
                    other.escape_ascii()
                ),
            )),
        }
    }

    fn keepalive(&mut self, end: Lsn, time: i64, asked: bool) -> Result<Option<Ended>> {
        let endpos = self.look.endpos;
        let is_end = endpos.is_set() && end >= endpos;
        self.idle_at = self.idle_at.max(end);
        let is_due = self.last_line.elapsed() >= KEEPALIVE_EVERY;
        if !self.store.is_open() && (asked || is_end || is_due) && end > self.store.boundary() {
            self.store.keepalive(end, &timestamp_text(time))?;
            self.last_line = Instant::now();
        }
        if is_end {
            return Ok(Some(Ended::Endpos(endpos)));
        }
        if asked {
            if self.store.needs_sync() {
                self.sync()?;
            } else {
                self.feedback(false)?;
            }
        }
        Ok(None)
    }

    /// Whether lines of this kind tell the transaction that is open; those of `test_decoding` never
    /// did for changes of rows.
    fn knows_xid(&self, action: Action) -> bool {
        action == Action::Commit || matches!(self.decoder, Decoder::Pgoutput(_))
    }

    fn message(&mut self, start: Lsn, time: i64, payload: &[u8]) -> Result<Option<Ended>> {
        let endpos = self.look.endpos;
        if endpos.is_set() && start > endpos {
            return Ok(Some(Ended::Endpos(endpos)));
        }
        self.messages += 1;
        let Some(decoded) = self.decoder.decode(payload, &mut self.scratch)? else {
            return Ok(None);
        };
        if decoded.action == Action::Message {
            // Nobody applies it; without it a transaction of nothing else stays an empty one.
            return Ok(None);
        }
        let facts = Facts {
            lsn: start,
            xid: decoded.xid.unwrap_or(0),
            commit_lsn: decoded.commit_lsn.unwrap_or_default(),
            commit_time: decoded.commit_time.unwrap_or(0),
        };
        let timestamp = timestamp_text(decoded.commit_time.unwrap_or(time));
        let xid = match self.store.open_transaction() {
            Some((xid, _)) if facts.xid == 0 && self.knows_xid(decoded.action) => xid,
            _ => facts.xid,
        };
        let facts = Facts { xid, ..facts };
        let line = || {
            line_of(
                decoded.action,
                facts,
                decoded.end_lsn,
                &timestamp,
                &self.scratch,
            )
        };
        match decoded.action {
            Action::Begin => self.store.begin(facts, line())?,
            Action::Commit => {
                self.store.commit(facts, &line(), &timestamp)?;
                self.idle_at = self.idle_at.max(start);
            }
            action => {
                let head = head_of(action, facts, &timestamp);
                let line = Line {
                    head: &head,
                    message: &self.scratch,
                };
                self.store.inside(start, line, action.is_change())?;
            }
        }
        if self.scratch.capacity() > SCRATCH_BYTES {
            self.scratch = String::new();
        }
        self.last_line = Instant::now();
        if endpos.is_set() && start == endpos {
            return Ok(Some(Ended::Endpos(endpos)));
        }
        Ok(None)
    }
}
