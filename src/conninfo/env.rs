//! What a connection string leaves open: environment variables, then defaults.
//!
//! Runs in the supervisor. Reads the process environment through the function it is given, and the
//! user database for the name and the home directory of the user. Writes nothing.

use super::draft::{Draft, Origin, invalid};
use super::keyword::{self, KEYWORDS};
use crate::error::Result;
use nix::unistd::{User, geteuid};
use std::path::{Path, PathBuf};

/// How an environment variable is looked up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Socket directories of the packages, and of PostgreSQL itself.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Settings of our own for connections that do not say otherwise: a dead peer is noticed after
/// about ten minutes, an unreachable host after ten seconds.
const DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "10"),
    ("keepalives", "1"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "60"),
    ("sslmode", "prefer"),
];

/// Variables that libpq reads and that stand for no keyword.
const OTHER_VARIABLES: [&str; 13] = [
    "PGAPPNAME",
    "PGDATESTYLE",
    "PGGEQO",
    "PGGSSDELEGATION",
    "PGOAUTHCAFILE",
    "PGOAUTHDEBUG",
    "PGREALM",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLKEYLOGFILE",
    "PGSYSCONFDIR",
    "PGTZ",
];

/// Every variable that changes how libpq connects, sorted.
pub(super) fn variables() -> Vec<&'static str> {
    let mut names: Vec<&str> = KEYWORDS
        .iter()
        .filter_map(|keyword| keyword.variable)
        .collect();
    names.extend(OTHER_VARIABLES);
    names.sort_unstable();
    names.dedup();
    names
}

/// Fills in environment variables; an empty one counts as not set.
pub(super) fn fill(draft: &mut Draft, env: Lookup<'_>) {
    for keyword in KEYWORDS {
        if draft.get(keyword.name).is_some() {
            continue;
        }
        let Some(variable) = keyword.variable else {
            continue;
        };
        if let Some(value) = env(variable).filter(|value| !value.is_empty()) {
            draft.fill(keyword, value, Origin::Environment(variable));
        } else if keyword.name == "sslmode" && env("PGREQUIRESSL").as_deref() == Some("1") {
            draft.fill(
                keyword,
                "require".to_owned(),
                Origin::Environment("PGREQUIRESSL"),
            );
        }
    }
}

/// Fills in defaults of parameters other than hosts; returns the names of those it has set.
pub(super) fn fill_defaults(draft: &mut Draft, env: Lookup<'_>) -> Result<Vec<&'static str>> {
    let mut defaulted = Vec::new();
    let mut set = |draft: &mut Draft, name: &'static str, value: String| {
        if let (None, Some(keyword)) = (draft.get(name), keyword::find(name)) {
            draft.fill(keyword, value, Origin::Text);
            defaulted.push(name);
        }
    };
    if draft.text("sslrootcert") == Some("system") {
        set(draft, "sslmode", "verify-full".to_owned());
    }
    for (name, value) in DEFAULTS {
        set(draft, name, value.to_owned());
    }
    if draft.get("user").is_none() {
        set(draft, "user", os_user()?);
    }
    let user = draft.text("user").unwrap_or("").to_owned();
    set(draft, "dbname", user);
    if let Some(home) = home(env) {
        set(
            draft,
            "passfile",
            home.join(".pgpass").display().to_string(),
        );
    }
    Ok(defaulted)
}

/// The directory of the local server's socket.
pub(super) fn socket_directory() -> &'static str {
    let [first, other] = SOCKET_DIRECTORIES;
    if Path::new(first).is_dir() {
        first
    } else {
        other
    }
}

/// Whether a host name is one of the directories that a server uses unless told otherwise.
pub(super) fn is_default_socket_directory(name: &str) -> bool {
    name == socket_directory()
}

/// The home directory: `HOME`, else what the user database says.
pub(super) fn home(env: Lookup<'_>) -> Option<PathBuf> {
    match env("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Some(PathBuf::from(home)),
        None => User::from_uid(geteuid())
            .ok()
            .flatten()
            .map(|user| user.dir),
    }
}

/// The name of the user that runs this process.
fn os_user() -> Result<String> {
    match User::from_uid(geteuid()) {
        Ok(Some(user)) => Ok(user.name),
        Ok(None) | Err(_) => Err(invalid(format!(
            "no user name given, and the system has none for user id {}",
            geteuid()
        ))
        .hint("Add the user name to the connection string, or set PGUSER.")),
    }
}
