//! Where the source is now, as an endpos: behind everything that is committed at this moment.
//!
//! Runs in the main program as a leaf. The flush position alone misses commits of sessions with
//! `synchronous_commit` off, of which nothing is flushed yet; so a message is committed first, which
//! flushes all before it, and wakes up a source that is idle.

use super::{setup, source};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::units::{Lsn, PgVersion, Side};

/// Title of the session.
const TITLE: &str = "stream sentinel";

/// Commits a message on the source and reads how far its WAL is flushed. Blocks.
pub fn current(conn: &ConnInfo) -> Result<Lsn> {
    let link = setup::link(conn, Side::Source, TITLE)?;
    let mut session = source::connect_beside(&link, TITLE)?;
    let facts = source::read_facts(&mut session)?;
    if facts.is_standby {
        return Err(Error::new(
            Kind::Source,
            "the source is a standby, which does not know where its primary is",
        )
        .hint("Read pg_current_wal_flush_lsn() on the primary, and give that position."));
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
