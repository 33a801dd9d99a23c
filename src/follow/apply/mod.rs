//! SQL lines into the target, exactly once.
//!
//! Runs in the apply process, and in the main program for `stream apply` and `stream catchup`. Reads SQL
//! files or a pipe, writes the target. Which transactions are applied is decided by their end LSN and
//! by what the target's replication origin says; nothing else is believed, no file name, no xid.
//!
//! ```text
//! input.rs -> line.rs -> assemble.rs -> plan.rs (net.rs, render.rs, target.rs) -> engine.rs -> target
//! ```

mod assemble;
mod conflict;
mod draft;
mod engine;
mod files;
mod group;
mod input;
mod line;
mod live;
mod missing;
mod net;
mod origins;
mod plan;
mod recognize;
mod redo;
mod registry;
mod render;
mod seam;
mod session;
mod target;
mod values;
mod watch;

pub use engine::Figures;
pub use missing::{Missing, missing};

use super::files::CdcDir;
use super::origin::Keeper;
use super::setup;
use super::source_table::SourceTables;
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::logging;
use crate::pg::retry::{RECONNECT_BUDGET, Retry, policy};
use crate::pg::{Link, application_name, endpoint};
use crate::sys::clock;
use crate::units::{Lsn, Side};
use crate::wire::stop_requested;
use assemble::{Assembler, Event};
use engine::{Engine, Verdict};
use files::SqlFiles;
use input::Input;
use line::Meta;
use origins::Origins;
use seam::Seam;
use session::Sessions;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use watch::{Go, Watch};

/// How long a pipe is waited for before other things are looked at.
const IDLE_MS: u16 = 100;
/// Time between two looks whether enough is received.
const WAIT_FOR_SEAM: Duration = Duration::from_millis(200);
/// Time between two transactions that only move the origin on.
const ADVANCE_EVERY: Duration = Duration::from_secs(10);
/// How often the connection may be lost without any progress in between.
const ATTEMPTS_MAX: u32 = 10;

/// How to apply.
#[derive(Clone, Debug)]
pub struct ApplySettings {
    /// The target.
    pub target: ConnInfo,
    /// The source, to be asked about tables that came after the copy.
    pub source: Option<ConnInfo>,
    /// Name of the replication origin.
    pub origin: String,
    /// Where to stop; unset: as the sentinel says, else never.
    pub endpos: Lsn,
    /// The folder of change data.
    pub cdc: CdcDir,
    /// The ledger with the sentinel; none for `stream apply`, which waits for nobody.
    pub ledger: Option<PathBuf>,
}

/// How applying ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This endpos is reached: all that ends up to it is applied. The sentinel may name another one by now.
    Drained(Lsn),
    /// There was no further line.
    EndOfInput,
    /// A signal came.
    Stopped,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// How it ended.
    pub ended: Ended,
    /// What the origin says now.
    pub progress: Lsn,
    /// Figures of this run.
    pub figures: Figures,
}

/// What is applied.
enum What {
    File(PathBuf),
    Pipe(Option<OwnedFd>),
    Folder,
    /// The folder, while others write there.
    Live,
}

/// Applies one SQL file.
pub fn apply_file(settings: &ApplySettings, path: PathBuf) -> Result<Applied> {
    Run::new(settings, What::File(path))?.run()
}

/// Applies what comes through a pipe, such as standard input.
pub fn apply_pipe(settings: &ApplySettings, pipe: OwnedFd) -> Result<Applied> {
    Run::new(settings, What::Pipe(Some(pipe)))?.run()
}

/// Applies the SQL files of the folder of change data, up to the last one that is there.
pub fn catchup(settings: &ApplySettings) -> Result<Applied> {
    Run::new(settings, What::Folder)?.run()
}

/// Applies the SQL files of the folder while they are written, until the endpos or a stop. Blocks.
pub fn live(settings: &ApplySettings) -> Result<Applied> {
    Run::new(settings, What::Live)?.run()
}

/// One run.
struct Run<'a> {
    settings: &'a ApplySettings,
    link: Link,
    what: What,
    watch: Watch,
    figures: Figures,
    keepalive: Option<Meta>,
    advanced: Option<Instant>,
    /// How long the end of a growing file is left alone.
    nap: Duration,
}

/// The error for an end before the last copy ends.
pub fn early_endpos(endpos: Lsn, last: Lsn) -> Error {
    Error::bad_state(format!(
        "endpos {endpos} lies before {last}, up to where tables were copied"
    ))
    .detail("The base copy was resumed: before that position the target is in no state that the source ever had.")
    .hint(format!("Set an endpos of {last} or later."))
}

