//! COPY both ways: the stream of a replication connection.
//!
//! Runs in the receive process. Reads and writes the socket. The stop flag ends none of its waits, as
//! the stream has to be ended in good order; every wait has a limit instead.
//!
//! ```text
//! Q START_REPLICATION … -> W, then d* both ways, c both ways, C* Z        (E Z at any point)
//! ```

use super::frame::HEADER_BYTES;
use super::message::Trouble;
use super::session::Session;
use crate::error::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::time::{Duration, Instant};

/// Longest silence in the middle of a long message.
const PIECE_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for the socket to take what is sent.
const SEND_LIMIT: Duration = Duration::from_secs(60);

/// A running COPY both ways, with its session.
#[derive(Debug)]
pub struct CopyBoth {
    session: Session,
    sql: String,
    /// The server has sent its `CopyDone`.
    ended: bool,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The payload of a frame.
    Frame(Vec<u8>),
    /// Nothing within the limit.
    Nothing,
    /// The server ended the stream.
    End,
}

impl Session {
    /// Starts COPY both ways with a command such as `START_REPLICATION`. The session is used up.
    pub fn copy_both(mut self, sql: &str) -> Result<CopyBoth> {
        self.send_query(sql)?;
        let (tag, body) = self.receive()?;
        match tag {
            b'W' => {}
            b'E' => return Err(self.failed(&body, Some(sql))),
            other => return Err(self.unexpected(other, "in place of the start of replication")),
        }
        self.link.ignore_stop();
        Ok(CopyBoth {
            session: self,
            sql: sql.to_owned(),
            ended: false,
        })
    }
}

impl CopyBoth {
    /// Whether a whole frame has arrived already, so that [`CopyBoth::read`] would not wait.
    pub fn has_frame(&self) -> bool {
        self.session.link.has_message().unwrap_or(true)
    }

    /// Takes the next frame; waits up to `limit` for it. Memory grows with the frame alone.
    pub fn read(&mut self, limit: Duration) -> Result<Read> {
        let end = Instant::now() + limit;
        loop {
            if self.ended {
                return Ok(Read::End);
            }
            let long = self.session.link.long_message(PIECE_LIMIT);
            let long = long.map_err(|trouble| self.session.lost(&trouble))?;
            if long.is_some() || self.has_message()? {
                let (tag, body) = if let Some(message) = long {
                    message
                } else {
                    let taken = self.session.link.message();
                    taken.map_err(|trouble| self.session.lost(&trouble))?
                };
                if self.session.absorb(tag, &body)? {
                    continue;
                }
                match tag {
                    b'd' => return Ok(Read::Frame(body)),
                    // A server that shuts down ends its command without ending the copy first.
                    b'c' | b'C' => {
                        self.ended = true;
                        return Ok(Read::End);
                    }
                    b'E' => return Err(self.session.server_error(&body, Some(&self.sql))),
                    other => return Err(self.session.unexpected(other, "in the stream")),
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            let arrived = self.session.link.fill_within(left);
            if !arrived.map_err(|trouble| self.session.lost(&trouble))? {
                return Ok(Read::Nothing);
            }
        }
    }

    fn has_message(&mut self) -> Result<bool> {
        let has = self.session.link.has_message();
        has.map_err(|trouble| self.session.lost(&trouble))
    }

    /// Sends a frame.
    pub fn send(&mut self, payload: &[u8]) -> Result<()> {
        let length = u32::try_from(payload.len() + 4)
            .map_err(|_| Error::internal("a frame of more than 4 GB"))?;
        let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
        frame.push(b'd');
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(payload);
        self.session.link.set_deadline(Some(SEND_LIMIT));
        let sent = self.session.send(&frame);
        self.session.link.set_deadline(None);
        sent
    }

    /// Ends the stream in good order: `CopyDone`, then all that still comes up to `ReadyForQuery`,
    /// for `limit` at most. What comes is thrown away.
    pub fn finish(mut self, limit: Duration) -> Result<()> {
        let mut out = BytesMut::new();
        frontend::copy_done(&mut out);
        self.session.link.set_deadline(Some(limit));
        self.session.send(&out)?;
        loop {
            let (tag, body) = self.session.receive()?;
            match tag {
                b'd' | b'c' | b'C' => {}
                b'E' => return Err(self.session.failed(&body, Some(&self.sql))),
                b'Z' => {
                    self.session.ready(&body);
                    self.session.close();
                    return Ok(());
                }
                other => return Err(self.session.unexpected(other, "at the end of the stream")),
            }
        }
    }

    /// Process id of the server's backend.
    pub fn backend_pid(&self) -> i32 {
        self.session.backend_pid()
    }

    /// Gives the connection up without a farewell.
    pub fn abandon(mut self) {
        drop(self.session.lost(&Trouble::Closed));
    }
}
