//! Protocol 3 on our own sockets, for what the `postgres` crate cannot do: COPY as a relay of raw
//! frames, replication, pipelines, and all of libpq's ways to connect.
//!
//! Runs in leaf workers, after the fork. Reads and writes sockets and libpq's certificate files. A
//! session is blocking: it sends a request and reads until `ReadyForQuery`. It must not outlive a
//! fork, and must not retry anything (`pg::retry` decides that).
//!
//! ```text
//! startup: [SSLRequest -> S | N] StartupMessage -> R… -> S* K Z        startup.rs, auth.rs, tls.rs
//! query:   Q -> (T D* | I)? C … -> Z                                   session.rs
//! copy:    Q -> H (d* c | E) C Z        Q -> G, then d* (c | f) -> C | E, Z      copy_out.rs, copy_in.rs
//! pipeline: (P | B E | C)* (H | S) -> (1 | 2 | 3 | D* C)* E? Z?                   pipeline.rs
//! stream:  Q -> W, then d* both ways, c both ways, C* Z                         copy_both.rs
//! ```
//! `N`, `S` and `A` can come at any point, `E` at nearly any.

mod auth;
mod cancel;
mod copy_both;
mod copy_in;
mod copy_many;
mod copy_out;
mod dial;
mod frame;
mod link;
mod message;
mod pipeline;
mod session;
mod startup;
#[cfg(test)]
mod tests;
pub mod tls;

pub use cancel::CancelToken;
pub use copy_both::{CopyBoth, Read};
pub use copy_in::CopyIn;
pub use copy_out::CopyOut;
pub use dial::socket_folder;
pub use message::{ServerMessage, prefix};
pub use pipeline::{Outcome, Pipeline, Reply, Requests};
pub use session::{Session, StatementResult};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Names the flag that ends every wait of this process's sessions; the first call counts.
pub fn set_stop_flag(flag: Arc<AtomicBool>) {
    // A second flag would be a second worker in one process, which does not exist.
    let _already_set = STOP.set(flag);
}

/// Whether the stop flag is set.
pub fn stop_requested() -> bool {
    STOP.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An application name as the server can hold it: 63 bytes, cut between characters.
pub fn application_name(name: &str) -> &str {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}
