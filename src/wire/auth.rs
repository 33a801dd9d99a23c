//! Authentication: from the startup message to `AuthenticationOk`.
//!
//! Runs in leaf workers. Sends the password only in the forms that the connection string allows.
//!
//! ```text
//! R 0 ok | R 3 -> p password -> R 0 | R 5 salt -> p md5 -> R 0
//! R 10 mechanisms -> p mechanism, first -> R 11 -> p final -> R 12 proof -> R 0
//! ```
//! `R 0` is refused while SASL is unfinished, for then the server has not proved that it knows the
//! password either.

use super::frame::{self, Auth};
use super::session::Session;
use super::tls;
use crate::conninfo::ConnInfo;
use crate::error::{Error, Result};
use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::message::frontend;

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// Every name that `require_auth` knows.
const METHODS: [&str; 7] = [
    "password",
    "md5",
    "gss",
    "sspi",
    "scram-sha-256",
    "oauth",
    "none",
];

/// The state of one authentication.
struct Exchange<'a> {
    conn: &'a ConnInfo,
    position: usize,
    allowed: Vec<&'static str>,
    challenged: bool,
    bound: bool,
    scram: Option<ScramSha256>,
    proven: bool,
}

/// The methods that `require_auth` leaves.
fn allowed_methods(conn: &ConnInfo) -> Result<Vec<&'static str>> {
    let text = conn.get("require_auth").unwrap_or("");
    if text.is_empty() {
        return Ok(METHODS.to_vec());
    }
    let mut allowed = if text.trim_start().starts_with('!') {
        METHODS.to_vec()
    } else {
        Vec::new()
    };
    let negative = !allowed.is_empty();
    for word in text.split(',').map(str::trim) {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let Some(known) = METHODS.iter().find(|known| **known == name) else {
            return Err(Error::bad_args(format!(
                "invalid require_auth method \"{name}\""
            )));
        };
        if negated != negative {
            return Err(Error::bad_args(
                "require_auth cannot mix methods to require and methods to refuse",
            ));
        }
        if negative {
            allowed.retain(|method| method != known);
        } else {
            allowed.push(known);
        }
    }
    Ok(allowed)
}

/// Runs the exchange on a session that has sent its startup message. Blocks.
pub(super) fn authenticate(session: &mut Session, conn: &ConnInfo, position: usize) -> Result<()> {
    let mut exchange = Exchange {
        conn,
        position,
        allowed: allowed_methods(conn)?,
        challenged: false,
        bound: false,
        scram: None,
        proven: false,
    };
    loop {
        let (tag, body) = session.receive()?;
        match tag {
            b'R' => {
                let auth =
                    frame::auth(&body).map_err(|malformed| session.lost(&malformed.into()))?;
                if auth == Auth::Ok {
                    return exchange.accept(session);
                }
                if let Some(answer) = exchange.answer(session, auth)? {
                    session.send(&answer)?;
                }
            }
            b'E' => return Err(session.server_error(&body, None)),
            // NegotiateProtocolVersion: we ask for nothing that the server could lack.
            b'v' => {}
            other => return Err(session.unexpected(other, "during authentication")),
        }
    }
}