/// The target, if it answers.
fn find(conn: &ConnInfo) -> Result<Link> {
    let side = Side::Target;
    let (session, pin) = endpoint::find(conn, side, &application_name("apply"))?;
    session.close();
    let conn = conn.clone();
    Ok(Link { conn, pin, side })
}

impl<'a> Run<'a> {
    fn new(settings: &'a ApplySettings, what: What) -> Result<Self> {
        if let Some(recorded) = settings.cdc.read_origin()?
            && recorded != settings.origin
        {
            return Err(Error::bad_state(format!(
                "the work directory was set up with replication origin \"{recorded}\", not \"{}\"",
                settings.origin
            ))
            .hint("Give the same --origin, or another work directory."));
        }
        let watch = Watch::open(settings.ledger.as_deref())?;
        let link = match what {
            // A target that is away comes back; the others have all the time.
            What::Live => setup::link_within(
                RECONNECT_BUDGET,
                &settings.target,
                Side::Target,
                "follow apply",
            )?,
            _ => find(&settings.target)?,
        };
        Ok(Self {
            settings,
            link,
            what,
            watch,
            figures: Figures::default(),
            keepalive: None,
            advanced: None,
            nap: live::NAP_LEAST,
        })
    }

    fn run(mut self) -> Result<Applied> {
        if self.settings.endpos.is_set() {
            self.watch.set_endpos(self.settings.endpos)?;
        }
        let go = self.watch.wait_for_apply()?;
        if go == Go::Stop {
            return Ok(self.without_work(Ended::Stopped));
        }
        let former = self.watch.status()?.apply_backend;
        let former = (former != 0).then_some(former);
        let (sessions, progress) = Sessions::open(&self.link, &self.settings.origin, former)?;
        self.check_progress(sessions.keeper, progress)?;
        if let Go::Reached(endpos) = go {
            // What the ledger remembers is no proof: the target may have been put back since.
            let left = missing::missing(&self.settings.cdc, (progress, endpos), endpos)?;
            if left.transactions == 0 {
                return Ok(self.without_work(Ended::Drained(endpos)));
            }
            log::warn!(
                "The target is at {progress}, before what was applied to it once: {} transactions up to endpos \
                 {endpos} are applied again",
                left.transactions
            );
        }
        self.attempts(sessions, progress)
    }

    fn without_work(self, ended: Ended) -> Applied {
        Applied {
            ended,
            progress: Lsn::UNSET,
            figures: self.figures,
        }
    }

    /// The target must not be older than what was confirmed to the source, or than our files.
    fn check_progress(&self, keeper: Keeper, progress: Lsn) -> Result<()> {
        let origin = keeper.shown(&self.settings.origin);
        let slot = self
            .settings
            .cdc
            .read_slot()?
            .map_or(Lsn::UNSET, |slot| slot.lsn);
        let pruned = self.watch.status()?.pruned_through;
        for (least, what) in [
            (slot, "where the replication slot begins"),
            (pruned, "up to where files of applied changes were removed"),
        ] {
            if progress < least {
                return Err(Error::bad_state(format!(
                    "{origin} says {progress}, which lies before {least}, {what}"
                ))
                .detail("Changes in between are not in the files any more, or never were.")
                .hint("The target is another one, or was restored from a backup: begin anew."));
            }
        }
        log::info!("Setting up previous LSN from {origin} progress at {progress}");
        Ok(())
    }

    /// Applies, and takes up again after a lost connection what can be read again.
    fn attempts(&mut self, sessions: Sessions, progress: Lsn) -> Result<Applied> {
        let (mut sessions, mut progress, mut attempts) = (sessions, progress, 0);
        loop {
            let backend = sessions.backend.pid;
            self.watch.note_backend(backend)?;
            let tables = SourceTables::load(self.settings.cdc.top())?;
            let source = Origins::new(tables, self.settings.source.clone());
            let mut engine = Engine::new(sessions, source, progress);
            let done = self.attempt(&mut engine);
            self.add(&engine);
            let error = match done {
                Ok(ended) => return self.end(engine, ended),
                Err(error) => error,
            };
            let again = error.is_transient() || policy(&error) == Retry::Backoff;
            if matches!(error.kind(), Kind::Stopped(_)) || stop_requested() {
                return Ok(Applied {
                    ended: Ended::Stopped,
                    progress: engine.progress,
                    figures: self.figures,
                });
            }
            if !again || matches!(self.what, What::Pipe(_)) {
                return Err(error);
            }
            attempts = if engine.progress > progress {
                1
            } else {
                attempts + 1
            };
            if attempts > ATTEMPTS_MAX {
                return Err(error.context(format!(
                    "after {ATTEMPTS_MAX} attempts without any progress"
                )));
            }
            log::warn!("Lost the target, taking up again: {error}");
            drop(engine);
            // It is read again in its place.
            self.keepalive = None;
            (sessions, progress) = session::reopen(&self.link, &self.settings.origin, backend)?;
        }
    }

