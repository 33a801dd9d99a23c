//! The threads that read rows: as many on each side, each with a session in the side's snapshot.
//!
//! Runs in the main program, which forks nothing meanwhile. Each side has a list of its own, read from
//! its largest piece on; the two need not be at the same table. A piece that fails says so and the
//! others go on; a lost server or snapshot ends all.

use super::chunk::Chunk;
use super::rows::{RowSum, Summing};
use super::server::Server;
use crate::error::{Context, Error, Result};
use crate::pg::{Canceller, Link, Profile, Registration, Retry, Token, WireSession, quote, retry};
use crate::units::Side;
use crossbeam_channel::Receiver;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes taken from the socket at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// How often a piece is begun whose connection broke.
const TRIES: u32 = 3;

/// What every thread of a side needs.
pub(super) struct Reading<'a> {
    link: Link,
    snapshot: String,
    profile: Profile,
    canceller: &'a Canceller,
    /// Set when all must end.
    stop: &'a AtomicBool,
}

impl<'a> Reading<'a> {
    /// `encoding` is the same on both sides.
    pub(super) fn new(
        server: &Server,
        encoding: &str,
        canceller: &'a Canceller,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            link: server.link.clone(),
            snapshot: server.snapshot.clone(),
            profile: Profile::SourceCopy {
                encoding: encoding.to_owned(),
            },
            canceller,
            stop,
        }
    }

    fn side(&self) -> Side {
        self.link.side
    }

    fn session(&self) -> Result<(WireSession, Registration)> {
        let mut wire = self.link.wire("compare data", &self.profile)?;
        let token = Token::Wire(wire.session.cancel_token()?);
        let registration = self.canceller.register(token);
        wire.session
            .simple("begin isolation level repeatable read, read only")?;
        let adopt = format!(
            "set transaction snapshot {}",
            quote::literal(&self.snapshot)
        );
        wire.session.simple(&adopt).map_err(|error| {
            crate::snapshot::explain(&self.snapshot, error)
                .hint("Repeat the comparison: it writes nothing.")
        })?;
        Ok((wire, registration))
    }
}

/// What becomes of a piece: the side, the position of its table, its sum.
pub(super) type Tell<'a> = dyn Fn(Side, usize, Result<RowSum>) + Sync + 'a;

/// Reads all pieces of both sides with up to `jobs` sessions on each. Blocks. The error is what ended
/// all of it; what fails a single piece is told.
pub(super) fn run(sides: Vec<(Reading<'_>, Vec<Chunk>)>, jobs: u32, tell: &Tell<'_>) -> Result<()> {
    let first: Mutex<Option<Error>> = Mutex::new(None);
    let lists: Vec<(Reading<'_>, Receiver<Chunk>)> = sides
        .into_iter()
        .map(|(reading, chunks)| Ok((reading, largest_first(chunks)?)))
        .collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        for (reading, list) in &lists {
            let threads = usize::try_from(jobs).unwrap_or(1).min(list.len());
            for _ in 0..threads {
                let first = &first;
                scope.spawn(move || {
                    if let Err(error) = work(reading, list, tell) {
                        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(error);
                        reading.stop.store(true, Ordering::SeqCst);
                    }
                });
            }
        }
    });
    let first = first.into_inner().unwrap_or_else(PoisonError::into_inner);
    first.map_or(Ok(()), Err)
}

/// A channel that holds all pieces already, and ends with the last one.
fn largest_first(mut chunks: Vec<Chunk>) -> Result<Receiver<Chunk>> {
    chunks.sort_by_key(|chunk| std::cmp::Reverse(chunk.bytes));
    let (sender, receiver) = crossbeam_channel::bounded(chunks.len());
    for chunk in chunks {
        // There is room for all of them.
        sender
            .try_send(chunk)
            .map_err(|error| Error::internal(format!("could not list a piece: {error}")))?;
    }
    Ok(receiver)
}

/// One thread: piece after piece until there is none.
fn work(reading: &Reading<'_>, list: &Receiver<Chunk>, tell: &Tell<'_>) -> Result<()> {
    let mut session = None;
    for chunk in list {
        let mut tries = 0;
        let result = loop {
            if reading.stop.load(Ordering::SeqCst) {
                // Whoever set it has the reason.
                return Ok(());
            }
            tries += 1;
            let result = read(reading, &mut session, &chunk);
            let Err(error) = result else {
                break result;
            };
            // A failed statement ends the transaction, and the snapshot with it.
            session = None;
            let again = retry::policy(&error) != Retry::Never && tries < TRIES;
            if !again && is_of_all(&error) {
                return Err(error);
            }
            if !again {
                break Err(error);
            }
            log::warn!("Reading a table again: {error}");
        };
        tell(reading.side(), chunk.table, result);
    }
    Ok(())
}

/// Whether an error is of the server or the snapshot, so that no other piece can be read either.
fn is_of_all(error: &Error) -> bool {
    error.is_snapshot_lost() || retry::policy(error) != Retry::Never
}

fn read(
    reading: &Reading<'_>,
    session: &mut Option<(WireSession, Registration)>,
    chunk: &Chunk,
) -> Result<RowSum> {
    if session.is_none() {
        *session = Some(reading.session()?);
    }
    let Some((wire, _)) = session else {
        return Err(Error::internal("a session is not there"));
    };
    let mut summing = Summing::new();
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    let mut copy = wire
        .session
        .copy_out(&chunk.sql)
        .context(|| format!("reading rows of the {}", reading.side()))?;
    loop {
        bytes.clear();
        let more = copy.read(&mut bytes, PIECE_BYTES)?;
        summing.feed(&bytes);
        if !more {
            break;
        }
    }
    let sent = copy.finish()?;
    summing.finish(sent)
}