impl Exchange<'_> {
    fn refused(session: &Session, why: impl Into<String>) -> Error {
        Error::new(
            session.side().kind(),
            format!("{} {}", session.prefix(), why.into()),
        )
    }

    /// Fails when `require_auth` does not allow `method`.
    fn check(&self, session: &Session, method: &str) -> Result<()> {
        if self.allowed.contains(&method) {
            return Ok(());
        }
        let asked = match method {
            "none" => "did not ask for authentication".to_owned(),
            other => format!("asked for authentication by {other}"),
        };
        Err(Self::refused(
            session,
            format!(
                "authentication method requirement \"{}\" failed: the server {asked}",
                self.conn.get("require_auth").unwrap_or("")
            ),
        ))
    }

    fn channel_binding(&self) -> &str {
        self.conn.get("channel_binding").unwrap_or("prefer")
    }

    fn password(&self, session: &Session) -> Result<&str> {
        match self.conn.password_for(self.position) {
            Some(password) if !password.is_empty() => Ok(password),
            _ => Err(
                Self::refused(session, "the server asks for a password, none was given")
                    .hint("Put it into the password file, PGPASSWORD or the connection string."),
            ),
        }
    }

    /// The bytes to send, if any, for a message other than `AuthenticationOk`.
    fn answer(&mut self, session: &Session, auth: Auth) -> Result<Option<BytesMut>> {
        let mut out = BytesMut::new();
        let encoded = match auth {
            Auth::Ok => return Ok(None),
            Auth::Password => {
                self.challenge(session, "password")?;
                frontend::password_message(self.password(session)?.as_bytes(), &mut out)
            }
            Auth::Md5(salt) => {
                self.challenge(session, "md5")?;
                let password = self.password(session)?.as_bytes();
                let hashed = md5_hash(self.conn.user().as_bytes(), password, salt);
                frontend::password_message(hashed.as_bytes(), &mut out)
            }
            Auth::Sasl(mechanisms) => {
                self.check(session, "scram-sha-256")?;
                self.challenged = true;
                let (name, binding) = self.choose(session, &mechanisms)?;
                let scram = ScramSha256::new(self.password(session)?.as_bytes(), binding);
                let sent = frontend::sasl_initial_response(name, scram.message(), &mut out);
                self.scram = Some(scram);
                sent
            }
            Auth::SaslContinue(data) => {
                let scram = self.running(session)?;
                scram
                    .update(&data)
                    .map_err(|error| Self::scram_failed(session, &error))?;
                frontend::sasl_response(scram.message(), &mut out)
            }
            Auth::SaslFinal(data) => {
                let scram = self.running(session)?;
                scram
                    .finish(&data)
                    .map_err(|error| Self::scram_failed(session, &error))?;
                self.proven = true;
                return Ok(None);
            }
            Auth::Unsupported(kind) => return Err(Self::unsupported(session, kind)),
        };
        encoded.map_err(|error| Self::refused(session, format!("unusable password: {error}")))?;
        Ok(Some(out))
    }

    /// Notes that the server wants proof by `method`, and refuses what must not be sent.
    fn challenge(&mut self, session: &Session, method: &str) -> Result<()> {
        self.check(session, method)?;
        if self.channel_binding() == "require" {
            return Err(Self::refused(
                session,
                format!("channel binding is required, but the server asked for {method}"),
            ));
        }
        self.challenged = true;
        Ok(())
    }

    fn running(&mut self, session: &Session) -> Result<&mut ScramSha256> {
        self.scram
            .as_mut()
            .ok_or_else(|| Self::refused(session, "the server continued SASL before its start"))
    }

    fn scram_failed(session: &Session, error: &std::io::Error) -> Error {
        Self::refused(session, format!("SCRAM authentication failed: {error}"))
    }

    fn unsupported(session: &Session, kind: i32) -> Error {
        let name = match kind {
            2 => "Kerberos V5".to_owned(),
            6 => "SCM credentials".to_owned(),
            7 | 8 => "GSSAPI".to_owned(),
            9 => "SSPI".to_owned(),
            other => format!("number {other}"),
        };
        Self::refused(
            session,
            format!("authentication method {name} is not supported"),
        )
        .hint("Allow scram-sha-256, a certificate or another method for this role in pg_hba.conf.")
    }

    /// Chooses the mechanism and how it is tied to the TLS session.
    fn choose(
        &mut self,
        session: &Session,
        mechanisms: &[String],
    ) -> Result<(&'static str, ChannelBinding)> {
        let offers = |name: &str| mechanisms.iter().any(|offered| offered == name);
        let wanted = self.channel_binding().to_owned();
        let encrypted = session.tls();
        if offers(SCRAM_PLUS) && encrypted.is_none() {
            return Err(Self::refused(
                session,
                "the server offered SCRAM-SHA-256-PLUS over a connection without TLS",
            ));
        }
        if offers(SCRAM_PLUS)
            && wanted != "disable"
            && let Some(hash) = encrypted.and_then(tls::server_end_point)
        {
            self.bound = true;
            return Ok((SCRAM_PLUS, ChannelBinding::tls_server_end_point(hash)));
        }
        if wanted == "require" {
            return Err(Self::refused(
                session,
                "channel binding is required, but the server cannot or does not offer it",
            ));
        }
        if !offers(SCRAM) {
            return Err(Self::refused(
                session,
                format!(
                    "the server offers only SASL mechanisms we lack: {}",
                    mechanisms.join(", ")
                ),
            ));
        }
        // "y": we could bind but the server did not offer; a server that did notices the lie.
        let could_bind = encrypted.is_some() && wanted != "disable" && !offers(SCRAM_PLUS);
        let binding = if could_bind {
            ChannelBinding::unrequested()
        } else {
            ChannelBinding::unsupported()
        };
        Ok((SCRAM, binding))
    }

    /// Judges `AuthenticationOk`.
    fn accept(&self, session: &Session) -> Result<()> {
        if self.scram.is_some() && !self.proven {
            return Err(Self::refused(
                session,
                "the server ended SCRAM without its proof",
            ));
        }
        if !self.challenged {
            self.check(session, "none")?;
        }
        if self.channel_binding() == "require" && !self.bound {
            return Err(Self::refused(
                session,
                "channel binding is required, but the server authenticated without it",
            ));
        }
        Ok(())
    }
}
