//! The preflight: what would lose rows or fail for certain, and what to know before.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`.

use super::extensions::Hooks;
use super::finding::Findings;
use crate::error::{Error, Kind, Result};
use crate::filter::LeftOut;
use crate::pg::{PgSession, quote};
use crate::schema::preflight as read;
use crate::schema::preflight::Finding;
use crate::schema::server::ServerFacts;
use crate::units::Side;
use std::collections::HashSet;

/// Objects that a message names.
pub(super) const NAMED_MAX: usize = 10;

/// Choices of the user, as far as checks depend on them.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of the user, no states"
)]
pub struct Choices {
    /// Roles are copied first.
    pub roles: bool,
    /// Without their passwords.
    pub no_role_passwords: bool,
    /// Objects are not given to their owners.
    pub no_owner: bool,
    /// Privileges are not copied.
    pub no_acl: bool,
    /// Tablespaces are not chosen.
    pub no_tablespaces: bool,
    /// Settings of the database are not copied.
    pub skip_db_properties: bool,
    /// Extensions are not created.
    pub skip_extensions: bool,
    /// Versions of extensions that are asked for: name and version.
    pub requirements: Vec<(String, String)>,
    /// Neither rows nor definitions of tables are read.
    pub skip_tables: bool,
    /// Sequences are not read.
    pub skip_sequences: bool,
    /// No definitions are dumped.
    pub skip_definitions: bool,
    /// Large objects are copied.
    pub blobs: bool,
    /// Connections that the run will open on the target at most.
    pub connections: u32,
    /// What filters leave out, which does not count.
    pub left_out: LeftOut,
}

/// What the checks found out for those who come later.
#[derive(Clone, Debug)]
pub struct Found {
    /// Relations that `pg_dump` locks.
    pub locked_relations: u64,
    /// Columns of the source carry `pg_attver`.
    pub has_attver: bool,
    /// What extensions want a run to do.
    pub hooks: Hooks,
}

/// Looks at the source alone: what cannot be read, what is not copied. Errors: a query that failed.
pub fn look_at_source(
    source: &mut PgSession,
    facts: &ServerFacts,
    choices: &Choices,
    findings: &mut Findings,
) -> Result<Found> {
    if !choices.skip_tables {
        findings.take(refuse_unreadable_tables(source, facts, choices));
        findings.take(refuse_hidden_rows(source, facts, choices));
    }
    if !choices.skip_sequences {
        findings.take(refuse_unreadable_sequences(source, facts, choices));
    }
    if choices.blobs {
        findings.take(refuse_unreadable_blobs(source, facts));
    }
    findings.take(refuse_own_schema(source));
    let counts = read::read_source_counts(
        &mut source.client,
        &choices.left_out.relations(),
        &choices.left_out.undumped().schemas,
    )?;
    let found = Found {
        locked_relations: counts.locked_relations,
        has_attver: counts.has_attver,
        hooks: Hooks::default(),
    };
    if choices.skip_definitions {
        return Ok(found);
    }
    findings.take(refuse_lock_table(facts, counts.locked_relations));
    if counts.foreign_tables > 0 {
        findings.warn(
            Side::Source,
            format!(
                "{} foreign tables: their definitions are copied, no rows",
                counts.foreign_tables
            ),
            "Their rows stay where they are: let the target reach that server.",
        );
    }
    if facts.database.encoding == "SQL_ASCII" {
        findings.warn(
            Side::Source,
            "The source database is SQL_ASCII: bytes are copied as they are, whatever they mean",
            "Make the target database with encoding SQL_ASCII, too.",
        );
    }
    for finding in of_kept(read::list_invalid_indexes(&mut source.client)?, choices) {
        findings.warn(
            Side::Source,
            format!(
                "Index {} is invalid on the source and is left out",
                finding.qname
            ),
            format!("Run on the source: reindex index {};", finding.qname),
        );
    }
    let with_oids = read::list_oid_tables(&mut source.client, facts.version)?;
    for finding in of_kept(with_oids, choices) {
        findings.warn(
            Side::Source,
            format!(
                "Table {} has oids as a system column: they are not copied",
                finding.qname
            ),
            format!(
                "Run on the source: alter table {} set without oids;",
                finding.qname
            ),
        );
    }
    Ok(found)
}

