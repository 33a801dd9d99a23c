//! What the prepare process found out, for every process that follows.
//!
//! Plain data; travels as one report line, so it must stay small.

use crate::conninfo::{ConnInfo, Pin};
use crate::dump::Tools;
use crate::error::{Error, Result};
use crate::pg::Link;
use crate::schema::server::ServerFacts;
use crate::units::Side;

/// What later commands must know of a source that they do not connect to; kept in the ledger.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SourceFacts {
    pub(super) server: ServerFacts,
    /// Relations that a restore creates.
    pub(super) relations: u64,
    /// Columns carry `pg_attver`.
    pub(super) has_attver: bool,
    /// It has timescaledb.
    #[serde(default)]
    pub(super) has_timescaledb: bool,
}

/// Facts of a run. A side that the command does not connect to has no pin.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Prepared {
    pub(super) run_id: i64,
    pub(super) source_pin: Option<Pin>,
    pub(super) target_pin: Option<Pin>,
    /// As it is now, or as it was when the catalogs were fetched.
    source: Option<ServerFacts>,
    target: Option<ServerFacts>,
    /// PostgreSQL's own, where the command needs them.
    tools: Option<Tools>,
    /// JSON of the options in force, those of earlier commands among them.
    pub(super) options: String,
    /// Room in the target's lock table, in locks.
    pub(super) target_lock_room: u64,
    /// Relations of the source that a restore creates.
    pub(super) relations: u64,
    /// The role may create schemas on the target, so parts can leave a record there.
    pub(super) can_leave_progress: bool,
}

/// The parts of [`Prepared`] that a command may do without.
pub(super) struct Sides {
    pub(super) source: Option<ServerFacts>,
    pub(super) target: Option<ServerFacts>,
    pub(super) tools: Option<Tools>,
}

impl Prepared {
    /// Facts of a run that is about to begin, with what its sides told.
    pub(super) fn new(run_id: i64, sides: Sides, pins: (Option<Pin>, Option<Pin>)) -> Self {
        let target = sides.target.as_ref();
        Self {
            run_id,
            source_pin: pins.0,
            target_pin: pins.1,
            options: String::new(),
            target_lock_room: target.map_or(0, |target| target.limits.lock_room()),
            relations: 0,
            can_leave_progress: target.is_some_and(|target| target.role.can_create),
            source: sides.source,
            target: sides.target,
            tools: sides.tools,
        }
    }

    pub(super) fn source(&self) -> Result<&ServerFacts> {
        let missing = || Error::internal("nothing is known of the source");
        self.source.as_ref().ok_or_else(missing)
    }

    pub(super) fn target(&self) -> Result<&ServerFacts> {
        let missing = || Error::internal("nothing is known of the target");
        self.target.as_ref().ok_or_else(missing)
    }

    pub(super) fn tools(&self) -> Result<&Tools> {
        let missing = || Error::internal("no tools were chosen");
        self.tools.as_ref().ok_or_else(missing)
    }

    /// True when text is converted on its way; unknown counts as true, which is slower and right.
    pub(super) fn encodings_differ(&self) -> bool {
        let encoding =
            |facts: &Option<ServerFacts>| Some(facts.as_ref()?.database.encoding.clone());
        match (encoding(&self.source), encoding(&self.target)) {
            (Some(source), Some(target)) => source != target,
            _ => true,
        }
    }

    /// The encoding that both sides of a COPY use: what the source stores, converted once.
    pub(super) fn encoding(&self) -> &str {
        let source = self.source.as_ref();
        source.map_or("UTF8", |source| source.database.encoding.as_str())
    }

    /// How to connect to a side from now on, when the run does.
    pub(super) fn link(&self, conn: Option<&ConnInfo>, side: Side) -> Option<Link> {
        let pin = match side {
            Side::Source => self.source_pin.as_ref()?,
            Side::Target => self.target_pin.as_ref()?,
        };
        Some(Link {
            conn: conn?.pinned(pin),
            pin: pin.clone(),
            side,
        })
    }
}
