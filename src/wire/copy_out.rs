//! `COPY … TO STDOUT`: the payload of `CopyData` frames, passed on without a look at it.
//!
//! Runs in copy workers. Reads the socket. A frame of any length is passed on in pieces, so memory
//! is bounded by the read buffer and the caller's limit.
//!
//! ```text
//! Q -> H d* c C Z        (E Z at any point)
//! ```

use super::frame::{self, HEADER_BYTES};
use super::session::Session;
use crate::error::{Error, Result};

/// A running `COPY TO STDOUT`. Dropped before [`CopyOut::finish`] it breaks the session.
#[derive(Debug)]
pub struct CopyOut<'a> {
    pub(super) session: &'a mut Session,
    pub(super) sql: String,
    /// Bytes of the current frame that have not been passed on yet.
    pub(super) frame_left: usize,
    pub(super) done: bool,
    pub(super) settled: bool,
}

impl Session {
    /// Starts `COPY … TO STDOUT`.
    pub fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>> {
        self.send_query(sql)?;
        let (tag, body) = self.receive()?;
        match tag {
            b'H' => {}
            b'E' => return Err(self.failed(&body, Some(sql))),
            other => return Err(self.unexpected(other, "in place of the start of COPY TO")),
        }
        Ok(CopyOut {
            session: self,
            sql: sql.to_owned(),
            frame_left: 0,
            done: false,
            settled: false,
        })
    }
}

/// Appends the payloads of `CopyData` frames that are there as a whole and fit below `limit`; tells
/// how many bytes of `unread` that used. Narrow rows spend their time here.
fn whole_frames(unread: &[u8], out: &mut Vec<u8>, limit: usize) -> usize {
    let mut rest = unread;
    while let Ok(Some((b'd', length))) = frame::header(rest)
        && let Some((whole, behind)) = rest.split_at_checked(HEADER_BYTES + length)
        && length <= limit.saturating_sub(out.len())
        && let Some(payload) = whole.get(HEADER_BYTES..)
    {
        out.extend_from_slice(payload);
        rest = behind;
    }
    unread.len() - rest.len()
}

impl CopyOut<'_> {
    /// Appends payload to `out` until it holds `limit` bytes or nothing more has arrived; waits only
    /// while it has nothing to give. Returns false at the end of the data. `out` that is full already
    /// stays as it is.
    pub fn read(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<bool> {
        let before = out.len();
        if before >= limit.max(1) {
            return Ok(true);
        }
        while !self.done {
            self.take_buffered(out, limit)?;
            if self.done {
                break;
            }
            if out.len() >= limit && out.len() > before {
                return Ok(true);
            }
            if out.len() > before {
                match self.session.link.try_fill() {
                    Ok(true) => {}
                    Ok(false) => return Ok(true),
                    Err(trouble) => return Err(self.session.lost(&trouble)),
                }
            } else {
                self.session
                    .link
                    .fill()
                    .map_err(|trouble| self.session.lost(&trouble))?;
            }
        }
        Ok(out.len() > before)
    }

    /// Passes on what has been read, up to the first byte that needs another read.
    fn take_buffered(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<()> {
        loop {
            if self.frame_left == 0 {
                let used = whole_frames(self.session.link.unread(), out, limit);
                self.session.link.consume(used);
            }
            if out.len() >= limit.max(1) {
                return Ok(());
            }
            let unread = self.session.link.unread();
            if self.frame_left > 0 {
                let room = limit.max(1) - out.len();
                let count = self.frame_left.min(unread.len()).min(room);
                if count == 0 {
                    return Ok(());
                }
                out.extend_from_slice(unread.get(..count).unwrap_or_default());
                self.session.link.consume(count);
                self.frame_left -= count;
                continue;
            }
            match self.session.link.peek() {
                Ok(None) => return Ok(()),
                Ok(Some((b'd', length))) => {
                    self.session.link.consume(HEADER_BYTES);
                    self.frame_left = length;
                }
                Ok(Some(_)) => {
                    self.other_message()?;
                    if self.done {
                        return Ok(());
                    }
                }
                Err(trouble) => return Err(self.session.lost(&trouble)),
            }
        }
    }

    /// Handles the message at the front of the buffer, which is no `CopyData`.
    fn other_message(&mut self) -> Result<()> {
        let taken = self.session.link.message();
        let (tag, body) = taken.map_err(|trouble| self.session.lost(&trouble))?;
        if self.session.absorb(tag, &body)? {
            return Ok(());
        }
        match tag {
            b'c' => {
                self.done = true;
                Ok(())
            }
            b'E' => {
                self.settled = true;
                Err(self.session.failed(&body, Some(&self.sql)))
            }
            other => Err(self.session.unexpected(other, "in COPY TO")),
        }
    }

    /// Reads the end of the statement and gives its row count. To be called after
    /// [`CopyOut::read`] returned false.
    pub fn finish(mut self) -> Result<u64> {
        if !self.done {
            return Err(Error::internal(
                "COPY TO was finished before the end of its data",
            ));
        }
        self.settled = true;
        self.session.end_of_copy(&self.sql)
    }
}

impl Drop for CopyOut<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.session.broken = true;
        }
    }
}

impl Session {
    /// Reads `CommandComplete` and `ReadyForQuery` of a COPY; gives its row count.
    pub(super) fn end_of_copy(&mut self, sql: &str) -> Result<u64> {
        let mut rows = None;
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'C' => match frame::command_tag(&body) {
                    Ok(tag) => rows = frame::copied_rows(&tag),
                    Err(malformed) => return Err(self.lost(&malformed.into())),
                },
                b'E' => return Err(self.failed(&body, Some(sql))),
                b'Z' => {
                    self.ready(&body);
                    return rows.ok_or_else(|| {
                        let what = format!("{} COPY ended without a row count", self.prefix());
                        Error::new(self.side.kind(), what).with_query(sql)
                    });
                }
                other => return Err(self.unexpected(other, "at the end of COPY")),
            }
        }
    }
}
