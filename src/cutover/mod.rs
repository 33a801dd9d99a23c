//! The cutover: the source's last change is on the target, and nobody writes on the source behind it.
//!
//! Runs in the main program as a leaf, beside a follow that runs in another process; they meet in the
//! sentinel. Reads and writes the ledger, the sequences of the target and, where asked, one setting of the
//! source's database. An end that is not good leaves the source as it was, with the endpos as it was.
//!
//! ```text
//! fence -> writers are gone -> endpos -> drained and proved -> sequences -> compare -> late writers
//! ```

mod drain;
mod fence;
mod late;
mod writers;

pub use drain::Proof;
pub use late::Late;

use crate::catalog::{CdcSetup, Ledger, Sentinel, TableStarts};
use crate::compare::{self, CompareSettings};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::follow::apply::early_endpos;
use crate::follow::files::{CdcDir, SlotFile};
use crate::follow::{endpos, setup, source};
use crate::logging;
use crate::pg::{PgSession, Profile};
use crate::sequence::{self, Reset};
use crate::sys::{clock, signal};
use crate::units::{Lsn, PgVersion, Side};
use crate::workdir::{Layout, ServiceClaim};
use drain::Drain;
use fence::Fence;
use std::time::Duration;

/// Title of the sessions.
const TITLE: &str = "cutover";
/// Where the ledger remembers the endpos before, while a cutover may still be given up.
const ENDPOS_FACT: &str = "cutover_endpos_before";
/// How long late writers are given to show themselves.
const LATE_WAIT: Duration = Duration::from_secs(2);

/// What the user asked for.
pub struct CutoverSettings {
    /// The source.
    pub source: ConnInfo,
    /// The target.
    pub target: ConnInfo,
    /// The work directory.
    pub layout: Layout,
    /// The folder of change data.
    pub cdc: CdcDir,
    /// The end, none: where the source is.
    pub endpos: Option<Lsn>,
    /// The source is set read only and its sessions are ended.
    pub set_read_only: bool,
    /// The rows of both sides are compared.
    pub compare: Option<CompareSettings>,
}

/// A line of the time-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it was done, epoch milliseconds.
    pub at: i64,
    /// What.
    pub what: String,
}

/// What was done, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Cutover {
    /// One after the other.
    pub steps: Vec<Step>,
    /// The end that was set.
    pub endpos: Lsn,
    /// That everything up to it is on the target.
    pub proof: Option<Proof>,
    /// Sequences.
    pub sequences: Option<Reset>,
    /// Tables that were compared, all equal.
    pub compared: Option<usize>,
    /// What was committed behind the end.
    pub late: Option<Late>,
    /// The statement with which the source can be written again, while it cannot.
    pub undo: Option<String>,
}

impl Cutover {
    fn step(&mut self, what: impl Into<String>) {
        let what = what.into();
        log::info!("{what}");
        self.steps.push(Step {
            at: clock::epoch_ms(),
            what,
        });
    }
}

/// Ends where a stop signal came.
fn unless_stopped() -> Result<()> {
    match signal::first() {
        None => Ok(()),
        Some(number) => Err(Error::new(
            Kind::Stopped(number),
            format!("stopped by {}", signal::name(number)),
        )),
    }
}

/// Does the cutover. Gives what was done also where it came to no good end. Blocks.
pub fn run(
    settings: &CutoverSettings,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Cutover, Result<()>) {
    let mut done = Cutover::default();
    let result = Run::open(settings).and_then(|mut run| {
        let result = run.go(&mut done, env);
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                run.undo(&mut done);
                Err(error)
            }
        }
    });
    (done, result)
}

struct Run<'a> {
    settings: &'a CutoverSettings,
    source: PgSession,
    target: PgSession,
    ledger: Ledger,
    slot: SlotFile,
    origin: String,
    fence: Option<Fence>,
    /// The endpos before, once it was changed.
    endpos_before: Option<Lsn>,
    _claim: ServiceClaim,
}

