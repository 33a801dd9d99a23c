//! The refusing half of the preflight: what would lose rows or fail for certain.
//!
//! Runs in the prepare process.

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
#[derive(Clone, Copy, Debug)]
pub struct Choices {
    /// Roles of the source need not be on the target.
    pub roles_may_miss: bool,
    /// Large objects are copied.
    pub blobs: bool,
    /// Connections that the run will open on the target at most.
    pub connections: u32,
}

/// What the checks found out for those who come later.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Relations that `pg_dump` locks.
    pub locked_relations: u64,
    /// Columns of the source carry `pg_attver`.
    pub has_attver: bool,
}

/// Refuses a run that would lose rows or fail for certain; warns of the rest. What filters leave out
/// does not count.
pub fn refuse_hopeless(
    source: &mut PgSession,
    source_facts: &ServerFacts,
    (target, target_facts): (&mut PgSession, &ServerFacts),
    choices: Choices,
    left_out: &LeftOut,
) -> Result<Found> {
    refuse_unreadable(source, source_facts, choices, left_out)?;
    refuse_own_schema(source)?;
    let counts = read::read_source_counts(&mut source.client)?;
    refuse_lock_table(source_facts, counts.locked_relations)?;
    refuse_target(target_facts, choices)?;
    roles((source, left_out), target, choices)?;
    let warnings = [
        (counts.foreign_tables > 0).then(|| {
            format!(
                "{} foreign tables: their definitions are copied, no rows",
                counts.foreign_tables
            )
        }),
        (source_facts.database.encoding == "SQL_ASCII").then(|| {
            "The source database is SQL_ASCII: bytes are copied as they are, whatever they mean"
                .to_owned()
        }),
    ];
    for warning in warnings.into_iter().flatten() {
        log::warn!("{warning}");
    }
    for finding in of_kept(read::list_invalid_indexes(&mut source.client)?, left_out) {
        log::warn!(
            "Index {} is invalid on the source and is left out",
            finding.qname
        );
    }
    let with_oids = read::list_oid_tables(&mut source.client, source_facts.version)?;
    for finding in of_kept(with_oids, left_out) {
        log::warn!(
            "Table {} has oids as a system column: they are not copied",
            finding.qname
        );
    }
    Ok(Found {
        locked_relations: counts.locked_relations,
        has_attver: counts.has_attver,
    })
}

/// What is copied, of findings about relations.
fn of_kept(mut findings: Vec<Finding>, left_out: &LeftOut) -> Vec<Finding> {
    findings.retain(|finding| !left_out.relation(finding.oid));
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

fn refuse_unreadable(
    source: &mut PgSession,
    facts: &ServerFacts,
    choices: Choices,
    left_out: &LeftOut,
) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    let tables = of_kept(read::list_unreadable_tables(&mut source.client)?, left_out);
    if let Some(first) = tables.first() {
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
            "Run on the source: grant select on {} to {role};",
            first.qname
        )));
    }
    let hidden = of_kept(
        read::list_row_security_tables(&mut source.client)?,
        left_out,
    );
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
    let sequences = of_kept(
        read::list_unreadable_sequences(&mut source.client)?,
        left_out,
    );
    if let Some(first) = sequences.first() {
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
            "Run on the source: grant select on sequence {} to {role};",
            first.qname
        )));
    }
    if choices.blobs {
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

fn refuse_target(facts: &ServerFacts, choices: Choices) -> Result<()> {
    let role = quote::ident(&facts.role.rolname);
    if facts.in_recovery {
        return Err(Error::new(
            Kind::Target,
            "the target is a standby, which cannot be written",
        )
        .hint("Give its primary as --target."));
    }
    if !facts.role.can_create {
        let database = quote::ident(&facts.database.datname);
        return Err(Error::new(
            Kind::Target,
            format!("role {role} may not create schemas in database {database} of the target"),
        )
        .with_sqlstate("42501")
        .hint(format!(
            "Run on the target: grant create on database {database} to {role};"
        )));
    }
    let free = facts.limits.free_connections();
    if free < u64::from(choices.connections) {
        log::warn!(
            "The target has {free} connections left, this run may open {}: \
             consider fewer --table-jobs and --index-jobs",
            choices.connections
        );
    }
    Ok(())
}

fn roles(
    (source, left_out): (&mut PgSession, &LeftOut),
    target: &mut PgSession,
    choices: Choices,
) -> Result<()> {
    let used = if left_out.is_empty() {
        read::list_used_roles(&mut source.client)?
    } else {
        read::list_roles_of_kept(&mut source.client, left_out)?
    };
    let there: HashSet<String> = read::list_roles(&mut target.client, Side::Target)?
        .into_iter()
        .collect();
    let missing: Vec<&str> = used
        .iter()
        .filter(|role| !there.contains(*role))
        .map(String::as_str)
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let listed = missing
        .iter()
        .take(NAMED_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if choices.roles_may_miss {
        log::debug!("Roles that the target does not have yet: {listed}");
        return Ok(());
    }
    Err(Error::new(
        Kind::Target,
        format!(
            "{} roles that the source database needs are not on the target",
            missing.len()
        ),
    )
    .with_sqlstate("42704")
    .detail(format!("They are: {listed}."))
    .hint(format!(
        "Use --roles to copy them, or run on the target: create role {}; or leave owners and \
         privileges out with --no-owner --no-acl.",
        quote::ident(first)
    )))
}
