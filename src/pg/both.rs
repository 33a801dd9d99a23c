//! Asking two servers at once: each takes most of the time of a question, and there are two.
//!
//! Runs in leaf workers and in the main program, in a thread that ends with the call.

use crate::error::{Error, Result};

/// Does one thing here and another in a thread, and gives what came of both. Blocks until both are done. Errors: the
/// other's own, and its panic.
pub fn at_once<A, B: Send>(
    one: impl FnOnce() -> A,
    other: impl FnOnce() -> Result<B> + Send,
) -> (A, Result<B>) {
    let died = |_| Err(Error::internal("a thread that asks a server died"));
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), other.join().unwrap_or_else(died))
    })
}