    fn add(&mut self, engine: &Engine) {
        self.figures.transactions += engine.figures.transactions;
        self.figures.rows += engine.figures.rows;
        self.figures.commits += engine.figures.commits;
        self.figures.redone += engine.figures.redone;
    }

    fn end(&mut self, mut engine: Engine, ended: Ended) -> Result<Applied> {
        let progress = engine.sessions.progress(&self.settings.origin)?;
        self.watch.publish(progress)?;
        if let Ended::Drained(endpos) = ended {
            self.refuse_early_endpos(endpos)?;
            if matches!(self.what, What::Live | What::Folder) {
                missing::refuse_missing(&self.settings.cdc, progress, endpos)?;
            }
            self.watch.drained(endpos, progress)?;
        }
        log::info!(
            "Applied {} transactions in {} commits; {} is at {progress}",
            self.figures.transactions,
            self.figures.commits,
            engine.sessions.keeper.shown(&self.settings.origin)
        );
        Ok(Applied {
            ended,
            progress,
            figures: self.figures,
        })
    }

    /// What the copies of tables show of changes to come. Waits until all that ends before the end of the last
    /// copy is received: what is not in the transaction index then ends behind it.
    fn seam(&self, engine: &Engine) -> Result<Option<Rc<Seam>>> {
        let starts = self.watch.starts()?;
        let last = starts.last();
        if engine.progress >= last {
            return Ok(None);
        }
        loop {
            self.refuse_early_endpos(self.endpos()?)?;
            let received = self.watch.status()?.received_through;
            if received >= last {
                break;
            }
            if !matches!(self.what, What::Live) || stop_requested() {
                return Err(Error::bad_state(format!(
                    "tables were copied up to {last}, and changes are received up to {received} only"
                ))
                .hint("Receive changes first: pgcopydb stream receive, or pgcopydb follow."));
            }
            clock::nap(WAIT_FOR_SEAM);
        }
        let tables = SourceTables::load(self.settings.cdc.top())?;
        Seam::open(starts, &tables, &self.settings.cdc, engine.progress)
    }

    /// Before the last copy ends, the target is in no state that the source ever had.
    fn refuse_early_endpos(&self, endpos: Lsn) -> Result<()> {
        let last = self.watch.starts()?.last();
        if !endpos.is_set() || endpos >= last {
            return Ok(());
        }
        Err(early_endpos(endpos, last))
    }

    fn endpos(&self) -> Result<Lsn> {
        let wanted = self.watch.endpos()?;
        Ok(if wanted.is_set() {
            wanted
        } else {
            self.settings.endpos
        })
    }

    fn attempt(&mut self, engine: &mut Engine) -> Result<Ended> {
        let endpos = self.endpos()?;
        if endpos.is_set() && engine.progress >= endpos {
            log::info!(
                "Current endpos {endpos} was previously reached at {}",
                engine.progress
            );
            return Ok(Ended::Drained(endpos));
        }
        let cdc = self.settings.cdc.clone();
        if matches!(self.what, What::Live) {
            return self.live(engine, &cdc);
        }
        let mut files = SqlFiles::new(&cdc, false);
        let input = match &mut self.what {
            What::File(path) => Some(Input::file(path)?),
            What::Pipe(pipe) => pipe.take().map(Input::pipe),
            What::Folder | What::Live => files.first(engine.progress)?,
        };
        let Some(input) = input else {
            log::info!("There is no SQL file to apply yet");
            return Ok(Ended::EndOfInput);
        };
        let mut assembler = Assembler::new(input, (engine.progress, endpos), self.seam(engine)?);
        self.read(engine, &mut assembler, &mut files)
            .map(|ended| ended.unwrap_or(Ended::EndOfInput))
    }

