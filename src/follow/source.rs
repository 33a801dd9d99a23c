//! The source as a follow sees it: its facts, its slot, its replication connection.
//!
//! Runs in leaf processes. Reads the source's catalogs over an ordinary session and speaks the
//! replication commands over a `wire` session.

use super::files::{Plugin, SlotFile};
use crate::catalog::SourceLook;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::quote::ident;
use crate::pg::{Link, PgSession, Profile, application_name, retry};
use crate::schema::hooks::TIMESCALEDB;
use crate::schema::spread::{CITUS, list_spread};
use crate::units::{Lsn, PgVersion, Side, Tli};
use crate::wire::{self, Session, StatementResult};
use std::time::Duration;

/// Settings that the text of values depends on, fixed at the start of a replication connection.
const STARTUP_OPTIONS: &str = "-c client_encoding=UTF8 -c datestyle=ISO -c intervalstyle=postgres \
    -c extra_float_digits=3 -c bytea_output=hex -c xmloption=content -c lc_monetary=C \
    -c search_path= -c quote_all_identifiers=off -c statement_timeout=0 \
    -c idle_in_transaction_session_timeout=0";

/// The same as statements, for servers that run SQL on replication connections; a pooler may have
/// dropped the options.
const SETTINGS: &str = "set client_encoding to 'UTF8'; set datestyle to 'ISO'; \
    set intervalstyle to 'postgres'; set extra_float_digits to 3; set bytea_output to 'hex'; \
    set xmloption to 'content'; set lc_monetary to 'C'; set search_path to ''; \
    set quote_all_identifiers to off; \
    set statement_timeout to 0; set idle_in_transaction_session_timeout to 0; set lock_timeout to 0";

/// How long what is asked beside a stream may go unacknowledged, in milliseconds.
const WATCH_WAITS_MS: &str = "10000";

/// First version that runs SQL on replication connections and exports snapshots by name.
const SQL_ON_WALSENDER: PgVersion = PgVersion(100_000);

/// What a follow has to know of the source.
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// Identifier of the cluster.
    pub system_id: String,
    /// The database.
    pub database: String,
    /// Its oid.
    pub database_oid: i64,
    /// Version.
    pub version: PgVersion,
    /// Its encoding.
    pub encoding: String,
    /// It is a standby.
    pub is_standby: bool,
    /// `wal_level`.
    pub wal_level: String,
    /// Replication slots that there may be.
    pub max_slots: i32,
    /// Replication slots that there are.
    pub used_slots: i64,
    /// Replication connections that there may be.
    pub max_senders: i32,
    /// Replication connections that there are.
    pub used_senders: i64,
    /// How long the server waits for word from us, none: for ever.
    pub sender_timeout: Option<Duration>,
    /// The role may use replication.
    pub may_replicate: bool,
    /// Output plugins that may be used, where the server has such a list.
    pub plugin_libraries: Option<String>,
    /// An extension whose tables change in ways that cannot be followed, in words.
    pub unfollowed: Option<&'static str>,
}

/// Reads the facts.
pub fn read_facts(session: &mut PgSession) -> Result<SourceFacts> {
    let row = session
        .query_one(include_str!("sql/read_source.sql"), &[])
        .context(|| "looking at the source".to_owned())?;
    let number = |name: &str| row.get::<_, i32>(name);
    let timeout = number("sender_timeout_ms");
    Ok(SourceFacts {
        system_id: row.get("system_id"),
        database: row.get("database"),
        database_oid: row.get("database_oid"),
        version: PgVersion(u32::try_from(number("version")).unwrap_or(0)),
        encoding: row.get("encoding"),
        is_standby: row.get("is_standby"),
        wal_level: row.get("wal_level"),
        max_slots: number("max_slots"),
        used_slots: row.get("used_slots"),
        max_senders: number("max_senders"),
        used_senders: row.get("used_senders"),
        sender_timeout: u64::try_from(timeout)
            .ok()
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
        may_replicate: row.get("may_replicate"),
        plugin_libraries: row.get("plugin_libraries"),
        unfollowed: unfollowed(session, &row.get::<_, Vec<String>>("own_ways"))?,
    })
}

