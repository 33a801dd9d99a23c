//! What following the changes of a source needs beside a clone.
//!
//! Runs in the main program, for `check --follow`. Reads both servers, writes nothing.

use super::finding::Findings;
use super::leftover;
use super::preflight::shown;
use super::rights::Known;
use crate::error::{Error, Kind, Result};
use crate::filter::LeftOut;
use crate::pg::{PgSession, quote};
use crate::schema::server::ServerFacts;
use crate::units::Side;

/// What is to be followed, and how.
#[derive(Clone, Debug)]
pub struct FollowChoices {
    /// The decoding plugin.
    pub plugin: String,
    /// The replication slot.
    pub slot: String,
    /// The replication origin.
    pub origin: String,
    /// Tables whose rows nothing tells apart may be followed as far as that goes.
    pub allow_no_identity: bool,
}

/// A `wal_sender_timeout` below this breaks streams that stand still, milliseconds.
const SENDER_TIMEOUT_MS: i32 = 60_000;

/// A `logical_decoding_work_mem` below PostgreSQL's own default.
const DECODING_KILOBYTES: i64 = 64 * 1024;

/// Looks at both sides. Errors: a query that failed.
pub(super) fn look(
    source: Known<'_>,
    (target, target_facts): Known<'_>,
    (choices, left_out): (&FollowChoices, &LeftOut),
    findings: &mut Findings,
) -> Result<()> {
    let (source, facts) = source;
    if facts.version.major() < 10 {
        findings.fail(
            Error::new(
                Kind::Source,
                format!("changes of PostgreSQL {} cannot be followed", facts.version),
            )
            .hint("Upgrade the source to 10 or newer, or copy without --follow."),
        );
        return Ok(());
    }
    slots(source, facts, choices, findings)?;
    tables(source, (choices, left_out), findings)?;
    transactions(source, findings)?;
    leftover::look(source, target, choices, findings)?;
    leftover::limits(source, findings)?;
    target_side(target, target_facts, findings)
}

fn slots(
    source: &mut PgSession,
    facts: &ServerFacts,
    choices: &FollowChoices,
    findings: &mut Findings,
) -> Result<()> {
    let me = quote::ident(&facts.role.rolname);
    let row = source.query_one(include_str!("sql/read_stream_source.sql"), &[&choices.slot])?;
    let mut refuse = |when: bool, what: String, hint: String| {
        if when {
            findings.fail(Error::new(Kind::Source, what).hint(hint));
        }
    };
    let level: String = row.get("wal_level");
    refuse(
        level != "logical",
        format!("wal_level of the source is {level}, it must be logical"),
        "Run on the source: alter system set wal_level = logical; and restart it.".to_owned(),
    );
    let more =
        |name: &str| format!("Run on the source: alter system set {name} = 20; and restart it.");
    let slot_exists: bool = row.get("slot_exists");
    refuse(
        !slot_exists && row.get::<_, i64>("free_slots") < 2,
        "the source has fewer than two free replication slots".to_owned(),
        more("max_replication_slots"),
    );
    refuse(
        row.get::<_, i64>("free_senders") < 2,
        "the source has fewer than two free WAL senders".to_owned(),
        more("max_wal_senders"),
    );
    refuse(
        !row.get::<_, bool>("may_replicate"),
        format!("role {me} may not replicate"),
        format!("Run on the source: alter role {me} replication;"),
    );
    let database = quote::ident(&facts.database.datname);
    refuse(
        choices.plugin == "pgoutput" && !row.get::<_, bool>("may_publish"),
        format!("role {me} may not create publications in database {database}"),
        format!("Run on the source: grant create on database {database} to {me};"),
    );
    refuse(
        facts.in_recovery && facts.version.major() < 16,
        format!(
            "the source is a standby of PostgreSQL {}, which cannot decode",
            facts.version
        ),
        "Give its primary as --source.".to_owned(),
    );
    refuse(
        facts.in_recovery && !row.get::<_, bool>("standby_feedback"),
        "the source is a standby whose primary removes rows that decoding needs".to_owned(),
        "Run on the standby: alter system set hot_standby_feedback = on; select pg_reload_conf();"
            .to_owned(),
    );
    let allowed: Option<String> = row.get("plugins");
    if let Some(allowed) = allowed {
        let known = allowed.split(',').any(|one| one.trim() == choices.plugin);
        refuse(
            !known,
            format!("the source does not allow plugin {}", choices.plugin),
            format!(
                "Run on the source: alter system set output_plugin_libraries = {}; select \
                 pg_reload_conf();",
                allowed_with(&allowed, &choices.plugin)
            ),
        );
    }
    retention(&row, choices, findings);
    Ok(())
}

