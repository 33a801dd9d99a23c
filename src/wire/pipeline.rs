//! Extended-protocol pipelines: many statements in one write, their results read as they come.
//!
//! Runs in the apply process. Reads and writes the socket. Nothing here waits for `ReadyForQuery`
//! unless asked to: after [`Requests::flush`] the server sends results and stays where it is, after
//! [`Requests::sync`] it also ends a failed stretch. After an error the server drops all up to the
//! next Sync; so what must not run after a failure must not stand behind a Sync whose `Ready` has not
//! been read. While a write waits, results are taken in, or both ends would wait for each other.
//!
//! ```text
//! P name sql n×type    B portal name values    E portal    C name    H (Flush)    S (Sync)
//! 1 parsed   2 bound   3 closed   n no rows   s suspended   D row   C tag   I empty   E error   Z ready
//! ```

use super::frame;
use super::message::{ServerMessage, Trouble};
use super::session::Session;
use crate::error::{Error, Result};
use std::collections::VecDeque;

/// Messages to send, encoded.
#[derive(Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    /// Something did not fit a message; the requests must not be sent.
    too_large: bool,
}

impl Requests {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything, keeps the memory unless it is large.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(4 << 20);
        self.too_large = false;
    }

    fn message(&mut self, tag: u8, body: impl FnOnce(&mut Self)) {
        self.bytes.push(tag);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        body(self);
        match i32::try_from(self.bytes.len() - at) {
            Ok(length) => {
                if let Some(place) = self.bytes.get_mut(at..at + 4) {
                    place.copy_from_slice(&length.to_be_bytes());
                }
            }
            Err(_) => self.too_large = true,
        }
    }

    fn text(&mut self, text: &str) {
        self.too_large |= text.contains('\0');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn count(&mut self, count: usize) {
        match u16::try_from(count) {
            Ok(count) => self.bytes.extend_from_slice(&count.to_be_bytes()),
            Err(_) => self.too_large = true,
        }
    }

    /// Prepares a statement under a name; types that are 0 or absent are found out by the server.
    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) {
        self.message(b'P', |out| {
            out.text(name);
            out.text(sql);
            out.count(types.len());
            for oid in types {
                out.bytes.extend_from_slice(&oid.to_be_bytes());
            }
        });
    }

    /// Binds values, as text, to a prepared statement; [`Requests::execute`] runs it.
    pub fn bind<'a>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    ) {
        self.message(b'B', |out| {
            out.text("");
            out.text(name);
            out.count(0);
            out.count(values.len());
            for value in values {
                match value.map(|value| (i32::try_from(value.len()), value)) {
                    None => out.bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                    Some((Ok(length), value)) => {
                        out.bytes.extend_from_slice(&length.to_be_bytes());
                        out.bytes.extend_from_slice(value);
                    }
                    Some((Err(_), _)) => out.too_large = true,
                }
            }
            out.count(0);
        });
    }

    /// Runs what was bound last.
    pub fn execute(&mut self) {
        self.message(b'E', |out| {
            out.text("");
            out.bytes.extend_from_slice(&[0; 4]);
        });
    }

    /// Forgets a prepared statement.
    pub fn close(&mut self, name: &str) {
        self.message(b'C', |out| {
            out.bytes.push(b'S');
            out.text(name);
        });
    }

    /// Asks for all results so far.
    pub fn flush(&mut self) {
        self.message(b'H', |_| {});
    }

    /// Asks for all results so far and `Ready`; ends a failed stretch.
    pub fn sync(&mut self) {
        self.message(b'S', |_| {});
    }
}

/// What a statement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It committed.
    Commit,
    /// It changed or returned so many rows.
    Rows(u64),
    /// Anything else, such as `BEGIN` or `ROLLBACK`.
    Other,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A row of a result, values as text.
    Row(Vec<Option<String>>),
    /// A statement is done.
    Done(Outcome),
    /// A statement failed; all up to the next Sync is dropped.
    Failed(Box<ServerMessage>),
    /// The answer to a Sync: `I` idle, `T` in a transaction, `E` in a failed one.
    Ready(u8),
}

fn outcome(tag: &str) -> Outcome {
    if tag == "COMMIT" {
        return Outcome::Commit;
    }
    let rows = tag.rsplit(' ').next().and_then(|last| last.parse().ok());
    rows.map_or(Outcome::Other, Outcome::Rows)
}

/// A session whose statements are pipelined.
#[derive(Debug)]
pub struct Pipeline {
    session: Session,
    replies: VecDeque<Reply>,
}

