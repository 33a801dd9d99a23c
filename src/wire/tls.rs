//! TLS as libpq does it: one plan made from a connection string, for our own sessions and for the
//! `postgres` crate alike.
//!
//! Runs in leaf workers. Reads certificate, key and revocation files. It must not weaken what the
//! connection string asks for: a file that is named and cannot be used is an error.

use crate::conninfo::{ConnInfo, SslMode};
use crate::error::{Error, Result};
use crate::units::Side;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    ConnectConfiguration, SslConnector, SslConnectorBuilder, SslMethod, SslRef, SslVerifyMode,
    SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::{HashDir, X509Lookup, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Protocol name that a server must choose when TLS starts without `SSLRequest`.
pub(super) const ALPN: &[u8] = b"postgresql";
/// The same as a list of one, length first.
const ALPN_LIST: &[u8] = b"\x0apostgresql";

/// All that is needed to start TLS with a server.
#[derive(Clone)]
pub struct TlsPlan {
    /// Contexts with certificates and rules.
    pub connector: SslConnector,
    verify_name: bool,
    send_name: bool,
}

impl TlsPlan {
    /// Reads the files that `conn` names and makes the plan.
    pub fn new(conn: &ConnInfo, side: Side) -> Result<Self> {
        let mode = conn.sslmode();
        let system_roots = conn.get("sslrootcert") == Some("system");
        if system_roots && mode != SslMode::VerifyFull {
            return Err(Error::bad_args(
                "weak sslmode may not be used with sslrootcert=system, use verify-full",
            ));
        }
        let mut builder = SslConnector::builder(SslMethod::tls())
            .map_err(|error| failed(side, "could not set up TLS", &error))?;
        protocol_versions(conn, &mut builder, side)?;
        builder
            .set_alpn_protos(ALPN_LIST)
            .map_err(|error| failed(side, "could not set up TLS", &error))?;
        let verify = system_roots || roots(conn, mode, &mut builder, side)?;
        if verify {
            builder.set_verify(SslVerifyMode::PEER);
            revocations(conn, &mut builder, side)?;
        } else {
            builder.set_verify(SslVerifyMode::NONE);
        }
        client_certificate(conn, &mut builder, side)?;
        Ok(Self {
            connector: builder.build(),
            verify_name: mode == SslMode::VerifyFull,
            send_name: conn.get("sslsni") != Some("0"),
        })
    }

    /// Sets the rules for one connection: the only ones that are not part of the connector.
    pub fn apply(&self, config: &mut ConnectConfiguration) {
        config.set_verify_hostname(self.verify_name);
        config.set_use_server_name_indication(self.send_name);
    }

    /// A TLS session to be started with the server `name`, the empty string when it has none.
    pub(super) fn session(&self, name: &str, side: Side) -> Result<openssl::ssl::Ssl> {
        if self.verify_name && name.is_empty() {
            return Err(Error::bad_args(
                "a host name is needed for a verified TLS connection, sslmode is verify-full",
            ));
        }
        let started = self.connector.configure().and_then(|mut config| {
            self.apply(&mut config);
            if name.is_empty() {
                config.set_use_server_name_indication(false);
            }
            config.into_ssl(name)
        });
        started.map_err(|error| failed(side, "could not set up TLS", &error))
    }
}

fn failed(side: Side, what: &str, error: &ErrorStack) -> Error {
    Error::new(side.kind(), format!("{what}: {error}"))
}

/// A file of libpq's folder in the home directory.
fn home_file(name: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".postgresql").join(name))
}

/// The file that a keyword names, else the one of the home directory. The flag tells which.
fn named_file(conn: &ConnInfo, keyword: &str, default: &str) -> Option<(PathBuf, bool)> {
    match conn.get(keyword).filter(|path| !path.is_empty()) {
        Some(path) => Some((PathBuf::from(path), true)),
        None => home_file(default).map(|path| (path, false)),
    }
}

fn protocol_versions(conn: &ConnInfo, builder: &mut SslConnectorBuilder, side: Side) -> Result<()> {
    let version = |keyword: &str, default: Option<SslVersion>| match conn.get(keyword) {
        None | Some("") => Ok(default),
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "tlsv1" => Ok(Some(SslVersion::TLS1)),
            "tlsv1.1" => Ok(Some(SslVersion::TLS1_1)),
            "tlsv1.2" => Ok(Some(SslVersion::TLS1_2)),
            "tlsv1.3" => Ok(Some(SslVersion::TLS1_3)),
            _ => Err(Error::bad_args(format!(
                "invalid {keyword} value \"{text}\""
            ))),
        },
    };
    let lowest = version("ssl_min_protocol_version", Some(SslVersion::TLS1_2))?;
    let highest = version("ssl_max_protocol_version", None)?;
    builder
        .set_min_proto_version(lowest)
        .and_then(|()| builder.set_max_proto_version(highest))
        .map_err(|error| failed(side, "could not set the TLS protocol versions", &error))
}

