//! Several COPYs in one query: small tables without a round trip for each.
//!
//! Runs in copy workers. A simple query may hold several statements; the server runs one after the
//! other and says so in between:
//!
//! ```text
//! COPY TO    H d* c C   H d* c C   ...   Z
//! COPY FROM  C* G  <- d* c   C G  <- d* c   ...   C   Z      (C: tags of the statements)
//! ```
//!
//! Towards the server everything may be sent without waiting: what it reads after an error it drops.

use super::copy_in::CopyIn;
use super::copy_out::CopyOut;
use super::frame;
use super::message::Trouble;
use super::session::Session;
use crate::error::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::message::frontend;

impl CopyOut<'_> {
    /// Goes on to the next COPY of the query, once [`CopyOut::read`] returned false; gives the row
    /// count of the one that ended.
    pub fn next_statement(&mut self) -> Result<u64> {
        if !self.done {
            return Err(Error::internal(
                "a COPY TO was left before the end of its data",
            ));
        }
        let mut rows = None;
        loop {
            let (tag, body) = self.session.receive()?;
            match tag {
                b'C' => rows = tag_rows(self.session, &body)?,
                b'H' => {
                    self.done = false;
                    self.frame_left = 0;
                    return rows.ok_or_else(|| Error::internal("a COPY TO gave no row count"));
                }
                b'E' => {
                    self.settled = true;
                    return Err(self.session.failed(&body, Some(&self.sql)));
                }
                other => return Err(self.session.unexpected(other, "between two COPY TO")),
            }
        }
    }
}

fn tag_rows(session: &mut Session, body: &[u8]) -> Result<Option<u64>> {
    match frame::command_tag(body) {
        Ok(tag) => Ok(frame::copied_rows(&tag)),
        Err(malformed) => Err(session.lost(&Trouble::from(malformed))),
    }
}

impl Session {
    /// Starts a query with several `COPY ... FROM STDIN`, other statements before or between them,
    /// and waits for the first one to begin.
    pub fn copy_in_many(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        self.send_query(sql)?;
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'C' => {}
                b'G' => return Ok(CopyIn::begun(self, sql)),
                b'E' => return Err(self.failed(&body, Some(sql))),
                other => return Err(self.unexpected(other, "before the first COPY FROM")),
            }
        }
    }
}

impl CopyIn<'_> {
    /// Ends the data of this COPY and goes on with the next one of the query, without waiting.
    pub fn next_statement(&mut self) -> Result<()> {
        let mut end = BytesMut::new();
        frontend::copy_done(&mut end);
        self.gathered.extend_from_slice(&end);
        self.is_many = true;
        Ok(())
    }

    /// Ends the data of the last COPY, waits for the server's verdict on all and gives their row
    /// counts in order.
    pub fn finish_many(mut self) -> Result<Vec<u64>> {
        self.is_many = true;
        self.look()?;
        let mut end = BytesMut::new();
        frontend::copy_done(&mut end);
        self.flush(&end)?;
        self.settled = true;
        loop {
            let (tag, body) = self.session.receive()?;
            match tag {
                b'C' => self.counts.extend(tag_rows(self.session, &body)?),
                b'G' => {}
                b'E' => return Err(self.session.failed(&body, Some(&self.sql))),
                b'Z' => {
                    self.session.ready(&body);
                    return Ok(std::mem::take(&mut self.counts));
                }
                other => return Err(self.session.unexpected(other, "at the end of COPY FROM")),
            }
        }
    }

    /// Takes what the server says in between when a query has several COPYs: true when that was it.
    pub(super) fn in_between(&mut self, tag: u8, body: &[u8]) -> Result<bool> {
        match tag {
            b'C' if self.is_many => {
                self.counts.extend(tag_rows(self.session, body)?);
                Ok(true)
            }
            b'G' if self.is_many => Ok(true),
            _ => Ok(false),
        }
    }
}
