//! What the values of parameters may be, alone and together.
//!
//! Runs in the supervisor, on plain data. Reads and writes nothing. Must refuse by name what this
//! program cannot honour: a parameter that is silently ignored can be one that protects data.

use super::draft::{Draft, Given, invalid, shown};
use super::keyword::{KEYWORDS, Keyword, Rule};
use crate::error::{Error, Result};

/// Authentication methods that our sessions know, by libpq's names.
const METHODS: [&str; 4] = ["password", "md5", "scram-sha-256", "none"];
/// Methods that libpq knows and that our sessions never use.
const OTHER_METHODS: [&str; 3] = ["gss", "sspi", "oauth"];
/// TLS versions, oldest first.
const TLS_VERSIONS: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// Checks every value, drops the empty ones and those that have no effect on our sessions, and
/// brings the others into one spelling.
pub(super) fn check(draft: &mut Draft) -> Result<()> {
    for keyword in KEYWORDS {
        let Some(given) = draft.get(keyword.name).cloned() else {
            continue;
        };
        match checked(keyword, &given).map_err(|error| given.origin.explain(error))? {
            Some(value) => draft.respell(keyword.name, value),
            None => draft.drop(keyword.name),
        }
    }
    check_dbname(draft)?;
    check_tls(draft)
}

/// The value to keep, `None` for one that has no effect.
fn checked(keyword: &Keyword, given: &Given) -> Result<Option<String>> {
    let name = keyword.name;
    let value = given.value.as_str();
    if value.contains('\0') {
        return Err(invalid(format!(
            "the value of \"{name}\" contains a zero byte"
        )));
    }
    match keyword.rule {
        Rule::Text | Rule::Secret => Ok(Some(value.to_owned()).filter(|value| !value.is_empty())),
        Rule::Ours => Ok(None),
        Rule::Integer => match value.trim().parse::<i32>() {
            Ok(number) => Ok(Some(number.to_string())),
            Err(_) => Err(invalid(format!(
                "invalid integer value {} for \"{name}\"",
                shown(value)
            ))),
        },
        Rule::OneOf(words) if words.contains(&value) => Ok(Some(value.to_owned())),
        Rule::OneOf(words) => Err(bad_word(name, value, words)),
        Rule::TlsVersion if value.is_empty() => Ok(None),
        Rule::TlsVersion => match tls_rank(value).and_then(|rank| TLS_VERSIONS.get(rank)) {
            Some(version) => Ok(Some((*version).to_owned())),
            None => Err(bad_word(name, value, &TLS_VERSIONS)),
        },
        Rule::Methods => methods(value),
        Rule::Only(words, advice) => {
            if value.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(value)) {
                return Ok(None);
            }
            let what = if words.is_empty() {
                ""
            } else {
                " with this value"
            };
            Err(invalid(format!("parameter \"{name}\" is not supported{what}")).hint(advice))
        }
    }
}

/// A value that is none of the words.
fn bad_word(name: &str, value: &str, words: &[&str]) -> Error {
    invalid(format!("invalid {name} value: {}", shown(value)))
        .hint(format!("Use one of: {}.", words.join(", ")))
}

/// Position of a TLS version in the list.
fn tls_rank(value: &str) -> Option<usize> {
    TLS_VERSIONS
        .iter()
        .position(|version| version.eq_ignore_ascii_case(value))
}

/// `require_auth` as a list of the methods that are allowed; a list of `!method` allows the others.
fn methods(value: &str) -> Result<Option<String>> {
    if value.is_empty() {
        return Ok(None);
    }
    let items: Vec<&str> = value.split(',').map(str::trim).collect();
    let negated = items.iter().filter(|item| item.starts_with('!')).count();
    if negated != 0 && negated != items.len() {
        return Err(invalid("require_auth mixes methods with and without \"!\""));
    }
    let mut named: Vec<&str> = Vec::new();
    for item in items {
        let method = item.strip_prefix('!').unwrap_or(item);
        if named.contains(&method) {
            return Err(invalid(format!(
                "require_auth names {} twice",
                shown(method)
            )));
        }
        let harmless = negated != 0 && OTHER_METHODS.contains(&method);
        if !METHODS.contains(&method) && !harmless {
            return Err(invalid(format!(
                "require_auth method {} is not supported",
                shown(method)
            ))
            .hint(format!("Use some of: {}.", METHODS.join(", "))));
        }
        named.push(method);
    }
    let allowed: Vec<&str> = METHODS
        .into_iter()
        .filter(|method| named.contains(method) == (negated == 0))
        .collect();
    if allowed.is_empty() {
        return Err(invalid(
            "require_auth allows none of the methods that are supported",
        ));
    }
    Ok(Some(allowed.join(",")))
}

/// A database name that is a connection string itself would carry its password into messages.
fn check_dbname(draft: &Draft) -> Result<()> {
    let dbname = draft.text("dbname").unwrap_or("").to_ascii_lowercase();
    if dbname.contains("://") || dbname.contains("password=") {
        return Err(invalid("the database name looks like a connection string")
            .hint("Give the connection string itself, without \"dbname=\" in front of it."));
    }
    Ok(())
}

