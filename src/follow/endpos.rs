//! Where the source is now, as an endpos: behind everything that is committed at this moment.
//!
//! Runs in the main program as a leaf. Where a standby is followed, its primary is asked: a standby does not
//! know what it has not replayed yet. The flush position alone misses commits of sessions with
//! `synchronous_commit` off, of which nothing is flushed yet; so a message is committed first, which
//! flushes all before it, and wakes up a source that is idle.

use super::files::CdcDir;
use super::source::SourceFacts;
use super::{setup, source};
use crate::catalog::{CdcSetup, Ledger, Sentinel};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::PgSession;
use crate::units::{Lsn, PgVersion, Side};

/// Title of the session.
const TITLE: &str = "stream sentinel";

/// Commits a message on the source and reads how far its WAL is flushed. Blocks.
pub fn current(conn: &ConnInfo) -> Result<Lsn> {
    let (mut session, facts) = connect(conn)?;
    behind_all(&mut session, &facts)
}

/// What a follow was set up with; nothing where it was not recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Followed {
    /// The source's system identifier.
    pub system_id: Option<String>,
    /// The database.
    pub database_oid: Option<String>,
    /// The connection string, without secrets.
    pub source_uri: Option<String>,
    /// The timeline that is received.
    pub timeline: Option<i64>,
}

impl Followed {
    /// Reads it. Errors: there is no sentinel yet.
    pub fn read(ledger: &Ledger, cdc: &CdcDir) -> Result<Self> {
        Sentinel::must_read(ledger.connection())?;
        let known = |name: &str| CdcSetup::get(ledger.connection(), name);
        Ok(Self {
            system_id: known("system_id")?,
            database_oid: known("database_oid")?,
            source_uri: known("source_uri")?,
            timeline: cdc.naming()?.map(|(tli, _)| i64::from(tli)),
        })
    }
}

/// The same for the source that a follow was set up with, or the primary of a standby that it was. Blocks.
pub fn current_of(conn: &ConnInfo, known: &Followed) -> Result<Lsn> {
    let (mut session, facts) = connect(conn)?;
    let is_other =
        |known: &Option<String>, found: &str| known.as_deref().is_some_and(|known| known != found);
    let other = is_other(&known.system_id, &facts.system_id)
        || is_other(&known.database_oid, &facts.database_oid.to_string());
    if other {
        return Err(
            Error::bad_state("the work directory was set up for another source")
                .detail(format!(
                    "{} is another server or database.",
                    conn.safe_uri()
                ))
                .hint("Give the source that the follow was set up with, or the primary of that standby."),
        );
    }
    let is_same = !is_other(&known.source_uri, &conn.safe_uri());
    if let (false, false, Some(followed)) = (is_same, facts.is_standby, known.timeline) {
        let row = session.query_one(
            "select timeline_id::int8 from pg_catalog.pg_control_checkpoint()",
            &[],
        )?;
        let found: i64 = row.get(0);
        if found != followed {
            return Err(Error::bad_state(format!(
                "the server is on timeline {found}, and timeline {followed} is followed"
            ))
            .detail("Its positions are others than those of the changes that are received.")
            .hint("Give the primary of the standby that is followed."));
        }
    }
    behind_all(&mut session, &facts)
}

fn connect(conn: &ConnInfo) -> Result<(PgSession, SourceFacts)> {
    let link = setup::link(conn, Side::Source, TITLE)?;
    let mut session = source::connect_beside(&link, TITLE)?;
    let facts = source::read_facts(&mut session)?;
    Ok((session, facts))
}

fn behind_all(session: &mut PgSession, facts: &SourceFacts) -> Result<Lsn> {
    if facts.is_standby {
        return Err(Error::new(
            Kind::Source,
            "the source is a standby, which does not know where its primary is",
        )
        .detail("What the primary has committed and the standby has not replayed would be lost.")
        .hint(
            "Give the primary: \"pgcopydb stream sentinel set endpos --current --source ...\" with its connection \
             string.",
        ));
    }
    let row = session.query_one(
        "select count(*) from pg_catalog.pg_prepared_xacts where database = pg_catalog.current_database()",
        &[],
    )?;
    let prepared: i64 = row.get(0);
    if prepared > 0 {
        return Err(Error::bad_state(format!(
            "{prepared} prepared transactions are open on the source"
        ))
        .detail("What they did would be lost when they are committed after that position.")
        .hint("Commit them or roll them back first: see pg_prepared_xacts."));
    }
    session
        .batch_execute(
            "set synchronous_commit to local; \
             select pg_catalog.pg_logical_emit_message(true, 'pgcopydb', 'endpos')",
        )
        .context(|| "committing a message on the source".to_owned())?;
    let query = if facts.version >= PgVersion(100_000) {
        "select pg_catalog.pg_current_wal_flush_lsn()::text"
    } else {
        "select pg_catalog.pg_current_xlog_flush_location()::text"
    };
    let row = session.query_one(query, &[])?;
    let text: String = row.get(0);
    text.parse()
        .map_err(|why| Error::internal(format!("the source is at \"{text}\": {why}")))
}
