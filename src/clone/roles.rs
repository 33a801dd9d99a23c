//! `--roles`: the roles of the source's cluster, those that the target lacks.
//!
//! Runs in the roles process. Roles that are there keep their attributes and passwords. One
//! transaction, so all or none.

use super::pre_data::PreDataInput;
use crate::dump::roles::plan_replay;
use crate::dump::{ArchiveRun, RolePasswords, SchemaDir};
use crate::error::{Context, Error, Result};
use crate::pg::{Profile, Token};
use crate::schema::preflight::list_roles;
use crate::supervisor::Leaf;
use crate::units::Side;
use crate::worker;
use std::collections::BTreeSet;

/// Copies the roles. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let settings = input.means.source.tool_settings(&input.means.uuid)?;
    let dir = SchemaDir::new(input.means.layout.schema());
    let stop = leaf.stop_flag();
    let stopping = || stop.load(std::sync::atomic::Ordering::SeqCst);
    let run = ArchiveRun {
        tools: &input.prepared.tools,
        settings: &settings,
        dir: &dir,
        stop: &stopping,
    };
    let passwords = if input.settings.switches.no_role_passwords {
        RolePasswords::LeaveOut
    } else {
        RolePasswords::Keep
    };
    let text = run.dump_roles(passwords).map_err(|error| {
        if passwords == RolePasswords::Keep && !input.prepared.source.role.is_superuser {
            error.hint("Only superusers read passwords of roles: add --no-role-passwords.")
        } else {
            error
        }
    })?;
    let mut target = input
        .means
        .target
        .session(leaf.role.label(), &Profile::TargetPlain)?;
    let _registered = canceller.register(Token::from_session(&target));
    let existing: BTreeSet<String> = list_roles(&mut target.client, Side::Target)?
        .into_iter()
        .collect();
    let statements = plan_replay(&text, &existing)?;
    target.batch_execute("begin")?;
    for statement in &statements {
        if statement.skipped {
            if let Some(role) = &statement.creates {
                log::info!("Skipping CREATE ROLE {role}, which already exists");
            }
            continue;
        }
        log::info!("{}", statement.shown);
        target
            .client
            .batch_execute(&statement.sql)
            .map_err(|error| {
                // The statement may hold a password's hash: only its masked form is shown.
                let server = target_error(&error);
                Error::new(
                    crate::error::Kind::Target,
                    format!("could not run \"{}\": {server}", statement.shown),
                )
                .with_sqlstate(
                    error
                        .code()
                        .map_or("XX000", postgres::error::SqlState::code),
                )
            })?;
    }
    target
        .batch_execute("commit")
        .context(|| "committing the roles".to_owned())
}

fn target_error(error: &postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |server| server.message().to_owned())
}
