//! The order of the checks: what a clone refuses, `check` and `--dry-run` print, is found here.
//!
//! Runs in the prepare process, and in the main program. Reads both servers, writes nothing.

use super::extensions::{self, There};
use super::finding::Findings;
use super::preflight::{Choices, Found, look_at_source, look_at_target, refuse_missing_roles};
use super::rights::Known;
use super::stream::{self, FollowChoices};
use super::target::refuse_foreign_record;
use super::{health, identity, privileges, rights, roles};
use crate::error::Result;
use crate::pg::at_once;

/// Looks at both sides. Nothing was found out where these cannot work together at all. Errors: a query
/// that failed.
pub fn look(
    (source, source_facts): Known<'_>,
    (target, target_facts): Known<'_>,
    choices: &Choices,
    follow: Option<&FollowChoices>,
) -> Result<(Findings, Option<Found>)> {
    let mut findings = Findings::default();
    let together = identity::versions(source_facts, target_facts, &mut findings).and_then(|()| {
        identity::not_the_same_database((source, source_facts), (target, target_facts))
    });
    if findings.take(together).is_none() {
        return Ok((findings, None));
    }
    let (found, record) = at_once(
        || look_at_source(source, source_facts, choices, &mut findings),
        || refuse_foreign_record(target),
    );
    let found = found?;
    look_at_target(target_facts, choices, &mut findings);
    findings.take(record);
    findings.take(refuse_missing_roles(source, target, choices));
    let mut both = |check: Check| {
        check(
            (&mut *source, source_facts),
            (&mut *target, target_facts),
            choices,
            &mut findings,
        )
    };
    both(roles::look)?;
    both(rights::look)?;
    both(privileges::look)?;
    both(health::look)?;
    let (from, to) = (
        (&mut *source, source_facts),
        (&mut *target, target_facts, There::Database),
    );
    let hooks = extensions::look(from, to, choices, &mut findings)?;
    health::encodings(source_facts, target_facts, &mut findings);
    if let Some(follow) = follow {
        findings.take(hooks.refuse_follow());
        let (from, to) = ((source, source_facts), (target, target_facts));
        stream::look(from, to, (follow, &choices.left_out), &mut findings)?;
    }
    Ok((findings, Some(Found { hooks, ..found })))
}

/// Looks at a database of the source that is to be made on the target, where `target` is a session of
/// another database. Errors: a query that failed.
pub fn look_at_new(
    (source, source_facts): Known<'_>,
    (target, target_facts): Known<'_>,
    choices: &Choices,
) -> Result<Findings> {
    let mut findings = Findings::default();
    look_at_source(source, source_facts, choices, &mut findings)?;
    let to = (&mut *target, target_facts, There::Server);
    extensions::look((&mut *source, source_facts), to, choices, &mut findings)?;
    health::look(
        (source, source_facts),
        (target, target_facts),
        choices,
        &mut findings,
    )?;
    Ok(findings)
}

/// A check of both sides.
type Check = fn(Known<'_>, Known<'_>, &Choices, &mut Findings) -> Result<()>;
