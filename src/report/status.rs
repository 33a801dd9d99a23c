//! `status`: what a work directory holds and how to go on, as lines and as JSON.
//!
//! Runs in the main program. Pure: facts in, text out.

use super::figures::Progress;
use super::{lag, list_progress};
use crate::catalog::{Lag, LastRun, Setup};
use crate::sys::clock;
use crate::units::{PgVersion, pretty_bytes, pretty_ms, pretty_rate};
use serde_json::{Value, json as object};

/// Version of the document's layout.
const FORMAT: u32 = 1;
/// Times as the lines show them.
const TIME: &str = "%Y-%m-%d %H:%M:%S %Z";
/// Notices that the lines show.
const NOTICES_MAX: usize = 10;

/// The state of a work directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// There is no such directory.
    #[default]
    Missing,
    /// It cannot be a work directory.
    Unusable,
    /// It holds files of somebody else.
    Foreign,
    /// It holds the state of another program of this name.
    OtherProgram,
    /// No run has begun its work.
    Idle,
    /// A run is going on.
    Running,
    /// The last run reached its end.
    Complete,
    /// The last run did not.
    Interrupted,
}

impl State {
    /// Its name in both forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unusable => "unusable",
            Self::Foreign => "foreign",
            Self::OtherProgram => "other-program",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Everything.
    pub total: u64,
    /// The ledger.
    pub ledger: u64,
    /// The archive of the schema.
    pub archive: u64,
    /// Change data.
    pub changes: u64,
}

/// All there is to say.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The directory.
    pub dir: String,
    /// Its state.
    pub state: State,
    /// Why it is unusable, or what is foreign in it.
    pub reason: Option<String>,
    /// Who uses it: service and process.
    pub holders: Vec<(String, Option<u32>)>,
    /// How large it is.
    pub sizes: Sizes,
    /// Version of the program that made it, and its name on the target.
    pub made_by: Option<(String, String)>,
    /// Both databases.
    pub setup: Option<Setup>,
    /// The last run.
    pub last: Option<LastRun>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// How far a follow is behind, where there is one.
    pub lag: Option<Lag>,
    /// Topic and line of what a person must be told.
    pub notices: Vec<(String, String)>,
}

impl Status {
    /// The process of the run that is going on.
    fn pid(&self) -> Option<u32> {
        let run = self.holders.iter().find(|(service, _)| service == "main");
        run.and_then(|(_, pid)| *pid)
    }

    /// The command that goes on where the last run stopped.
    pub fn resume_command(&self) -> Option<String> {
        if self.state != State::Interrupted {
            return None;
        }
        let last = self.last.as_ref()?;
        Some(match &last.cmdline {
            Some(cmdline) => resumed(cmdline),
            None => format!(
                "pgcopydb {} --dir {} --resume --not-consistent",
                last.command, self.dir
            ),
        })
    }

    /// What to do now, in one sentence.
    pub fn next(&self) -> String {
        let dir = &self.dir;
        match self.state {
            State::Missing | State::Idle => format!("Begin a run: pgcopydb clone --dir {dir} ..."),
            State::Unusable | State::Foreign => "Give another directory with --dir.".to_owned(),
            State::OtherProgram => format!(
                "Finish with the program that made it, or begin anew: pgcopydb clone --dir {dir} \
                 --restart ..."
            ),
            State::Running => format!("Watch it: pgcopydb list progress --dir {dir} --watch"),
            State::Complete => {
                "Nothing is left to do; --restart begins anew, from nothing.".to_owned()
            }
            State::Interrupted => format!("Go on: {}", self.resume_command().unwrap_or_default()),
        }
    }
}

/// A logged command line with what makes it go on: no `--restart`, `--resume --not-consistent`.
fn resumed(cmdline: &str) -> String {
    let mut words: Vec<&str> = cmdline
        .split(' ')
        .filter(|word| *word != "--restart")
        .collect();
    for option in ["--resume", "--not-consistent"] {
        if !words.contains(&option) {
            words.push(option);
        }
    }
    words.join(" ")
}

/// The lines, `name: value`.
pub fn text(status: &Status) -> String {
    let mut lines = vec![("Directory", status.dir.clone())];
    let state = match (status.state, status.pid()) {
        (State::Running, Some(pid)) => format!("running, process {pid}"),
        (state, _) => state.name().to_owned(),
    };
    lines.push(("State", state));
    lines.extend(status.reason.clone().map(|reason| ("Reason", reason)));
    for (service, pid) in &status.holders {
        if service != "main" {
            let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            lines.push(("Service", format!("{service}, process {pid}")));
        }
    }
    if let Some(last) = &status.last {
        lines.push(("Run", run_line(last)));
    }
    if let Some(setup) = &status.setup {
        let side = |uri: &str, version| format!("{uri} (PostgreSQL {})", PgVersion(version));
        lines.push(("Source", side(&setup.source_uri, setup.source_version)));
        lines.push(("Target", side(&setup.target_uri, setup.target_version)));
    }
    lines.extend(progress_lines(status));
    if let Some(lag) = &status.lag {
        lines.extend(lag::lines(lag, clock::epoch_ms()));
    }
    if status.sizes.total > 0 {
        let sizes = &status.sizes;
        let size = format!(
            "{} (ledger {}, archive {}, changes {})",
            pretty_bytes(sizes.total),
            pretty_bytes(sizes.ledger),
            pretty_bytes(sizes.archive),
            pretty_bytes(sizes.changes)
        );
        lines.push(("Size", size));
    }
    for (topic, line) in status.notices.iter().take(NOTICES_MAX) {
        lines.push(("Notice", format!("{topic}: {line}")));
    }
    if status.notices.len() > NOTICES_MAX {
        let more = status.notices.len() - NOTICES_MAX;
        lines.push(("Notice", format!("... and {more} more")));
    }
    lines.push(("Next", status.next()));
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(name, value)| format!("{:<11}{value}\n", format!("{name}:")))
        .collect();
    lines.concat()
}