/// What of these extensions cannot be followed. One more query where there is citus.
fn unfollowed(session: &mut PgSession, own_ways: &[String]) -> Result<Option<&'static str>> {
    let has = |name: &str| own_ways.iter().any(|one| one == name);
    if has(TIMESCALEDB) {
        return Ok(Some(
            "it has timescaledb, whose chunks and compressed rows change in ways of their own: copy it \
             without following",
        ));
    }
    let is_spread = has(CITUS)
        && list_spread(&mut session.client, Side::Source)?.is_some_and(|all| !all.is_empty());
    Ok(is_spread.then_some(
        "it has distributed tables of citus, which change on its worker nodes: copy it without following",
    ))
}

impl SourceFacts {
    /// Refuses a source that cannot be followed; all reasons at once.
    pub fn check(&self, plugin: Plugin) -> Result<()> {
        let mut reasons: Vec<String> = self.unfollowed.map(str::to_owned).into_iter().collect();
        if self.wal_level != "logical" {
            reasons.push(format!(
                "wal_level is \"{}\": run ALTER SYSTEM SET wal_level = logical and restart the server \
                 (or set the parameter your provider has for it)",
                self.wal_level
            ));
        }
        if self.is_standby && self.version < PgVersion(160_000) {
            reasons.push(
                "it is a standby: logical decoding on a standby needs PostgreSQL 16".to_owned(),
            );
        }
        if i64::from(self.max_slots) <= self.used_slots {
            reasons.push(format!(
                "all {} replication slots are in use: raise max_replication_slots, or drop slots \
                 that nobody needs",
                self.max_slots
            ));
        }
        if i64::from(self.max_senders) <= self.used_senders {
            reasons.push(format!(
                "all {} replication connections are in use: raise max_wal_senders",
                self.max_senders
            ));
        }
        if !self.may_replicate {
            reasons.push(
                "the role may not use replication: run ALTER ROLE ... REPLICATION".to_owned(),
            );
        }
        if plugin == Plugin::Pgoutput && self.version < SQL_ON_WALSENDER {
            reasons.push("pgoutput needs PostgreSQL 10: use --plugin test_decoding".to_owned());
        }
        if let Some(list) = &self.plugin_libraries
            && !list
                .split(',')
                .any(|name| name.trim().trim_matches('"') == plugin.name())
        {
            reasons.push(format!(
                "it does not let {} be used: add the name to output_plugin_libraries, as an element \
                 of its own (now: {list}), and reload the server",
                plugin.name()
            ));
        }
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Source, "the source cannot be followed").detail(reasons.join("\n")))
    }
}

/// A replication slot as the server shows it.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Output plugin.
    pub plugin: String,
    /// Its database.
    pub database: String,
    /// Backend that uses it now.
    pub active_pid: Option<i64>,
    /// Up to here we have confirmed.
    pub confirmed: Lsn,
    /// Why it can no longer be used.
    pub lost: Option<String>,
}

/// Reads a slot; none when there is none of that name.
pub fn read_slot(session: &mut PgSession, name: &str) -> Result<Option<Slot>> {
    let Some(row) = session.query_opt(include_str!("sql/read_slot.sql"), &[&name])? else {
        return Ok(None);
    };
    let text: String = row.get(0);
    let row: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::internal(format!("could not read a slot: {error}")))?;
    let field = |name: &str| row.get(name).and_then(|value| value.as_str());
    let lsn = |name: &str| field(name).and_then(|text| text.parse().ok());
    let invalid = field("invalidation_reason").map(str::to_owned);
    let is_lost = field("wal_status") == Some("lost");
    let conflict = row.get("conflicting").and_then(serde_json::Value::as_bool) == Some(true);
    let lost = invalid
        .or_else(|| is_lost.then(|| "the WAL it needs was removed".to_owned()))
        .or_else(|| conflict.then(|| "it conflicts with recovery".to_owned()));
    Ok(Some(Slot {
        plugin: field("plugin").unwrap_or("").to_owned(),
        database: field("database").unwrap_or("").to_owned(),
        active_pid: row.get("active_pid").and_then(serde_json::Value::as_i64),
        confirmed: lsn("confirmed_flush_lsn")
            .or_else(|| lsn("restart_lsn"))
            .unwrap_or_default(),
        lost,
    }))
}