impl<'a> Run<'a> {
    /// Looks whether a cutover can be begun; changes nothing.
    fn open(settings: &'a CutoverSettings) -> Result<Self> {
        let path = settings.layout.ledger();
        if !path.exists() {
            return Err(crate::catalog::sentinel::no_sentinel());
        }
        let slot = settings.cdc.read_slot()?;
        let origin = settings.cdc.read_origin()?;
        let (Some(slot), Some(origin)) = (slot, origin) else {
            return Err(crate::catalog::sentinel::no_sentinel());
        };
        signal::install()?;
        let claim = ServiceClaim::take(settings.layout.clone(), "cutover")?;
        let ledger = Ledger::open(&path)?;
        let sentinel = Sentinel::must_read(ledger.connection())?;
        if !sentinel.apply {
            return Err(Error::bad_state("changes are not applied yet").hint(
                "Wait for the end of the base copy. Where it was done by other commands, allow applying with \
                 \"pgcopydb stream sentinel set apply\".",
            ));
        }
        if settings.compare.is_some() && is_filtered(&ledger)? {
            return Err(Error::bad_args(
                "option --compare cannot be used where filters leave out a part of the source",
            )
            .hint(
                "Leave it out, and run \"pgcopydb compare data --filters\" with the same filters.",
            ));
        }
        let session =
            |conn, side, profile: &Profile| setup::link(conn, side, TITLE)?.session(TITLE, profile);
        let mut run = Self {
            settings,
            source: session(&settings.source, Side::Source, &Profile::Catalog)?,
            target: session(&settings.target, Side::Target, &Profile::TargetPlain)?,
            ledger,
            slot,
            origin,
            fence: None,
            endpos_before: None,
            _claim: claim,
        };
        run.check_databases()?;
        run.take_up()?;
        run.check_alive()?;
        writers::refuse_prepared(&mut run.source)?;
        Ok(run)
    }

    /// A cutover that was killed has left its endpos, at which every follow would end.
    fn take_up(&mut self) -> Result<()> {
        let left = CdcSetup::get(self.ledger.connection(), ENDPOS_FACT)?;
        let Some(before) = left.and_then(|text| text.parse().ok()) else {
            return Ok(());
        };
        self.restore_endpos(before)?;
        log::warn!("An earlier cutover was killed: endpos is {before} again, as before it");
        Ok(())
    }

    fn restore_endpos(&mut self, before: Lsn) -> Result<()> {
        Sentinel::set_endpos(&mut self.ledger, before)?;
        CdcSetup::put(&mut self.ledger, &[(ENDPOS_FACT, "")])
    }

    /// Somebody has to bring the changes to the target.
    fn check_alive(&mut self) -> Result<()> {
        let drain = Drain {
            layout: &self.settings.layout,
            cdc: &self.settings.cdc,
            origin: &self.origin,
        };
        if drain.is_alive(&self.ledger, &mut self.target)? {
            return Ok(());
        }
        let nobody = drain::nobody(&self.settings.layout);
        let endpos = Sentinel::must_read(self.ledger.connection())?.endpos;
        if !endpos.is_set() {
            return Err(nobody);
        }
        // As a cutover that came to its good end leaves it.
        Err(nobody.detail(format!(
            "endpos {endpos} is set, where a follow that is started ends at once: take it away before, with \
             \"pgcopydb stream sentinel set endpos 0/0\"."
        )))
    }

