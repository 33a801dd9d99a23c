//! The side that is asked: listens, reads one request of each client, answers, closes.
//!
//! Runs in a leaf of its own, with one thread. Bytes from outside can be anything: nothing is read beyond one request,
//! nobody is waited for longer than some seconds, and where there are too many clients the oldest goes.
//! A client that is served has sent everything at once, so that others cannot keep it out.

use super::act::act;
use super::message::{Answer, Heard, MESSAGE_MAX, Request, heard};
use super::token::Token;
use crate::error::{Error, Result};
use crate::follow::files::CdcDir;
use crate::supervisor::Leaf;
use crate::sys::clock;
use crate::workdir::Layout;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Clients at a time.
const VISITORS_MAX: usize = 32;
/// New ones at a time, after which each has its turn: no more than there is room for, or some would go unheard.
const ACCEPT_MAX: usize = VISITORS_MAX;
/// The pause after as many, so that a flood costs little of the processor.
const FLOOD_NAP: Duration = Duration::from_millis(5);
/// How long a client has to send its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait, after which flags are looked at.
const POLL_MS: u16 = 250;
/// An address that is taken is tried again so often, and told so often.
const BIND_EVERY: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Clients that are refused are told of so often.
const REFUSED_EVERY: Duration = Duration::from_secs(10);
/// Longest wait before a process takes the place of one that died.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// What a process that listens is told.
#[derive(Clone)]
pub struct ServeSettings {
    /// Where.
    pub address: SocketAddr,
    /// The work directory.
    pub layout: Layout,
    /// The folder of change data.
    pub cdc: CdcDir,
}

/// Refuses an address that cannot be listened at, before anything is done. Called in the main program.
pub fn refuse_taken(address: SocketAddr) -> Result<()> {
    let Err(error) = TcpListener::bind(address) else {
        return Ok(());
    };
    let message = format!("could not listen at {address}: {error}");
    Err(match error.kind() {
        ErrorKind::AddrInUse => Error::bad_state(message)
            .detail("Another program has that port, perhaps another follow. Nothing was begun.")
            .hint("End that program, or give another port with --port."),
        _ => Error::bad_args(message)
            .detail("Nothing was begun.")
            .hint("Give an address of this machine with --host, and a port that the user may open with --port."),
    })
}

/// The body of the leaf: until it is stopped.
pub fn run(leaf: &mut Leaf<'_>, settings: &ServeSettings) -> Result<()> {
    if let Some(doublings) = leaf.number.checked_sub(2) {
        let wait = Duration::from_millis(250) * (1 << doublings.min(7));
        if leaf.nap(wait.min(BACK_OFF_MAX)).is_err() {
            return Ok(());
        }
    }
    let token = Token::of(&settings.layout)?;
    let Some(listener) = listen(leaf, settings.address)? else {
        return Ok(());
    };
    log::info!(
        "Listening for sentinel commands at {}, from those who have the token in \"{}\"",
        settings.address,
        settings.layout.token().display()
    );
    if !settings.address.ip().is_loopback() {
        log::warn!(
            "What is sent to {} is not encrypted: whoever can read it on its way can use the token",
            settings.address
        );
    }
    let mut door = Door {
        listener,
        visitors: Vec::new(),
        refused: 0,
        told: None,
    };
    while !leaf.stopping() {
        door.wait();
        let accepted = door.accept();
        door.serve(&token, |request| {
            act(&settings.layout, &settings.cdc, request)
        });
        if accepted == ACCEPT_MAX {
            clock::nap(FLOOD_NAP);
        }
    }
    Ok(())
}

/// Listens; where somebody else took the port meanwhile, as soon as it is free. None: a stop came first.
fn listen(leaf: &Leaf<'_>, address: SocketAddr) -> Result<Option<TcpListener>> {
    let failed =
        |error: std::io::Error| Error::internal(format!("could not listen at {address}: {error}"));
    let mut told: Option<Instant> = None;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true).map_err(failed)?;
                return Ok(Some(listener));
            }
            Err(error) => {
                if told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                    told = Some(Instant::now());
                    log::error!("Cannot listen at {address} yet, the follow goes on: {error}");
                }
            }
        }
        if leaf.nap(BIND_EVERY).is_err() {
            return Ok(None);
        }
    }
}

