//! Which databases are compared with which: the two that are given, or all of both clusters by their names.
//!
//! Runs in the main program. Reads the list of databases on both sides.

use super::CompareSettings;
use super::server::{Opening, Server};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Result};
use crate::logging;
use crate::units::Side;
use std::collections::BTreeSet;

/// Two databases.
pub(super) struct Couple {
    /// Name of both, where there are several.
    pub(super) database: Option<String>,
    /// How to connect to them.
    pub(super) sides: Sides,
}

/// Where the databases are.
pub(super) enum Sides {
    /// Source and target.
    Both(Box<(ConnInfo, ConnInfo)>),
    /// Only this side has it.
    Only(Side),
}

/// Finds out what is to be compared. Blocks where databases are listed.
pub(super) fn list(
    settings: &CompareSettings,
    env: &dyn Fn(&str) -> Option<String>,
    opening: &Opening<'_>,
) -> Result<Vec<Couple>> {
    let source = connection(&settings.source, Side::Source, env)?;
    let target = connection(&settings.target, Side::Target, env)?;
    if !settings.all_databases {
        return Ok(vec![Couple {
            database: None,
            sides: Sides::Both(Box::new((source, target))),
        }]);
    }
    let on_source = names((&source, Side::Source), opening)?;
    let on_target = names((&target, Side::Target), opening)?;
    let all: BTreeSet<&String> = on_source.union(&on_target).collect();
    let couple = |name: &String| Couple {
        database: Some(name.clone()),
        sides: match (on_source.contains(name), on_target.contains(name)) {
            (true, false) => Sides::Only(Side::Source),
            (false, _) => Sides::Only(Side::Target),
            _ => Sides::Both(Box::new((
                source.with_dbname(name),
                target.with_dbname(name),
            ))),
        },
    };
    Ok(all.into_iter().map(couple).collect())
}

fn connection(text: &str, side: Side, env: &dyn Fn(&str) -> Option<String>) -> Result<ConnInfo> {
    let conn = ConnInfo::parse(text, env).context(|| format!("reading option --{side}"))?;
    for secret in conn.secrets() {
        logging::register_secret(&secret);
    }
    Ok(conn)
}

fn names(of: (&ConnInfo, Side), opening: &Opening<'_>) -> Result<BTreeSet<String>> {
    let sql = include_str!("sql/list_databases.sql");
    let mut server = Server::open(of, opening, None)?;
    let rows = server.session.query(sql, &[])?;
    rows.iter()
        .map(|row| {
            row.try_get("datname")
                .map_err(|error| server.session.error(&error, sql))
        })
        .collect()
}