    /// Applies what an assembler gives; none when its file is not the one any more that counts.
    fn read(
        &mut self,
        engine: &mut Engine,
        assembler: &mut Assembler,
        files: &mut SqlFiles<'_>,
    ) -> Result<Option<Ended>> {
        let done = self.drive(engine, assembler, files);
        if assembler.skipped > 0 {
            log::info!(
                "Skipped {} transactions that were applied before",
                assembler.skipped
            );
        }
        done.map_err(|verdict| match verdict {
            Verdict::Failed(error) => error,
            Verdict::Conflict(conflict) => {
                if let Err(error) = conflict.write_down(Some(&self.settings.cdc)) {
                    logging::report_error(&error, false);
                }
                conflict.error()
            }
        })
    }

    fn drive(
        &mut self,
        engine: &mut Engine,
        assembler: &mut Assembler,
        files: &mut SqlFiles<'_>,
    ) -> std::result::Result<Option<Ended>, Verdict> {
        loop {
            match assembler.next()? {
                Event::Group(group) => {
                    self.nap = live::NAP_LEAST;
                    engine.submit(*group, &assembler.statements)?;
                }
                Event::Void => engine.void(&assembler.statements)?,
                Event::Keepalive(meta) => {
                    self.keepalive = Some(meta);
                    let recently = self.advanced.is_some_and(|at| at.elapsed() < ADVANCE_EVERY);
                    if !recently {
                        self.advance(engine, assembler, false)?;
                    }
                }
                Event::Idle => {
                    engine.settle(&assembler.statements)?;
                    if !assembler.is_open() {
                        engine.finish(&assembler.statements, false)?;
                    }
                    if !matches!(self.what, What::Live) {
                        assembler.input().wait(IDLE_MS);
                    } else if !self.at_the_end(engine, assembler, files)? {
                        return Ok(None);
                    }
                }
                Event::EndOfFile(next) => {
                    if let Some(ended) = self.end_of_file(engine, assembler, (files, next))? {
                        return Ok(Some(ended));
                    }
                }
                Event::Stop(endpos, why) => {
                    self.advance(engine, assembler, true)?;
                    log::info!("{why}");
                    return Ok(Some(Ended::Drained(endpos)));
                }
            }
            if stop_requested() {
                if assembler.is_open() {
                    engine.void(&assembler.statements)?;
                } else {
                    engine.finish(&assembler.statements, true)?;
                }
                return Ok(Some(Ended::Stopped));
            }
            if self.watch.is_due() {
                self.look(engine, assembler)?;
            }
        }
    }

    /// Commits all that is complete, and moves the origin on to the last keepalive.
    fn advance(
        &mut self,
        engine: &mut Engine,
        assembler: &Assembler,
        durably: bool,
    ) -> std::result::Result<(), Verdict> {
        engine.finish(&assembler.statements, durably)?;
        if let Some(meta) = self.keepalive.take() {
            engine.advance(&meta)?;
            self.advanced = Some(Instant::now());
        }
        Ok(())
    }

    fn end_of_file(
        &mut self,
        engine: &mut Engine,
        assembler: &mut Assembler,
        (files, next): (&mut SqlFiles<'_>, Option<Lsn>),
    ) -> std::result::Result<Option<Ended>, Verdict> {
        let name = assembler.input().name.clone();
        log::debug!("Read {} lines in file \"{name}\"", assembler.input().number);
        if let (What::Folder, Some(lsn)) = (&self.what, next)
            && let Some(input) = files.next(lsn)?
        {
            assembler.open_next(input);
            return Ok(None);
        }
        if assembler.is_open() {
            log::info!(
                "The last transaction of \"{name}\" is not complete there: it is not applied"
            );
            engine.void(&assembler.statements)?;
        }
        self.advance(engine, assembler, true)?;
        log::info!("Reached end of file \"{name}\" at {}.", engine.progress);
        Ok(Some(Ended::EndOfInput))
    }

    /// Publishes how far it is, and waits where applying was forbidden in between.
    fn look(
        &mut self,
        engine: &mut Engine,
        assembler: &mut Assembler,
    ) -> std::result::Result<(), Verdict> {
        let (mut endpos, apply) = self
            .watch
            .look(&mut engine.sessions, &self.settings.origin)?;
        if !apply && !assembler.is_open() {
            engine.finish(&assembler.statements, false)?;
            self.watch.wait_for_apply()?;
            // What was set meanwhile holds for the very next transaction.
            endpos = self.watch.endpos()?;
        }
        if endpos != assembler.endpos() && (endpos.is_set() || !self.settings.endpos.is_set()) {
            log::info!("endpos is now set to {endpos}");
            assembler.set_endpos(endpos);
        }
        Ok(())
    }
}
