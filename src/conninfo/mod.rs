//! Connection strings: everything libpq accepts, parsed once, into one type that all others use.
//!
//! Pure but for the files that libpq itself reads (service file, password file) and the process
//! environment. Runs in the supervisor, which must not resolve host names: names stay names here, a
//! leaf turns them into addresses (`pg::endpoint`). Passwords leave this module only through
//! [`ConnInfo::password_for`], [`ConnInfo::secrets`] and [`ConnInfo::tool_settings`]; `Debug` and
//! [`ConnInfo::safe_uri`] never show one.
//!
//! Order of precedence, as in libpq: the string, the service file, environment variables, defaults.

mod draft;
mod env;
mod host;
mod keyword;
mod passfile;
pub mod redact;
mod service;
mod tool;
mod uri;
mod value;

pub use host::{Host, Pin};
pub use redact::redact;
pub use tool::ToolSettings;

use crate::error::Result;
use draft::{Draft, invalid};
use passfile::Wanted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// Longest connection string, bytes.
const TEXT_MAX: usize = 64 * 1024;

/// A resolved connection: libpq keywords with their values, nothing left to look up but host names.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConnInfo {
    /// libpq keyword to value, defaults left out except those that we set ourselves.
    params: BTreeMap<String, String>,
    /// Passwords from the password file, one for each host of `host`/`hostaddr`/`port`.
    file_passwords: Vec<Option<String>>,
    /// Keywords whose values are defaults of ours, which [`ConnInfo::safe_uri`] does not show.
    defaulted: BTreeSet<String>,
    /// Secrets as the connection string spells them, when that differs from their values.
    written: Vec<String>,
}

/// How a connection uses TLS, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server refuses to talk without.
    Allow,
    /// If the server can.
    Prefer,
    /// Always, whoever the server is.
    Require,
    /// Always, with a certificate of a known authority.
    VerifyCa,
    /// Always, with a certificate of a known authority for the host's name.
    VerifyFull,
}