/// A client.
struct Visitor {
    stream: TcpStream,
    peer: SocketAddr,
    heard: Vec<u8>,
    since: Instant,
}

/// What has become of a client.
enum Turn {
    /// It has not said everything yet.
    Waits,
    /// It is through, whatever it came for.
    Leaves,
    /// It asks for that, and has the token.
    Asks(Request),
    /// It has another token.
    Stranger,
}

/// Those who come, and those who are there.
struct Door {
    listener: TcpListener,
    /// The oldest first.
    visitors: Vec<Visitor>,
    /// Strangers since they were told of last.
    refused: u64,
    told: Option<Instant>,
}

impl Door {
    /// Waits for news, or for a moment.
    fn wait(&self) {
        let streams = self.visitors.iter().map(|visitor| visitor.stream.as_fd());
        let mut fds: Vec<PollFd<'_>> = std::iter::once(self.listener.as_fd())
            .chain(streams)
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // An error is no news; flags are looked at next.
        let _woken = poll(&mut fds, PollTimeout::from(POLL_MS));
    }

    /// Lets new clients in; how many.
    fn accept(&mut self) -> usize {
        for count in 0..ACCEPT_MAX {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
                Err(error) => {
                    log::debug!("A client could not be let in: {error}");
                    return ACCEPT_MAX;
                }
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.visitors.len() >= VISITORS_MAX {
                self.visitors.remove(0);
            }
            self.visitors.push(Visitor {
                stream,
                peer,
                heard: Vec::new(),
                since: Instant::now(),
            });
        }
        ACCEPT_MAX
    }

    /// Listens to all who are there, and answers those who have asked.
    fn serve(&mut self, token: &Token, act: impl Fn(Request) -> Result<Answer>) {
        for mut visitor in std::mem::take(&mut self.visitors) {
            match visitor.turn(token) {
                Turn::Waits => self.visitors.push(visitor),
                Turn::Leaves => {}
                Turn::Asks(request) => {
                    let answer = act(request).unwrap_or_else(Answer::Refused);
                    let peer = visitor.peer;
                    match &answer {
                        Answer::Refused(error) => {
                            log::warn!("\"{request}\" of {peer} was refused: {}", error.message());
                        }
                        _ if request.changes() => log::info!("Did \"{request}\" for {peer}"),
                        _ => log::debug!("Did \"{request}\" for {peer}"),
                    }
                    visitor.answer(&answer);
                }
                Turn::Stranger => {
                    self.refused += 1;
                    let error = Error::bad_state("the token is not that of this follow")
                        .hint("Copy \"pgcopydb.token\" of the follow's work directory again, and name it by --token-file.");
                    let peer = visitor.peer;
                    visitor.answer(&Answer::Refused(error));
                    self.tell_of_strangers(peer);
                }
            }
        }
    }

    /// Says that somebody was refused, now and then: a log must not grow with those who try.
    fn tell_of_strangers(&mut self, last: SocketAddr) {
        if self.told.is_some_and(|told| told.elapsed() < REFUSED_EVERY) {
            return;
        }
        let count = self.refused;
        log::warn!("Refused {count} clients with another token, the last one from {last}");
        (self.refused, self.told) = (0, Some(Instant::now()));
    }
}

impl Visitor {
    /// Reads what has come.
    fn turn(&mut self, token: &Token) -> Turn {
        let mut some = [0; MESSAGE_MAX];
        // A token and a request: what is longer is neither.
        while self.heard.len() <= 2 * MESSAGE_MAX {
            match self.stream.read(&mut some) {
                Ok(0) => return Turn::Leaves,
                Ok(count) => self.heard.extend(some.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Turn::Leaves,
            }
        }
        match heard(&self.heard) {
            Ok(Heard::Whole(given, request)) if token.is(given) => Turn::Asks(request),
            Ok(Heard::Whole(..)) => Turn::Stranger,
            Ok(Heard::Part) if self.since.elapsed() < PATIENCE => Turn::Waits,
            Ok(Heard::Part) => Turn::Leaves,
            Err(why) => {
                log::debug!("{} is no client: {why}", self.peer);
                Turn::Leaves
            }
        }
    }

    /// Answers. A few bytes that were not asked for before always fit; who does not take them goes without.
    fn answer(mut self, answer: &Answer) {
        let _gone = self.stream.write_all(&answer.encode());
    }
}
