//! `--roles` and the commands for roles alone: the roles of the source's cluster, those that the target
//! lacks.
//!
//! Runs in the roles process. Roles that are there keep their attributes and passwords. One
//! transaction, so all or none. A target role that is no superuser creates what it may: attributes that it
//! cannot hand on are left out and told, and it becomes a member of new roles that will own objects.

use super::begun;
use super::goal::{Goal, Part};
use super::pre_data::PreDataInput;
use crate::catalog::{Ledger, Run};
use crate::dump::roles::{Power, RoleStatement, plan_replay};
use crate::dump::{ArchiveRun, RolePasswords, SchemaDir};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{Canceller, PgSession, Profile, Token, quote};
use crate::schema::preflight::{find_role_rights, list_roles, list_used_roles};
use crate::schema::server::RoleFacts;
use crate::supervisor::Leaf;
use crate::units::Side;
use crate::worker;
use std::collections::BTreeSet;

/// Copies the roles, or does the half of it that the command is for. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let dir = SchemaDir::new(input.means.layout.schema());
    let text = match input.settings.goal {
        Goal::RestoreRoles => std::fs::read_to_string(dir.roles()).map_err(|error| {
            let path = dir.roles();
            Error::bad_state(format!("could not read \"{}\": {error}", path.display()))
        })?,
        _ => dump(leaf, input, &dir)?,
    };
    match input.settings.goal {
        Goal::DumpRoles => Ok(()),
        _ => replay(leaf, input, &canceller, &text),
    }
}

/// Writes `roles.sql`, unless an earlier `dump roles` did.
fn dump(leaf: &Leaf<'_>, input: &PreDataInput, dir: &SchemaDir) -> Result<String> {
    let mut ledger = Ledger::open(&input.means.layout.ledger())?;
    let is_alone = input.settings.goal == Goal::DumpRoles;
    if is_alone {
        let is_done = Run::marked(ledger.connection(), "roles-dumped")?.is_some();
        if is_done && dir.roles().exists() {
            log::info!(
                "Skipping the dump of roles, as \"{}\" is there already",
                dir.roles().display()
            );
            return Ok(String::new());
        }
        let parts = std::iter::once(Part::DumpRoles);
        ledger.write_durably(|tx| begun::begin(tx, input.means.run, &input.settings, parts))?;
    }
    let settings = input.means.source()?.tool_settings(&input.means.uuid)?;
    let stop = leaf.stop_flag();
    let stopping = || stop.load(std::sync::atomic::Ordering::SeqCst);
    let run = ArchiveRun {
        tools: input.prepared.tools()?,
        settings: &settings,
        dir,
        stop: &stopping,
    };
    let passwords = if input.settings.switches.no_role_passwords {
        RolePasswords::LeaveOut
    } else {
        RolePasswords::Keep
    };
    let is_superuser = input.prepared.source()?.role.is_superuser;
    let text = run.dump_roles(passwords).map_err(|error| {
        if passwords == RolePasswords::Keep && !is_superuser {
            error.hint("Only superusers read passwords of roles: add --no-role-passwords.")
        } else {
            error
        }
    })?;
    if is_alone {
        let run = input.means.run;
        run.mark(ledger.connection(), "roles-dumped", "")?;
        log::info!(
            "Wrote the roles of the source into \"{}\"",
            dir.roles().display()
        );
    }
    Ok(text)
}

