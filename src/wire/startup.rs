//! Connecting: hosts, addresses, encryption, startup message, authentication, `ReadyForQuery`, in
//! libpq's order and with its rules of what is tried after what failed.
//!
//! Runs in leaf workers. Reads the resolver and certificate files. It tries each address once;
//! waiting for a server that starts is `pg::retry`'s.
//!
//! Encryption (`sslmode`), each on a new connection, the next after a failed handshake or a server's
//! refusal: `disable`: plain; `allow`: plain, TLS; `prefer`: TLS if offered, plain; others: TLS.
//! Unix sockets: plain. A host is left for the next one when it cannot be reached, breaks off, has
//! the wrong role, or says that it cannot take connections now; a refusal of any other kind is final.

use super::cancel::CancelToken;
use super::dial::{self, Address};
use super::link::Link;
use super::message::Trouble;
use super::session::Session;
use super::tls::{ALPN, TlsPlan};
use super::{auth, frame};
use crate::conninfo::{ConnInfo, Host, Pin, SslMode};
use crate::error::{Error, Result};
use crate::units::Side;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Limit of one try of one address when `connect_timeout` is not set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    Plain,
    IfOffered,
    Required,
}

/// One address with all that is needed to open a connection to it.
pub(super) struct Endpoint {
    conn: ConnInfo,
    address: Address,
    /// Host name for certificates, empty when there is none.
    name: String,
    encryption: Encryption,
    side: Side,
}

/// A failed try and what may be tried after it.
struct Failure {
    error: Error,
    after: After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Another encryption with this address, else nothing.
    OtherEncryption,
    /// Another encryption with this address, else the next address.
    Anything,
    /// The next address.
    NextAddress,
    /// Nothing.
    Nothing,
}

/// Roles of a server that `target_session_attrs` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
}

/// The roles to look for, each in a round over all hosts.
fn wanted_roles(conn: &ConnInfo) -> Result<&'static [Role]> {
    Ok(match conn.get("target_session_attrs").unwrap_or("any") {
        "any" | "" => &[Role::Any],
        "read-write" => &[Role::ReadWrite],
        "read-only" => &[Role::ReadOnly],
        "primary" => &[Role::Primary],
        "standby" => &[Role::Standby],
        "prefer-standby" => &[Role::Standby, Role::Any],
        other => {
            return Err(Error::bad_args(format!(
                "invalid target_session_attrs value \"{other}\""
            )));
        }
    })
}

/// Shuffles with numbers that differ in each process; nothing secret depends on them.
fn shuffle<T>(items: &mut [T]) {
    for end in (1..items.len()).rev() {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let other = usize::try_from(random % (end as u64 + 1)).unwrap_or(0);
        items.swap(end, other);
    }
}

impl Session {
    /// Connects to the first host of `conn` that answers and has the role asked for.
    ///
    /// `extra` are startup parameters such as `replication=database`. Blocks up to
    /// `connect_timeout` (10 s unless set) for each address and encryption, and for the resolver. The
    /// error tells all that was tried; it is transient when the server might answer later.
    pub fn connect(
        conn: &ConnInfo,
        side: Side,
        app_name: &str,
        extra: &[(&str, &str)],
    ) -> Result<(Self, Pin)> {
        check_settings(conn)?;
        let random = conn.get("load_balance_hosts") == Some("random");
        let mut hosts: Vec<(usize, Host)> = conn.hosts().into_iter().enumerate().collect();
        if random {
            shuffle(&mut hosts);
        }
        let mut search = Search {
            conn,
            side,
            app_name,
            extra,
            failures: Vec::new(),
        };
        for role in wanted_roles(conn)? {
            for (position, host) in &hosts {
                let mut found = match dial::addresses(host) {
                    Ok(found) => found,
                    Err(why) => {
                        search
                            .failures
                            .push(Error::new(side.kind(), format!("[{}] {why}", side.tag())));
                        continue;
                    }
                };
                if random {
                    shuffle(&mut found);
                }
                for address in found {
                    if let Some(done) = search.try_address((*position, host), &address, *role)? {
                        return Ok(done);
                    }
                }
            }
        }
        Err(summary(search.failures, side))
    }

