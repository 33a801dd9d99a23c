//! One connection to a server: its identity, simple queries, and the messages that can come at any
//! point.
//!
//! Runs in leaf workers. Reads and writes the socket, logs statements and notices.
//!
//! States: ready (after `Z`), busy (a call of this module runs; `&mut self` keeps others out), broken
//! (the stream's position is unknown or the socket is gone: every call fails). After a server error
//! the rest up to `Z` is read, so that the session is ready again; a statement that failed in a
//! transaction leaves that aborted, as the server's rules say. Extended-protocol pipelines belong
//! into a file of their own beside the COPY ones: they need only [`Session::send`] and
//! [`Session::receive`].

use super::cancel::CancelToken;
use super::frame;
use super::link::Link;
use super::message::{ServerMessage, Trouble, prefix};
use crate::error::{Error, Kind, Result};
use crate::units::{PgVersion, Side};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::collections::BTreeMap;

/// What one statement of a simple query gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementResult {
    /// Of each column, the number of the table's column it comes from, 0 where it is computed.
    pub attnums: Vec<u16>,
    /// Rows, values as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// The command tag, such as `INSERT 0 1`.
    pub tag: String,
}

/// A connection to a server.
#[derive(Debug)]
pub struct Session {
    pub(super) link: Link,
    pub(super) side: Side,
    pub(super) backend_pid: i32,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) cancel: Option<CancelToken>,
    pub(super) transaction: u8,
    pub(super) broken: bool,
}

impl Session {
    /// Wraps a connected socket.
    pub(super) fn new(link: Link, side: Side) -> Self {
        Self {
            link,
            side,
            backend_pid: 0,
            parameters: BTreeMap::new(),
            cancel: None,
            transaction: b'I',
            broken: false,
        }
    }

    /// Process id of the server's backend.
    pub fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// Which server this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// A parameter that the server reports, such as `server_encoding`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The server's version, 0 when it reports none that can be read.
    pub fn server_version(&self) -> PgVersion {
        parse_version(self.parameter("server_version").unwrap_or(""))
    }

    /// What cancels the statement that runs here, from any thread.
    pub fn cancel_token(&self) -> Result<CancelToken> {
        self.cancel
            .clone()
            .ok_or_else(|| Error::internal("a session has no cancel key"))
    }

    /// Whether a transaction is open, failed or not.
    pub fn in_transaction(&self) -> bool {
        self.transaction != b'I'
    }

    /// Whether the connection can no longer be used.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// `[SOURCE 1234]`.
    pub fn prefix(&self) -> String {
        prefix(self.side, self.backend_pid)
    }

    pub(super) fn tls(&self) -> Option<&openssl::ssl::SslRef> {
        self.link.tls()
    }

    /// Gives the connection up: makes the error of a failure after which its state is unknown.
    pub(super) fn lost(&mut self, trouble: &Trouble) -> Error {
        self.broken = true;
        trouble.to_error(self.side, self.backend_pid)
    }

    /// Takes the connection for lost where what is sent goes unacknowledged for so long.
    pub fn give_up_after(&mut self, silence: std::time::Duration) {
        self.link.set_silence_max(silence);
    }

    /// A message that has no place here.
    pub(super) fn unexpected(&mut self, tag: u8, place: &str) -> Error {
        let what = if tag == b'W' {
            format!("it started replication (CopyBothResponse) {place}")
        } else {
            format!("message \"{}\" {place}", tag.escape_ascii())
        };
        self.lost(&Trouble::Protocol(what))
    }

    /// Reads an `ErrorResponse`.
    pub(super) fn server_error(&mut self, body: &[u8], sql: Option<&str>) -> Error {
        match ServerMessage::parse(body) {
            Ok(message) => {
                // After these the server closes the connection.
                if matches!(message.severity.as_str(), "FATAL" | "PANIC") {
                    self.broken = true;
                }
                message.to_error(self.side, self.backend_pid, sql)
            }
            Err(malformed) => self.lost(&malformed.into()),
        }
    }

    /// Reads an `ErrorResponse`, then all up to `ReadyForQuery`.
    pub(super) fn failed(&mut self, body: &[u8], sql: Option<&str>) -> Error {
        let error = self.server_error(body, sql);
        self.drain();
        error
    }

    /// Reads up to `ReadyForQuery`; breaks the session when that does not come.
    pub(super) fn drain(&mut self) {
        while !self.broken {
            match self.receive() {
                Ok((b'Z', body)) => return self.ready(&body),
                Ok((b'E', body)) => drop(self.server_error(&body, None)),
                Ok(_) => {}
                Err(_) => self.broken = true,
            }
        }
    }

    /// Notes what `ReadyForQuery` says.
    pub(super) fn ready(&mut self, body: &[u8]) {
        self.transaction = body.first().copied().unwrap_or(b'I');
    }

    /// Fails when the connection can no longer be used.
    pub(super) fn check(&self) -> Result<()> {
        if self.broken {
            let what = format!("{} the connection was lost before", self.prefix());
            return Err(Error::new(self.side.kind(), what).transient());
        }
        Ok(())
    }