/// Runs the statements of `roles.sql` on the target, but for roles that it has.
fn replay(leaf: &Leaf<'_>, input: &PreDataInput, canceller: &Canceller, text: &str) -> Result<()> {
    let mut target = input
        .means
        .target()?
        .session(leaf.role.label(), &Profile::TargetPlain)?;
    let _registered = canceller.register(Token::from_session(&target));
    let existing: BTreeSet<String> = list_roles(&mut target.client, Side::Target)?
        .into_iter()
        .collect();
    let me = &input.prepared.target()?.role;
    let power = if me.is_superuser {
        Power::All
    } else {
        Power::Some {
            create_db: me.can_create_db,
        }
    };
    let statements = plan_replay(text, &existing, power)?;
    let mut notices = Vec::new();
    target.batch_execute("begin")?;
    for statement in &statements {
        run_statement(&mut target, statement, power, &mut notices)?;
    }
    if power != Power::All && !input.settings.switches.no_owner {
        let created: BTreeSet<&str> = statements
            .iter()
            .filter(|statement| !statement.skipped)
            .filter_map(|statement| statement.creates.as_deref())
            .collect();
        let owners = match &input.means.source {
            Some(link) => {
                let mut source = link.session(leaf.role.label(), &Profile::Catalog)?;
                list_used_roles(&mut source.client)?
            }
            // The source is not known to `restore roles`: the restore says what it lacks.
            None => Vec::new(),
        };
        let owners: Vec<&str> = owners
            .iter()
            .filter(|role| role.owns && created.contains(role.rolname.as_str()))
            .map(|role| role.rolname.as_str())
            .collect();
        join_owners(&mut target, me, &owners, &mut notices)?;
    }
    target
        .batch_execute("commit")
        .context(|| "committing the roles".to_owned())?;
    tell(input, &notices)
}

/// A line for the end of the run: its topic, and what it says.
type Notice = (&'static str, String);

fn tell(input: &PreDataInput, notices: &[Notice]) -> Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    let ledger = Ledger::open(&input.means.layout.ledger())?;
    for (topic, line) in notices {
        log::warn!("{line}");
        input.means.run.notice(ledger.connection(), topic, line)?;
    }
    Ok(())
}

fn run_statement(
    target: &mut PgSession,
    statement: &RoleStatement,
    power: Power,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    if statement.skipped {
        if let Some(role) = &statement.creates {
            log::info!("Skipping CREATE ROLE {role}, which already exists");
        }
        return Ok(());
    }
    let shown = &statement.shown;
    log::info!("{shown}");
    if !statement.weakened.is_empty() {
        let what = statement.weakened.join(" ");
        notices.push((
            "role without an attribute",
            format!("Only a superuser hands on {what}, left out of: {shown}"),
        ));
    }
    // What a role may do without: the rest of the transaction must not suffer from it.
    let is_minor = statement.is_minor && power != Power::All;
    if is_minor {
        target.batch_execute("savepoint minor")?;
    }
    let Err(error) = target.client.batch_execute(&statement.sql) else {
        return Ok(());
    };
    // The statement may hold a password's hash: only its masked form is shown.
    let server = target_error(&error);
    if is_minor && error.as_db_error().is_some() {
        target.batch_execute("rollback to savepoint minor")?;
        notices.push(("role property left out", format!("{shown}: {server}")));
        return Ok(());
    }
    let code = error
        .code()
        .map_or("XX000", postgres::error::SqlState::code);
    let refused = Error::new(Kind::Target, format!("could not run \"{shown}\": {server}"))
        .with_sqlstate(code);
    if power == Power::All {
        return Err(refused);
    }
    Err(refused.hint(format!(
        "Have an administrator of the target create the role and run: {shown} \
         Roles that are there are left as they are."
    )))
}

/// Makes the target's role a member of roles that it has just created and that will own objects.
fn join_owners(
    target: &mut PgSession,
    me: &RoleFacts,
    owners: &[&str],
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let is_new = target.server_version.major() >= 16;
    let options = if is_new {
        " with inherit true, set true"
    } else {
        ""
    };
    let name = quote::ident(&me.rolname);
    for rights in find_role_rights(&mut target.client, owners)? {
        if rights.may_give && rights.may_use {
            continue;
        }
        let owner = quote::ident(&rights.rolname);
        let statement = format!("grant {owner} to {name}{options}");
        log::info!("{statement}");
        target.batch_execute(&statement).map_err(|error| {
            error.hint(format!(
                "Have an administrator of the target run: {statement}; or leave owners out with \
                 --no-owner."
            ))
        })?;
        notices.push((
            "membership of this run",
            format!(
                "Role {name} became a member of {owner}, to give it its objects; it need not stay: \
                 revoke {owner} from {name};"
            ),
        ));
    }
    Ok(())
}

fn target_error(error: &postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |server| server.message().to_owned())
}
