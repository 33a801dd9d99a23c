//! What every integration test stands on: servers, the program under test, the judge.

pub mod cluster;
pub mod follow;
pub mod judge;
pub mod program;
pub mod servers;
pub mod shops;
pub mod terminal;

use std::time::{Duration, Instant};

pub use cluster::Cluster;
pub use judge::assert_equal;
pub use program::{Output, Running, WorkDir, run, start};
pub use servers::{Pair, pair};

/// How long a test waits for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks until the answer is yes; no after `limit`.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        pause();
    }
}

/// The one pause between two looks.
#[allow(
    clippy::disallowed_methods,
    reason = "a test is no worker: no signal can end its wait"
)]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
