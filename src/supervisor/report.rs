//! What leaf processes tell the supervisor: one JSON object a line, at most 4 kB.
//!
//! Written by leaves through `sys::fork::Reporter`, read by the supervisor. The last line of a leaf
//! is `done` or `failed`; a leaf that ends without either has crashed.

use crate::error::{Error, Result};
use crate::sys::fork::REPORT_LINE_MAX;
use crate::units::Lsn;

/// One message.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Report {
    /// Prepare: both sides can be used; the facts that later processes get.
    Prepared {
        /// Plain data, defined by the command that runs.
        facts: serde_json::Value,
        /// Something of the source is read that belongs into one snapshot.
        reads: bool,
    },
    /// Snapshot: it is exported and held.
    Snapshot {
        /// Its id.
        id: String,
    },
    /// Pre-data: how many units of each kind there are to do.
    Planned {
        /// Tables and parts still to copy.
        copies: u64,
        /// Of them, parts of split tables.
        parts: u64,
        /// Indexes, constraints and foreign keys still to build.
        builds: u64,
        /// Tables still to vacuum.
        vacuums: u64,
        /// Batches of large objects still to copy.
        blobs: u64,
        /// Extensions whose configuration is still to copy.
        extensions: u64,
        /// The tables were made by this run's own pre-data step.
        fresh: bool,
    },
    /// A worker gave a unit up and goes on with others.
    GivenUp {
        /// Why.
        error: Error,
    },
    /// A worker left something undone that stops nothing else, but the run must not end with 0.
    Flawed {
        /// What and why.
        error: Error,
    },
    /// Post-data: something has to be copied again first.
    Redo,
    /// A worker that shares its place with other databases: ends though its stage is not over.
    Yielded {
        /// There was nothing to do for it.
        idle: bool,
    },
    /// Lookout: what there is to do in one database.
    Load {
        /// Its place in the list of databases.
        part: u32,
        /// What there is for each class of workers, in the order that both sides know.
        classes: Vec<ClassLoad>,
    },
    /// Prove: all that could be put back is; the run has nothing more to put in order.
    PutBack {
        /// Keys that had been removed.
        keys: u64,
        /// Of them, as before.
        proven: u64,
    },
    /// A process of a follow: from where it goes on.
    Position {
        /// The last end of a transaction that it has seen to.
        lsn: Lsn,
    },
    /// A process of a follow: everything up to an endpos is received, or applied.
    Reached {
        /// The endpos.
        lsn: Lsn,
    },
    /// A process of a follow: where the sentinel says to stop.
    Endpos {
        /// Unset: nowhere.
        lsn: Lsn,
    },
    /// The work is done.
    Done,
    /// The work failed.
    Failed {
        /// Why.
        error: Error,
    },
}

/// What there is to do for one class of workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClassLoad {
    /// Ranks of the first units that are ready, highest first.
    pub ready: Vec<i64>,
    /// Units that are being worked on.
    pub running: u32,
    /// Nothing is ready or in progress, nor can anything become so.
    pub is_over: bool,
}

impl Report {
    /// The line for the pipe; an error that is too long loses its detail and then its tail.
    pub fn line(&self) -> String {
        let line = self.json();
        if line.len() < REPORT_LINE_MAX {
            return line;
        }
        match self {
            Self::Failed { error } => Self::Failed {
                error: shortened(error),
            }
            .json(),
            Self::GivenUp { error } => Self::GivenUp {
                error: shortened(error),
            }
            .json(),
            Self::Flawed { error } => Self::Flawed {
                error: shortened(error),
            }
            .json(),
            _ => Self::Failed {
                error: Error::internal("a report was too long for its pipe"),
            }
            .json(),
        }
    }

    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{\"t\":\"redo\"}".to_owned())
    }

    /// Reads a line. Errors: a line that no leaf of ours writes.
    pub fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line)
            .map_err(|error| Error::internal(format!("could not read a report: {error}")))
    }
}

fn shortened(error: &Error) -> Error {
    /// Room for a message once the other parts are gone.
    const MESSAGE_MAX: usize = 1500;
    let all = error.lines().join("; ");
    let mut end = all.len().min(MESSAGE_MAX);
    while !all.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = Error::new(error.kind(), &all[..end]);
    if let Some(code) = error.sqlstate() {
        short = short.with_sqlstate(code);
    }
    if error.is_transient() {
        short = short.transient();
    }
    if error.is_snapshot_lost() {
        short = short.snapshot_lost();
    }
    if error.is_waited_out() {
        short = short.waited_out();
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe_and_long_errors_are_cut() {
        let long = Error::internal("é".repeat(10_000)).detail("\"".repeat(9_000));
        let line = Report::Failed {
            error: long.transient().snapshot_lost().waited_out(),
        }
        .line();
        assert!(line.len() < REPORT_LINE_MAX, "{}", line.len());
        assert!(matches!(Report::parse(&line), Ok(Report::Failed { error })
                if error.is_transient() && error.is_snapshot_lost() && error.is_waited_out()));
        let line = Report::Snapshot {
            id: "1-2-3".to_owned(),
        }
        .line();
        assert!(matches!(Report::parse(&line), Ok(Report::Snapshot { id }) if id == "1-2-3"));
        for end in 0..line.len() {
            assert!(Report::parse(&line[..end]).is_err());
        }
    }
}
