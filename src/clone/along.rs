//! `clone --follow`: the changes of the source are received beside its copy, and applied after it.
//!
//! The machine and the hosts run in the supervisor, the bodies in leaves. Both machines run side by side:
//! that of the clone, whose snapshot is that of the replication slot, and that of the follow, which
//! begins once the catalogs are fetched. Changes are applied once post-data is restored. When the endpos
//! is drained, sequences are read once more, which are no changes.
//!
//! ```text
//! prepare -> slot and snapshot -> fetch -> copy ... post-data -> [apply enabled]   \
//!                                    \-> receive, transform, apply --------------- drained -> sequences
//! ```

use super::prepare::PrepareInput;
use super::settings::{CloneSettings, FollowAlong};
use super::{Stages, again, borrowed};
use crate::catalog::{CdcSetup, Ledger, Run, Sentinel};
use crate::check::FollowChoices;
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Result};
use crate::follow::cleanup::{self, CleanupSettings};
use crate::follow::run::{self as follow, FollowSettings, Following};
use crate::follow::{setup, slot};
use crate::pg::{Link, PgSession, Profile, Token};
use crate::sequence;
use crate::snapshot;
use crate::supervisor::{self, End, Event, Host, Leaf, Machine, Order, Report, Role};
use crate::sys::reap::Child;
use crate::units::Side;
use crate::workdir::{Claim, Intent, Layout};
use crate::worker;
use std::path::Path;

/// Number of the process that sets sequences once more at the end.
pub(super) const LAST: u32 = 2;

/// What a follow beside this clone is told; none without `--follow`.
pub(super) fn settings_of(
    settings: &CloneSettings,
    (source, target): (&ConnInfo, &ConnInfo),
    layout: &Layout,
) -> Option<FollowSettings> {
    let along: &FollowAlong = settings.follow.as_ref()?;
    Some(FollowSettings {
        source: source.clone(),
        target: Some(target.clone()),
        layout: layout.clone(),
        cdc: along.cdc.clone(),
        intent: settings.intent,
        slot: along.slot.clone(),
        origin: along.origin.clone(),
        endpos: along.endpos,
        keep_no_op: along.keep_no_op,
        max_cdc_size: along.max_cdc_size,
        listen: along.listen,
    })
}

/// What is looked for before anything changes. A slot that is there already was looked at when it was
/// made; where the plugin is left to us, only what all of them need.
pub(super) fn choices(settings: &CloneSettings) -> Result<Option<FollowChoices>> {
    let Some(along) = &settings.follow else {
        return Ok(None);
    };
    if along.cdc.read_slot()?.is_some() {
        return Ok(None);
    }
    let plugin = along
        .slot
        .plugin
        .map_or("test_decoding", |plugin| plugin.name());
    Ok(Some(FollowChoices {
        plugin: plugin.to_owned(),
        slot: along.slot.slot.clone(),
        origin: along.origin.clone(),
        allow_no_identity: along.slot.allow_no_identity || along.slot.plugin.is_none(),
    }))
}

/// Whether the copy of this work directory is whole: what remains is to follow.
fn is_copied(ledger: &Path) -> Result<bool> {
    if !ledger.exists() {
        return Ok(false);
    }
    let ledger = Ledger::open_read_only(ledger)?;
    Ok(Run::marked(ledger.connection(), "post-data")?.is_some())
}

/// What a resume finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The copy is whole.
    Copied,
    /// It is not; its snapshot is held by another process.
    Held,
    /// It is not; what is left is copied with a later snapshot, see `again`.
    Lost,
}

/// Looks what there is to resume. Errors: rows were copied before there was a slot.
pub(super) fn find(settings: &FollowSettings, layout: &Layout) -> Result<Found> {
    if is_copied(&layout.ledger())? {
        return Ok(Found::Copied);
    }
    if borrowed::held(layout)?.is_some() {
        return Ok(Found::Held);
    }
    if settings.cdc.read_slot()?.is_none() {
        again::refuse_without_slot(layout)?;
    }
    Ok(Found::Lost)
}