/// Looks where the source is, and what it keeps for a slot. Before version 10 nothing is told.
pub fn look(session: &mut PgSession, slot: &str) -> Result<SourceLook> {
    if session.server_version < SQL_ON_WALSENDER {
        return Ok(SourceLook::default());
    }
    let row = session.query_one(include_str!("sql/read_lag.sql"), &[&slot])?;
    let lsn = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or_default();
    let text: Option<String> = row.get("slot");
    let slot: serde_json::Value = text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let field = |name: &str| slot.get(name).and_then(serde_json::Value::as_str);
    Ok(SourceLook {
        lsn: lsn(row.get("lsn")),
        restart_lsn: lsn(field("restart_lsn")),
        wal_status: field("wal_status").map(str::to_owned),
        safe_wal_size: slot
            .get("safe_wal_size")
            .and_then(serde_json::Value::as_i64),
    })
}

/// What `IDENTIFY_SYSTEM` tells.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Identifier of the cluster.
    pub system_id: String,
    /// Current timeline.
    pub tli: Tli,
    /// Current position.
    pub position: Lsn,
}

/// Opens a replication connection to the database, with the settings that the text of values needs.
/// Waits for a server that is away up to `budget`.
pub fn connect_replication(link: &Link, title: &str, budget: Duration) -> Result<Session> {
    let options = match link.conn.get("options") {
        Some(own) if !own.is_empty() => format!("{own} {STARTUP_OPTIONS}"),
        _ => STARTUP_OPTIONS.to_owned(),
    };
    let what = format!("connect to the source at {}", link.conn.safe_uri());
    retry::with_backoff(budget, &what, &wire::stop_requested, || {
        let extra = [("replication", "database"), ("options", options.as_str())];
        let (mut session, _) =
            Session::connect(&link.conn, Side::Source, &application_name(title), &extra)?;
        if session.server_version() >= SQL_ON_WALSENDER {
            session.simple(SETTINGS)?;
        }
        Ok(session)
    })
}

/// The same source for looks beside a stream: where no packet passes, a question ends with an error soon, as
/// the stream is not read meanwhile.
pub fn watching(link: &Link) -> Link {
    let mut link = link.clone();
    if matches!(link.conn.get("tcp_user_timeout"), None | Some("0")) {
        link.conn.set("tcp_user_timeout", WATCH_WAITS_MS);
    }
    link
}

/// Opens a session for such looks; a source that is away is not waited for.
pub fn connect_watching(link: &Link, title: &str) -> Result<PgSession> {
    link.session_within(Duration::ZERO, title, &Profile::Catalog)
}

/// Opens an ordinary session for what the replication connection cannot do.
pub fn connect_beside(link: &Link, title: &str) -> Result<PgSession> {
    link.session(title, &Profile::Catalog)
}

/// The first row of the first result.
fn first_row(results: &[StatementResult]) -> Option<&[Option<String>]> {
    results.first()?.rows.first().map(Vec::as_slice)
}