/// Takes the root certificates; tells whether there are any, which means that the server's
/// certificate is checked whatever the mode, as libpq does.
fn roots(
    conn: &ConnInfo,
    mode: SslMode,
    builder: &mut SslConnectorBuilder,
    side: Side,
) -> Result<bool> {
    // Nothing but this file is trusted, not the system's store that the builder starts with.
    let empty =
        X509StoreBuilder::new().map_err(|error| failed(side, "could not set up TLS", &error))?;
    builder.set_cert_store(empty.build());
    let strict = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
    match named_file(conn, "sslrootcert", "root.crt") {
        Some((path, _)) if path.exists() => {
            builder.set_ca_file(&path).map_err(|error| {
                let what = format!(
                    "could not read root certificate file \"{}\"",
                    path.display()
                );
                failed(side, &what, &error)
            })?;
            Ok(true)
        }
        found if strict => {
            let path = found.map_or(String::new(), |(path, _)| path.display().to_string());
            Err(
                Error::bad_args(format!("root certificate file \"{path}\" does not exist")).hint(
                    "Provide the file, use the system's roots with sslrootcert=system, or change \
                 sslmode to disable the check of the server's certificate.",
                ),
            )
        }
        _ => Ok(false),
    }
}

/// Takes the lists of revoked certificates.
fn revocations(conn: &ConnInfo, builder: &mut SslConnectorBuilder, side: Side) -> Result<()> {
    let folder = conn.get("sslcrldir").filter(|path| !path.is_empty());
    let file = match named_file(conn, "sslcrl", "root.crl") {
        Some((path, true)) => Some(path),
        Some((path, false)) if folder.is_none() && path.exists() => Some(path),
        _ => None,
    };
    if file.is_none() && folder.is_none() {
        return Ok(());
    }
    let mut load = || -> Result<(), ErrorStack> {
        let store = builder.cert_store_mut();
        if let Some(path) = &file {
            let lookup = store.add_lookup(X509Lookup::file())?;
            lookup.load_crl_file(path, openssl::ssl::SslFiletype::PEM)?;
        }
        if let Some(path) = folder {
            let lookup: &mut openssl::x509::store::X509LookupRef<HashDir> =
                store.add_lookup(X509Lookup::hash_dir())?;
            lookup.add_dir(path, openssl::ssl::SslFiletype::PEM)?;
        }
        store.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)
    };
    load().map_err(|error| {
        failed(
            side,
            "could not read the certificate revocation list",
            &error,
        )
    })
}

/// Takes the client's certificate and its key.
fn client_certificate(
    conn: &ConnInfo,
    builder: &mut SslConnectorBuilder,
    side: Side,
) -> Result<()> {
    let certmode = conn.get("sslcertmode").unwrap_or("allow");
    if certmode == "disable" {
        return Ok(());
    }
    let found = named_file(conn, "sslcert", "postgresql.crt").filter(|(path, _)| path.exists());
    let Some((path, named)) = found else {
        if certmode == "require" {
            return Err(Error::bad_args(
                "sslcertmode is require, but there is no client certificate",
            ));
        }
        return Ok(());
    };
    builder.set_certificate_chain_file(&path).map_err(|error| {
        failed(
            side,
            &format!("could not read certificate file \"{}\"", path.display()),
            &error,
        )
    })?;
    // A certificate that was named goes with a key that was named, else with its default.
    let Some((key_path, _)) = named_file(conn, "sslkey", "postgresql.key") else {
        return Err(Error::bad_args(
            "there is a client certificate, but no home directory for its key",
        ));
    };
    let key = private_key(&key_path, conn.get("sslpassword"), side)?;
    builder
        .set_private_key(&key)
        .and_then(|()| builder.check_private_key())
        .map_err(|error| {
            let what = format!(
                "certificate does not match private key \"{}\"",
                key_path.display()
            );
            failed(side, &what, &error)
        })?;
    log::debug!(
        "using client certificate \"{}\" (named: {named})",
        path.display()
    );
    Ok(())
}

/// Reads a private key, PEM or DER, after libpq's checks of who else could read it.
fn private_key(path: &Path, password: Option<&str>, side: Side) -> Result<PKey<Private>> {
    let shown = path.display();
    let facts = std::fs::metadata(path).map_err(|error| {
        let what = format!("there is a client certificate, but not its private key \"{shown}\"");
        Error::bad_args(format!("{what}: {error}"))
    })?;
    if !facts.is_file() {
        return Err(Error::bad_args(format!(
            "private key file \"{shown}\" is not a regular file"
        )));
    }
    let others = if facts.uid() == 0 { 0o037 } else { 0o077 };
    if facts.mode() & others != 0 {
        return Err(Error::bad_args(format!(
            "private key file \"{shown}\" can be read by others"
        ))
        .hint(
            "Its mode must be u=rw (0600) or less, or u=rw,g=r (0640) or less if root owns it.",
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        Error::bad_args(format!(
            "could not read private key file \"{shown}\": {error}"
        ))
    })?;
    // Without a password OpenSSL would ask on the terminal.
    let password = password.unwrap_or("").as_bytes();
    PKey::private_key_from_pem_passphrase(&bytes, password)
        .or_else(|error| PKey::private_key_from_der(&bytes).map_err(|_| error))
        .map_err(|error| {
            failed(
                side,
                &format!("could not use private key \"{shown}\""),
                &error,
            )
        })
}

/// The hash of the server's certificate that SCRAM binds to (RFC 5929, `tls-server-end-point`).
pub(super) fn server_end_point(ssl: &SslRef) -> Option<Vec<u8>> {
    let certificate: X509 = ssl.peer_certificate()?;
    let signature = certificate
        .signature_algorithm()
        .object()
        .nid()
        .signature_algorithms()?;
    let digest = match signature.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        other => MessageDigest::from_nid(other)?,
    };
    certificate.digest(digest).ok().map(|hash| hash.to_vec())
}