/// Combinations of TLS parameters that libpq refuses, too.
fn check_tls(draft: &Draft) -> Result<()> {
    let mode = draft.get("sslmode");
    let weak = |mode: &str| matches!(mode, "disable" | "allow" | "prefer");
    if draft.text("sslrootcert") == Some("system")
        && let Some(given) = mode.filter(|given| given.value != "verify-full")
    {
        return Err(given.origin.explain(
            invalid(format!(
                "weak sslmode {} with sslrootcert=system",
                shown(&given.value)
            ))
            .hint("Use sslmode=verify-full."),
        ));
    }
    let system = draft.text("sslrootcert") == Some("system");
    let mode = mode.map_or(if system { "verify-full" } else { "prefer" }, |given| {
        &given.value
    });
    if draft.text("sslnegotiation") == Some("direct") && weak(mode) {
        return Err(invalid(format!(
            "weak sslmode {} with sslnegotiation=direct",
            shown(mode)
        ))
        .hint("Use sslmode=require, verify-ca or verify-full."));
    }
    let rank = |name| draft.text(name).and_then(tls_rank);
    if let (Some(lowest), Some(highest)) = (
        rank("ssl_min_protocol_version"),
        rank("ssl_max_protocol_version"),
    ) && lowest > highest
    {
        return Err(invalid(
            "ssl_min_protocol_version is above ssl_max_protocol_version",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::keyword;
    use super::*;

    fn check_text(text: &str) -> Result<Vec<(String, String)>> {
        let mut draft = Draft::default();
        keyword::parse(text, &mut draft)?;
        check(&mut draft)?;
        Ok(draft.finish().0.into_iter().collect())
    }

    #[test]
    fn values_are_kept_in_one_spelling_and_empty_ones_dropped() {
        for (text, expected) in [
            ("sslmode=verify-ca", &[("sslmode", "verify-ca")][..]),
            ("host='' options=''", &[]),
            ("connect_timeout=' +5 '", &[("connect_timeout", "5")]),
            (
                "ssl_min_protocol_version=tlsV1.2",
                &[("ssl_min_protocol_version", "TLSv1.2")],
            ),
            ("ssl_max_protocol_version=''", &[]),
            (
                "application_name=x fallback_application_name=y client_encoding=UTF8",
                &[],
            ),
            (
                "client_encoding=auto gssencmode=prefer sslcompression=0 gssdelegation=0",
                &[],
            ),
            (
                "max_protocol_version=latest min_protocol_version=3.0 replication=false",
                &[],
            ),
            (
                "require_auth=md5,scram-sha-256",
                &[("require_auth", "md5,scram-sha-256")],
            ),
            (
                "require_auth=!password,!gss",
                &[("require_auth", "md5,scram-sha-256,none")],
            ),
            (
                "sslrootcert=system sslnegotiation=direct",
                &[("sslnegotiation", "direct"), ("sslrootcert", "system")],
            ),
        ] {
            let pairs = check_text(text).expect(text);
            let pairs: Vec<(&str, &str)> = pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(pairs, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (text, named) in [
            ("gssencmode=require", "gssencmode"),
            ("requirepeer=postgres", "requirepeer"),
            ("krbsrvname=postgres", "krbsrvname"),
            ("gsslib=gssapi", "gsslib"),
            ("gssdelegation=1", "gssdelegation"),
            ("require_auth=gss", "require_auth"),
            ("require_auth=md5,!gss", "require_auth"),
            ("require_auth=md5,md5", "require_auth"),
            (
                "require_auth=!password,!md5,!scram-sha-256,!none",
                "require_auth",
            ),
            ("oauth_issuer=x", "oauth_issuer"),
            ("oauth_client_secret=x", "oauth_client_secret"),
            ("replication=database", "replication"),
            ("sslcompression=1", "sslcompression"),
            ("sslkeylogfile=/tmp/x", "sslkeylogfile"),
            ("client_encoding=LATIN1", "client_encoding"),
            ("min_protocol_version=3.2", "min_protocol_version"),
            ("sslmode=none", "sslmode"),
            ("sslmode=''", "sslmode"),
            ("channel_binding=1", "channel_binding"),
            ("target_session_attrs=rw", "target_session_attrs"),
            ("load_balance_hosts=yes", "load_balance_hosts"),
            ("sslcertmode=x", "sslcertmode"),
            ("sslsni=yes", "sslsni"),
            ("keepalives=on", "keepalives"),
            ("connect_timeout=10s", "connect_timeout"),
            ("connect_timeout=99999999999", "connect_timeout"),
            ("ssl_min_protocol_version=TLSv2", "ssl_min_protocol_version"),
            (
                "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
                "ssl_min_protocol_version",
            ),
            ("sslrootcert=system sslmode=require", "sslrootcert"),
            ("sslnegotiation=direct", "sslnegotiation"),
            ("dbname='postgres://u:p@h/d'", "database name"),
            ("dbname='d;Password=x'", "database name"),
        ] {
            let error = check_text(text).expect_err(text);
            assert!(error.message().contains(named), "{text}: {error}");
            assert_eq!(error.kind(), crate::error::Kind::BadArgs);
        }
    }

    #[test]
    fn a_value_that_may_hold_a_password_is_not_shown() {
        let error = check_text("sslmode=require;password=s3cret").expect_err("refused");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
