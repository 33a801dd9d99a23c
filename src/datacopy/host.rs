//! Starts the leaf processes of a copy of rows, each with the plain data that it needs.
//!
//! Runs in the supervisor. Keeps what the first processes reported, as later ones get it.

use super::facts_of_run::Prepared;
use super::guard::{self, GuardInput, GuardTask};
use super::prepare::{self, PrepareInput};
use super::restore;
use super::settings::Presentation;
use crate::catalog::{Ledger, Run};
use crate::copy::{self, CopyFacts};
use crate::error::{Error, Result};
use crate::fkey::discover::Mode;
use crate::fkey::{self, Limits};
use crate::supervisor::{self, Host, Leaf, Report, Role};
use crate::sys::reap::Child;
use crate::vacuum::{self, Care};
use crate::worker::{Bells, Means};
use crate::{sequence, snapshot};
use std::path::PathBuf;
use std::time::Duration;

/// What is shown of a run.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// The ledger.
    pub ledger: PathBuf,
    /// The run there; 0: it has not begun.
    pub run: i64,
    /// How.
    pub presentation: Presentation,
}

/// Shows a run until the nap that it is given fails; in a process of its own.
pub(super) type Draw = fn(&Drawing, &dyn Fn(Duration) -> Result<()>) -> Result<()>;

/// How the program shows a run.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    /// While it goes on.
    pub draw: Draw,
    /// Puts the terminal in order and says what that process did not, as it may have been killed.
    pub leave: fn(&Drawing),
}

/// The body of a leaf process.
type Body = Box<dyn FnOnce(&mut Leaf<'_>) -> Result<()>>;

/// What the run of a host is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Making a plan, kept in this file; `dry`: for nothing else.
    Plan {
        /// `plan.json`.
        file: PathBuf,
        /// Nothing follows.
        dry: bool,
    },
    /// Copying.
    Copy {
        /// How keys are handled.
        mode: Mode,
    },
    /// Putting back; `empties`: over tables that are emptied before.
    Restore {
        /// `--empty`.
        empties: bool,
    },
}

/// The host of a copy of rows.
pub(super) struct CopyHost {
    pub(super) input: PrepareInput,
    pub(super) purpose: Purpose,
    /// `None` while a plan is made, which needs none.
    pub(super) bells: Option<Bells>,
    pub(super) snapshot: Option<String>,
    pub(super) prepared: Option<Prepared>,
    /// All that could be put back is back.
    pub(super) put_back: bool,
    pub(super) face: Face,
}

impl CopyHost {
    fn prepared(&self) -> Result<&Prepared> {
        self.prepared
            .as_ref()
            .ok_or_else(|| Error::internal("a process was started before the run was prepared"))
    }

    fn means(&self) -> Result<Means> {
        let prepared = self.prepared()?;
        let encoding = prepared.source.as_ref().unwrap_or(&prepared.target);
        Ok(Means {
            source: prepared.source_link(&self.input.source),
            target: Some(prepared.target_link(&self.input.target)),
            layout: self.input.layout.clone(),
            run: Run {
                id: prepared.run_id,
            },
            uuid: self.input.uuid.clone(),
            snapshot: self.snapshot.clone(),
            consistent: !self.input.settings.switches.no_snapshot,
            // Constants of INSERT are taken apart here, in one encoding.
            encoding: match self.input.settings.insert {
                Some(_) => "UTF8".to_owned(),
                None => encoding.database.encoding.clone(),
            },
            fail_fast: false,
            shared: false,
            bells: self
                .bells
                .ok_or_else(|| Error::internal("a worker was started without bells"))?,
        })
    }

    /// What is shown of this run.
    pub(super) fn drawing(&self) -> Drawing {
        Drawing {
            ledger: self.input.layout.ledger(),
            run: self.prepared.as_ref().map_or(0, |prepared| prepared.run_id),
            presentation: self.input.settings.presentation.clone(),
        }
    }

