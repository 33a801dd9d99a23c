//! What the target's role must be allowed to do: give objects to their owners, create in schemas, make what
//! only superusers make.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads both servers,
//! writes nothing. A superuser of the target is asked nothing. Each finding holds the statement that an
//! administrator runs.

use super::finding::Findings;
use super::preflight::{Choices, shown};
use crate::error::{Error, Kind, Result};
use crate::filter::LeftOut;
use crate::pg::{PgSession, quote};
use crate::schema::preflight::{PublicOwner, find_public_owner, find_role_rights};
use crate::schema::server::ServerFacts;
use crate::units::Side;
use std::collections::{BTreeMap, BTreeSet};

/// First version in which membership in a role can come without its privileges.
const GRANT_OPTIONS_MAJOR: u32 = 16;

/// Roles that providers give to their customers instead of superuser.
const MANAGED: &str = "select exists (select 1 from pg_catalog.pg_roles r \
     where r.rolname in ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser', \
                         'neon_superuser') \
       and pg_catalog.pg_has_role(r.oid, 'usage'))";

/// One side with what is known of it.
pub(super) type Known<'a> = (&'a mut PgSession, &'a ServerFacts);

/// An owner on the source, and where it owns something.
struct Owner {
    nspname: Option<String>,
    rolname: String,
    nspowner: Option<String>,
    sample: String,
    is_default: bool,
}

/// Whether the target's role has a provider's substitute for superuser.
pub(super) fn is_managed(target: &mut PgSession) -> Result<bool> {
    Ok(target.query_one(MANAGED, &[])?.get(0))
}

/// Looks for what the role of the target may not do. Errors: a query that failed.
pub(super) fn look(
    (source, source_facts): Known<'_>,
    (target, target_facts): Known<'_>,
    choices: &Choices,
    findings: &mut Findings,
) -> Result<()> {
    if target_facts.role.is_superuser {
        return Ok(());
    }
    if !choices.no_owner {
        public(source, target, findings)?;
    }
    let owners = owners(source, &choices.left_out)?;
    give(target, target_facts, &owners, choices, findings)?;
    if !choices.no_owner && source_facts.version.major() >= 10 {
        let owners = names(source, include_str!("sql/list_publication_owners.sql"))?;
        findings.take(refuse_publishers((target, target_facts), &owners));
    }
    create(target, target_facts, &owners, choices, findings)?;
    let sides = ((&mut *source, source_facts), (&mut *target, target_facts));
    superuser_objects(sides.0, sides.1, &choices.left_out, findings)?;
    if choices.no_acl {
        return Ok(());
    }
    let granted = names(source, include_str!("sql/list_foreign_grantors.sql"))?;
    if !granted.is_empty() {
        let me = quote::ident(&target_facts.role.rolname);
        findings.fail(
            denied(format!(
                "privileges on {} objects were granted by others than their owners, which only a \
                 superuser repeats",
                granted.len()
            ))
            .detail(format!("They are: {}.", shown(&granted)))
            .hint(format!(
                "{} or leave privileges out with --no-acl.",
                as_superuser(&me)
            )),
        );
    }
    Ok(())
}

/// Schema `public` is there before, and its owner may not be ours to change.
fn public(source: &mut PgSession, target: &mut PgSession, findings: &mut Findings) -> Result<()> {
    let sql = "select r.rolname::text from pg_catalog.pg_namespace n \
               join pg_catalog.pg_roles r on r.oid = n.nspowner \
              where n.nspname = 'public' and r.rolname <> 'pg_database_owner'";
    let Some(row) = source.query_opt(sql, &[])? else {
        return Ok(());
    };
    let owner: String = row.get(0);
    if find_public_owner(&mut target.client, &owner)? == PublicOwner::Stays {
        let owner = quote::ident(&owner);
        findings.warn(
            Side::Target,
            format!(
                "schema public belongs to {owner} on the source, and keeps its owner on the target"
            ),
            format!("Run on the target, if that matters: alter schema public owner to {owner};"),
        );
    }
    Ok(())
}

fn denied(message: String) -> Error {
    Error::new(Kind::Target, message).with_sqlstate("42501")
}

/// What an administrator runs where only a superuser will do.
fn as_superuser(me: &str) -> String {
    format!(
        "Run on the target as a superuser: alter role {me} superuser; and after the run: \
         alter role {me} nosuperuser;"
    )
}