/// Removes what an earlier follow of the work directory has left on both sides, if there was one.
/// Called in the supervisor before the directory is wiped; the work is done in a leaf.
pub(super) fn clean_up(settings: &FollowSettings) -> Result<()> {
    let recorded = settings.cdc.read_slot()?;
    let ledger = settings.layout.ledger();
    let is_half_made = ledger.exists() && {
        let ledger = Ledger::open_read_only(&ledger)?;
        Sentinel::read(ledger.connection())?.is_some()
            || CdcSetup::get(ledger.connection(), "slot_intent")?
                .is_some_and(|intent| !intent.is_empty())
    };
    if recorded.is_none() && !is_half_made {
        return Ok(());
    }
    let mut settings = settings.clone();
    if let Some(recorded) = recorded {
        settings.slot.slot = recorded.slot;
    }
    if let Some(origin) = settings.cdc.read_origin()? {
        settings.origin = origin;
    }
    let _claim = Claim::take(settings.layout.clone(), Intent::Resume)?;
    supervisor::run(&mut Once::default(), &mut CleanHost(settings))
}

/// One process, once.
#[derive(Default)]
struct Once {
    failure: Option<Error>,
}

impl Machine for Once {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start => vec![Order::Spawn {
                role: Role::FollowSetup,
                number: 1,
                successor: false,
            }],
            Event::Ended(_, _, End::Failed(error)) => {
                self.failure = Some(error);
                Vec::new()
            }
            Event::Ended(_, _, End::Crashed(how)) => {
                self.failure = Some(Error::internal("the process that cleans up died").detail(how));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

struct CleanHost(FollowSettings);

impl Host for CleanHost {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let settings = self.0.clone();
        supervisor::spawn(role, number, successor, move |leaf| {
            let _canceller = worker::enter(leaf)?;
            follow::clean_up(&settings)
        })
    }

    fn note(&mut self, _: Role, _: u32, _: &Report) -> Result<()> {
        Ok(())
    }

    fn stopping(&mut self) {}
}

/// The body of the snapshot process: makes the slot, and holds its snapshot for the copy.
pub(super) fn hold(
    leaf: &mut Leaf<'_>,
    settings: &FollowSettings,
    input: &PrepareInput,
    run: Run,
) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let made = follow::set_up_holding(settings, &canceller)?;
    let mut file = made.file;
    let Some(holder) = made.holder else {
        return again::hold(leaf, &canceller, (settings, input), (run, &file));
    };
    let link = setup::link(&settings.source, Side::Source, leaf.role.label())?;
    // The same snapshot under a name of its own, held by a session that can be asked whether it lives.
    let (session, id) = snapshot::export_again(leaf, &link, &file.snapshot)?;
    holder.close();
    file.snapshot.clone_from(&id);
    settings.cdc.write_slot(&file)?;
    run.set_snapshot(&Ledger::open(&input.layout.ledger())?, &id)?;
    snapshot::hold(leaf, session, &id, Some(&input.layout))
}

/// Makes a replication slot for later commands, and exports its snapshot: the session that holds it,
/// and its id. Errors: a slot that was made before, whose snapshot nobody can export again.
pub(super) fn export_with_slot(
    leaf: &mut Leaf<'_>,
    (source, link): (&ConnInfo, &Link),
    layout: &Layout,
    (along, intent): (&FollowAlong, Intent),
) -> Result<(PgSession, String)> {
    let canceller = worker::enter(leaf)?;
    if let Some(file) = along.cdc.read_slot()? {
        if intent != Intent::Restart || along.cdc.read_origin()?.is_some() {
            return Err(Error::bad_state(format!(
                "replication slot \"{}\" was made before, and its snapshot is gone",
                file.slot
            ))
            .hint("Run \"pgcopydb stream cleanup\" first, or use another work directory and another --slot-name."));
        }
        cleanup::run(&CleanupSettings {
            source: source.clone(),
            target: None,
            layout: layout.clone(),
            cdc: along.cdc.clone(),
            slot: file.slot,
            publication: along.slot.publication.clone(),
            origin: along.origin.clone(),
        })?;
    }
    let mut ledger = Ledger::open(&layout.ledger())?;
    let means = slot::Means {
        link,
        cdc: &along.cdc,
        title: leaf.role.label(),
        canceller: &canceller,
    };
    let made = slot::make(&means, &mut ledger, &along.slot)?;
    CdcSetup::put(&mut ledger, &[("source_uri", &source.safe_uri())])?;
    let (session, id) = snapshot::export_again(leaf, link, &made.file.snapshot)?;
    rename_snapshot(along, &made.file.snapshot, &id)?;
    if let Some(holder) = made.holder {
        holder.close();
    }
    Ok((session, id))
}