    fn limits(&self) -> Limits {
        Limits::new(self.input.settings.switches.no_timeouts)
    }

    fn copy_facts(&self) -> CopyFacts {
        let mut settings = self.limits().statement();
        if self.purpose
            == (Purpose::Copy {
                mode: Mode::Replica,
            })
        {
            settings.push_str("; set session_replication_role = 'replica'");
        }
        CopyFacts {
            fresh: false,
            target_settings: settings,
            insert: self.input.settings.insert,
        }
    }

    fn body(&self, role: Role) -> Result<Body> {
        let input = self.input.clone();
        if role == Role::Prepare {
            return Ok(match self.purpose.clone() {
                Purpose::Plan { file, dry } => {
                    Box::new(move |leaf| prepare::make_plan(leaf, &input, &file, dry))
                }
                Purpose::Copy { .. } => Box::new(move |leaf| prepare::begin(leaf, &input)),
                Purpose::Restore { .. } => {
                    Box::new(move |leaf| prepare::begin_restore(leaf, &input))
                }
            });
        }
        let means = self.means()?;
        let limits = self.limits();
        let draw = self.face.draw;
        let drawing = self.drawing();
        Ok(match role {
            Role::Snapshot => Box::new(move |leaf| {
                let (session, id) = snapshot::export(leaf, means.source()?)?;
                let ledger = Ledger::open(&means.layout.ledger())?;
                means.run.set_snapshot(&ledger, &id)?;
                drop(ledger);
                snapshot::hold(leaf, session, &id, Some(&means.layout))
            }),
            Role::Guard => {
                let guard = GuardInput {
                    prepare: input,
                    means,
                    prepared: self.prepared()?.clone(),
                    task: match self.purpose {
                        Purpose::Restore { empties: true } => GuardTask::Empty,
                        Purpose::Restore { empties: false } => GuardTask::Hold,
                        _ => GuardTask::Copy,
                    },
                };
                Box::new(move |leaf| guard::run(leaf, &guard))
            }
            Role::Copy => {
                let facts = self.copy_facts();
                Box::new(move |leaf| copy::run(leaf, &means, &facts))
            }
            Role::Vacuum => Box::new(move |leaf| vacuum::run(leaf, &means, Care::Analyze)),
            Role::Sequence => Box::new(move |leaf| sequence::run(leaf, &means)),
            Role::Restore => Box::new(move |leaf| restore::add(leaf, &means, limits)),
            Role::Validate => Box::new(move |leaf| fkey::validate(leaf, &means, limits)),
            Role::Prove => Box::new(move |leaf| restore::prove(leaf, &means, limits)),
            Role::Progress => Box::new(move |leaf| draw(&drawing, &|limit| leaf.nap(limit))),
            other => {
                let what = other.label();
                return Err(Error::internal(format!(
                    "a copy of rows has no process \"{what}\""
                )));
            }
        })
    }
}

impl Host for CopyHost {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let body = self.body(role)?;
        let bells = self.bells;
        supervisor::spawn(role, number, successor, move |leaf| {
            let result = body(leaf);
            if let Some(bells) = bells.filter(|_| leaf.is_orphan()) {
                bells.remove();
            }
            result
        })
    }

    fn note(&mut self, _role: Role, _number: u32, report: &Report) -> Result<()> {
        match report {
            Report::Prepared { facts, .. } => {
                let prepared = serde_json::from_value(facts.clone()).map_err(|error| {
                    Error::internal(format!("could not read the facts of prepare: {error}"))
                })?;
                self.prepared = Some(prepared);
            }
            Report::Snapshot { id } => self.snapshot = Some(id.clone()),
            Report::PutBack { .. } => self.put_back = true,
            _ => {}
        }
        Ok(())
    }

    fn stopping(&mut self) {
        if let Some(bells) = self.bells {
            bells.remove();
        }
    }
}