/// What may take WAL away from a slot, or a slot from us.
fn retention(row: &postgres::Row, choices: &FollowChoices, findings: &mut Findings) {
    if row.get::<_, bool>("slot_exists") {
        let slot = quote::literal(&choices.slot);
        findings.warn(
            Side::Source,
            format!("replication slot {slot} is there already"),
            format!(
                "If no run uses it any more, run on the source: select \
                 pg_drop_replication_slot({slot});"
            ),
        );
    }
    if let Some(keep) = row
        .get::<_, Option<String>>("slot_keep")
        .filter(|keep| keep != "-1")
    {
        findings.warn(
            Side::Source,
            format!("the source drops WAL that a slot needs once it is more than {keep}"),
            "Run on the source: alter system set max_slot_wal_keep_size = -1; select pg_reload_conf();",
        );
    }
    if let Some(limit) = row
        .get::<_, Option<String>>("slot_idle")
        .filter(|limit| limit != "0")
    {
        findings.warn(
            Side::Source,
            format!("the source drops a slot that nobody reads for {limit}"),
            "Run on the source: alter system set idle_replication_slot_timeout = 0; select pg_reload_conf();",
        );
    }
    let memory: Option<i64> = row.get("decoding_kilobytes");
    if memory.is_some_and(|kilobytes| kilobytes < DECODING_KILOBYTES) {
        findings.warn(
            Side::Source,
            "the source writes transactions to disk again that are larger than a small logical_decoding_work_mem",
            "Run on the source: alter system set logical_decoding_work_mem = '64MB'; select pg_reload_conf();",
        );
    }
    let timeout: i32 = row.get("sender_timeout_ms");
    if (1..SENDER_TIMEOUT_MS).contains(&timeout) {
        findings.warn(
            Side::Source,
            format!("wal_sender_timeout of the source is {timeout} ms"),
            "Run on the source: alter system set wal_sender_timeout = '60s'; select pg_reload_conf();",
        );
    }
}

/// The list of plugins with one more, as items of a setting.
fn allowed_with(allowed: &str, plugin: &str) -> String {
    let items = allowed
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let items: Vec<String> = items.chain([plugin]).map(quote::literal).collect();
    items.join(", ")
}