/// Looks at what of the target depends on nothing in the source.
pub fn look_at_target(facts: &ServerFacts, choices: &Choices, findings: &mut Findings) {
    findings.take(refuse_read_only_target(facts));
    let free = facts.limits.free_connections();
    if free < u64::from(choices.connections) {
        findings.warn(
            Side::Target,
            format!(
                "The target has {free} connections left, this run may open {}",
                choices.connections
            ),
            "Give fewer --table-jobs and --index-jobs, or raise max_connections of the target.",
        );
    }
}

/// What is copied, of findings about relations.
fn of_kept(mut findings: Vec<Finding>, choices: &Choices) -> Vec<Finding> {
    findings.retain(|finding| !choices.left_out.relation(finding.oid));
    findings
}

fn names(findings: &[Finding]) -> String {
    let mut shown: Vec<&str> = findings
        .iter()
        .take(NAMED_MAX)
        .map(|finding| finding.qname.as_str())
        .collect();
    if findings.len() > NAMED_MAX {
        shown.push("...");
    }
    shown.join(", ")
}

/// The grant of all of these, which may lie in schemas that the role may not use.
fn grant_select(what: &str, findings: &[Finding]) -> String {
    let names: Vec<&str> = findings
        .iter()
        .map(|finding| finding.qname.as_str())
        .collect();
    let is_closed = findings.iter().any(|finding| finding.reason == "schema");
    let usage = if is_closed {
        "grant usage on their schemas, and "
    } else {
        ""
    };
    format!("{usage}grant select on {what}{}", names.join(", "))
}

/// A shorter way to the same, where there is one.
fn read_all(facts: &ServerFacts) -> String {
    if facts.version.major() < 14 {
        return String::new();
    }
    let role = quote::ident(&facts.role.rolname);
    format!(" or for everything: grant pg_read_all_data to {role};")
}

fn refuse_unreadable_tables(
    source: &mut PgSession,
    facts: &ServerFacts,
    choices: &Choices,
) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    let tables = of_kept(read::list_unreadable_tables(&mut source.client)?, choices);
    if !tables.is_empty() {
        return Err(Error::new(
            Kind::Source,
            format!(
                "role {role} may not read {} tables of the source",
                tables.len()
            ),
        )
        .with_sqlstate("42501")
        .detail(format!("They are: {}.", names(&tables)))
        .hint(format!(
            "Run on the source: {} to {role};{}",
            grant_select("", &tables),
            read_all(facts)
        )));
    }
    Ok(())
}

fn refuse_hidden_rows(
    source: &mut PgSession,
    facts: &ServerFacts,
    choices: &Choices,
) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    let hidden = of_kept(read::list_row_security_tables(&mut source.client)?, choices);
    if !hidden.is_empty() {
        return Err(Error::new(
            Kind::Source,
            format!("row level security hides rows of {} tables from role {role}", hidden.len()),
        )
        .with_sqlstate("42501")
        .detail(format!("They are: {}.", names(&hidden)))
        .hint(format!(
            "Read with a role that sees all rows, or run on the source: alter role {role} bypassrls;"
        )));
    }
    Ok(())
}

fn refuse_unreadable_sequences(
    source: &mut PgSession,
    facts: &ServerFacts,
    choices: &Choices,
) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    let sequences = of_kept(
        read::list_unreadable_sequences(&mut source.client)?,
        choices,
    );
    if !sequences.is_empty() {
        return Err(Error::new(
            Kind::Source,
            format!(
                "role {role} may not read {} sequences of the source",
                sequences.len()
            ),
        )
        .with_sqlstate("42501")
        .detail(format!("They are: {}.", names(&sequences)))
        .hint(format!(
            "Run on the source: {} to {role};{}",
            grant_select("sequence ", &sequences),
            read_all(facts)
        )));
    }
    Ok(())
}