    /// Opens a session over one endpoint with one encryption.
    fn start(
        endpoint: Endpoint,
        position: usize,
        app_name: &str,
        extra: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let deadline = Instant::now() + endpoint.time_limit();
        let link = endpoint.open(deadline)?;
        let mut session = Self::new(link, endpoint.side);
        let fail = |error: Error| {
            let after = match error.sqlstate() {
                // A role that the server's name stands for may be elsewhere.
                Some("57P03") => After::Anything,
                Some(_) => After::OtherEncryption,
                None if error.is_transient() => After::NextAddress,
                None => After::Nothing,
            };
            Failure { error, after }
        };
        let begun = session
            .send_startup(&endpoint.conn, app_name, extra)
            .and_then(|()| auth::authenticate(&mut session, &endpoint.conn, position))
            .and_then(|()| session.finish_startup());
        match begun {
            Ok(key) => {
                session.cancel = key.map(|(backend_pid, key)| CancelToken {
                    side: endpoint.side,
                    backend_pid,
                    key,
                    endpoint: Arc::new(endpoint.settled(session.tls().is_some())),
                });
                Ok(session)
            }
            Err(error) => Err(fail(error)),
        }
    }

    fn send_startup(
        &mut self,
        conn: &ConnInfo,
        app_name: &str,
        extra: &[(&str, &str)],
    ) -> Result<()> {
        let app_name = super::application_name(app_name);
        let mut parameters = vec![
            ("user", conn.user()),
            ("database", conn.dbname()),
            ("application_name", app_name),
        ];
        parameters.extend(
            conn.get("options")
                .filter(|text| !text.is_empty())
                .map(|text| ("options", text)),
        );
        parameters.extend_from_slice(extra);
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out)
            .map_err(|error| Error::bad_args(format!("unusable connection string: {error}")))?;
        self.send(&out)
    }

    /// Reads from `AuthenticationOk` to `ReadyForQuery`; gives process id and cancel key.
    fn finish_startup(&mut self) -> Result<Option<(i32, i32)>> {
        let mut key = None;
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'K' => match frame::backend_key(&body) {
                    Ok(found) => {
                        self.backend_pid = found.0;
                        key = Some(found);
                    }
                    Err(malformed) => return Err(self.lost(&malformed.into())),
                },
                b'v' => {}
                b'E' => return Err(self.server_error(&body, None)),
                b'Z' => {
                    self.ready(&body);
                    return Ok(key);
                }
                other => return Err(self.unexpected(other, "after authentication")),
            }
        }
    }

    /// Whether the server has the role asked for.
    fn has_role(&mut self, role: Role) -> Result<bool> {
        let mut shows = |parameter: &str, sql: &str| -> Result<bool> {
            // Reported by servers from 14 on.
            if let Some(value) = self.parameter(parameter) {
                return Ok(value == "on");
            }
            let results = self.simple(sql)?;
            let value = results
                .first()
                .and_then(|result| result.rows.first()?.first()?.as_deref());
            Ok(matches!(value, Some("on" | "t")))
        };
        let standby = |shows: &mut dyn FnMut(&str, &str) -> Result<bool>| {
            shows("in_hot_standby", "select pg_catalog.pg_is_in_recovery()")
        };
        let read_only = |shows: &mut dyn FnMut(&str, &str) -> Result<bool>| {
            Ok(shows(
                "default_transaction_read_only",
                "show transaction_read_only",
            )? || standby(shows)?)
        };
        Ok(match role {
            Role::Any => true,
            Role::ReadWrite => !read_only(&mut shows)?,
            Role::ReadOnly => read_only(&mut shows)?,
            Role::Primary => !standby(&mut shows)?,
            Role::Standby => standby(&mut shows)?,
        })
    }
}