/// The slot's snapshot goes on under another name.
pub(super) fn rename_snapshot(along: &FollowAlong, before: &str, now: &str) -> Result<()> {
    match along.cdc.read_slot()? {
        Some(mut file) if file.snapshot == before => {
            now.clone_into(&mut file.snapshot);
            along.cdc.write_slot(&file)
        }
        _ => Err(Error::bad_state(
            "the snapshot was not made with a replication slot of this work directory",
        )
        .hint("Use --restart for a new one.")),
    }
}

/// The body of the process that sets up a follow on a snapshot that somebody else holds.
pub(super) fn set_up_on(
    leaf: &mut Leaf<'_>,
    settings: &FollowSettings,
    snapshot: Option<&str>,
) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let file = settings.cdc.read_slot()?;
    let is_its = file.is_some_and(|file| Some(file.snapshot.as_str()) == snapshot);
    if !is_its {
        return Err(Error::bad_state(
            "the snapshot to read with was not made with a replication slot of this work directory",
        )
        .hint("Hold it with \"pgcopydb snapshot --follow\", which makes both together."));
    }
    follow::set_up_holding(settings, &canceller).map(drop)
}

/// The body of the last process: sequences as the source has them now.
pub(super) fn set_sequences(leaf: &mut Leaf<'_>, settings: &FollowSettings) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let title = leaf.role.label();
    let target = settings
        .target
        .as_ref()
        .ok_or_else(|| Error::internal("a clone has a target"))?;
    let mut source =
        setup::link(&settings.source, Side::Source, title)?.session(title, &Profile::Catalog)?;
    let mut target =
        setup::link(target, Side::Target, title)?.session(title, &Profile::TargetPlain)?;
    let _source = canceller.register(Token::from_session(&source));
    let _target = canceller.register(Token::from_session(&target));
    let ledger = Ledger::open(&settings.layout.ledger())?;
    again::validate(&mut target, &ledger)?;
    let done = sequence::reset(&mut source, &mut target, &ledger)
        .context(|| "setting sequences after the last change".to_owned())?;
    log::info!("Reset {} sequences on the target database", done.set);
    for (names, what) in [
        (&done.missing, "are not on the target"),
        (
            &done.created_since,
            "were made since the copy, and are not on the target",
        ),
    ] {
        if !names.is_empty() {
            log::warn!("These sequences {what}: {}", names.join(", "));
        }
    }
    Ok(())
}

/// Where a clone with a follow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Rows are copied.
    Copying,
    /// They are; changes are applied.
    Following,
    /// Sequences are set once more.
    Last,
}

/// Both machines.
pub(super) struct Together {
    stages: Stages,
    follow: Option<Following>,
    phase: Phase,
    begun: bool,
    fail_fast: bool,
    failure: Option<Error>,
}

impl Together {
    /// A clone, with a follow or without.
    pub(super) fn new(stages: Stages, follows: bool, fail_fast: bool) -> Self {
        Self {
            stages,
            follow: follows.then(|| {
                let mut follow = Following::new(true);
                follow.set_beside_copy(!fail_fast);
                follow
            }),
            phase: Phase::Copying,
            begun: false,
            fail_fast,
            failure: None,
        }
    }

    /// A follow whose copy was whole before.
    pub(super) fn resumed(stages: Stages) -> Self {
        Self {
            phase: Phase::Following,
            // Nothing is copied any more.
            ..Self::new(stages, true, true)
        }
    }

