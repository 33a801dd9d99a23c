//! The side that asks: one connection, one request, one answer, all within a few seconds.
//!
//! Runs in the main program of a command. Whoever asks for an address gets an answer from there or an error, never
//! one from files that happen to be here.

use super::message::{Answer, MESSAGE_MAX, Request};
use super::token::Token;
use crate::error::{Error, Kind, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a follow is waited for, to connect and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where files are removed.
const PATIENCE_PRUNE: Duration = Duration::from_secs(60);

/// Where a follow listens.
pub struct Client {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The file with its token.
    pub token_file: PathBuf,
}

impl Client {
    /// Asks, and gives the answer; a refusal is an error, as if it had been here. Blocks for seconds.
    pub(super) fn ask(&self, request: Request) -> Result<Answer> {
        let mut stream = self.connect()?;
        let token = Token::read(&self.token_file)?;
        let patience = match request {
            Request::Prune { .. } => PATIENCE_PRUNE,
            _ => PATIENCE,
        };
        let sent = stream
            .set_write_timeout(Some(PATIENCE))
            .and_then(|()| stream.write_all(&request.encode(token.text())));
        sent.map_err(|error| self.unanswered(request, &error.to_string()))?;
        match self.answer(&mut stream, request, Instant::now() + patience)? {
            Answer::Refused(error) => Err(error.context(format!(
                "{}:{}, where a follow listens",
                self.host, self.port
            ))),
            answer => Ok(answer),
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let until = Instant::now() + PATIENCE;
        let addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| self.unreachable(&error.to_string()))?;
        let mut why = "the name has no address".to_owned();
        for address in addresses {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    why = format!("no answer within {} s", PATIENCE.as_secs());
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(self.unreachable(&why))
    }

    fn answer(&self, stream: &mut TcpStream, request: Request, until: Instant) -> Result<Answer> {
        let mut bytes = Vec::with_capacity(MESSAGE_MAX);
        let mut some = [0; MESSAGE_MAX];
        loop {
            match Answer::decode(&bytes) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(why) => return Err(self.no_follow(&why)),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.unanswered(request, "it takes too long"));
            }
            let read = stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut some));
            match read {
                Ok(0) => return Err(self.unanswered(request, "it closed the connection")),
                Ok(count) => bytes.extend(some.get(..count).unwrap_or_default()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(self.unanswered(request, &error.to_string())),
            }
        }
    }

    fn unreachable(&self, why: &str) -> Error {
        let (host, port) = (&self.host, self.port);
        Error::new(
            Kind::Internal,
            format!("could not reach a follow at {host}:{port}: {why}"),
        )
        .hint("Start the follow with --host and --port. Without --host, the work directory given with --dir is used.")
    }

    fn unanswered(&self, request: Request, why: &str) -> Error {
        let (host, port) = (&self.host, self.port);
        let error = Error::new(
            Kind::Internal,
            format!("the follow at {host}:{port} gave no answer: {why}"),
        );
        if request.changes() {
            error
                .detail(format!("Whether \"{request}\" was done is not known."))
                .hint("Look with \"pgcopydb stream sentinel get\", and repeat the command.")
        } else {
            error.hint("Repeat the command.")
        }
    }

    fn no_follow(&self, why: &str) -> Error {
        let (host, port) = (&self.host, self.port);
        Error::new(
            Kind::Internal,
            format!("what answers at {host}:{port} is no follow of this version: {why}"),
        )
        .hint("Look at --host and --port, and use the same version of pgcopydb on both sides.")
    }
}