fn run_line(last: &LastRun) -> String {
    let time = |at| clock::local_time_at(at, TIME);
    let end = last.finished_at.map(|finished_at| {
        let elapsed_ms = u64::try_from(finished_at - last.started_at).unwrap_or(0);
        let outcome = last.outcome.as_deref().unwrap_or("ended");
        format!(", {outcome} after {}", pretty_ms(elapsed_ms).trim_start())
    });
    format!(
        "{}, {}, began {}{}",
        last.id,
        last.command,
        time(last.started_at),
        end.unwrap_or_default()
    )
}

fn progress_lines(status: &Status) -> Vec<(&'static str, String)> {
    let Some(progress) = &status.progress else {
        return Vec::new();
    };
    let f = &progress.figures;
    let stays = match (status.state, f.tables_done) {
        (State::Interrupted, 1..) => "; these stay, the others are copied again or go on",
        _ => "",
    };
    let rate = match f.rate {
        0 => String::new(),
        rate => format!(", {}", pretty_rate(rate, 1000)),
    };
    vec![
        (
            "Tables",
            format!("{} of {} done{stays}", f.tables_done, f.tables_total),
        ),
        (
            "Bytes",
            format!(
                "{} of {} copied{rate}",
                pretty_bytes(f.bytes_done),
                pretty_bytes(f.bytes_total)
            ),
        ),
        (
            "Indexes",
            format!("{} of {} built", f.indexes_done, f.indexes_total),
        ),
    ]
}

/// The document.
pub fn document(status: &Status) -> Value {
    let sizes = &status.sizes;
    let side =
        |uri: &str, version| object!({ "uri": uri, "version": PgVersion(version).to_string() });
    object!({
        "format": FORMAT,
        "dir": status.dir,
        "state": status.state.name(),
        "reason": status.reason,
        "pid": status.pid(),
        "services": status.holders.iter().filter(|(service, _)| service != "main")
            .map(|(service, pid)| object!({ "service": service, "pid": pid }))
            .collect::<Vec<Value>>(),
        "version": status.made_by.as_ref().map(|(version, _)| version),
        "uuid": status.made_by.as_ref().map(|(_, uuid)| uuid),
        "source": status.setup.as_ref()
            .map(|setup| side(&setup.source_uri, setup.source_version)),
        "target": status.setup.as_ref()
            .map(|setup| side(&setup.target_uri, setup.target_version)),
        "run": status.last.as_ref().map(|last| object!({
            "id": last.id,
            "command": last.command,
            "pid": last.pid,
            "started": last.started_at / 1000,
            "finished": last.finished_at.map(|at| at / 1000),
            "outcome": last.outcome,
            "consistent": last.consistent,
            "snapshot": last.snapshot,
        })),
        "progress": status.progress.as_ref().map(list_progress::document),
        "follow": status.lag.as_ref().map(|lag| lag::document(lag, clock::epoch_ms())),
        "bytes": {
            "total": sizes.total,
            "ledger": sizes.ledger,
            "archive": sizes.archive,
            "changes": sizes.changes,
            "total-pretty": pretty_bytes(sizes.total),
        },
        "notices": status.notices.iter().map(|(topic, line)| object!({
            "topic": topic,
            "line": line,
        })).collect::<Vec<Value>>(),
        "resume": status.resume_command(),
        "next": status.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupted(cmdline: Option<&str>) -> Status {
        Status {
            dir: "/w".to_owned(),
            state: State::Interrupted,
            last: Some(LastRun {
                id: 2,
                command: "clone".to_owned(),
                cmdline: cmdline.map(ToOwned::to_owned),
                ..LastRun::default()
            }),
            ..Status::default()
        }
    }

    #[test]
    fn the_command_that_goes_on_is_the_one_that_began_with_resume() {
        let cases = [
            (
                "pgcopydb clone --restart --dir /w --source postgres://u:***@h/d",
                "pgcopydb clone --dir /w --source postgres://u:***@h/d --resume --not-consistent",
            ),
            (
                "pgcopydb clone --resume --not-consistent --dir /w",
                "pgcopydb clone --resume --not-consistent --dir /w",
            ),
        ];
        for (before, after) in cases {
            let status = interrupted(Some(before));
            assert_eq!(status.resume_command().as_deref(), Some(after));
            assert!(text(&status).ends_with(&format!("Next:      Go on: {after}\n")));
        }
        let status = interrupted(None);
        let after = "pgcopydb clone --dir /w --resume --not-consistent";
        assert_eq!(document(&status)["resume"], after);
    }

    #[test]
    fn a_missing_directory_has_a_state_and_a_next_step() {
        let status = Status {
            dir: "/w".to_owned(),
            ..Status::default()
        };
        let lines = text(&status);
        assert!(
            lines.starts_with("Directory: /w\nState:     missing\n"),
            "{lines}"
        );
        assert_eq!(document(&status)["resume"], Value::Null);
        assert_eq!(document(&status)["state"], "missing");
    }
}
