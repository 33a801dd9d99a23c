//! `ping`: both servers answer.
//!
//! Runs in the main program, which does not fork for this. Connects to one side after the other, the
//! second one even when the first does not answer.

use crate::conninfo::ConnInfo;
use crate::error::{Context, Result};
use crate::logging;
use crate::pg::endpoint;
use crate::units::Side;

/// Connects to both databases; the error is that of the first side that does not answer. Blocks.
pub fn ping(source: &str, target: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let mut result = Ok(());
    for (text, side) in [(source, Side::Source), (target, Side::Target)] {
        let answered = one(text, side, env);
        if let (Err(error), true) = (&answered, result.is_err()) {
            logging::report_error(error, false);
        }
        result = result.and(answered);
    }
    result
}

fn one(text: &str, side: Side, env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let conn = ConnInfo::parse(text, env).context(|| format!("reading option --{side}"))?;
    for secret in conn.secrets() {
        logging::register_secret(&secret);
    }
    let (session, _) = endpoint::find(&conn, side, &crate::pg::application_name("ping"))?;
    let uri = conn.safe_uri();
    log::info!(
        "Successfully could connect to {side} database Postgres {} at \"{uri}\"",
        session
            .parameter("server_version")
            .unwrap_or("of unknown version")
    );
    session.close();
    Ok(())
}
