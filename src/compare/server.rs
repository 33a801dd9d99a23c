//! One side of a comparison: where it is, what it is, and the transaction that holds its snapshot.
//!
//! Runs in the main program, which forks nothing meanwhile. Every other session of the side reads with
//! the snapshot of this one, so that the parts of a table, and all tables, are of one moment.

use crate::conninfo::ConnInfo;
use crate::error::{Context, Result};
use crate::pg::{Canceller, Link, PgSession, Profile, Registration, Token, endpoint};
use crate::schema::server::{ServerFacts, read_server_facts};
use crate::units::Side;

/// A server, with a transaction that stays open as long as this lives.
pub(super) struct Server {
    /// How to reach it.
    pub(super) link: Link,
    /// What it is.
    pub(super) facts: ServerFacts,
    /// Session in the transaction.
    pub(super) session: PgSession,
    /// Name of the snapshot.
    pub(super) snapshot: String,
    _registration: Registration,
}

/// What is the same for both sides.
pub(super) struct Opening<'a> {
    /// What sessions are called.
    pub(super) title: &'a str,
    /// Cancels statements after a signal.
    pub(super) canceller: &'a Canceller,
}

impl Server {
    /// Connects, and takes a snapshot or adopts the one that is given. Blocks.
    pub(super) fn open(
        (conn, side): (&ConnInfo, Side),
        opening: &Opening<'_>,
        snapshot: Option<&str>,
    ) -> Result<Self> {
        let Opening { title, canceller } = opening;
        let (first, pin) = endpoint::find(conn, side, &crate::pg::application_name(title))?;
        first.close();
        let link = Link {
            conn: conn.pinned(&pin),
            pin,
            side,
        };
        let mut session = link.session(title, &Profile::Catalog)?;
        let registration = canceller.register(Token::from_session(&session));
        let facts = read_server_facts(&mut session.client, side)?;
        session.batch_execute("begin isolation level repeatable read, read only")?;
        let snapshot = match snapshot {
            Some(id) => {
                crate::snapshot::adopt(&mut session, id).map_err(|error| {
                    error.hint("Give a snapshot whose session still lives, or none.")
                })?;
                id.to_owned()
            }
            None => session
                .query_one("select pg_catalog.pg_export_snapshot()", &[])
                .context(|| format!("exporting a snapshot of the {side}"))?
                .get(0),
        };
        Ok(Self {
            link,
            facts,
            session,
            snapshot,
            _registration: registration,
        })
    }

    /// Opens another session for queries, in the same snapshot. Blocks.
    pub(super) fn another(
        &self,
        title: &str,
        canceller: &Canceller,
    ) -> Result<(PgSession, Registration)> {
        let mut session = self.link.session(title, &Profile::Catalog)?;
        let registration = canceller.register(Token::from_session(&session));
        session.batch_execute("begin isolation level repeatable read, read only")?;
        crate::snapshot::adopt(&mut session, &self.snapshot)
            .map_err(|error| error.hint("Repeat the comparison: it writes nothing."))?;
        Ok((session, registration))
    }
}
