//! What troubles a long run though it lets it begin: encodings, collations, tablespaces, old transactions,
//! settings of the servers.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads both servers,
//! writes nothing.

use super::finding::Findings;
use super::preflight::{Choices, shown};
use super::rights::Known;
use crate::error::{Error, Kind, Result};
use crate::pg::{PgSession, at_once, quote};
use crate::schema::server::ServerFacts;
use crate::units::{Side, pretty_bytes};
use std::collections::BTreeMap;

/// Share of the transaction numbers that is used up, in percent: warned of, refused.
const XID_PERCENT: (i32, i32) = (75, 95);
/// Databases from this size on make a small `max_wal_size` of the target slow.
const LARGE_BYTES: i64 = 10 << 30;
/// What is small then.
const WAL_BYTES: i64 = 4 << 30;

/// Looks at both sides. Errors: a query that failed.
pub(super) fn look(
    (source, source_facts): Known<'_>,
    (target, target_facts): Known<'_>,
    choices: &Choices,
    findings: &mut Findings,
) -> Result<()> {
    collations((source, source_facts), target, findings)?;
    if !choices.no_tablespaces {
        tablespaces(source, (target, target_facts), findings)?;
    }
    let sql = include_str!("sql/read_health.sql");
    let (row, target_row) = at_once(|| source.query_one(sql, &[]), || target.query_one(sql, &[]));
    let row = row?;
    age(&row, findings);
    let mappings: i64 = row.get("user_mappings");
    if mappings > 0 {
        let me = quote::ident(&source_facts.role.rolname);
        findings.warn(
            Side::Source,
            format!(
                "{mappings} user mappings of foreign servers hide their options from role {me}"
            ),
            "Repeat them on the target with: alter user mapping ... options (add password '...');",
        );
    }
    if source_facts.in_recovery && !row.get::<_, bool>("standby_feedback") {
        findings.warn(
            Side::Source,
            "the source is a standby that may cancel long queries",
            "Run on the standby: alter system set hot_standby_feedback = on; select pg_reload_conf();",
        );
    }
    let bytes: Option<i64> = row.get("database_bytes");
    let target_row = target_row?;
    let wal: i64 = target_row.get("max_wal_bytes");
    if bytes.unwrap_or(0) > LARGE_BYTES && wal < WAL_BYTES {
        findings.warn(
            Side::Target,
            format!(
                "max_wal_size of the target is {}, which costs checkpoints for {} of data",
                pretty_bytes(wal.unsigned_abs()),
                pretty_bytes(bytes.unwrap_or(0).unsigned_abs())
            ),
            "Run on the target: alter system set max_wal_size = '16GB'; select pg_reload_conf();",
        );
    }
    if !target_row.get::<_, bool>("autovacuum") {
        findings.warn(
            Side::Target,
            "autovacuum is off on the target",
            "Run on the target: alter system set autovacuum = on; select pg_reload_conf();",
        );
    }
    Ok(())
}

fn age(row: &postgres::Row, findings: &mut Findings) {
    let percent: Option<i32> = row.get("xid_percent");
    let percent = percent.unwrap_or(0);
    let error = Error::new(
        Kind::Source,
        format!("the source has used up {percent} % of its transaction numbers"),
    )
    .hint("Run on the source, in the database with the oldest rows: vacuum freeze;");
    if percent >= XID_PERCENT.1 {
        findings.fail(error);
    } else if percent >= XID_PERCENT.0 {
        findings.warning(error);
    }
}

pub(super) fn encodings(source: &ServerFacts, target: &ServerFacts, findings: &mut Findings) {
    let (from, to) = (&source.database, &target.database);
    if from.encoding != to.encoding && from.encoding != "SQL_ASCII" {
        findings.warn(
            Side::Target,
            format!(
                "the source has encoding {}, the target {}: a character that it lacks stops its table",
                from.encoding, to.encoding
            ),
            format!(
                "Make the target with: create database ... encoding '{}' template template0;",
                from.encoding
            ),
        );
    }
    let differ = |one: &Option<String>, other: &Option<String>| matches!((one, other), (Some(one), Some(other)) if plain(one) != plain(other));
    if differ(&from.collate, &to.collate) || differ(&from.ctype, &to.ctype) {
        let name = |text: &Option<String>| text.clone().unwrap_or_default();
        findings.warn(
            Side::Target,
            format!(
                "the source sorts text by \"{}\", the target by \"{}\": orders, and what ranges of \
                 text hold, differ",
                name(&from.collate),
                name(&to.collate)
            ),
            format!(
                "Make the target with: create database ... lc_collate '{}' lc_ctype '{}' template \
                 template0;",
                name(&from.collate),
                name(&from.ctype)
            ),
        );
    }
}

/// `C.UTF-8` and `C.utf8` are one locale.
fn plain(locale: &str) -> String {
    locale.to_lowercase().replace('-', "")
}

fn collations(
    (source, source_facts): Known<'_>,
    target: &mut PgSession,
    findings: &mut Findings,
) -> Result<()> {
    if source_facts.version.major() < 10 {
        return Ok(());
    }
    let has_icu =
        "select exists (select 1 from pg_catalog.pg_collation c where c.collprovider = 'i')";
    for row in source.query(include_str!("sql/list_collation_providers.sql"), &[])? {
        let (provider, name): (String, String) = (row.get(0), row.get(1));
        if provider == "i" && !target.query_one(has_icu, &[])?.get::<_, bool>(0) {
            findings.fail(
                Error::new(
                    Kind::Target,
                    format!("collation {name} needs ICU, which the target was built without"),
                )
                .with_sqlstate("0A000")
                .hint("Use a target with ICU, or leave collations out with --skip-collations."),
            );
        }
    }
    Ok(())
}

fn tablespaces(
    source: &mut PgSession,
    (target, facts): Known<'_>,
    findings: &mut Findings,
) -> Result<()> {
    let used: Vec<String> = source
        .query(include_str!("sql/list_tablespaces.sql"), &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    if used.is_empty() {
        return Ok(());
    }
    let there: BTreeMap<String, bool> = target
        .query(include_str!("sql/find_tablespace_rights.sql"), &[&used])?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let quoted = |wanted: &dyn Fn(&String) -> bool| -> Vec<String> {
        let names = used.iter().filter(|name| wanted(name));
        names.map(|name| quote::ident(name)).collect()
    };
    let way_out = "or do not choose tablespaces, with --no-tablespaces.";
    let missing = quoted(&|name| !there.contains_key(name));
    if let Some(first) = missing.first() {
        findings.fail(
            Error::new(
                Kind::Target,
                format!("{} tablespaces are not on the target", missing.len()),
            )
            .with_sqlstate("42704")
            .detail(format!("They are: {}.", shown(&missing)))
            .hint(format!(
                "Run on the target: create tablespace {first} location '...'; {way_out}"
            )),
        );
    }
    let closed = quoted(&|name| there.get(name) == Some(&false));
    if !closed.is_empty() {
        let me = quote::ident(&facts.role.rolname);
        let grants = closed
            .iter()
            .map(|name| format!("grant create on tablespace {name} to {me};"));
        let grants: Vec<String> = grants.collect();
        findings.fail(
            Error::new(
                Kind::Target,
                format!("role {me} may not use tablespaces {}", shown(&closed)),
            )
            .with_sqlstate("42501")
            .hint(format!("Run on the target: {} {way_out}", grants.join(" "))),
        );
    }
    Ok(())
}