    /// Both have to be the databases that the follow was set up with.
    fn check_databases(&mut self) -> Result<()> {
        let facts = source::read_facts(&mut self.source)?;
        let known = |name: &str| CdcSetup::get(self.ledger.connection(), name);
        let other = known("system_id")?.is_some_and(|id| id != facts.system_id)
            || known("database_oid")?.is_some_and(|oid| oid != facts.database_oid.to_string());
        if other {
            return Err(
                Error::bad_state("the source is another database than before")
                    .hint("Give the connection string that the follow was set up with."),
            );
        }
        if facts.is_standby {
            return Err(Error::new(
                Kind::Source,
                "the source is a standby, where no writer can be seen or waited for",
            )
            .hint(
                "Promote it first, or do it by hand: stop those who write on the primary, then run \"pgcopydb stream \
                 sentinel set endpos --current --source ...\" with the primary's connection string, and wait until \
                 the follow has ended.",
            ));
        }
        let slot = &self.slot.slot;
        if source::read_slot(&mut self.source, slot)?.is_none() {
            return Err(Error::new(
                Kind::Source,
                format!("the source has no replication slot \"{slot}\""),
            )
            .hint("Give the connection string that the follow was set up with: another copy of it has other slots."));
        }
        let known = CdcSetup::get(self.ledger.connection(), crate::follow::origin::ID)?;
        let found = crate::follow::origin::read(&mut self.target, &self.origin)?;
        if found.is_none_or(|found| known.is_some_and(|known| known != found.id)) {
            return Err(Error::bad_state(format!(
                "the target has no replication origin or progress \"{}\" of this work directory",
                self.origin
            ))
            .hint("Give the target that the follow was set up with."));
        }
        Ok(())
    }

    fn go(&mut self, done: &mut Cutover, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        done.step("Cutover begins");
        self.fence_off(done)?;
        let before = Sentinel::must_read(self.ledger.connection())?;
        let endpos = self.end(done, before)?;
        let (ledger, target) = (&self.ledger, &mut self.target);
        let drain = Drain {
            layout: &self.settings.layout,
            cdc: &self.settings.cdc,
            origin: &self.origin,
        };
        let proof = drain.wait(ledger, target, endpos)?;
        done.proof = Some(proof);
        done.step(format!(
            "Everything up to endpos {endpos} is on the target: received through {}, last commit {}, origin at {}",
            proof.received_through, proof.last_commit, proof.progress
        ));
        self.reset_sequences(done)?;
        if let Some(settings) = &self.settings.compare {
            let report = compare::data(settings, env)?;
            report
                .result()
                .context(|| "comparing the rows of both sides".to_owned())?;
            done.compared = Some(report.tables.len());
            done.step(format!(
                "{} tables are the same on both sides",
                report.tables.len()
            ));
        }
        self.look_behind(done, endpos)?;
        unless_stopped()?;
        CdcSetup::put(&mut self.ledger, &[(ENDPOS_FACT, "")])?;
        done.step("Cutover is complete: the applications can use the target");
        Ok(())
    }

    fn fence_off(&mut self, done: &mut Cutover) -> Result<()> {
        if !self.settings.set_read_only {
            if let Some(left) = Fence::left(&mut self.source, &self.ledger)? {
                log::warn!("The source is read only since an earlier cutover");
                done.undo = Some(left.undo_statement());
                self.fence = Some(left);
            }
            return Ok(());
        }
        let (fence, roles) = Fence::set(&mut self.source, &mut self.ledger)?;
        done.undo = Some(fence.undo_statement());
        self.fence = Some(fence);
        if !roles.is_empty() {
            log::warn!(
                "default_transaction_read_only is set for roles, which counts before the database's setting: {}",
                roles.join(", ")
            );
        }
        let ended = fence::end_sessions(&mut self.source)?;
        done.step(format!(
            "The source is read only for new sessions, {ended} sessions were ended"
        ));
        Ok(())
    }