fn names(session: &mut PgSession, sql: &str) -> Result<Vec<String>> {
    let rows = session.query(sql, &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Owners of what is not left out, once for each schema.
fn owners(source: &mut PgSession, left_out: &LeftOut) -> Result<Vec<Owner>> {
    let mut owners: Vec<Owner> = Vec::new();
    for row in source.query(include_str!("sql/list_owners.sql"), &[])? {
        if left_out.contains(row.get(5), row.get(6)) {
            continue;
        }
        let owner = Owner {
            nspname: row.get(0),
            rolname: row.get(1),
            nspowner: row.get(2),
            sample: row.get(3),
            is_default: row.get(4),
        };
        // Equal ones stand side by side.
        let is_known = owners.last().is_some_and(|last| {
            (&last.nspname, &last.rolname, last.is_default)
                == (&owner.nspname, &owner.rolname, owner.is_default)
        });
        if !is_known {
            owners.push(owner);
        }
    }
    Ok(owners)
}

/// Objects are given to their owners, and used as these.
fn give(
    target: &mut PgSession,
    facts: &ServerFacts,
    owners: &[Owner],
    choices: &Choices,
    findings: &mut Findings,
) -> Result<()> {
    let me = quote::ident(&facts.role.rolname);
    let mut samples: BTreeMap<&str, &str> = BTreeMap::new();
    // Default privileges are repeated on behalf of their role, whoever owns objects.
    let mut has_defaults = false;
    for owner in owners {
        if owner.is_default && !choices.no_acl {
            has_defaults = true;
        } else if owner.is_default || choices.no_owner {
            continue;
        }
        let sample = samples.entry(&owner.rolname).or_insert(&owner.sample);
        if !owner.is_default {
            *sample = &owner.sample;
        }
    }
    let wanted: Vec<&str> = samples.keys().copied().collect();
    let (mut give, mut use_, mut supers) = (Vec::new(), Vec::new(), Vec::new());
    for rights in find_role_rights(&mut target.client, &wanted)? {
        let sample = samples
            .get(rights.rolname.as_str())
            .copied()
            .unwrap_or_default();
        let entry = (quote::ident(&rights.rolname), sample.to_owned());
        match (rights.may_give, rights.may_use) {
            (true, true) => {}
            (false, _) if rights.is_superuser => supers.push(entry),
            (false, _) => give.push(entry),
            (true, false) => use_.push(entry),
        }
    }
    let way_out = if has_defaults {
        "or leave owners and privileges out with --no-owner --no-acl."
    } else {
        "or leave owners out with --no-owner."
    };
    let lacking = Lacking {
        supers,
        give,
        use_,
        way_out,
    };
    lacking.tell(&me, facts.version.major() >= GRANT_OPTIONS_MAJOR, findings);
    Ok(())
}

/// Owners, each with something that it owns, of three kinds.
struct Lacking {
    /// Superusers.
    supers: Vec<(String, String)>,
    /// Roles that we are no members of.
    give: Vec<(String, String)>,
    /// Roles that we are members of without their privileges.
    use_: Vec<(String, String)>,
    /// What to do without any grant.
    way_out: &'static str,
}

impl Lacking {
    fn tell(&self, me: &str, is_new: bool, findings: &mut Findings) {
        let options = if is_new {
            " with inherit true, set true"
        } else {
            ""
        };
        let roles = |list: &[(String, String)]| -> String {
            let names: Vec<&str> = list.iter().map(|(role, _)| role.as_str()).collect();
            names.join(", ")
        };
        let detail = |list: &[(String, String)]| {
            let each = list
                .iter()
                .map(|(role, sample)| format!("{role} ({sample})"));
            format!("They own: {}.", shown(&each.collect::<Vec<String>>()))
        };
        let way_out = self.way_out;
        if !self.supers.is_empty() {
            findings.fail(
                denied(format!(
                    "role {me} cannot give objects to superusers of the target"
                ))
                .detail(detail(&self.supers))
                .hint(format!("{} {way_out}", as_superuser(me))),
            );
        }
        if !self.give.is_empty() {
            findings.fail(
                denied(format!(
                    "role {me} may not give objects to {} roles",
                    self.give.len()
                ))
                .detail(detail(&self.give))
                .hint(format!(
                    "Run on the target: grant {} to {me}{options}; {way_out}",
                    roles(&self.give)
                )),
            );
        }
        if !self.use_.is_empty() {
            let statement = if is_new {
                format!("grant {} to {me} with inherit true;", roles(&self.use_))
            } else {
                format!("alter role {me} inherit;")
            };
            findings.fail(
                denied(format!(
                    "role {me} does not inherit the privileges of {} roles that own objects",
                    self.use_.len()
                ))
                .detail(detail(&self.use_))
                .hint(format!("Run on the target: {statement} {way_out}")),
            );
        }
    }
}

/// Objects are created in schemas by us, then given to owners who must be allowed to have them there.
fn create(
    target: &mut PgSession,
    facts: &ServerFacts,
    owners: &[Owner],
    choices: &Choices,
    findings: &mut Findings,
) -> Result<()> {
    let me = facts.role.rolname.as_str();
    let mut pairs: BTreeSet<(&str, &str)> = BTreeSet::new();
    for owner in owners {
        let Some(nspname) = &owner.nspname else {
            continue;
        };
        pairs.insert((nspname, me));
        if !choices.no_owner {
            pairs.insert((nspname, &owner.rolname));
        }
    }
    let (nspnames, rolnames): (Vec<&str>, Vec<&str>) = pairs.iter().copied().unzip();
    let sql = include_str!("sql/find_schema_rights.sql");
    let mut there = BTreeSet::new();
    let mut statements = Vec::new();
    for row in target.query(sql, &[&nspnames, &rolnames])? {
        let (nspname, rolname, may): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        if !may {
            let (nspname, rolname) = (quote::ident(&nspname), quote::ident(&rolname));
            statements.push(format!("grant create on schema {nspname} to {rolname};"));
        }
        there.insert(nspname);
    }
    let mut roles_first = Vec::new();
    if !choices.no_owner {
        for owner in owners {
            let (Some(nspname), Some(schema_owner)) = (&owner.nspname, &owner.nspowner) else {
                continue;
            };
            let (schema, role) = (quote::ident(nspname), quote::ident(&owner.rolname));
            if there.contains(nspname) {
                if is_missing(target, &owner.rolname)? && !public_may_create(target, nspname)? {
                    roles_first.push(format!("grant create on schema {schema} to {role};"));
                }
            } else if schema_owner != &owner.rolname
                && !is_member(target, &owner.rolname, schema_owner)?
            {
                let schema_owner = quote::ident(schema_owner);
                statements.push(format!(
                    "create schema if not exists {schema} authorization {schema_owner};"
                ));
                statements.push(format!("grant create on schema {schema} to {role};"));
            }
        }
    }
    let way_out = if choices.no_owner {
        ""
    } else {
        " or leave owners out with --no-owner."
    };
    let what = "objects cannot be created in schemas of the target, or not given to owners there";
    if !statements.is_empty() {
        statements.dedup();
        let statements = statements.join(" ");
        findings.fail(
            denied(what.to_owned()).hint(format!("Run on the target: {statements}{way_out}")),
        );
    }
    if !roles_first.is_empty() {
        let statements = roles_first.join(" ");
        findings.fail(denied(what.to_owned()).hint(format!(
            "Create the roles first, for example with pgcopydb copy roles, then run on the target: \
             {statements}{way_out}"
        )));
    }
    Ok(())
}

/// Publications are given to owners who may create in the database.
fn refuse_publishers((target, facts): Known<'_>, owners: &[String]) -> Result<()> {
    let sql = "select r.rolname::text from pg_catalog.pg_roles r where r.rolname = any ($1) \
                  and not pg_catalog.has_database_privilege(r.oid, current_database(), 'create')";
    let rows = target.query(sql, &[&owners])?;
    if rows.is_empty() {
        return Ok(());
    }
    let roles: Vec<String> = rows.iter().map(|row| quote::ident(row.get(0))).collect();
    let (roles, database) = (roles.join(", "), quote::ident(&facts.database.datname));
    Err(denied(format!("publications cannot belong to {roles} on the target")).hint(format!(
        "Run on the target: grant create on database {database} to {roles}; or leave owners out with \
         --no-owner."
    )))
}

fn is_missing(target: &mut PgSession, role: &str) -> Result<bool> {
    let sql = "select not exists (select 1 from pg_catalog.pg_roles r where r.rolname = $1)";
    Ok(target.query_one(sql, &[&role])?.get(0))
}

fn public_may_create(target: &mut PgSession, schema: &str) -> Result<bool> {
    let sql = "select pg_catalog.has_schema_privilege('public', $1::text, 'create')";
    Ok(target.query_one(sql, &[&schema])?.get(0))
}

/// Whether a role acts as another one; false when one of them is missing.
fn is_member(target: &mut PgSession, role: &str, of: &str) -> Result<bool> {
    let sql = "select exists (select 1 from pg_catalog.pg_roles m, pg_catalog.pg_roles r \
                where m.rolname = $1 and r.rolname = $2 \
                  and pg_catalog.pg_has_role(m.oid, r.oid, 'usage'))";
    Ok(target.query_one(sql, &[&role, &of])?.get(0))
}

/// Objects that only a superuser creates.
fn superuser_objects(
    (source, source_facts): Known<'_>,
    (target, target_facts): Known<'_>,
    left_out: &LeftOut,
    findings: &mut Findings,
) -> Result<()> {
    let sql = include_str!("sql/list_superuser_objects.sql");
    let mut found: Vec<String> = source
        .query(sql, &[])?
        .iter()
        .filter(|row| !left_out.contains(row.get(2), row.get(3)))
        .map(|row| format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect();
    if source_facts.version.major() >= 10 {
        let sql = include_str!("sql/list_superuser_publications.sql");
        let publications = names(source, sql)?;
        found.extend(
            publications
                .iter()
                .map(|name| format!("publication {name}")),
        );
        let may_subscribe = target_facts.version.major() >= 16
            && is_member(target, &target_facts.role.rolname, "pg_create_subscription")?;
        // pg_dump shows subscriptions to superusers only.
        if source_facts.role.is_superuser && !may_subscribe {
            let subscriptions = names(source, include_str!("sql/list_subscriptions.sql"))?;
            found.extend(
                subscriptions
                    .iter()
                    .map(|name| format!("subscription {name}")),
            );
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let me = quote::ident(&target_facts.role.rolname);
    let error = denied(format!(
        "{} objects of the source are created by superusers only, which role {me} is not",
        found.len()
    ))
    .detail(format!("They are: {}.", shown(&found)))
    .hint(format!("{} or drop them on the source.", as_superuser(&me)));
    if is_managed(target)? {
        findings.warning(error);
    } else {
        findings.fail(error);
    }
    Ok(())
}
