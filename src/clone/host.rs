//! Starts the leaf processes of a clone, each with the plain data that it needs.
//!
//! Runs in the supervisor. Keeps what the first processes reported, as later ones get it.

use super::facts::Prepared;
use super::goal::{Goal, Part};
use super::pre_data::{self, PreDataInput};
use super::prepare::{self, PrepareInput};
use super::requirements::Requirement;
use super::settings::CloneSettings;
use super::{DrawProgress, along, borrowed, finish, post_data, read, roles};
use crate::blob::{self, BlobFacts};
use crate::catalog::{Ledger, Run};
use crate::copy::{self, CopyFacts};
use crate::error::{Error, Result};
use crate::follow::run::{self as follow, FollowSettings, Following};
use crate::index::{self, IndexFacts};
use crate::logging;
use crate::supervisor::{self, Host, Leaf, Report, Role};
use crate::sys::reap::Child;
use crate::units::Side;
use crate::workdir::is_service_alive;
use crate::worker::{Bells, Means};
use crate::{extension, sequence, snapshot, vacuum};

/// The body of a leaf process.
type Body = Box<dyn FnOnce(&mut Leaf<'_>) -> Result<()>>;

/// The host of a clone.
pub(super) struct CloneHost {
    pub(super) input: PrepareInput,
    pub(super) bells: Bells,
    /// The snapshot: given by the user, or reported by the snapshot process.
    pub(super) snapshot: Option<String>,
    /// Somebody else holds it.
    pub(super) borrowed: bool,
    pub(super) prepared: Option<Prepared>,
    pub(super) fresh: bool,
    /// Tables that a crash of the target emptied are copied again, without the snapshot.
    pub(super) redo: bool,
    /// What `--requirements` asks for.
    pub(super) requirements: Vec<Requirement>,
    /// Draws the progress line.
    pub(super) draw: DrawProgress,
    /// What is followed beside the clone.
    pub(super) follow: Option<FollowSettings>,
    /// Beside other databases: what log lines of this one begin with.
    pub(super) scope: Option<String>,
}

impl CloneHost {
    fn prepared(&self) -> Result<&Prepared> {
        self.prepared
            .as_ref()
            .ok_or_else(|| Error::internal("a process was started before the run was prepared"))
    }

    fn means(&self) -> Result<Means> {
        let prepared = self.prepared()?;
        Ok(Means {
            source: prepared.link(self.input.source.as_ref(), Side::Source),
            target: prepared.link(self.input.target.as_ref(), Side::Target),
            layout: self.input.layout.clone(),
            run: Run {
                id: prepared.run_id,
            },
            uuid: self.input.uuid.clone(),
            snapshot: self.snapshot.clone(),
            consistent: !self.input.settings.switches.not_consistent && !self.redo,
            encoding: prepared.encoding().to_owned(),
            fail_fast: self.input.settings.switches.fail_fast,
            shared: self.scope.is_some(),
            bells: self.bells,
        })
    }

    fn follow(&self) -> Result<&FollowSettings> {
        self.follow
            .as_ref()
            .ok_or_else(|| Error::internal("this clone is not followed"))
    }

    fn settings(&self) -> &CloneSettings {
        &self.input.settings
    }

    /// The body of a process that works for a prepared run.
    fn work(&self, role: Role) -> Result<Body> {
        let means = self.means()?;
        let input = PreDataInput {
            settings: self.settings().clone(),
            means: means.clone(),
            prepared: self.prepared()?.clone(),
            requirements: self.requirements.clone(),
            borrowed: self.borrowed,
        };
        let goal = self.settings().goal;
        let follow = &self.follow;
        let (fresh, draw) = (self.fresh, self.draw);
        let switches = self.settings().switches;
        let blob_facts = BlobFacts {
            with_owner: !switches.no_owner,
            with_acl: !switches.no_acl,
            with_comments: !switches.no_comments,
        };
        let (kinds, upstream) = goal.index_kinds();
        let index_facts = IndexFacts {
            fresh: fresh && goal.has(Part::PreData),
            maintenance_work_mem: Some("256MB".to_owned()),
            kinds,
            upstream,
            groups: goal != Goal::CopyData,
            tablespaces: !input.settings.switches.no_tablespaces,
        };
        Ok(match role {
            Role::Roles => Box::new(move |leaf| roles::run(leaf, &input)),
            Role::Snapshot if follow.is_some() => {
                let (follow, run) = (self.follow()?.clone(), means.run);
                let prepare = self.input.clone();
                Box::new(move |leaf| along::hold(leaf, &follow, &prepare, run))
            }
            Role::FollowSetup => {
                let follow = self.follow()?.clone();
                let snapshot = self.snapshot.clone();
                Box::new(move |leaf| along::set_up_on(leaf, &follow, snapshot.as_deref()))
            }
            Role::Snapshot => Box::new(move |leaf| {
                // Beside a holder that serves other commands, too, this one serves its own run alone.
                let is_public = !is_service_alive(&means.layout, borrowed::SERVICE)?;
                let place = is_public.then_some(&means.layout);
                let (session, id) = snapshot::export(leaf, means.source()?)?;
                let ledger = Ledger::open(&means.layout.ledger())?;
                ledger.leave_log()?;
                means.run.set_snapshot(&ledger, &id)?;
                drop(ledger);
                snapshot::hold(leaf, session, &id, place)
            }),
            Role::Fetch => Box::new(move |leaf| read::fetch(leaf, &input)),
            Role::Dump => Box::new(move |leaf| read::dump(leaf, &input)),
            Role::PreData | Role::Plan => Box::new(move |leaf| pre_data::run(leaf, &input)),
            Role::Copy => {
                Box::new(move |leaf| copy::run(leaf, &means, &CopyFacts::of_clone(fresh)))
            }
            Role::Index => Box::new(move |leaf| index::run(leaf, &means, &index_facts)),
            Role::Vacuum => Box::new(move |leaf| vacuum::run(leaf, &means, vacuum::Care::Vacuum)),
            Role::Blob => Box::new(move |leaf| blob::run(leaf, &means, blob_facts)),
            Role::Sequence => Box::new(move |leaf| sequence::run(leaf, &means)),
            Role::Extension => Box::new(move |leaf| extension::run(leaf, &means)),
            Role::PostData => Box::new(move |leaf| post_data::run(leaf, &input)),
            Role::Finish => Box::new(move |leaf| finish::run(leaf, &input)),
            Role::Progress => {
                Box::new(move |leaf| draw(&[means.layout.ledger()], &|limit| leaf.nap(limit)))
            }
            Role::Prepare
            | Role::Databases
            | Role::Lookout
            | Role::Guard
            | Role::Restore
            | Role::Validate
            | Role::Prove
            | Role::Receive
            | Role::Transform
            | Role::Apply
            | Role::Remote => {
                return Err(Error::internal("a process that has no place here"));
            }
        })
    }
}

/// Starts a leaf that removes the queues of the run when its supervisor did not live to do so.
fn spawn_tidy(
    bells: Bells,
    scope: Option<&str>,
    (role, number, successor): (Role, u32, bool),
    body: impl FnOnce(&mut Leaf<'_>) -> Result<()>,
) -> Result<Child> {
    supervisor::spawn(role, number, successor, move |leaf| {
        if let Some(scope) = scope {
            logging::set_scope(scope);
        }
        let result = body(leaf);
        if leaf.is_orphan() {
            bells.remove();
        }
        result
    })
}

impl Host for CloneHost {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let scope = self.scope.as_deref();
        if role == Role::Prepare {
            let input = self.input.clone();
            let body = |leaf: &mut Leaf<'_>| prepare::run(leaf, &input);
            return spawn_tidy(self.bells, scope, (role, number, successor), body);
        }
        if Following::is_for(role) || role == Role::Remote {
            return follow::spawn(self.follow()?, false, (role, number, successor));
        }
        if role == Role::Sequence && number == along::LAST {
            let settings = self.follow()?.clone();
            let body = move |leaf: &mut Leaf<'_>| along::set_sequences(leaf, &settings);
            return spawn_tidy(self.bells, scope, (role, number, successor), body);
        }
        let body = self.work(role)?;
        spawn_tidy(self.bells, scope, (role, number, successor), body)
    }

    fn note(&mut self, _role: Role, _number: u32, report: &Report) -> Result<()> {
        match report {
            Report::Prepared { facts, .. } => {
                let prepared: Prepared =
                    serde_json::from_value(facts.clone()).map_err(|error| {
                        Error::internal(format!("could not read the facts of prepare: {error}"))
                    })?;
                self.input.settings.adopt(&prepared.options);
                self.prepared = Some(prepared);
            }
            Report::Snapshot { id } => self.snapshot = Some(id.clone()),
            Report::Planned { fresh, .. } => self.fresh = *fresh,
            Report::Redo => {
                // The snapshot went with its last reader; what was emptied is read as it is now.
                self.snapshot = None;
                self.redo = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn stopping(&mut self) {
        self.bells.remove();
    }
}