/// Settings of libpq that we refuse by name rather than ignore.
fn check_settings(conn: &ConnInfo) -> Result<()> {
    if conn.get("gssencmode") == Some("require") {
        return Err(Error::bad_args("gssencmode=require is not supported")
            .hint("Use TLS instead: gssencmode=disable sslmode=verify-full."));
    }
    let weak = matches!(
        conn.sslmode(),
        SslMode::Disable | SslMode::Allow | SslMode::Prefer
    );
    if conn.get("sslnegotiation") == Some("direct") && weak {
        return Err(Error::bad_args(
            "weak sslmode may not be used with sslnegotiation=direct, use require, verify-ca or \
             verify-full",
        ));
    }
    Ok(())
}

/// A connect call on its way through hosts and addresses.
struct Search<'a> {
    conn: &'a ConnInfo,
    side: Side,
    app_name: &'a str,
    extra: &'a [(&'a str, &'a str)],
    failures: Vec<Error>,
}

impl Search<'_> {
    /// Tries one address; `None` means: go on with the next.
    fn try_address(
        &mut self,
        (position, host): (usize, &Host),
        address: &Address,
        role: Role,
    ) -> Result<Option<(Session, Pin)>> {
        let what = format!(
            "connecting to the {} server {}",
            self.side,
            dial::describe(host, address)
        );
        let mut last = After::NextAddress;
        for encryption in encryptions(self.conn, address) {
            let endpoint = self.endpoint(host, address.clone(), *encryption);
            match Session::start(endpoint, position, self.app_name, self.extra) {
                Ok(mut session) => {
                    let fits = session
                        .has_role(role)
                        .map_err(|error| error.context(what.clone()))?;
                    if !fits {
                        let wanted = self.conn.get("target_session_attrs").unwrap_or("any");
                        let text = format!("[{}] the server is not {wanted}", self.side.tag());
                        self.failures
                            .push(Error::new(self.side.kind(), text).transient().context(what));
                        return Ok(None);
                    }
                    session.link.established();
                    let pin = Pin {
                        position,
                        name: host.name.clone(),
                        addr: match address {
                            Address::Tcp(address) => Some(address.ip().to_string()),
                            Address::Unix(_) => None,
                        },
                        port: host.port,
                        tls: session.tls().is_some(),
                    };
                    return Ok(Some((session, pin)));
                }
                Err(failure) => {
                    last = failure.after;
                    self.failures.push(failure.error.context(what.clone()));
                    if !matches!(last, After::OtherEncryption | After::Anything) {
                        break;
                    }
                }
            }
        }
        match last {
            After::NextAddress | After::Anything => Ok(None),
            After::OtherEncryption | After::Nothing => {
                Err(summary(std::mem::take(&mut self.failures), self.side))
            }
        }
    }

    fn endpoint(&self, host: &Host, address: Address, encryption: Encryption) -> Endpoint {
        let name = host.name.clone().unwrap_or_default();
        Endpoint {
            conn: self.conn.clone(),
            address,
            name,
            encryption,
            side: self.side,
        }
    }
}

fn encryptions(conn: &ConnInfo, address: &Address) -> &'static [Encryption] {
    match (address, conn.sslmode()) {
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[Encryption::Plain],
        (_, SslMode::Allow) => &[Encryption::Plain, Encryption::Required],
        (_, SslMode::Prefer) => &[Encryption::IfOffered, Encryption::Plain],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Encryption::Required],
    }
}

/// One error out of all that failed: the last one, with the others as facts.
fn summary(mut failures: Vec<Error>, side: Side) -> Error {
    let Some(mut last) = failures.pop() else {
        return Error::new(
            side.kind(),
            format!("[{}] there is no host to connect to", side.tag()),
        );
    };
    failures.retain(|failure| failure.lines().first() != last.lines().first());
    if failures.is_empty() {
        return last;
    }
    if failures.iter().any(Error::is_transient) && last.kind() == side.kind() {
        last = last.transient();
    }
    let mut facts: Vec<String> = last.detail_text().map(str::to_owned).into_iter().collect();
    facts.extend(
        failures
            .iter()
            .map(|failure| format!("before: {}", failure.lines().join("; "))),
    );
    last.detail(facts.join("\n"))
}

