//! `COPY … FROM STDIN`: payload sent as `CopyData` frames.
//!
//! Runs in copy workers. Writes the socket; looks for an early `E` between frames, so that a target
//! that failed is not fed for hours. After an early error the server ignores the frames under way.
//!
//! ```text
//! Q -> G, then d* c -> C Z | E Z        d* f -> E Z        (E Z at any point)
//! ```

use super::frame::HEADER_BYTES;
use super::session::Session;
use crate::error::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::message::frontend;

/// Payloads shorter than this are gathered instead of written one by one.
const SMALL_BYTES: usize = 16 * 1024;
/// How much is gathered before it is written.
const GATHER_BYTES: usize = 64 * 1024;
/// The target is looked at after so many bytes.
const LOOK_BYTES: usize = 256 * 1024;
/// Longest payload of a frame of ours: the server refuses messages of a gigabyte and more.
const FRAME_MAX: usize = 64 * 1024 * 1024;

/// A running `COPY FROM STDIN`. Dropped before [`CopyIn::finish`] or [`CopyIn::fail`] it breaks the
/// session, and the server aborts the statement when the connection ends.
#[derive(Debug)]
pub struct CopyIn<'a> {
    pub(super) session: &'a mut Session,
    pub(super) sql: String,
    pub(super) gathered: Vec<u8>,
    since_look: usize,
    pub(super) settled: bool,
    /// The query has several COPYs: their ends arrive in between.
    pub(super) is_many: bool,
    /// Row counts of those that have ended.
    pub(super) counts: Vec<u64>,
}

impl Session {
    /// Starts `COPY … FROM STDIN` and waits for the server's consent.
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.send_query(sql)?;
        let (tag, body) = self.receive()?;
        match tag {
            b'G' => {}
            b'E' => return Err(self.failed(&body, Some(sql))),
            other => return Err(self.unexpected(other, "in place of the start of COPY FROM")),
        }
        Ok(CopyIn::begun(self, sql))
    }
}

/// Tag and length of a `CopyData` frame.
fn header(length: usize) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(length + 4).unwrap_or(u32::MAX).to_be_bytes();
    [b'd', length[0], length[1], length[2], length[3]]
}

impl<'a> CopyIn<'a> {
    /// A COPY that the server has begun.
    pub(super) fn begun(session: &'a mut Session, sql: &str) -> Self {
        Self {
            session,
            sql: sql.to_owned(),
            gathered: Vec::with_capacity(GATHER_BYTES + SMALL_BYTES + HEADER_BYTES),
            since_look: 0,
            settled: false,
            is_many: false,
            counts: Vec::new(),
        }
    }
}

impl CopyIn<'_> {
    /// Sends a payload as one frame (as several beyond 64 MB). The server does not care where frames
    /// end. Small payloads are gathered; large ones are not copied. Fails with the server's error
    /// when it has given up already; the session can then be used again.
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        for piece in payload.chunks(FRAME_MAX) {
            self.since_look += piece.len();
            if self.since_look >= LOOK_BYTES {
                self.since_look = 0;
                self.look()?;
            }
            let head = header(piece.len());
            if piece.len() < SMALL_BYTES {
                self.gathered.extend_from_slice(&head);
                self.gathered.extend_from_slice(piece);
                if self.gathered.len() >= GATHER_BYTES {
                    self.flush(&[])?;
                }
            } else {
                // Over TLS a header alone would cost a record: it takes a part of the payload along.
                let with_head = if self.session.tls().is_some() {
                    SMALL_BYTES / 2
                } else {
                    0
                };
                let (first, rest) = piece.split_at(with_head);
                self.gathered.extend_from_slice(&head);
                self.gathered.extend_from_slice(first);
                self.flush(rest)?;
            }
        }
        Ok(())
    }

    /// Writes what was gathered, and `payload` behind it.
    pub(super) fn flush(&mut self, payload: &[u8]) -> Result<()> {
        let written = self.session.link.write(&self.gathered, payload);
        self.gathered.clear();
        written.map_err(|trouble| {
            self.settled = true;
            let error = self.session.last_words(&trouble);
            if error.sqlstate().is_some() {
                error.with_query(&self.sql)
            } else {
                error
            }
        })
    }

    /// Looks, without waiting, whether the server has given up.
    pub(super) fn look(&mut self) -> Result<()> {
        if let Err(trouble) = self.session.link.try_fill()
            && self.session.link.unread().is_empty()
        {
            self.settled = true;
            return Err(self.session.lost(&trouble));
        }
        loop {
            match self.session.link.has_message() {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(trouble) => return Err(self.session.lost(&trouble)),
            }
            let taken = self.session.link.message();
            let (tag, body) = taken.map_err(|trouble| self.session.lost(&trouble))?;
            if self.session.absorb(tag, &body)? || self.in_between(tag, &body)? {
                continue;
            }
            self.settled = true;
            return Err(match tag {
                b'E' => self.session.failed(&body, Some(&self.sql)),
                other => self.session.unexpected(other, "in COPY FROM"),
            });
        }
    }

    /// Ends the data, waits for the server's verdict and gives the row count.
    pub fn finish(mut self) -> Result<u64> {
        self.look()?;
        let mut end = BytesMut::new();
        frontend::copy_done(&mut end);
        self.flush(&end)?;
        self.settled = true;
        self.session.end_of_copy(&self.sql)
    }

    /// Makes the statement fail on the server; the session can then be used again. An error says
    /// that the connection was lost.
    pub fn fail(mut self, reason: &str) -> Result<()> {
        self.gathered.clear();
        // An error that has come already ends the statement, which is what is wanted.
        if self.look().is_ok() {
            let mut end = BytesMut::new();
            frontend::copy_fail(&reason.replace('\0', " "), &mut end)
                .map_err(|error| Error::internal(format!("could not encode CopyFail: {error}")))?;
            self.flush(&end)?;
            self.settled = true;
            self.session.drain();
        }
        self.session.check()
    }
}

impl Drop for CopyIn<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.session.broken = true;
        }
    }
}