    /// Sets the end behind all that is committed once the writers of now are gone.
    fn end(&mut self, done: &mut Cutover, before: Sentinel) -> Result<Lsn> {
        let waited = writers::wait(&mut self.source, self.fence.is_some())?;
        done.step(format!(
            "{waited} transactions were waited for on the source"
        ));
        // After the writers: a transaction may have been prepared meanwhile.
        writers::refuse_prepared(&mut self.source)?;
        let current = endpos::current(&self.settings.source)?;
        let endpos = self.settings.endpos.unwrap_or(current);
        if endpos > current {
            return Err(Error::bad_state(format!(
                "endpos {endpos} lies behind where the source is, {current}"
            ))
            .hint("Leave --endpos out: the cutover then takes what the source has committed."));
        }
        let copied = TableStarts::read(self.ledger.connection())?.last();
        if endpos < copied {
            return Err(early_endpos(endpos, copied));
        }
        let progress = self.progress()?;
        if endpos < progress && self.settings.endpos.is_some() {
            return Err(Error::bad_state(format!(
                "changes behind endpos {endpos} are applied already, up to {progress}"
            ))
            .hint("Leave --endpos out, or give a later one."));
        }
        self.endpos_before = Some(before.endpos);
        let text = before.endpos.to_string();
        CdcSetup::put(&mut self.ledger, &[(ENDPOS_FACT, &text)])?;
        Sentinel::set_endpos(&mut self.ledger, endpos)?;
        done.endpos = endpos;
        done.step(format!("endpos is {endpos}"));
        // An idle source has nothing to send behind it.
        let function = if self.source.server_version >= PgVersion(90_600) {
            "select pg_catalog.pg_logical_emit_message(true, 'pgcopydb', 'cutover')"
        } else {
            "select pg_catalog.txid_current()"
        };
        self.source.query(function, &[])?;
        Ok(endpos)
    }

    fn progress(&mut self) -> Result<Lsn> {
        let found = crate::follow::origin::read(&mut self.target, &self.origin)?;
        Ok(found.map_or(Lsn::UNSET, |found| found.progress))
    }

    fn reset_sequences(&mut self, done: &mut Cutover) -> Result<()> {
        let reset = sequence::reset(&mut self.source, &mut self.target, &self.ledger)?;
        for (names, why) in [
            (&reset.missing, "are not on the target"),
            (
                &reset.created_since,
                "were created on the source since the clone, and are not on the target",
            ),
        ] {
            if !names.is_empty() {
                log::warn!("Sequences {why}: {}", names.join(", "));
            }
        }
        done.step(format!("{} sequences are set", reset.set));
        done.sequences = Some(reset);
        Ok(())
    }

    fn look_behind(&mut self, done: &mut Cutover, endpos: Lsn) -> Result<()> {
        clock::nap(LATE_WAIT);
        unless_stopped()?;
        // Before it heard of the endpos, a busy stream may have gone beyond; what is applied is no loss.
        let reached = self.progress()?.max(endpos);
        let late = late::look(
            &mut self.source,
            &self.slot,
            (&self.settings.cdc, &self.ledger),
            reached,
        )?;
        let count = late.transactions;
        done.late = Some(late.clone());
        if count > 0 {
            return Err(late.error(endpos));
        }
        done.step("Nobody has written on the source behind the endpos");
        Ok(())
    }

    /// Leaves the source and the sentinel as they were.
    fn undo(&mut self, done: &mut Cutover) {
        if let Some(fence) = self.fence.take() {
            match fence.undo(&mut self.source, &mut self.ledger) {
                Ok(()) => {
                    done.undo = None;
                    done.step("The source can be written again");
                }
                Err(error) => {
                    logging::report_error(&error, false);
                    log::warn!(
                        "The source is still read only; run there: {}",
                        fence.undo_statement()
                    );
                }
            }
        }
        if let Some(before) = self.endpos_before.take() {
            match self.restore_endpos(before) {
                Ok(()) => done.step(format!(
                    "endpos is {before} again, as before; a follow that has ended by now has to be started again"
                )),
                Err(error) => logging::report_error(&error, false),
            }
        }
    }
}

fn is_filtered(ledger: &Ledger) -> Result<bool> {
    ledger
        .connection()
        .query_row("select exists (select 1 from s_filter)", [], |row| {
            row.get(0)
        })
        .map_err(|error| crate::catalog::sqlite_error("read", &error))
}
