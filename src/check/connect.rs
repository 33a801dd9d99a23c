//! The first connection to a side: whoever answers serves the whole run.
//!
//! Runs in the processes that prepare a run. Blocks.

use crate::conninfo::{ConnInfo, Pin};
use crate::error::{Error, Result};
use crate::pg::profile::FIRST;
use crate::pg::{Link, PgSession, Profile, endpoint, retry};
use crate::schema::server::{ServerFacts, read_server_facts};
use crate::units::Side;
use crate::wire;

/// One side, connected.
pub struct Connected {
    /// How every process of the run reaches it.
    pub link: Link,
    /// A session that reads catalogs.
    pub session: PgSession,
    /// What the server says of itself.
    pub facts: ServerFacts,
    /// What is odd about the way to it.
    pub warning: Option<Error>,
}

/// Connects to a side for the first time; whoever answers serves the whole run.
pub fn connect(title: &str, conn: &ConnInfo, side: Side) -> Result<Connected> {
    let (mut first, pin): (wire::Session, Pin) = endpoint::find(conn, side, title)?;
    let seen = Seen::by(&mut first)?;
    let told = first.backend_pid();
    first.close();
    let link = Link {
        conn: conn.pinned(&pin),
        pin,
        side,
    };
    let mut session = link.session(title, &Profile::Catalog)?;
    let row = session.query_one(SEE, &[])?;
    if seen.started != row.get::<_, String>(1) {
        return Err(Error::new(
            side.kind(),
            format!("connections to one address of the {side} reach different servers"),
        )
        .hint("Give the address of one server, not that of a load balancer."));
    }
    let warning = (seen.pid != told.to_string()).then(|| {
        Error::new(
            side.kind(),
            format!("the {side} is reached through a connection pooler"),
        )
        .hint(
            "Give the server's own address: a pooler may end sessions that hold a snapshot, and \
             statements that are stopped go on behind it.",
        )
    });
    let facts = read_server_facts(&mut session.client, side)?;
    Ok(Connected {
        link,
        session,
        facts,
        warning,
    })
}

/// Which backend of which server this is.
const SEE: &str = "select pg_catalog.pg_backend_pid()::text, \
    (1000 * pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()))::int8::text";

/// The answer.
struct Seen {
    pid: String,
    started: String,
}

impl Seen {
    fn by(session: &mut wire::Session) -> Result<Self> {
        retry::lift_statement_timeout(|sql| session.simple(sql).map(|_| ()))?;
        session.simple(FIRST)?;
        let results = session.simple(SEE)?;
        let row = results.first().and_then(|result| result.rows.first());
        match row.map(Vec::as_slice) {
            Some([Some(pid), Some(started)]) => Ok(Self {
                pid: pid.clone(),
                started: started.clone(),
            }),
            _ => Err(Error::internal("a query gave no value")),
        }
    }
}
