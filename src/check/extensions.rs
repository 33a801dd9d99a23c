//! Extensions: does the target have them, in which versions, and may the role create and fill them.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads both servers,
//! writes nothing.

use super::finding::Findings;
use super::hooks::{self, Hooked};
use super::preflight::Choices;
use super::rights::{self, Known};
use super::spread;
use crate::error::{Error, Kind, Result};
use crate::filter::PG_EXTENSION;
use crate::pg::{PgSession, quote};
use crate::schema::hooks::TIMESCALEDB;
use crate::schema::server::ServerFacts;
use crate::schema::spread::CITUS;
use crate::units::Side;
use std::collections::BTreeMap;

const LIST: &str = "select e.extname::text, n.nspname::text, e.extversion, e.oid \
     from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace \
     order by e.oid";

/// Configuration tables of an extension with their conditions.
const LIST_CONFIGS: &str = "select c.oid::pg_catalog.regclass::text, coalesce(x.condition, '') \
     from pg_catalog.pg_extension e \
     join lateral unnest(e.extconfig, e.extcondition) as x (oid, condition) on true \
     join pg_catalog.pg_class c on c.oid = x.oid and c.relkind in ('r', 'p') \
    where e.extname = $1";

/// An extension of the source.
struct Wanted {
    schema: String,
    version: String,
    /// Filters leave it out.
    is_left_out: bool,
}

/// A session of the target, and what is known of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// In the database that is copied into.
    Database,
    /// In another one, as that is still to be made.
    Server,
}

/// What extensions of the source want a run to do.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// The source has timescaledb.
    pub has_timescaledb: bool,
    /// The source has tables that citus spreads.
    pub is_spread: bool,
    /// What is called, a line each.
    pub calls: Vec<String>,
}

impl Hooks {
    /// Changes of tables that an extension keeps in its own ways cannot be followed.
    pub(super) fn refuse_follow(&self) -> Result<()> {
        if self.is_spread {
            return Err(Error::new(
                Kind::Source,
                "changes of tables that citus spreads cannot be followed",
            )
            .with_sqlstate("0A000")
            .detail("They happen on its worker nodes; the coordinator decodes none of them.")
            .hint("Stop the writers and clone without --follow."));
        }
        if !self.has_timescaledb {
            return Ok(());
        }
        Err(Error::new(
            Kind::Source,
            "changes of a database with timescaledb cannot be followed",
        )
        .with_sqlstate("0A000")
        .detail(
            "Chunks that come later are not on the target, its jobs compress and drop chunks there by \
             themselves, and compressed rows change in other tables than their own.",
        )
        .hint(
            "Stop the writers and clone without --follow, or use the tools of timescaledb. Where nothing uses \
             the extension, run on the source: drop extension timescaledb;",
        ))
    }
}

/// Looks at all extensions of the source; says what they want to be called. Errors: a query that failed.
pub(super) fn look(
    (source, _): Known<'_>,
    (target, target_facts, there): (&mut PgSession, &ServerFacts, There),
    choices: &Choices,
    findings: &mut Findings,
) -> Result<Hooks> {
    let mut wanted = extensions(source, choices)?;
    let database = (there == There::Database).then_some(&mut *target);
    let hooks = hooks_of((source, database), (&wanted, choices), findings)?;
    wanted.retain(|_, one| !one.is_left_out);
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    let may_create = target_facts.role.is_superuser || rights::is_managed(target)?;
    for row in target.query(include_str!("sql/list_extension_rights.sql"), &[&names])? {
        let name: String = row.get(0);
        let Some(one) = wanted.get(&name) else {
            continue;
        };
        let quoted = quote::ident(&name);
        let installed: Option<String> = row.get(3);
        if choices.skip_extensions {
            if installed.is_none() {
                findings.warn(
                    Side::Target,
                    format!("Extension {quoted} is not on the target, and not created either"),
                    format!("Run on the target, if something needs it: create extension {quoted};"),
                );
            }
            continue;
        }
        if installed.is_some() {
            if let Some(table) = row.get::<_, Option<String>>(7) {
                findings.take(fill(source, &name, &table, &target_facts.role.rolname));
            }
            continue;
        }
        let pinned = choices
            .requirements
            .iter()
            .find(|(pinned, _)| *pinned == name);
        let version = pinned.map(|(_, version)| version.as_str());
        // Its catalogs are copied, so it comes in the source's version, which was looked for already.
        let version = version.or((name == TIMESCALEDB).then_some(one.version.as_str()));
        let (default, versions): (Option<String>, Vec<String>) = (row.get(1), row.get(2));
        let trusted = row.get::<_, bool>(5) && target_facts.role.can_create;
        let refused = row.get::<_, bool>(4) && !trusted && !may_create;
        let problem = match (&default, version) {
            (None, _) => Some(not_there(&quoted)),
            (_, Some(version)) if !versions.iter().any(|one| one == version) => {
                // What timescaledb wants was looked for before, as the version is not a choice.
                (name != TIMESCALEDB).then(|| wrong_version(&quoted, version, &versions))
            }
            _ if refused => Some(superusers_only(
                &quoted,
                one,
                version,
                &target_facts.role.rolname,
            )),
            _ => None,
        };
        if let Some(error) = problem {
            findings.fail(error);
            continue;
        }
        let chosen = version.map(str::to_owned).or(default).unwrap_or_default();
        if version.is_none() && !versions.contains(&one.version) {
            findings.warn(
                Side::Target,
                format!(
                    "Extension {quoted} has version {} on the source, the target will have {chosen}",
                    one.version
                ),
                format!("Install version {} there, or choose one with --requirements.", one.version),
            );
        }
    }
    Ok(hooks)
}

