//! What `pg_dump` and the other client tools get: a URI without secrets, and an environment.
//!
//! Runs in the process that starts a tool, on plain data. Reads and writes nothing. The tool must
//! reach the server as our own sessions do, so no variable of libpq is left as it was.

use super::{ConnInfo, env, keyword, uri};
use crate::error::{Error, Result};
use std::fmt;

/// Added to the options of every tool: a database may be read-only by default.
const TOOL_OPTIONS: &str = "-c default_transaction_read_only=off -c statement_timeout=0";

/// Parameters that a tool does not get in its URI, beyond secrets and those that stand elsewhere.
const NOT_FOR_TOOLS: [&str; 9] = [
    "user",
    "dbname",
    "host",
    "port",
    "passfile",
    "service",
    "servicefile",
    "connect_timeout",
    "options",
];

/// How to start a client tool: remove `env_remove` from its environment, then set `env`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ToolSettings {
    /// For `--dbname`; holds no secret.
    pub uri: String,
    /// Variables to set; `PGPASSWORD` is among them if there is a password.
    pub env: Vec<(String, String)>,
    /// Variables to remove.
    pub env_remove: Vec<String>,
}

impl fmt::Debug for ToolSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ToolSettings")
            .field("uri", &self.uri)
            .field("env", &names)
            .finish_non_exhaustive()
    }
}

impl ConnInfo {
    /// Settings for a client tool. Call it on a pinned connection. Errors: a secret that can only be
    /// given to libpq in a URI, or several hosts with different passwords.
    pub fn tool_settings(&self) -> Result<ToolSettings> {
        let refused = keyword::SECRETS.iter().filter(|name| **name != "password");
        if let Some(name) = refused.into_iter().find(|name| self.get(name).is_some()) {
            return Err(Error::bad_args(format!(
                "parameter \"{name}\" is not supported together with pg_dump and pg_restore"
            ))
            .hint("Use a client key without passphrase, or a password file."));
        }
        let hosts = self.hosts();
        let password = self.password_for(0);
        if (1..hosts.len()).any(|position| self.password_for(position) != password) {
            return Err(Error::internal(
                "a tool was started before one of several hosts was chosen",
            ));
        }
        let options = match self.get("options") {
            Some(given) => format!("{given} {TOOL_OPTIONS}"),
            None => TOOL_OPTIONS.to_owned(),
        };
        let shown = self
            .params
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let shown = shown
            .filter(|(name, _)| !NOT_FOR_TOOLS.contains(name) && !keyword::SECRETS.contains(name));
        let params = shown.chain([("options", options.as_str())]);
        let uri = uri::write(self.user(), &hosts, self.dbname(), params);

        let mut env = vec![("PGGSSENCMODE".to_owned(), "disable".to_owned())];
        if let Some(seconds) = self.get("connect_timeout") {
            env.push(("PGCONNECT_TIMEOUT".to_owned(), seconds.to_owned()));
        }
        match (password, self.get("passfile")) {
            (Some(password), _) => env.push(("PGPASSWORD".to_owned(), password.to_owned())),
            (None, Some(path)) => env.push(("PGPASSFILE".to_owned(), path.to_owned())),
            (None, None) => {}
        }
        let is_set = |name: &str| env.iter().any(|(set, _)| set == name);
        let env_remove = env::variables().into_iter().filter(|name| !is_set(name));
        let env_remove = env_remove.map(str::to_owned).collect();
        Ok(ToolSettings {
            uri,
            env,
            env_remove,
        })
    }
}
