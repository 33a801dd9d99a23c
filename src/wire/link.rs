//! A non-blocking socket with its buffers, plain or TLS: the only place that reads and writes bytes.
//!
//! Runs in every process with a `wire` session. Every wait is a `poll` of at most a second, after
//! which the stop flag and the time limit are looked at. While a write waits, what the server sends
//! is taken in, or both ends would wait for each other. It must not know what messages mean beyond
//! their headers.

use super::frame::{self, HEADER_BYTES};
use super::message::Trouble;
use crate::sys::tcp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use openssl::ssl::{ErrorCode, Ssl, SslStream};
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Size of the read buffer at rest.
pub(super) const INPUT_BYTES: usize = 256 * 1024;
/// Longest message that is taken in as a whole: PostgreSQL's own limit for a row is about this.
const MESSAGE_MAX: usize = 0x4000_0000;
/// Longest message before the server is authenticated.
const EARLY_MESSAGE_MAX: usize = 64 * 1024;
/// Most that is taken in while a write waits.
const UNREAD_MAX: usize = 4 * 1024 * 1024;
/// Longest wait before flags are looked at.
const WAIT: Duration = Duration::from_secs(1);

/// The operating system's socket.
#[derive(Debug)]
pub(super) enum Raw {
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain.
    Unix(UnixStream),
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write_vectored(parts),
            Self::Unix(socket) => socket.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Raw {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// The socket, or TLS on it; `Gone` only while one is made into the other, and after that failed.
#[derive(Debug)]
enum Stream {
    Plain(Raw),
    Tls(SslStream<Raw>),
    Gone,
}

/// What an attempt to read or write came to.
enum Step {
    /// So many bytes.
    Moved(usize),
    /// Nothing before the socket is ready for this.
    Wants(PollFlags),
}

/// The outcome of a call that may say "would block".
fn step(result: io::Result<usize>, otherwise: PollFlags) -> Result<Step, Trouble> {
    match result {
        Ok(count) => Ok(Step::Moved(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Wants(otherwise)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Wants(otherwise)),
        Err(error) => Err(Trouble::Io(error)),
    }
}

/// The same for OpenSSL, which may want to read in order to write.
fn tls_step(result: Result<usize, openssl::ssl::Error>) -> Result<Step, Trouble> {
    let error = match result {
        Ok(count) => return Ok(Step::Moved(count)),
        Err(error) => error,
    };
    match error.code() {
        ErrorCode::WANT_READ => Ok(Step::Wants(PollFlags::POLLIN)),
        ErrorCode::WANT_WRITE => Ok(Step::Wants(PollFlags::POLLOUT)),
        ErrorCode::ZERO_RETURN => Ok(Step::Moved(0)),
        _ => match error.into_io_error() {
            Ok(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Step::Moved(0)),
            Ok(error) => Err(Trouble::Io(error)),
            // OpenSSL 3 reports a close without its farewell this way.
            Err(error) if error.to_string().contains("unexpected eof") => Ok(Step::Moved(0)),
            Err(error) => Err(Trouble::Io(io::Error::other(error))),
        },
    }
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<Step, Trouble> {
        match self {
            Self::Plain(raw) => step(raw.read(buffer), PollFlags::POLLIN),
            Self::Tls(tls) => tls_step(tls.ssl_read(buffer)),
            Self::Gone => Err(Trouble::Closed),
        }
    }

    fn write(&mut self, head: &[u8], payload: &[u8]) -> Result<Step, Trouble> {
        match self {
            Self::Plain(raw) if head.is_empty() => step(raw.write(payload), PollFlags::POLLOUT),
            Self::Plain(raw) => {
                let parts = [IoSlice::new(head), IoSlice::new(payload)];
                step(raw.write_vectored(&parts), PollFlags::POLLOUT)
            }
            Self::Tls(tls) => tls_step(tls.ssl_write(if head.is_empty() { payload } else { head })),
            Self::Gone => Err(Trouble::Closed),
        }
    }

    fn raw(&self) -> Option<&Raw> {
        match self {
            Self::Plain(raw) => Some(raw),
            Self::Tls(tls) => Some(tls.get_ref()),
            Self::Gone => None,
        }
    }
}

/// A connection's socket and the bytes that were read but not used yet.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    deadline: Option<Instant>,
    heeds_stop: bool,
    message_max: usize,
    /// How long what was sent may go unacknowledged while something is waited for; none: as TCP has it.
    silence_max: Option<Duration>,
}

impl Link {
    /// Takes over a non-blocking socket. Waits end at `deadline`.
    pub(super) fn new(raw: Raw, deadline: Instant) -> Self {
        Self {
            stream: Stream::Plain(raw),
            input: vec![0; 8192],
            start: 0,
            end: 0,
            deadline: Some(deadline),
            heeds_stop: true,
            message_max: EARLY_MESSAGE_MAX,
            silence_max: None,
        }
    }

    /// Ends the rules for a server that is not authenticated yet.
    pub(super) fn established(&mut self) {
        self.deadline = None;
        self.message_max = MESSAGE_MAX;
    }

    /// Keeps the stop flag from ending waits: cancel requests are sent because it is set.
    pub(super) fn ignore_stop(&mut self) {
        self.heeds_stop = false;
    }

    /// Ends waits after this time from now on; `None`: never.
    pub(super) fn set_deadline(&mut self, limit: Option<Duration>) {
        self.deadline = limit.map(|limit| Instant::now() + limit);
    }

    /// Takes a connection for lost where what was sent goes unacknowledged for so long. TCP repeats what a cut
    /// network lost at ever longer intervals, and after a cut of a minute would go on most of a minute late.
    pub(super) fn set_silence_max(&mut self, limit: Duration) {
        self.silence_max = Some(limit);
    }

    /// Whether the other end, waited for since then, has been silent for too long.
    fn is_cut(&self, socket: BorrowedFd<'_>, since: Instant) -> bool {
        self.silence_max.is_some_and(|limit| {
            since.elapsed() >= limit && tcp::unanswered(socket).is_some_and(|time| time >= limit)
        })
    }

    /// The TLS session, when there is one.
    pub(super) fn tls(&self) -> Option<&openssl::ssl::SslRef> {
        match &self.stream {
            Stream::Tls(tls) => Some(tls.ssl()),
            Stream::Plain(_) | Stream::Gone => None,
        }
    }

    /// Makes TLS of a plain connection. Blocks for the handshake.
    pub(super) fn start_tls(&mut self, ssl: Ssl) -> Result<(), Trouble> {
        if self.start != self.end {
            // A man in the middle could have put it there (CVE-2021-23222).
            return Err(Trouble::Protocol(
                "unencrypted data after the answer on TLS".to_owned(),
            ));
        }
        let Stream::Plain(raw) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(Trouble::Closed);
        };
        let stream =
            SslStream::new(ssl, raw).map_err(|error| Trouble::Io(io::Error::other(error)))?;
        self.stream = Stream::Tls(stream);
        loop {
            let Stream::Tls(tls) = &mut self.stream else {
                return Err(Trouble::Closed);
            };
            match tls_step(tls.connect().map(|()| 1)) {
                Ok(Step::Moved(0)) => return Err(Trouble::Closed),
                Ok(Step::Moved(_)) => return Ok(()),
                Ok(Step::Wants(flags)) => {
                    self.wait(flags)?;
                }
                Err(Trouble::Io(error)) => {
                    let verdict = tls.ssl().verify_result();
                    let why = if verdict == openssl::x509::X509VerifyResult::OK {
                        format!("TLS handshake failed: {error}")
                    } else {
                        format!(
                            "the server's certificate was refused: {}",
                            verdict.error_string()
                        )
                    };
                    return Err(Trouble::Io(io::Error::other(why)));
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits until the socket is ready for one of `flags`; tells for which.
    fn wait(&self, flags: PollFlags) -> Result<PollFlags, Trouble> {
        let raw = self.stream.raw().ok_or(Trouble::Closed)?;
        let since = Instant::now();
        loop {
            let limit = match self.deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()).min(WAIT),
                None => WAIT,
            };
            // Rounded up, so that the last millisecond is not spent in a busy loop.
            let millis = u16::try_from(limit.as_millis() + 1).unwrap_or(u16::MAX);
            let mut fds = [PollFd::new(raw.as_fd(), flags)];
            match poll(&mut fds, PollTimeout::from(millis)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(fds[0].revents().unwrap_or(flags)),
                Err(error) => return Err(Trouble::Io(error.into())),
            }
            if self.heeds_stop && super::stop_requested() {
                return Err(Trouble::Stopped);
            }
            if self
                .deadline
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                return Err(Trouble::TimedOut);
            }
            if self.is_cut(raw.as_fd(), since) {
                return Err(Trouble::Io(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    /// Makes room behind the unread bytes, by growth only when they fill the buffer.
    fn make_room(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            let rest = if self.deadline.is_none() {
                INPUT_BYTES
            } else {
                8192
            };
            if self.input.len() > 4 * rest || self.input.len() < rest {
                self.input = vec![0; rest];
            }
        } else if self.end == self.input.len() {
            if self.start > self.input.len() / 2 {
                self.input.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.input.resize(self.input.len() * 2, 0);
            }
        }
    }

    /// Reads once into the buffer without waiting.
    fn read_step(&mut self) -> Result<Step, Trouble> {
        self.make_room();
        let Some(room) = self.input.get_mut(self.end..) else {
            return Err(Trouble::Closed);
        };
        match self.stream.read(room)? {
            Step::Moved(0) => Err(Trouble::Closed),
            Step::Moved(count) => {
                self.end = self.end.saturating_add(count).min(self.input.len());
                Ok(Step::Moved(count))
            }
            wants @ Step::Wants(_) => Ok(wants),
        }
    }

    /// Reads what is there without waiting; tells whether there was anything.
    pub(super) fn try_fill(&mut self) -> Result<bool, Trouble> {
        Ok(matches!(self.read_step()?, Step::Moved(_)))
    }

    /// Reads something, waiting for it.
    pub(super) fn fill(&mut self) -> Result<(), Trouble> {
        loop {
            match self.read_step()? {
                Step::Moved(_) => return Ok(()),
                Step::Wants(flags) => {
                    self.wait(flags)?;
                }
            }
        }
    }

    /// Reads something, waiting for it up to `limit`, less when a signal comes; tells whether there
    /// was anything. The stop flag is not looked at.
    pub(super) fn fill_within(&mut self, limit: Duration) -> Result<bool, Trouble> {
        let end = Instant::now() + limit;
        loop {
            let Step::Wants(flags) = self.read_step()? else {
                return Ok(true);
            };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let raw = self.stream.raw().ok_or(Trouble::Closed)?;
            let mut fds = [PollFd::new(raw.as_fd(), flags)];
            let millis = u16::try_from(left.min(WAIT).as_millis() + 1).unwrap_or(u16::MAX);
            match poll(&mut fds, PollTimeout::from(millis)) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => return Ok(false),
                Err(error) => return Err(Trouble::Io(error.into())),
            }
        }
    }

    /// The bytes that were read but not used.
    pub(super) fn unread(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    /// Marks bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Tag and length of the next message, when its header has been read.
    pub(super) fn peek(&self) -> Result<Option<(u8, usize)>, Trouble> {
        let Some((tag, length)) = frame::header(self.unread())? else {
            return Ok(None);
        };
        // Frames of COPY are passed on in pieces and may have any length.
        if length > self.message_max && tag != b'd' {
            return Err(Trouble::Protocol(format!("a message of {length} bytes")));
        }
        Ok(Some((tag, length)))
    }

    /// Whether the next message has been read as a whole.
    pub(super) fn has_message(&self) -> Result<bool, Trouble> {
        Ok(self
            .peek()?
            .is_some_and(|(_, length)| self.unread().len() - HEADER_BYTES >= length))
    }

    /// Takes the next message: tag and body. Waits for it. Memory grows only as bytes arrive.
    pub(super) fn message(&mut self) -> Result<(u8, Vec<u8>), Trouble> {
        loop {
            if let Some((tag, length)) = self.peek()?
                && let Some(body) = self.unread().get(HEADER_BYTES..HEADER_BYTES + length)
            {
                let body = body.to_vec();
                self.consume(HEADER_BYTES + length);
                return Ok((tag, body));
            }
            self.fill()?;
        }
    }

    /// Takes the next message when it is longer than the buffer at rest: its body is read where it
    /// stays, so that it is in memory once. Waits up to `limit` for each piece; none when the next
    /// message is short or its header has not been read.
    pub(super) fn long_message(
        &mut self,
        limit: Duration,
    ) -> Result<Option<(u8, Vec<u8>)>, Trouble> {
        let Some((tag, length)) = self.peek()? else {
            return Ok(None);
        };
        if length <= INPUT_BYTES || length > 2 * MESSAGE_MAX {
            return Ok(None);
        }
        self.consume(HEADER_BYTES);
        // Only what arrives is touched.
        let mut body = Vec::new();
        body.reserve_exact(length);
        while body.len() < length {
            let count = self.unread().len().min(length - body.len());
            body.extend_from_slice(self.unread().get(..count).unwrap_or_default());
            self.consume(count);
            if body.len() < length && !self.fill_within(limit)? {
                return Err(Trouble::TimedOut);
            }
        }
        Ok(Some((tag, body)))
    }

    /// Takes one byte: the answer to `SSLRequest`, which is no message.
    pub(super) fn byte(&mut self) -> Result<u8, Trouble> {
        loop {
            if let Some(byte) = self.unread().first().copied() {
                self.consume(1);
                return Ok(byte);
            }
            self.fill()?;
        }
    }

    /// Writes `head`, then `payload`, in one call where that is possible. Waits.
    pub(super) fn write(&mut self, head: &[u8], payload: &[u8]) -> Result<(), Trouble> {
        let (mut head, mut payload) = (head, payload);
        while !(head.is_empty() && payload.is_empty()) {
            match self.stream.write(head, payload)? {
                Step::Moved(count) => {
                    let of_head = count.min(head.len());
                    head = head.get(of_head..).unwrap_or_default();
                    payload = payload.get(count - of_head..).unwrap_or_default();
                }
                Step::Wants(flags) => {
                    let mut wanted = flags;
                    if self.unread().len() < UNREAD_MAX {
                        wanted |= PollFlags::POLLIN;
                    }
                    let ready = self.wait(wanted)?;
                    if wanted.contains(PollFlags::POLLIN)
                        && ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP)
                    {
                        self.try_fill()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what the socket takes. When that is nothing, waits until it takes more or has something
    /// to read, which is then read. Returns how many bytes were taken.
    pub(super) fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        match self.stream.write(&[], bytes)? {
            Step::Moved(count) => Ok(count),
            Step::Wants(flags) => {
                let ready = self.wait(flags | PollFlags::POLLIN)?;
                if ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
                    self.try_fill()?;
                }
                Ok(0)
            }
        }
    }

    /// Tries to write a farewell, without waiting.
    pub(super) fn farewell(&mut self, bytes: &[u8]) {
        // The server finds out by itself when this fails.
        let _ignored = self.stream.write(&[], bytes);
    }
}