/// All extensions of the source, by name.
fn extensions(source: &mut PgSession, choices: &Choices) -> Result<BTreeMap<String, Wanted>> {
    let rows = source.query(LIST, &[])?;
    let all = rows.iter().map(|row| {
        let one = Wanted {
            schema: row.get(1),
            version: row.get(2),
            is_left_out: choices.left_out.contains(PG_EXTENSION, row.get(3)),
        };
        (row.get(0), one)
    });
    Ok(all.collect())
}

/// Looks at the extensions that want to be told of a restore, left out or not.
fn hooks_of(
    (source, target): (&mut PgSession, Option<&mut PgSession>),
    (all, choices): (&BTreeMap<String, Wanted>, &Choices),
    findings: &mut Findings,
) -> Result<Hooks> {
    let mut hooks = Hooks::default();
    let hooked = |name: &str| {
        all.get(name).map(|one| Hooked {
            version: &one.version,
            is_left_out: one.is_left_out,
        })
    };
    let mut target = target;
    if let Some(one) = hooked(TIMESCALEDB) {
        let target = target.as_deref_mut();
        hooks.calls = hooks::timescaledb(source, target, (&one, choices), findings)?;
        hooks.has_timescaledb = true;
    }
    if let Some(one) = hooked(CITUS) {
        let (is_spread, calls) = spread::citus(source, target, (&one, choices), findings)?;
        hooks.is_spread = is_spread;
        hooks.calls.extend(calls);
    }
    Ok(hooks)
}

fn not_there(name: &str) -> Error {
    Error::new(
        Kind::Target,
        format!("extension {name} is not available on the target"),
    )
    .with_sqlstate("0A000")
    .hint(format!(
        "Install its package on the server of the target, or run on the source: drop extension \
             {name}; or leave extensions out with --skip-extensions."
    ))
}

fn wrong_version(name: &str, version: &str, versions: &[String]) -> Error {
    let message = format!("version {version} of extension {name} is not available on the target");
    Error::new(Kind::Target, message)
        .with_sqlstate("22023")
        .detail(format!("It has: {}.", versions.join(", ")))
        .hint("Change the file of --requirements, or install that version's package there.")
}

fn superusers_only(name: &str, wanted: &Wanted, version: Option<&str>, me: &str) -> Error {
    let schema = quote::ident(&wanted.schema);
    let make = match wanted.schema.as_str() {
        "public" | "pg_catalog" => String::new(),
        _ => format!("create schema if not exists {schema}; "),
    };
    let version = version.map(|text| format!(" version {}", quote::literal(text)));
    Error::new(
        Kind::Target,
        format!("role {} may not create extension {name}", quote::ident(me)),
    )
    .with_sqlstate("42501")
    .hint(format!(
        "Run on the target as a superuser: {make}create extension {name} with schema {schema}{} \
         cascade; or leave extensions out with --skip-extensions.",
        version.unwrap_or_default()
    ))
}

/// Refuses when the source has rows for a configuration table that may not be written.
fn fill(source: &mut PgSession, name: &str, table: &str, me: &str) -> Result<()> {
    for row in source.query(LIST_CONFIGS, &[&name])? {
        let (qname, condition): (String, String) = (row.get(0), row.get(1));
        let sql = format!("select exists (select 1 from only {qname} {condition})");
        if qname != table || !source.query_one(&sql, &[])?.get::<_, bool>(0) {
            continue;
        }
        let (name, me) = (quote::ident(name), quote::ident(me));
        return Err(Error::new(
            Kind::Target,
            format!("role {me} may not write configuration table {qname} of extension {name}"),
        )
        .with_sqlstate("42501")
        .hint(format!(
            "Run on the target: grant select, insert, update on {qname} to {me};"
        )));
    }
    Ok(())
}