    /// Whether everything is copied: what comes now can be resumed.
    pub(super) fn is_copied(&self) -> bool {
        self.follow.is_some() && self.phase != Phase::Copying
    }

    /// The follow, if there is one.
    pub(super) fn follow(&self) -> Option<&Following> {
        self.follow.as_ref()
    }

    /// An event of the follow.
    fn of_follow(&mut self, event: Event) -> Vec<Order> {
        let Some(follow) = &mut self.follow else {
            return Vec::new();
        };
        let had_failed = follow.failure().is_some();
        let mut orders = follow.on(event);
        let Some(error) = follow.failure().filter(|_| !had_failed) else {
            return orders;
        };
        if self.phase == Phase::Copying && !self.fail_fast {
            // The copy goes on, so that people learn of all that there is; the run does not end well.
            orders.retain(|order| *order != Order::StopAll);
            orders.push(Order::Alarm(format!(
                "Changes of the source are not followed any more, the copy goes on: {error}"
            )));
            orders.extend([Role::Receive, Role::Transform, Role::Apply].map(Order::Dismiss));
        } else {
            self.failure.get_or_insert(error.clone());
        }
        orders
    }

    /// What is due after an event of the clone.
    fn after(&mut self, is_fetched: bool) -> Vec<Order> {
        let Some(follow) = &mut self.follow else {
            return Vec::new();
        };
        let mut orders = Vec::new();
        if is_fetched && !self.begun && self.stages.failure().is_none() {
            self.begun = true;
            orders.extend(follow.begin());
        }
        if self.phase == Phase::Copying && self.stages.is_over() {
            self.phase = Phase::Following;
            follow.set_beside_copy(false);
            if let Some(error) = follow.failure() {
                self.failure.get_or_insert(error.clone());
                orders.push(Order::StopAll);
            }
        }
        orders
    }

    /// Sets sequences once all is applied.
    fn at_the_end(&mut self) -> Vec<Order> {
        let is_drained = self
            .follow
            .as_ref()
            .is_some_and(|follow| follow.drained().is_some() && !follow.is_live());
        if self.phase != Phase::Following || !is_drained || self.failure.is_some() {
            return Vec::new();
        }
        self.phase = Phase::Last;
        vec![Order::Spawn {
            role: Role::Sequence,
            number: LAST,
            successor: false,
        }]
    }
}

impl Machine for Together {
    fn on(&mut self, event: Event) -> Vec<Order> {
        let is_follows = match &event {
            Event::Start => self.phase == Phase::Following,
            Event::Report(role, ..) | Event::Ended(role, ..) => {
                let is_setup = *role == Role::FollowSetup && self.phase == Phase::Following;
                Following::is_for(*role) || is_setup
            }
        };
        let mut orders = if is_follows {
            self.of_follow(event)
        } else if self.phase == Phase::Last {
            if let Event::Ended(Role::Sequence, _, End::Failed(error)) = event {
                self.failure.get_or_insert(error);
            } else if let Event::Ended(Role::Sequence, _, End::Crashed(how)) = event {
                let error = Error::internal("the process that sets sequences died");
                self.failure
                    .get_or_insert(error.detail(how).hint("Repeat the command with --resume."));
            }
            Vec::new()
        } else {
            let is_fetched = matches!(&event, Event::Ended(Role::Fetch, _, End::Done));
            let mut orders = self.stages.on(event);
            orders.extend(self.after(is_fetched));
            orders
        };
        orders.extend(self.at_the_end());
        orders
    }

    fn failure(&self) -> Option<&Error> {
        self.stages.failure().or(self.failure.as_ref())
    }
}

/// Starts the processes of a follow whose copy was whole before.
pub(super) struct ResumeHost(pub(super) FollowSettings);

impl Host for ResumeHost {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        if role == Role::Sequence {
            let settings = self.0.clone();
            return supervisor::spawn(role, number, successor, move |leaf| {
                set_sequences(leaf, &settings)
            });
        }
        follow::spawn(&self.0, false, (role, number, successor))
    }

    fn note(&mut self, _: Role, _: u32, _: &Report) -> Result<()> {
        Ok(())
    }

    fn stopping(&mut self) {}
}