impl Pipeline {
    /// Takes a session over, which must be idle.
    pub fn new(session: Session) -> Self {
        Self {
            session,
            replies: VecDeque::new(),
        }
    }

    /// The session, for simple queries while nothing is under way.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Sends requests, and takes in replies while the socket does not take bytes. Blocks.
    pub fn send(&mut self, requests: &Requests) -> Result<()> {
        self.session.check()?;
        if requests.too_large {
            return Err(Error::new(
                self.session.side().kind(),
                "a statement does not fit a protocol message",
            )
            .detail("A value or the values of one row exceed 2 GB, or a name holds a zero byte."));
        }
        let mut rest = requests.bytes.as_slice();
        while !rest.is_empty() {
            let taken = match self.session.link.write_some(rest) {
                Ok(taken) => taken,
                Err(trouble) => return Err(self.session.last_words(&trouble)),
            };
            rest = rest.get(taken..).unwrap_or_default();
            if taken == 0 {
                self.take_in()?;
            }
        }
        Ok(())
    }

    /// The next reply. Waits for it.
    pub fn reply(&mut self) -> Result<Reply> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            let (tag, body) = self.session.receive()?;
            self.note(tag, &body)?;
        }
    }

    /// Turns the messages that have been read into replies.
    fn take_in(&mut self) -> Result<()> {
        loop {
            match self.session.link.has_message() {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(trouble) => return Err(self.session.lost(&trouble)),
            }
            let (tag, body) = match self.session.link.message() {
                Ok(message) => message,
                Err(trouble) => return Err(self.session.lost(&trouble)),
            };
            if !self.session.absorb(tag, &body)? {
                self.note(tag, &body)?;
            }
        }
    }

    fn note(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        let read = match tag {
            b'1' | b'2' | b'3' | b'n' | b'T' => return Ok(()),
            b'C' => frame::command_tag(body).map(|tag| Reply::Done(outcome(&tag))),
            b'I' => Ok(Reply::Done(Outcome::Other)),
            b'D' => frame::data_row(body).map(Reply::Row),
            b'E' => ServerMessage::parse(body).map(|message| Reply::Failed(Box::new(message))),
            b'Z' => {
                self.session.ready(body);
                Ok(Reply::Ready(self.session.transaction))
            }
            other => return Err(self.session.unexpected(other, "in a pipeline")),
        };
        match read {
            Ok(Reply::Failed(message))
                if matches!(message.severity.as_str(), "FATAL" | "PANIC") =>
            {
                // The server closes the connection: nothing that follows could be answered.
                self.session.broken = true;
                let (side, pid) = (self.session.side, self.session.backend_pid);
                Err(message.to_error(side, pid, None).transient())
            }
            Ok(reply) => {
                self.replies.push_back(reply);
                Ok(())
            }
            Err(malformed) => {
                let trouble = Trouble::from(malformed);
                Err(self.session.lost(&trouble))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_what_was_done() {
        assert_eq!(outcome("COMMIT"), Outcome::Commit);
        assert_eq!(outcome("ROLLBACK"), Outcome::Other);
        assert_eq!(outcome("INSERT 0 17"), Outcome::Rows(17));
        assert_eq!(outcome("UPDATE 0"), Outcome::Rows(0));
        assert_eq!(outcome("TRUNCATE TABLE"), Outcome::Other);
    }

    #[test]
    fn requests_are_encoded_as_the_protocol_says() {
        let mut requests = Requests::new();
        requests.parse("s1", "select $1", &[25]);
        let values = [Some(&b"a"[..]), None];
        requests.bind("s1", values.into_iter());
        requests.execute();
        requests.close("s1");
        requests.flush();
        requests.sync();
        let expected: &[u8] = b"P\0\0\0\x17s1\0select $1\0\0\x01\0\0\0\x19\
            B\0\0\0\x17\0s1\0\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0\
            E\0\0\0\x09\0\0\0\0\0C\0\0\0\x08Ss1\0H\0\0\0\x04S\0\0\0\x04";
        assert_eq!(requests.bytes, expected);
        assert!(!requests.too_large);
    }

    #[test]
    fn what_fits_no_message_is_refused() {
        let mut requests = Requests::new();
        requests.parse("s1", "select 1\0", &[]);
        assert!(requests.too_large);
        requests.clear();
        requests.bind("s1", vec![None; 65_536].into_iter());
        assert!(requests.too_large);
    }
}