    /// Handles a message that can come at any point; tells whether it was one.
    pub(super) fn absorb(&mut self, tag: u8, body: &[u8]) -> Result<bool> {
        match tag {
            b'N' => match ServerMessage::parse(body) {
                Ok(message) => message.log(self.side, self.backend_pid),
                Err(malformed) => return Err(self.lost(&malformed.into())),
            },
            b'S' => match frame::parameter_status(body) {
                Ok((name, value)) => drop(self.parameters.insert(name, value)),
                Err(malformed) => return Err(self.lost(&malformed.into())),
            },
            b'A' => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The next message that is not one of those that can come at any point. Waits for it.
    pub(super) fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            let (tag, body) = self.link.message().map_err(|trouble| self.lost(&trouble))?;
            if !self.absorb(tag, &body)? {
                return Ok((tag, body));
            }
        }
    }

    /// Sends bytes. Waits until the socket has taken them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.link.write(&[], bytes) {
            Ok(()) => Ok(()),
            Err(trouble) => Err(self.last_words(&trouble)),
        }
    }

    /// After a failed write: what the server said before it closed the connection, if it can be
    /// read, tells more than the failure.
    pub(super) fn last_words(&mut self, trouble: &Trouble) -> Error {
        if !matches!(trouble, Trouble::Stopped | Trouble::TimedOut) {
            while matches!(self.link.try_fill(), Ok(true)) {}
            while let Ok(true) = self.link.has_message() {
                match self.receive() {
                    Ok((b'E', body)) => {
                        let error = self.server_error(&body, None);
                        self.broken = true;
                        return error;
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
        self.lost(trouble)
    }

    /// Sends a simple query.
    pub(super) fn send_query(&mut self, sql: &str) -> Result<()> {
        self.send_query_as(sql, sql)
    }

    fn send_query_as(&mut self, sql: &str, shown: &str) -> Result<()> {
        self.check()?;
        crate::sql!("{} {shown}", self.prefix());
        let mut out = BytesMut::with_capacity(sql.len() + 6);
        frontend::query(sql, &mut out).map_err(|error| {
            Error::new(
                Kind::Internal,
                format!("could not send a statement: {error}"),
            )
            .with_query(shown)
        })?;
        self.send(&out)
    }

    /// Runs one or more statements in a simple query and waits for all results.
    ///
    /// The first error ends them; the session can be used again. COPY is refused: see
    /// [`Session::copy_out`] and [`Session::copy_in`].
    pub fn simple(&mut self, sql: &str) -> Result<Vec<StatementResult>> {
        self.simple_as(sql, sql)
    }

    /// The same for statements that must not be shown: log and errors have `shown` in their place.
    pub fn simple_as(&mut self, sql: &str, shown: &str) -> Result<Vec<StatementResult>> {
        self.send_query_as(sql, shown)?;
        let mut results = Vec::new();
        let (mut rows, mut attnums) = (Vec::new(), Vec::new());
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'T' => match frame::row_attnums(&body) {
                    Ok(read) => {
                        attnums = read;
                        rows.clear();
                    }
                    Err(malformed) => return Err(self.lost(&malformed.into())),
                },
                b'D' => match frame::data_row(&body) {
                    Ok(row) => rows.push(row),
                    Err(malformed) => return Err(self.lost(&malformed.into())),
                },
                b'C' => match frame::command_tag(&body) {
                    Ok(tag) => {
                        results.push(StatementResult {
                            attnums: std::mem::take(&mut attnums),
                            rows: std::mem::take(&mut rows),
                            tag,
                        });
                    }
                    Err(malformed) => return Err(self.lost(&malformed.into())),
                },
                b'I' => results.push(StatementResult::default()),
                b'E' => return Err(self.failed(&body, Some(shown))),
                b'Z' => {
                    self.ready(&body);
                    return Ok(results);
                }
                other => return Err(self.unexpected(other, "in a simple query")),
            }
        }
    }

    /// Ends the connection in good order.
    pub fn close(mut self) {
        self.farewell();
    }

    fn farewell(&mut self) {
        if !self.broken {
            self.broken = true;
            self.link.farewell(b"X\0\0\0\x04");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.farewell();
    }
}

/// Reads `15.20 (Debian …)`, `9.6.24`, `18beta1`.
fn parse_version(text: &str) -> PgVersion {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()
        .unwrap_or("")
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0).min(9999));
    let mut number = || numbers.next().unwrap_or(0);
    let (major, minor) = (number(), number());
    if major >= 10 {
        PgVersion(major * 10_000 + minor)
    } else {
        PgVersion(major * 10_000 + minor * 100 + number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_writes_them() {
        assert_eq!(parse_version("15.20 (Debian 15.20-1)"), PgVersion(150_020));
        assert_eq!(parse_version("9.6.24"), PgVersion(90_624));
        assert_eq!(parse_version("18beta1"), PgVersion(180_000));
        assert_eq!(parse_version("99999999999"), PgVersion(0));
        assert_eq!(parse_version(""), PgVersion(0));
    }
}
