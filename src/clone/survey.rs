//! Everything that is looked at before a run, in one place: by the run itself, by `check` and `--dry-run`.
//!
//! Runs in the prepare process, and in the main program, which does not fork for this. Reads both servers and
//! looks for client tools; changes nothing anywhere.

use super::goal::Part;
use super::prepare::{self, Connected};
use super::settings::CloneSettings;
use super::{along, filters};
use crate::check::{self, Choices, Findings, FollowChoices, Found, Workers};
use crate::conninfo::ConnInfo;
use crate::dump::{Installed, SearchPlaces, Tools};
use crate::error::Result;
use crate::filter::{LeftOut, Selection};
use crate::units::Side;

/// What was found out about both sides.
struct Looked {
    findings: Findings,
    /// Nothing, when the sides cannot work together at all.
    found: Option<Found>,
    /// Nothing, when there are none that fit.
    tools: Option<Tools>,
    /// What filters come to.
    selection: Selection,
}

/// What was found out, with the connections that it was found with.
pub(super) struct Survey {
    pub(super) findings: Findings,
    pub(super) tools: Option<Tools>,
    pub(super) selection: Selection,
    /// What extensions want to be called, a line each.
    pub(super) calls: Vec<String>,
    pub(super) sides: Option<(Connected, Connected)>,
}

/// The user's choices, as far as checks depend on them.
pub(super) fn choices(settings: &CloneSettings, left_out: LeftOut) -> Choices {
    let (goal, switches) = (settings.goal, &settings.switches);
    let jobs = [
        (goal.has(Part::TableData), settings.table_jobs),
        (goal.has(Part::Vacuum), settings.table_jobs),
        (goal.builds(), settings.index_jobs),
        (goal.has(Part::Blobs), settings.blob_jobs),
    ];
    let workers = jobs.iter().filter(|(is_for, _)| *is_for);
    let requirements = settings.requirements.clone().unwrap_or_default();
    Choices {
        roles: switches.roles,
        no_role_passwords: switches.no_role_passwords,
        no_owner: switches.no_owner,
        no_acl: switches.no_acl,
        no_tablespaces: switches.no_tablespaces,
        skip_db_properties: switches.skip_db_properties,
        skip_extensions: switches.skip_extensions,
        requirements: requirements.into_iter().map(Into::into).collect(),
        skip_tables: !goal.has(Part::TableData) && !goal.needs_archive(),
        skip_sequences: !goal.has(Part::Sequences) && !goal.needs_archive(),
        skip_definitions: !goal.has(Part::Dump),
        blobs: goal.has(Part::Blobs) && !switches.skip_blobs,
        connections: workers.map(|(_, jobs)| jobs).sum::<u32>() + 3,
        left_out,
    }
}

/// What the filters of a command come to. `known` is what they leave out, when an earlier run has found
/// it out. Errors: a query that failed, or what the filters file says.
pub(super) fn selection(
    settings: &CloneSettings,
    source: &mut Connected,
    target: Option<&mut Connected>,
    known: Option<LeftOut>,
) -> Result<Selection> {
    match (known, &settings.filters, target) {
        (Some(left_out), _, _) => Ok(Selection::of(left_out)),
        (None, None, _) => Ok(Selection::default()),
        (None, Some(rules), None) => crate::filter::select(&mut source.session, rules),
        (None, Some(rules), Some(target)) => {
            filters::select(rules, &mut source.session, &mut target.session)
        }
    }
}

/// Looks at both sides. Errors: a query that failed, or what the filters file says.
pub(super) fn look_at_both(
    settings: &CloneSettings,
    (source, target): (&mut Connected, &mut Connected),
    follow: Option<&FollowChoices>,
    known: Option<LeftOut>,
) -> Result<(Findings, Option<Found>, Selection)> {
    let selection = selection(settings, source, Some(&mut *target), known)?;
    let choices = choices(settings, selection.left_out.clone());
    let own = along::choices(settings)?;
    let (mut findings, found) = check::look(
        (&mut source.session, &source.facts),
        (&mut target.session, &target.facts),
        &choices,
        follow.or(own.as_ref()),
    )?;
    filters::warn(&selection, &mut findings);
    for warning in [&source.warning, &target.warning].into_iter().flatten() {
        findings.warning(warning.clone());
    }
    Ok((findings, found, selection))
}

/// Looks at both sides and for tools that fit them. Errors: a query that failed.
fn look(
    settings: &CloneSettings,
    (source, target): (&mut Connected, &mut Connected),
    follow: Option<&FollowChoices>,
) -> Result<Looked> {
    let sides = (&mut *source, &mut *target);
    let (mut findings, found, selection) = look_at_both(settings, sides, follow, None)?;
    let tools = found.as_ref().and_then(|found| {
        findings.take(Installed::find(&SearchPlaces::from_environment()).choose(
            source.facts.version,
            target.facts.version,
            found.has_attver,
        ))
    });
    Ok(Looked {
        findings,
        found,
        tools,
        selection,
    })
}

/// Connects to both sides and looks at all there is to look at, as a first run would. A side that cannot be
/// reached is a finding.
pub(super) fn survey(
    settings: &CloneSettings,
    source: &ConnInfo,
    target: &ConnInfo,
    follow: Option<&FollowChoices>,
) -> Result<Survey> {
    let mut before = Findings::default();
    check::look_at_host(&settings.dir, &mut before);
    let mut survey = survey_sides(settings, source, target, follow)?;
    if let Some((source, target)) = &mut survey.sides {
        check::look_at_machine(workers(settings), (source, target), &mut before)?;
    }
    before.append(survey.findings);
    survey.findings = before;
    Ok(survey)
}

/// Workers of a clone.
pub(super) fn workers(settings: &CloneSettings) -> Workers {
    // Rows are copied and vacuumed by as many.
    let all = 2 * settings.table_jobs + settings.index_jobs + settings.blob_jobs;
    Workers {
        all: all.into(),
        index: settings.index_jobs.into(),
    }
}

/// The same without a look at this machine.
pub(super) fn survey_sides(
    settings: &CloneSettings,
    source: &ConnInfo,
    target: &ConnInfo,
    follow: Option<&FollowChoices>,
) -> Result<Survey> {
    let mut before = Findings::default();
    let source = before.take(prepare::connect("check", source, Side::Source));
    let target = before.take(prepare::connect("check", target, Side::Target));
    let (Some(mut source), Some(mut target)) = (source, target) else {
        return Ok(Survey {
            findings: before,
            tools: None,
            selection: Selection::default(),
            calls: Vec::new(),
            sides: None,
        });
    };
    let Looked {
        findings,
        found,
        tools,
        selection,
    } = look(settings, (&mut source, &mut target), follow)?;
    before.append(findings);
    let mut findings = before;
    if found.is_some() {
        let from = (&mut source.session, &selection.left_out);
        let occupied = if settings.switches.drop_if_exists {
            check::nothing_else_is_dropped(from, &mut target.session)
        } else {
            let blobs = !settings.switches.skip_blobs;
            check::target_is_empty(from, &mut target.session, blobs)
        };
        findings.take(occupied);
    }
    if found
        .as_ref()
        .is_some_and(|found| found.hooks.has_timescaledb)
        && !settings.switches.skip_extensions
    {
        findings.take(check::refuse_hypertables(&mut target.session));
    }
    let calls = found.as_ref().map(|found| found.hooks.calls.clone());
    Ok(Survey {
        findings,
        tools,
        selection,
        calls: calls.unwrap_or_default(),
        sides: found.map(|_| (source, target)),
    })
}
