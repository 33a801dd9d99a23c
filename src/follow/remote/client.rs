//! The side that asks: one connection, one request, one answer, all within a few seconds.
//!
//! Runs in the main program of a command. Whoever asks for an address gets an answer from there or an error, never
//! one from files that happen to be here.

use super::message::{Answer, MESSAGE_MAX, Request};
use super::token::Token;
use crate::error::{Error, Kind, Result};
use crate::sys::clock::nap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a follow is waited for, to connect and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where files are removed.
const PATIENCE_PRUNE: Duration = Duration::from_secs(60);

/// Time before a question is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

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
        let until = Instant::now() + PATIENCE;
        loop {
            match self.ask_once(request)? {
                Ok(Answer::Refused(error)) => {
                    let (host, port) = (&self.host, self.port);
                    return Err(error.context(format!("{host}:{port}, where a follow listens")));
                }
                Ok(answer) => return Ok(answer),
                // A follow that is flooded lets connections go; what changes nothing can be asked again.
                Err(_) if !request.changes() && Instant::now() < until => nap(AGAIN_AFTER),
                Err(why) => return Err(self.unanswered(request, &why)),
            }
        }
    }

    /// One try. The inner error says why there is no answer.
    fn ask_once(&self, request: Request) -> Result<std::result::Result<Answer, String>> {
        let mut stream = self.connect()?;
        let token = Token::read(&self.token_file)?;
        let patience = match request {
            Request::Prune { .. } => PATIENCE_PRUNE,
            _ => PATIENCE,
        };
        let sent = stream
            .set_write_timeout(Some(PATIENCE))
            .and_then(|()| stream.write_all(&request.encode(token.text())));
        if let Err(error) = sent {
            return Ok(Err(error.to_string()));
        }
        self.answer(&mut stream, Instant::now() + patience)
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

    fn answer(
        &self,
        stream: &mut TcpStream,
        until: Instant,
    ) -> Result<std::result::Result<Answer, String>> {
        let mut bytes = Vec::with_capacity(MESSAGE_MAX);
        let mut some = [0; MESSAGE_MAX];
        loop {
            match Answer::decode(&bytes) {
                Ok(Some(answer)) => return Ok(Ok(answer)),
                Ok(None) => {}
                Err(why) => return Err(self.no_follow(&why)),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Err("it takes too long".to_owned()));
            }
            let read = stream
                .set_read_timeout(Some(left))
                .and_then(|()| stream.read(&mut some));
            match read {
                Ok(0) => return Ok(Err("it closed the connection".to_owned())),
                Ok(count) => bytes.extend(some.get(..count).unwrap_or_default()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Ok(Err(error.to_string())),
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