fn refuse_unreadable_blobs(source: &mut PgSession, facts: &ServerFacts) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    let blobs = read::list_unreadable_large_objects(&mut source.client, 10)?;
    if let Some(first) = blobs.first() {
        return Err(Error::new(
            Kind::Source,
            format!("role {role} may not read large objects of the source, such as {first}"),
        )
        .with_sqlstate("42501")
        .hint(format!(
            "Run on the source: grant select on large object {first} to {role}; for each of \
                 them, or leave them out with --skip-large-objects."
        )));
    }
    Ok(())
}

/// Schema `pgcopydb` is for our own tables and never copied: rows of the user in it would be lost.
fn refuse_own_schema(source: &mut PgSession) -> Result<()> {
    let found = read::list_own_schema_relations(&mut source.client)?;
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Source,
        format!(
            "schema pgcopydb of the source, which is not copied, holds {} relations that pgcopydb \
             did not make",
            found.len()
        ),
    )
    .detail(format!("They are: {}.", names(&found)))
    .hint(
        "Rename the schema on the source: alter schema pgcopydb rename to another_name; or drop it \
         there.",
    ))
}

fn refuse_lock_table(facts: &ServerFacts, relations: u64) -> Result<()> {
    // There is some slack beyond what the settings say, and other sessions need room, too.
    if relations <= facts.limits.lock_room() + facts.limits.lock_room() / 5 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Source,
        format!(
            "the source has room for {} locks, pg_dump needs {relations}",
            facts.limits.lock_room()
        ),
    )
    .with_sqlstate("53200")
    .detail(format!(
        "max_locks_per_transaction is {}.",
        facts.limits.max_locks_per_transaction
    ))
    .hint(format!(
        "Run on the source: alter system set max_locks_per_transaction = {}; and restart it.",
        facts.limits.locks_setting_for(relations)
    )))
}

fn refuse_read_only_target(facts: &ServerFacts) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    if facts.in_recovery {
        return Err(Error::new(
            Kind::Target,
            "the target is a standby, which cannot be written",
        )
        .hint("Give its primary as --target."));
    }
    if facts.role.can_create {
        return Ok(());
    }
    let database = quote::ident(&facts.database.datname);
    Err(Error::new(
        Kind::Target,
        format!("role {role} may not create schemas in database {database} of the target"),
    )
    .with_sqlstate("42501")
    .hint(format!(
        "Run on the target: grant create on database {database} to {role};"
    )))
}

/// Refuses a target that lacks roles which the definitions of the source name.
pub fn refuse_missing_roles(
    source: &mut PgSession,
    target: &mut PgSession,
    choices: &Choices,
) -> Result<()> {
    let there: HashSet<String> = read::list_roles(&mut target.client, Side::Target)?
        .into_iter()
        .collect();
    let used = if choices.left_out.is_empty() {
        read::list_used_roles(&mut source.client)?
    } else {
        read::list_roles_of_kept(&mut source.client, &choices.left_out)?
    };
    let missing: Vec<String> = used
        .into_iter()
        .filter(|role| !there.contains(&role.rolname))
        .filter(|role| {
            role.in_policy
                || role.owns && !choices.no_owner
                || role.is_granted && !choices.no_acl
                || role.has_settings && !choices.skip_db_properties
        })
        .map(|role| quote::ident(&role.rolname))
        .collect();
    if missing.is_empty() || choices.roles {
        return Ok(());
    }
    let create: Vec<String> = missing
        .iter()
        .map(|role| format!("create role {role};"))
        .collect();
    Err(Error::new(
        Kind::Target,
        format!(
            "{} roles that the source database needs are not on the target",
            missing.len()
        ),
    )
    .with_sqlstate("42704")
    .detail(format!("They are: {}.", shown(&missing)))
    .hint(format!(
        "Use --roles to copy them, or run on the target: {} or leave owners and privileges out with \
         --no-owner --no-acl.",
        create.join(" ")
    )))
}

/// The first of these names.
pub(super) fn shown(names: &[String]) -> String {
    let more = if names.len() > NAMED_MAX { ", ..." } else { "" };
    let first = &names[..names.len().min(NAMED_MAX)];
    format!("{}{more}", first.join(", "))
}
