//! Connection strings: everything libpq accepts, parsed once, into one type that all others use.
//!
//! Pure but for the files that libpq itself reads (service file, password file) and the process
//! environment. Runs in the supervisor, which must not resolve host names: names stay names here, a
//! leaf turns them into addresses (`pg::endpoint`). Passwords leave this module only through
//! [`ConnInfo::password_for`] and [`ConnInfo::tool_settings`]; `Debug` and [`ConnInfo::safe_uri`]
//! never show one.

use std::collections::BTreeMap;

/// A resolved connection: libpq keywords with their values, nothing left to look up but host names.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConnInfo {
    /// libpq keyword to value, defaults left out except those that we set ourselves.
    params: BTreeMap<String, String>,
    /// Passwords from the password file, one for each host of `host`/`hostaddr`/`port`.
    file_passwords: Vec<Option<String>>,
}

/// One of the hosts that a connection string names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// Host name, address, or the directory of a Unix socket (starts with `/` or `@`).
    pub name: Option<String>,
    /// Numeric address, which saves the look-up of `name`.
    pub addr: Option<String>,
    /// TCP port, or the number in the socket's file name.
    pub port: u16,
}

/// The endpoint that the first connection of a side found, used by every later one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pin {
    /// Position of the host in the connection string, for the password that belongs to it.
    pub position: usize,
    /// Host name as given, for certificate checks and service principals.
    pub name: Option<String>,
    /// Numeric address that answered; `None` for a Unix socket.
    pub addr: Option<String>,
    /// Port that answered.
    pub port: u16,
    /// Whether that connection was encrypted: decides `sslmode` `allow` and `prefer` for the others.
    pub tls: bool,
}

impl ConnInfo {
    /// The value of a libpq keyword, `None` when it is not set.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.params.get(keyword).map(String::as_str)
    }

    /// Sets a keyword.
    pub fn set(&mut self, keyword: &str, value: impl Into<String>) {
        self.params.insert(keyword.to_owned(), value.into());
    }
}
