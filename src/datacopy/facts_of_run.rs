//! What the prepare process found out, for every process that follows.
//!
//! Plain data; travels as one report line, so it must stay small.

use crate::conninfo::{ConnInfo, Pin};
use crate::error::{Error, Result};
use crate::pg::Link;
use crate::schema::server::ServerFacts;
use crate::units::Side;

/// Facts of a run.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Prepared {
    pub(super) run_id: i64,
    /// It goes on where another run stopped.
    pub(super) resumes: bool,
    /// `None` where only keys are put back.
    pub(super) source_pin: Option<Pin>,
    pub(super) source: Option<ServerFacts>,
    pub(super) target_pin: Pin,
    pub(super) target: ServerFacts,
}

impl Prepared {
    /// How to reach the target.
    pub(super) fn target_link(&self, conn: &ConnInfo) -> Link {
        Link {
            conn: conn.pinned(&self.target_pin),
            pin: self.target_pin.clone(),
            side: Side::Target,
        }
    }

    /// How to reach the source; `None` where nothing is read from it.
    pub(super) fn source_link(&self, conn: &ConnInfo) -> Option<Link> {
        self.source_pin.as_ref().map(|pin| Link {
            conn: conn.pinned(pin),
            pin: pin.clone(),
            side: Side::Source,
        })
    }

    /// Facts of the source. Errors: nothing is read from it in this run.
    pub(super) fn source(&self) -> Result<&ServerFacts> {
        self.source
            .as_ref()
            .ok_or_else(|| Error::internal("a run without a source was to copy"))
    }
}