impl Endpoint {
    fn time_limit(&self) -> Duration {
        self.conn.connect_timeout().unwrap_or(CONNECT_TIMEOUT)
    }

    /// The endpoint as it was used: a cancel request is encrypted just as its session is.
    fn settled(mut self, encrypted: bool) -> Self {
        self.encryption = if encrypted {
            Encryption::Required
        } else {
            Encryption::Plain
        };
        self
    }

    /// A connection for a cancel request: not ended by the stop flag.
    pub(super) fn open_for_cancel(&self, deadline: Instant) -> Result<Link> {
        let raw = dial::dial(&self.conn, &self.address, deadline, false)
            .map_err(|trouble| trouble.to_error(self.side, 0))?;
        let mut link = Link::new(raw, deadline);
        link.ignore_stop();
        self.encrypt(link).map_err(|failure| failure.error)
    }

    fn open(&self, deadline: Instant) -> Result<Link, Failure> {
        let raw = dial::dial(&self.conn, &self.address, deadline, true)
            .map_err(|trouble| self.failure(&trouble, After::NextAddress))?;
        self.encrypt(Link::new(raw, deadline))
    }

    fn failure(&self, trouble: &Trouble, after: After) -> Failure {
        let after = if matches!(trouble, Trouble::Stopped) {
            After::Nothing
        } else {
            after
        };
        Failure {
            error: trouble.to_error(self.side, 0),
            after,
        }
    }

    fn refusal(&self, what: &str) -> Failure {
        let error = Error::new(self.side.kind(), format!("[{}] {what}", self.side.tag()));
        Failure {
            error,
            after: After::OtherEncryption,
        }
    }

    /// Turns a plain connection into what `encryption` says.
    fn encrypt(&self, mut link: Link) -> Result<Link, Failure> {
        if self.encryption == Encryption::Plain {
            return Ok(link);
        }
        let direct = self.conn.get("sslnegotiation") == Some("direct");
        if !direct {
            let mut out = BytesMut::new();
            frontend::ssl_request(&mut out);
            let answer = link.write(&[], &out).and_then(|()| link.byte());
            match answer.map_err(|trouble| self.failure(&trouble, After::NextAddress))? {
                b'S' => {}
                b'N' if self.encryption == Encryption::IfOffered => return Ok(link),
                b'N' => {
                    return Err(
                        self.refusal("the server does not support TLS, but it was required")
                    );
                }
                // What it says is not shown: anyone could have written it (CVE-2024-10977).
                b'E' => {
                    return Err(self.refusal("the server answered the TLS request with an error"));
                }
                _ => return Err(self.refusal("the server's answer to the TLS request is invalid")),
            }
        }
        // Only now: reading the certificates of the system costs more than the connection.
        let ssl = TlsPlan::new(&self.conn, self.side)
            .and_then(|plan| plan.session(&self.name, self.side))
            .map_err(|error| Failure {
                error,
                after: After::Nothing,
            })?;
        link.start_tls(ssl).map_err(|trouble| match trouble {
            Trouble::TimedOut | Trouble::Stopped => self.failure(&trouble, After::NextAddress),
            // A certificate that was refused will be refused again.
            Trouble::Io(error) => self.refusal(&error.to_string()),
            Trouble::Closed | Trouble::Protocol(_) => {
                self.failure(&trouble, After::OtherEncryption)
            }
        })?;
        let chosen = link
            .tls()
            .and_then(openssl::ssl::SslRef::selected_alpn_protocol);
        if direct && chosen != Some(ALPN) {
            return Err(
                self.refusal("the server did not confirm its protocol in the TLS handshake")
            );
        }
        Ok(link)
    }
}