impl ConnInfo {
    /// Parses a URI or `keyword=value` pairs, and fills in what they leave open. Reads the service
    /// file and the password file. Errors are of kind `BadArgs` and never repeat the string.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        if text.len() > TEXT_MAX {
            return Err(invalid(format!("it is longer than {TEXT_MAX} bytes")));
        }
        let text = text.trim_matches(keyword::is_blank);
        let mut draft = Draft::default();
        match uri::after_scheme(text) {
            Some(rest) => uri::parse(rest, &mut draft)?,
            None => keyword::parse(text, &mut draft)?,
        }
        service::fill(&mut draft, env)?;
        env::fill(&mut draft, env);
        value::check(&mut draft)?;
        let defaulted = env::fill_defaults(&mut draft, env)?;
        draft.drop("service");
        draft.drop("servicefile");
        let (params, written) = draft.finish();
        let defaulted = defaulted.into_iter().map(str::to_owned).collect();
        let mut conninfo = Self {
            params,
            file_passwords: Vec::new(),
            defaulted,
            written,
        };
        let hosts = host::resolve(conninfo.host_lists(), env::socket_directory())?;
        for keyword in ["host", "port"] {
            if conninfo.get(keyword).is_none() {
                conninfo.defaulted.insert(keyword.to_owned());
            }
        }
        conninfo.set_hosts(&hosts);
        conninfo.read_passfile();
        Ok(conninfo)
    }

    /// The value of a libpq keyword, `None` when it is not set.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.params.get(keyword).map(String::as_str)
    }

    /// Sets a keyword.
    pub fn set(&mut self, keyword: &str, value: impl Into<String>) {
        self.params.insert(keyword.to_owned(), value.into());
        self.defaulted.remove(keyword);
    }

    /// The hosts in the order given, at least one; each has a name or an address.
    pub fn hosts(&self) -> Vec<Host> {
        host::resolved(self.host_lists())
    }

    /// The role to connect as.
    pub fn user(&self) -> &str {
        self.get("user").unwrap_or("")
    }

    /// The database to connect to.
    pub fn dbname(&self) -> &str {
        self.get("dbname").unwrap_or("")
    }

    /// How the connection uses TLS.
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

    /// How long one address may take to answer; `None` is for ever. As in libpq, zero and less mean
    /// for ever, and one second means two.
    pub fn connect_timeout(&self) -> Option<Duration> {
        let seconds: i64 = self.get("connect_timeout")?.parse().ok()?;
        let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
        Some(Duration::from_secs(seconds.max(2)))
    }

    /// The same connection to another database of the same servers. Reads the password file again,
    /// as its lines may name databases; a host without such a line keeps its password.
    #[must_use]
    pub fn with_dbname(&self, dbname: &str) -> Self {
        let mut other = self.clone();
        other.set("dbname", dbname);
        other.read_passfile();
        let before = self.file_passwords.iter();
        for (password, before) in other.file_passwords.iter_mut().zip(before) {
            if password.is_none() {
                password.clone_from(before);
            }
        }
        other
    }

    /// The password for the host at this position of [`ConnInfo::hosts`].
    pub fn password_for(&self, position: usize) -> Option<&str> {
        let explicit = self.get("password").filter(|password| !password.is_empty());
        explicit.or_else(|| self.file_passwords.get(position)?.as_deref())
    }

    /// Every secret of this connection, in each spelling that may turn up in a text.
    pub fn secrets(&self) -> Vec<String> {
        let given = keyword::SECRETS.iter().filter_map(|name| self.get(name));
        let from_file = self.file_passwords.iter().flatten().map(String::as_str);
        let mut all: BTreeSet<String> = self.written.iter().cloned().collect();
        for secret in given.chain(from_file).filter(|secret| !secret.is_empty()) {
            let quoted = secret.replace('\\', "\\\\").replace('\'', "\\'");
            all.extend([
                secret.to_owned(),
                uri::encode(secret),
                uri::encode_lower(secret),
                quoted,
            ]);
        }
        all.into_iter().collect()
    }

    /// The connection as a URI without any secret: what the user gave, and who connects where.
    pub fn safe_uri(&self) -> String {
        let in_authority = ["user", "host", "port", "dbname"];
        let params = self
            .params
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let params = params.filter(|(name, _)| {
            !in_authority.contains(name)
                && !keyword::SECRETS.contains(name)
                && !self.defaulted.contains(*name)
        });
        uri::write(self.user(), &self.hosts(), self.dbname(), params)
    }

    /// The connection to the one endpoint that answered, with its password, and with TLS if and only
    /// if that endpoint was reached with TLS.
    #[must_use]
    pub fn pinned(&self, pin: &Pin) -> Self {
        let mut pinned = self.clone();
        let before = self
            .hosts()
            .into_iter()
            .nth(pin.position)
            .and_then(|host| host.name);
        let name = pin
            .name
            .clone()
            .or_else(|| before.filter(|_| pin.addr.is_none()));
        pinned.set_hosts(&[Host {
            name,
            addr: pin.addr.clone(),
            port: pin.port,
        }]);
        pinned.file_passwords = vec![self.file_passwords.get(pin.position).cloned().flatten()];
        for keyword in ["target_session_attrs", "load_balance_hosts"] {
            pinned.params.remove(keyword);
        }
        if matches!(self.sslmode(), SslMode::Allow | SslMode::Prefer) {
            pinned.set("sslmode", if pin.tls { "require" } else { "disable" });
        }
        pinned
    }

    fn host_lists(&self) -> host::Lists<'_> {
        let list = |keyword| self.get(keyword).unwrap_or("");
        host::Lists {
            host: list("host"),
            hostaddr: list("hostaddr"),
            port: list("port"),
        }
    }

    /// Writes the hosts back as three lists of the same length.
    fn set_hosts(&mut self, hosts: &[Host]) {
        let ports: Vec<String> = hosts.iter().map(|host| host.port.to_string()).collect();
        for (keyword, list) in [
            ("host", host::join(hosts, |host| host.name.as_deref())),
            ("hostaddr", host::join(hosts, |host| host.addr.as_deref())),
            ("port", ports.join(",")),
        ] {
            if list.is_empty() {
                self.params.remove(keyword);
            } else {
                self.params.insert(keyword.to_owned(), list);
            }
        }
    }

    /// Looks up the password of each host, unless one was given for all.
    fn read_passfile(&mut self) {
        let hosts = self.hosts();
        self.file_passwords = vec![None; hosts.len()];
        if self.get("password").is_some() {
            return;
        }
        let Some(file) = self.get("passfile").and_then(passfile::read) else {
            return;
        };
        let find = |host: &Host| {
            let name = host
                .name
                .as_deref()
                .or(host.addr.as_deref())
                .unwrap_or("localhost");
            let local = env::is_default_socket_directory(name);
            let name = if local { "localhost" } else { name };
            let (user, dbname) = (self.user(), self.dbname());
            passfile::find(
                &file,
                Wanted {
                    host: name,
                    port: host.port,
                    dbname,
                    user,
                },
            )
        };
        self.file_passwords = hosts.iter().map(find).collect();
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnInfo({})", self.safe_uri())
    }
}

#[cfg(test)]
mod tests;
