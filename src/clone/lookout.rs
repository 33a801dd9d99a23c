//! Looks what there is to do in the ledgers of several databases, for the supervisor that shares out workers.
//!
//! Runs in the lookout process. Reads the ledgers of databases that are being cloned, writes nothing, has no session. What
//! it reports is a hint: a worker that finds nothing ends again, and one that is missing is started with the
//! next look.

use super::goal::Goal;
use super::pool::{CLASSES, RANKS_MAX};
use crate::catalog::unit::{self, Kind};
use crate::catalog::{LastRun, Ledger, sqlite_error};
use crate::error::Result;
use crate::supervisor::{ClassLoad, Leaf, Report, Role};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(50);
/// What did not change is told again after this time.
const REPEAT: Duration = Duration::from_secs(1);

/// What is known of one database.
struct Sight {
    path: PathBuf,
    ledger: Option<Ledger>,
    /// Counter of the ledger's changes at the last look.
    version: i64,
    told: Vec<ClassLoad>,
    told_at: Option<Instant>,
    looked_at: Option<Instant>,
    is_over: bool,
}

/// Reports what there is to do until it is dismissed. `ledgers` stand in the order of the databases; runs that
/// began before `since` are none of ours.
pub(super) fn run(leaf: &mut Leaf<'_>, ledgers: &[PathBuf], since: i64) -> Result<()> {
    let mut sights: Vec<Sight> = ledgers
        .iter()
        .map(|path| Sight {
            path: path.clone(),
            ledger: None,
            version: -1,
            told: Vec::new(),
            told_at: None,
            looked_at: None,
            is_over: false,
        })
        .collect();
    loop {
        for (part, sight) in sights.iter_mut().enumerate() {
            // One that cannot be read is told of by whoever works on it.
            if let Ok(Some(classes)) = sight.look(since) {
                let part = u32::try_from(part).unwrap_or(u32::MAX);
                leaf.report(&Report::Load { part, classes });
            }
        }
        leaf.nap(INTERVAL)?;
    }
}

impl Sight {
    /// What there is to tell.
    fn look(&mut self, since: i64) -> Result<Option<Vec<ClassLoad>>> {
        if self.is_over || !self.find(since)? {
            return Ok(None);
        }
        let Some(ledger) = &self.ledger else {
            return Ok(None);
        };
        let version = ledger
            .connection()
            .query_row("pragma data_version", [], |row| row.get(0))
            .map_err(|error| sqlite_error("read", &error))?;
        let is_due = self.told_at.is_none_or(|at| at.elapsed() >= REPEAT);
        if version == self.version && !is_due {
            return Ok(None);
        }
        self.version = version;
        if let Some(last) = LastRun::read(ledger)?
            && last.finished_at.is_some()
        {
            self.ledger = None;
            self.is_over = last.started_at >= since;
            return Ok(None);
        }
        let loads: Result<Vec<ClassLoad>> =
            CLASSES.iter().map(|class| load(ledger, *class)).collect();
        let loads = loads?;
        if loads == self.told && !is_due {
            return Ok(None);
        }
        self.told.clone_from(&loads);
        self.told_at = Some(Instant::now());
        Ok(Some(loads))
    }

    /// Opens the ledger of a database that has begun; few of many are open at a time.
    fn find(&mut self, since: i64) -> Result<bool> {
        if self.ledger.is_some() {
            return Ok(true);
        }
        let is_early = self.looked_at.is_some_and(|at| at.elapsed() < REPEAT / 4);
        if is_early || !self.path.exists() {
            return Ok(false);
        }
        self.looked_at = Some(Instant::now());
        let ledger = Ledger::open_read_only(&self.path)?;
        let last = LastRun::read(&ledger)?;
        if last.is_some_and(|last| last.finished_at.is_none() && last.started_at >= since) {
            self.ledger = Some(ledger);
        }
        Ok(self.ledger.is_some())
    }
}

/// Kinds of units that a class of workers does, and those that make such work.
fn kinds(class: Role) -> (&'static [Kind], &'static [Kind]) {
    match class {
        Role::Copy => crate::copy::KINDS,
        Role::Vacuum => crate::vacuum::KINDS,
        Role::Blob => crate::blob::KINDS,
        _ => Goal::Clone.index_kinds(),
    }
}

fn load(ledger: &Ledger, class: Role) -> Result<ClassLoad> {
    let (kinds, upstream) = kinds(class);
    Ok(ClassLoad {
        ready: unit::ready_ranks(ledger, kinds, RANKS_MAX)?,
        running: unit::running_count(ledger, kinds)?,
        is_over: unit::stage_is_over(ledger, kinds, upstream)?,
    })
}