/// Runs `IDENTIFY_SYSTEM`.
pub fn identify(session: &mut Session) -> Result<Identity> {
    let results = session.simple("IDENTIFY_SYSTEM")?;
    let unreadable = || {
        Error::new(
            Kind::Source,
            "IDENTIFY_SYSTEM gave no answer that can be read",
        )
    };
    let row = first_row(&results).ok_or_else(unreadable)?;
    let field = |at: usize| row.get(at).and_then(Option::as_deref);
    if field(3).is_none() {
        return Err(Error::new(
            Kind::Source,
            "the replication connection is not one to a database",
        )
        .hint("Give a database name in the connection string of the source."));
    }
    Ok(Identity {
        system_id: field(0).ok_or_else(unreadable)?.to_owned(),
        tli: field(1)
            .and_then(|text| text.parse().ok())
            .ok_or_else(unreadable)?,
        position: field(2)
            .and_then(|text| text.parse().ok())
            .ok_or_else(unreadable)?,
    })
}

/// Runs `TIMELINE_HISTORY`; gives the file's text.
pub fn timeline_history(session: &mut Session, tli: Tli) -> Result<String> {
    let results = session.simple(&format!("TIMELINE_HISTORY {tli}"))?;
    first_row(&results)
        .and_then(|row| row.get(1)?.clone())
        .ok_or_else(|| Error::new(Kind::Source, format!("timeline {tli} has no history")))
}

/// Bytes of a WAL segment.
pub fn segment_size(session: &mut Session) -> Result<u64> {
    if session.server_version() < SQL_ON_WALSENDER {
        return Ok(16 << 20);
    }
    let results = session.simple("SHOW wal_segment_size")?;
    let text = first_row(&results)
        .and_then(|row| row.first()?.clone())
        .unwrap_or_default();
    crate::units::parse_bytes(&text)
        .ok()
        .filter(|size| *size >= 1 << 20 && size.is_power_of_two())
        .ok_or_else(|| {
            Error::new(
                Kind::Source,
                format!("wal_segment_size \"{text}\" is not understood"),
            )
        })
}

/// What the creation of a slot gives.
#[derive(Clone, Debug)]
pub struct Created {
    /// The consistent point.
    pub lsn: Lsn,
    /// The exported snapshot, valid while the session does nothing else.
    pub snapshot: String,
}

/// Creates a replication slot with an exported snapshot. Waits for all transactions that write.
pub fn create_slot(
    session: &mut Session,
    name: &str,
    plugin: Plugin,
    temporary: bool,
) -> Result<Created> {
    let kind = if temporary { " TEMPORARY" } else { "" };
    let export = if session.server_version() >= SQL_ON_WALSENDER {
        " EXPORT_SNAPSHOT"
    } else {
        ""
    };
    let sql = format!(
        "CREATE_REPLICATION_SLOT {}{kind} LOGICAL {}{export}",
        ident(name),
        ident(plugin.name())
    );
    let results = session
        .simple(&sql)
        .map_err(|error| explain_create(error, name, plugin))?;
    let row = first_row(&results).unwrap_or_default();
    let field = |at: usize| row.get(at).and_then(Option::as_deref);
    let lsn = field(1).and_then(|text| text.parse().ok());
    match (lsn, field(2)) {
        (Some(lsn), Some(snapshot)) => Ok(Created {
            lsn,
            snapshot: snapshot.to_owned(),
        }),
        _ => Err(Error::new(
            Kind::Source,
            format!("the creation of replication slot \"{name}\" gave no answer that can be read"),
        )),
    }
}

fn explain_create(error: Error, name: &str, plugin: Plugin) -> Error {
    let hint = match error.sqlstate() {
        Some("42710") => format!(
            "A slot of that name exists. Use --resume in the work directory that it belongs to, \
             another --slot-name, or \"pgcopydb stream cleanup --slot-name {name}\" to drop it."
        ),
        Some("58P01") if plugin == Plugin::Wal2json => {
            "Install the wal2json package on the source's server, or use --plugin pgoutput."
                .to_owned()
        }
        _ if error.message().contains("output plugin") => format!(
            "Add {} to output_plugin_libraries on the source (a list; each name its own element) \
             and reload the server.",
            plugin.name()
        ),
        Some("53400") => {
            "Raise max_replication_slots on the source, or drop slots that nobody needs.".to_owned()
        }
        _ => return error.context(format!("creating replication slot \"{name}\"")),
    };
    error
        .context(format!("creating replication slot \"{name}\""))
        .hint(hint)
}