fn tables(
    source: &mut PgSession,
    (choices, left_out): (&FollowChoices, &LeftOut),
    findings: &mut Findings,
) -> Result<()> {
    let mut without = Vec::new();
    let mut odd = Vec::new();
    for row in source.query(include_str!("sql/list_identity_problems.sql"), &[])? {
        if left_out.has_no_rows(row.get(2)) {
            continue;
        }
        let (qname, problem): (String, String) = (row.get(0), row.get(1));
        if problem == "incomparable" {
            odd.push(qname);
        } else {
            without.push(qname);
        }
    }
    if let Some(first) = without.first() {
        let error = Error::new(
            Kind::Source,
            format!("nothing tells the rows of {} tables apart", without.len()),
        )
        .detail(format!("They are: {}.", shown(&without)))
        .hint(format!(
            "Run on the source, for each of them: alter table {first} replica identity full; or give \
             it a primary key, or add --allow-no-identity if none of their rows is changed or deleted."
        ));
        if choices.allow_no_identity {
            findings.warning(error);
        } else {
            findings.fail(error);
        }
    }
    if !odd.is_empty() {
        findings.warning(
            Error::new(
                Kind::Source,
                format!(
                    "{} tables with replica identity full have columns without equality",
                    odd.len()
                ),
            )
            .detail(format!("They are: {}.", shown(&odd)))
            .hint("Give them a primary key: their rows are then found without these columns."),
        );
    }
    let sql = "select format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c \
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
              where c.relkind in ('r', 'p') and c.relpersistence = 'u' and n.nspname !~ '^pg_' order by 1";
    let unlogged: Vec<String> = source
        .query(sql, &[])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    if !unlogged.is_empty() {
        findings.warning(
            Error::new(
                Kind::Source,
                format!(
                    "{} unlogged tables are copied once, their changes are not followed",
                    unlogged.len()
                ),
            )
            .detail(format!("They are: {}.", shown(&unlogged)))
            .hint(format!(
                "Run on the source: alter table {} set logged;",
                unlogged[0]
            )),
        );
    }
    let blobs = "select exists (select 1 from pg_catalog.pg_largeobject_metadata)";
    if source.query_one(blobs, &[])?.get::<_, bool>(0) {
        findings.warn(
            Side::Source,
            "large objects are copied once, their changes are not followed",
            "Keep writers of large objects away until the switch, then copy them again.",
        );
    }
    Ok(())
}

fn transactions(source: &mut PgSession, findings: &mut Findings) -> Result<()> {
    let row = source.query_one(include_str!("sql/read_health.sql"), &[])?;
    if let Some(old) = row.get::<_, Option<String>>("old_transaction") {
        findings.warn(
            Side::Source,
            format!("a transaction is open for more than five minutes: {old}"),
            "The replication slot waits for its end: finish it, or use pg_terminate_backend.",
        );
    }
    let prepared: i64 = row.get("prepared");
    if prepared > 0 {
        findings.warn(
            Side::Source,
            format!("{prepared} prepared transactions are open"),
            "The replication slot waits for them: see pg_prepared_xacts, then commit prepared or \
             rollback prepared.",
        );
    }
    Ok(())
}

fn target_side(target: &mut PgSession, facts: &ServerFacts, findings: &mut Findings) -> Result<()> {
    let me = quote::ident(&facts.role.rolname);
    let row = target.query_one(include_str!("sql/read_stream_target.sql"), &[])?;
    let is_new = facts.version.major() >= 15;
    let may_set = if is_new {
        let sql = include_str!("sql/may_set_replication_role.sql");
        target.query_one(sql, &[])?.get(0)
    } else {
        row.get::<_, bool>("may_set_role")
    };
    if !may_set {
        let statement = if is_new {
            format!("grant set on parameter session_replication_role to {me};")
        } else {
            format!("alter role {me} superuser;")
        };
        findings.fail(
            Error::new(
                Kind::Target,
                format!(
                    "role {me} may not set session_replication_role, so triggers would fire again"
                ),
            )
            .with_sqlstate("42501")
            .hint(format!("Run on the target as a superuser: {statement}")),
        );
    }
    if !row.get::<_, bool>("may_track") {
        findings.warn(
            Side::Target,
            format!(
                "role {me} may not use replication origins: table pgcopydb.cdc_applied of the target keeps what was \
                 applied, which takes the right to create a schema"
            ),
            format!(
                "For an origin instead, run on the target as a superuser: grant execute on function \
                 pg_replication_origin_create(text), pg_replication_origin_session_setup(text), \
                 pg_replication_origin_progress(text, boolean), pg_replication_origin_oid(text), \
                 pg_replication_origin_drop(text), pg_replication_origin_advance(text, pg_lsn), \
                 pg_replication_origin_xact_setup(pg_lsn, timestamptz), pg_replication_origin_xact_reset() to {me};"
            ),
        );
    }
    if row.get::<_, bool>("may_track") && row.get::<_, i64>("free_origins") < 1 {
        findings.fail(
            Error::new(Kind::Target, "the target has no free replication origin").hint(
                "Run on the target: alter system set max_replication_slots = 20; and restart it.",
            ),
        );
    }
    Ok(())
}
