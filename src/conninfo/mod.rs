//! Connection strings: everything libpq accepts, parsed once, into one type that all others use.
//!
//! Pure but for the files that libpq itself reads (service file, password file) and the process
//! environment. Runs in the supervisor, which must not resolve host names: names stay names here, a
//! leaf turns them into addresses (`pg::endpoint`). Passwords leave this module only through
//! [`ConnInfo::password_for`] and [`ConnInfo::tool_settings`]; `Debug` and [`ConnInfo::safe_uri`]
//! never show one.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only when the server insists.
    Allow,
    /// When the server offers it.
    Prefer,
    /// Always.
    Require,
    /// Always, with a certificate that a known authority signed.
    VerifyCa,
    /// The same, and the certificate names the host.
    VerifyFull,
}

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
    /// Stand-in: keyword=value pairs without spaces in values.
    pub fn parse(text: &str, _env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut conn = Self {
            params: BTreeMap::new(),
            file_passwords: Vec::new(),
        };
        for pair in text.split_whitespace() {
            let (keyword, value) = pair
                .split_once('=')
                .ok_or_else(|| Error::bad_args("missing \"=\""))?;
            conn.set(keyword, value.trim_matches('\''));
        }
        Ok(conn)
    }

    /// Stand-in.
    pub fn hosts(&self) -> Vec<Host> {
        let list = |keyword: &str| -> Vec<&str> {
            self.get(keyword)
                .map(|text| text.split(',').collect())
                .unwrap_or_default()
        };
        let (names, addrs, ports) = (list("host"), list("hostaddr"), list("port"));
        let count = names.len().max(addrs.len()).max(1);
        let text = |list: &[&str], i: usize| {
            list.get(i)
                .filter(|text| !text.is_empty())
                .map(|text| (*text).to_owned())
        };
        (0..count)
            .map(|i| Host {
                name: text(&names, i),
                addr: text(&addrs, i),
                port: ports
                    .get(i)
                    .or(ports.first())
                    .and_then(|port| port.parse().ok())
                    .unwrap_or(5432),
            })
            .collect()
    }

    /// Stand-in.
    pub fn user(&self) -> &str {
        self.get("user").unwrap_or("postgres")
    }

    /// Stand-in.
    pub fn dbname(&self) -> &str {
        self.get("dbname").unwrap_or(self.user())
    }

    /// Stand-in.
    pub fn sslmode(&self) -> SslMode {
        match self.get("sslmode") {
            Some("disable") => SslMode::Disable,
            Some("allow") => SslMode::Allow,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            _ => SslMode::Prefer,
        }
    }

    /// Stand-in.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.get("connect_timeout")?
            .parse()
            .ok()
            .map(Duration::from_secs)
    }

    /// Stand-in.
    pub fn password_for(&self, position: usize) -> Option<&str> {
        let from_file = || self.file_passwords.get(position)?.as_deref();
        self.get("password").or_else(from_file)
    }

    /// Stand-in.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Self {
        let mut conn = self.clone();
        conn.params.remove("hostaddr");
        conn.params.remove("host");
        if let Some(name) = &pin.name {
            conn.set("host", name.as_str());
        }
        if let Some(addr) = &pin.addr {
            conn.set("hostaddr", addr.as_str());
        }
        conn.set("port", pin.port.to_string());
        if matches!(self.sslmode(), SslMode::Allow | SslMode::Prefer) {
            conn.set("sslmode", if pin.tls { "require" } else { "disable" });
        }
        conn
    }

    /// Stand-in.
    pub fn safe_uri(&self) -> String {
        format!("postgres://{}@/{}", self.user(), self.dbname())
    }

    /// The value of a libpq keyword, `None` when it is not set.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.params.get(keyword).map(String::as_str)
    }

    /// Sets a keyword.
    pub fn set(&mut self, keyword: &str, value: impl Into<String>) {
        self.params.insert(keyword.to_owned(), value.into());
    }
}
