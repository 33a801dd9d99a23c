//! Copying roles: may they be read, with their passwords, and created.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads both servers,
//! writes nothing.

use super::finding::Findings;
use super::preflight::{Choices, shown};
use super::rights::Known;
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::units::Side;
use std::collections::HashSet;

/// Roles with the attributes that only superusers hand on.
const LIST_ROLES: &str = "select r.rolname::text, r.rolsuper, r.rolreplication, r.rolbypassrls \
     from pg_catalog.pg_roles r where r.rolname !~ '^pg_' order by 1";

/// Looks at what `--roles` needs. Errors: a query that failed.
pub(super) fn look(
    (source, source_facts): Known<'_>,
    (target, target_facts): Known<'_>,
    choices: &Choices,
    findings: &mut Findings,
) -> Result<()> {
    if !choices.roles {
        return Ok(());
    }
    let may_read = "select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select')";
    if !choices.no_role_passwords && !source.query_one(may_read, &[])?.get::<_, bool>(0) {
        let me = quote::ident(&source_facts.role.rolname);
        findings.fail(
            Error::new(
                Kind::Source,
                format!("role {me} may not read the passwords of roles"),
            )
            .with_sqlstate("42501")
            .hint(format!(
                "Copy roles without them, with --no-role-passwords, or run on the source as a \
                 superuser: grant select on pg_catalog.pg_authid to {me};"
            )),
        );
    }
    if target_facts.role.is_superuser {
        return Ok(());
    }
    let there: HashSet<String> = target
        .query("select rolname::text from pg_catalog.pg_roles", &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (mut missing, mut stronger) = (Vec::new(), Vec::new());
    for row in source.query(LIST_ROLES, &[])? {
        let name: String = row.get(0);
        if there.contains(&name) {
            continue;
        }
        let name = quote::ident(&name);
        if (1..=3).any(|column| row.get::<_, bool>(column)) {
            stronger.push(name.clone());
        }
        missing.push(name);
    }
    let me = quote::ident(&target_facts.role.rolname);
    let may_create =
        "select r.rolcreaterole from pg_catalog.pg_roles r where r.rolname = current_user";
    if !missing.is_empty() && !target.query_one(may_create, &[])?.get::<_, bool>(0) {
        let create: Vec<String> = missing
            .iter()
            .map(|role| format!("create role {role};"))
            .collect();
        findings.fail(
            Error::new(
                Kind::Target,
                format!("role {me} may not create roles on the target"),
            )
            .with_sqlstate("42501")
            .detail(format!("To be created are: {}.", shown(&missing)))
            .hint(format!(
                "Run on the target: alter role {me} createrole; or create them there: {}",
                create.join(" ")
            )),
        );
    }
    if !stronger.is_empty() {
        findings.warn(
            Side::Target,
            format!(
                "Roles {} are created without superuser, replication and bypassrls, as role {me} \
                 may not give these",
                shown(&stronger)
            ),
            "Run on the target as a superuser what they need, such as: alter role ... bypassrls;",
        );
    }
    Ok(())
}
