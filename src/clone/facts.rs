//! What the prepare process found out, for every process that follows.
//!
//! Plain data; travels as one report line, so it must stay small.

use crate::conninfo::{ConnInfo, Pin};
use crate::dump::Tools;
use crate::pg::Link;
use crate::schema::server::ServerFacts;
use crate::units::Side;

/// Facts of a run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Prepared {
    pub(super) run_id: i64,
    pub(super) source_pin: Pin,
    pub(super) target_pin: Pin,
    pub(super) source: ServerFacts,
    pub(super) target: ServerFacts,
    pub(super) tools: Tools,
    /// Room in the target's lock table, in locks.
    pub(super) target_lock_room: u64,
    /// Relations of the source that a restore creates.
    pub(super) relations: u64,
    /// The role may create schemas on the target, so parts can leave a record there.
    pub(super) can_leave_progress: bool,
}

impl Prepared {
    /// The encoding that both sides of a COPY use: what the source stores, converted once.
    pub(super) fn encoding(&self) -> &str {
        &self.source.database.encoding
    }

    /// How to connect to a side from now on.
    pub(super) fn link(&self, conn: &ConnInfo, side: Side) -> Link {
        let pin = match side {
            Side::Source => &self.source_pin,
            Side::Target => &self.target_pin,
        };
        Link { conn: conn.pinned(pin), pin: pin.clone(), side }
    }
}
