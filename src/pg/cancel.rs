//! The canceller of a leaf worker: turns SIGTERM, SIGINT and SIGQUIT into cancel requests.
//!
//! Runs as threads of a leaf worker, started after the fork, since a running call of the `postgres`
//! crate notices no signal. It sets the stop flag, sends a cancel request for each registered session
//! each second (a request may come before its statement), and ends the process eight seconds after
//! the signal, whatever the rest of it does. It must not be started in a process that forks.

use super::session::cancel_error;
use crate::error::{Error, Result};
use crate::sys::{clock::nap, fork::exit_now};
use crate::units::Side;
use crate::wire;
use postgres_openssl::MakeTlsConnector;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a process lives after the first signal.
const LIFE_AFTER_SIGNAL: Duration = Duration::from_secs(8);
/// Time between two rounds of cancel requests.
const CANCEL_EVERY: Duration = Duration::from_secs(1);

/// What cancels the statement of one session.
#[derive(Clone)]
pub enum Token {
    /// A session of `wire`.
    Wire(wire::CancelToken),
    /// A session of the `postgres` crate.
    Postgres {
        /// The crate's token.
        token: postgres::CancelToken,
        /// TLS rules of the session, `None` where it has no TLS.
        tls: Option<MakeTlsConnector>,
        /// Which server.
        side: Side,
        /// Process id of the server's backend.
        backend_pid: i32,
    },
}

impl Token {
    /// What cancels the statement of a session.
    pub fn from_session(session: &super::session::PgSession) -> Self {
        session.cancel_token()
    }

    /// Asks the server to cancel what the session runs. Blocks for a new connection.
    pub fn cancel(&self) -> Result<()> {
        match self {
            Self::Wire(token) => token.cancel(),
            Self::Postgres {
                token,
                tls,
                side,
                backend_pid,
            } => match tls {
                Some(tls) => token.cancel_query(tls.clone()),
                None => token.cancel_query(postgres::NoTls),
            }
            .map_err(|error| cancel_error(&error, *side, *backend_pid)),
        }
    }
}

/// Tokens of the sessions of this process, with the number each was registered under.
#[derive(Default)]
struct Registry {
    next: u64,
    tokens: Vec<(u64, Token)>,
}

type Shared = Arc<Mutex<Registry>>;

/// The canceller of this process.
#[derive(Clone)]
pub struct Canceller {
    registry: Shared,
    stop: Arc<AtomicBool>,
}

/// Keeps a token registered until it is dropped.
pub struct Registration {
    registry: Shared,
    stop: Arc<AtomicBool>,
    number: u64,
    token: Token,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.tokens.retain(|(number, _)| *number != self.number);
        drop(registry);
        // This process may be faster than the thread: it must not leave a statement running.
        if self.stop.load(Ordering::SeqCst)
            && let Err(error) = self.token.cancel()
        {
            log::debug!("{error}");
        }
    }
}

impl Canceller {
    /// Starts the thread that waits for signals. `stop` is set by the first one.
    pub fn start(stop: Arc<AtomicBool>) -> Result<Self> {
        let failed = |what: &str, error: &std::io::Error| {
            Error::internal(format!("could not start the canceller: {what}: {error}"))
        };
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT])
            .map_err(|error| failed("signal handlers", &error))?;
        let of_registrations = Arc::clone(&stop);
        let registry = Shared::default();
        let shared = Arc::clone(&registry);
        std::thread::Builder::new()
            .name("canceller".to_owned())
            .spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    stop.store(true, Ordering::SeqCst);
                    after_signal(signal, shared);
                }
            })
            .map_err(|error| failed("thread", &error))?;
        Ok(Self {
            registry,
            stop: of_registrations,
        })
    }

    /// Has `token` cancelled after a signal, until the result is dropped.
    #[must_use]
    pub fn register(&self, token: Token) -> Registration {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.next += 1;
        let number = registry.next;
        registry.tokens.push((number, token.clone()));
        Registration {
            registry: Arc::clone(&self.registry),
            stop: Arc::clone(&self.stop),
            number,
            token,
        }
    }
}

/// Counts down; the requests, which can block, have a thread of their own.
fn after_signal(signal: i32, registry: Shared) {
    let end = Instant::now() + LIFE_AFTER_SIGNAL;
    let sender = std::thread::Builder::new()
        .name("cancel".to_owned())
        .spawn(move || send_forever(&registry));
    if let Err(error) = sender {
        log::warn!("Could not send cancel requests: {error}");
    }
    while Instant::now() < end {
        nap(Duration::from_millis(100));
    }
    log::warn!(
        "Ending, as signal {signal} came {} s ago",
        LIFE_AFTER_SIGNAL.as_secs()
    );
    exit_now(128 + signal);
}

fn send_forever(registry: &Shared) {
    loop {
        let round = Instant::now();
        let tokens: Vec<Token> = {
            let registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
            registry
                .tokens
                .iter()
                .map(|(_, token)| token.clone())
                .collect()
        };
        for token in tokens {
            if let Err(error) = token.cancel() {
                log::debug!("{error}");
            }
        }
        while round.elapsed() < CANCEL_EVERY {
            nap(Duration::from_millis(100));
        }
    }
}
