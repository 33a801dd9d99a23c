//! Finding the endpoint of a side: the one host, address and port that a whole run uses.
//!
//! Runs in the first worker of a run, which reports the pin to the supervisor. A snapshot lives on
//! one server only, so every later connection goes to the same one.

use super::retry::{FIRST_CONNECT_BUDGET, with_backoff};
use crate::conninfo::{ConnInfo, Pin};
use crate::error::Result;
use crate::units::Side;
use crate::wire::{Session, stop_requested};

/// Connects to the first host that answers, trying for a minute. Blocks.
pub fn find(conn: &ConnInfo, side: Side, app_name: &str) -> Result<(Session, Pin)> {
    let what = format!("connect to the {side} at {}", conn.safe_uri());
    with_backoff(FIRST_CONNECT_BUDGET, &what, &stop_requested, || {
        Session::connect(conn, side, app_name, &[])
    })
}