/// Most bytes of the names of tables that wal2json is told to leave out; those beyond are left out here.
const FILTER_TABLES_MAX: usize = 100_000;

/// The value of wal2json's `filter-tables`: our own tables, and schema and name of those left out.
fn filter_tables(left_out: &[(String, String)]) -> String {
    let mut text = "pgcopydb.*".to_owned();
    for (schema, name) in left_out {
        if text.len() > FILTER_TABLES_MAX {
            break;
        }
        for (before, part) in [(',', schema), ('.', name)] {
            text.push(before);
            for letter in part.chars() {
                if " ',.*\\".contains(letter) {
                    text.push('\\');
                }
                text.push(letter);
            }
        }
    }
    text
}

/// What the plugin is told, option by option; `left_out` are schema and name of tables.
pub fn plugin_options(
    slot: &SlotFile,
    left_out: &[(String, String)],
) -> Vec<(&'static str, String)> {
    let mut options: Vec<(&'static str, String)> = Vec::new();
    match slot.plugin {
        Plugin::TestDecoding => options.push(("include-xids", "true".to_owned())),
        Plugin::Wal2json => {
            for (name, value) in [
                ("format-version", "2"),
                ("include-xids", "true"),
                ("include-schemas", "true"),
                ("include-transaction", "true"),
                ("include-types", "true"),
                ("include-lsn", "true"),
            ] {
                options.push((name, value.to_owned()));
            }
            options.push(("filter-tables", filter_tables(left_out)));
            if slot.numeric_as_string {
                options.push(("numeric-data-types-as-string", "true".to_owned()));
            }
        }
        Plugin::Pgoutput => {
            options.push(("proto_version", "1".to_owned()));
            let names: Vec<String> = slot.publications.iter().map(|name| ident(name)).collect();
            options.push(("publication_names", names.join(",")));
        }
    }
    options
}

/// The command that starts the stream.
pub fn start_command(slot: &SlotFile, start: Lsn, left_out: &[(String, String)]) -> String {
    let options: Vec<String> = plugin_options(slot, left_out)
        .iter()
        // A replication command has no strings with escapes: a backslash is itself.
        .map(|(name, value)| format!("{} '{}'", ident(name), value.replace('\'', "''")))
        .collect();
    format!(
        "START_REPLICATION SLOT {} LOGICAL {start} ({})",
        ident(&slot.slot),
        options.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_asked_for_with_the_options_of_its_plugin() {
        let slot = |plugin| SlotFile {
            slot: "s".to_owned(),
            lsn: Lsn(1),
            snapshot: String::new(),
            plugin,
            numeric_as_string: true,
            publications: vec!["a\"b".to_owned(), "it's".to_owned()],
            tli: 1,
        };
        assert_eq!(
            start_command(&slot(Plugin::TestDecoding), Lsn(0x1_0000_0001), &[]),
            "START_REPLICATION SLOT \"s\" LOGICAL 1/1 (\"include-xids\" 'true')"
        );
        let odd = [("a.b".to_owned(), "c d*".to_owned())];
        let wal2json = start_command(&slot(Plugin::Wal2json), Lsn(1), &odd);
        assert!(wal2json.contains("\"numeric-data-types-as-string\" 'true'"));
        assert!(
            wal2json.contains(r#""filter-tables" 'pgcopydb.*,a\.b.c\ d\*'"#),
            "{wal2json}"
        );
        assert!(
            start_command(&slot(Plugin::Pgoutput), Lsn(1), &[])
                .contains("\"publication_names\" '\"a\"\"b\",\"it''s\"'")
        );
    }
}
