//! The keywords of libpq: what we do with each, and the parser of the `keyword=value` form.
//!
//! Runs in the supervisor, on plain data. Reads and writes nothing. The parser must not fail in any
//! other way than by an error, and must not repeat its input in it.

use super::draft::{Draft, invalid};
use crate::error::Result;

/// What values a keyword takes, and what becomes of them.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Any text; an empty one counts as not given.
    Text,
    /// Any text, never shown.
    Secret,
    /// A 32-bit integer.
    Integer,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A TLS version, in any case, or nothing.
    TlsVersion,
    /// A list of authentication methods (`require_auth`).
    Methods,
    /// Accepted and forgotten: we set it ourselves.
    Ours,
    /// Accepted with these words only (in any case), and forgotten; the text says what to do.
    Only(&'static [&'static str], &'static str),
}

/// A keyword of libpq.
pub(super) struct Keyword {
    /// Its name.
    pub(super) name: &'static str,
    /// The environment variable that stands in for it.
    pub(super) variable: Option<&'static str>,
    /// Its values.
    pub(super) rule: Rule,
}

const fn known(name: &'static str, variable: &'static str, rule: Rule) -> Keyword {
    Keyword {
        name,
        variable: Some(variable),
        rule,
    }
}

const fn no_variable(name: &'static str, rule: Rule) -> Keyword {
    Keyword {
        name,
        variable: None,
        rule,
    }
}

const NO_GSS: &str = "Remove it: connections with GSSAPI are not supported. Use TLS (sslmode) and \
    a password or a client certificate.";
const NO_OAUTH: &str = "Remove it: OAuth is not supported. Use a password or a client certificate.";
const SWITCH: &[&str] = &["0", "1"];

/// Everything libpq 18 knows, in its order.
pub(super) const KEYWORDS: &[Keyword] = &[
    no_variable("service", Rule::Text),
    no_variable("servicefile", Rule::Text),
    known("user", "PGUSER", Rule::Text),
    known("password", "PGPASSWORD", Rule::Secret),
    known("passfile", "PGPASSFILE", Rule::Text),
    known(
        "channel_binding",
        "PGCHANNELBINDING",
        Rule::OneOf(&["disable", "prefer", "require"]),
    ),
    known("connect_timeout", "PGCONNECT_TIMEOUT", Rule::Integer),
    known("dbname", "PGDATABASE", Rule::Text),
    known("host", "PGHOST", Rule::Text),
    known("hostaddr", "PGHOSTADDR", Rule::Text),
    known("port", "PGPORT", Rule::Text),
    known(
        "client_encoding",
        "PGCLIENTENCODING",
        Rule::Only(
            &["auto", "utf8", "utf-8", "unicode"],
            "Remove it: every session sets the client encoding that the copy needs.",
        ),
    ),
    known("options", "PGOPTIONS", Rule::Text),
    no_variable("application_name", Rule::Ours),
    no_variable("fallback_application_name", Rule::Ours),
    no_variable("keepalives", Rule::Integer),
    no_variable("keepalives_idle", Rule::Integer),
    no_variable("keepalives_interval", Rule::Integer),
    no_variable("keepalives_count", Rule::Integer),
    no_variable("tcp_user_timeout", Rule::Integer),
    known(
        "sslmode",
        "PGSSLMODE",
        Rule::OneOf(&[
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
        ]),
    ),
    known(
        "sslnegotiation",
        "PGSSLNEGOTIATION",
        Rule::OneOf(&["postgres", "direct"]),
    ),
    known(
        "sslcompression",
        "PGSSLCOMPRESSION",
        Rule::Only(
            &["0"],
            "Remove it: TLS compression weakens encryption and is not supported.",
        ),
    ),
    known("sslcert", "PGSSLCERT", Rule::Text),
    known("sslkey", "PGSSLKEY", Rule::Text),
    known(
        "sslcertmode",
        "PGSSLCERTMODE",
        Rule::OneOf(&["disable", "allow", "require"]),
    ),
    no_variable("sslpassword", Rule::Secret),
    known("sslrootcert", "PGSSLROOTCERT", Rule::Text),
    known("sslcrl", "PGSSLCRL", Rule::Text),
    known("sslcrldir", "PGSSLCRLDIR", Rule::Text),
    known("sslsni", "PGSSLSNI", Rule::OneOf(SWITCH)),
    known(
        "requirepeer",
        "PGREQUIREPEER",
        Rule::Only(
            &[],
            "Remove it: the owner of the server process cannot be checked.",
        ),
    ),
    known("require_auth", "PGREQUIREAUTH", Rule::Methods),
    known(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        Rule::Only(
            &["3.0"],
            "Remove it: protocol version 3.0 is the one in use.",
        ),
    ),
    known(
        "max_protocol_version",
        "PGMAXPROTOCOLVERSION",
        Rule::Only(
            &["3.0", "3.2", "latest"],
            "Use 3.0, which is the version in use.",
        ),
    ),
    known(
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        Rule::TlsVersion,
    ),
    known(
        "ssl_max_protocol_version",
        "PGSSLMAXPROTOCOLVERSION",
        Rule::TlsVersion,
    ),
    known(
        "gssencmode",
        "PGGSSENCMODE",
        Rule::Only(&["disable", "prefer"], NO_GSS),
    ),
    known("krbsrvname", "PGKRBSRVNAME", Rule::Only(&[], NO_GSS)),
    known("gsslib", "PGGSSLIB", Rule::Only(&[], NO_GSS)),
    known(
        "gssdelegation",
        "PGGSSDELEGATION",
        Rule::Only(&["0"], NO_GSS),
    ),
    no_variable(
        "replication",
        Rule::Only(
            &["0", "false", "no", "off"],
            "Remove it: replication connections are opened where they are needed.",
        ),
    ),
    known(
        "target_session_attrs",
        "PGTARGETSESSIONATTRS",
        Rule::OneOf(&[
            "any",
            "read-write",
            "read-only",
            "primary",
            "standby",
            "prefer-standby",
        ]),
    ),
    known(
        "load_balance_hosts",
        "PGLOADBALANCEHOSTS",
        Rule::OneOf(&["disable", "random"]),
    ),
    no_variable("scram_client_key", Rule::Secret),
    no_variable("scram_server_key", Rule::Secret),
    no_variable(
        "sslkeylogfile",
        Rule::Only(&[], "Remove it: session keys are never written."),
    ),
    no_variable("oauth_issuer", Rule::Only(&[], NO_OAUTH)),
    no_variable("oauth_client_id", Rule::Only(&[], NO_OAUTH)),
    no_variable("oauth_client_secret", Rule::Only(&[], NO_OAUTH)),
    no_variable("oauth_scope", Rule::Only(&[], NO_OAUTH)),
];

/// Keywords whose values are shown nowhere.
pub(super) const SECRETS: &[&str] = &[
    "password",
    "sslpassword",
    "scram_client_key",
    "scram_server_key",
    "oauth_client_secret",
];

/// Spellings of other drivers, with the keyword they mean.
const FOREIGN: &[(&str, &str)] = &[
    ("database", "dbname"),
    ("db", "dbname"),
    ("username", "user"),
    ("hostname", "host"),
    ("server", "host"),
    ("ssl", "sslmode"),
    ("timeout", "connect_timeout"),
];

/// The keyword of that name; case matters, as in libpq.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// The keyword that somebody who wrote `name` may have meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    if name.len() > 32 {
        return None;
    }
    let name = name.to_ascii_lowercase();
    if let Some((_, meant)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
        return Some(meant);
    }
    let limit = if name.len() <= 3 { 1 } else { 2 };
    let distances = KEYWORDS
        .iter()
        .map(|keyword| (distance(&name, keyword.name), keyword.name));
    distances
        .filter(|(edits, _)| *edits <= limit)
        .min()
        .map(|(_, known)| known)
}

/// Number of single-byte edits between two words.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.bytes().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX - 1);
            let diagonal = row.get(j).copied().unwrap_or(usize::MAX - 1);
            let before = next.last().copied().unwrap_or(usize::MAX - 1);
            next.push(
                (above + 1)
                    .min(before + 1)
                    .min(diagonal + usize::from(a != b)),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// What `isspace` of the C locale calls a blank.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Reads the `keyword = value` form into the draft. Blanks around `=` do not count; a value stands
/// bare or in single quotes, a backslash takes the next character as it is.
pub(super) fn parse(text: &str, draft: &mut Draft) -> Result<()> {
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_blank(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let Some(after) = after.trim_start_matches(is_blank).strip_prefix('=') else {
            return Err(
                invalid("found a word without \"=\" where \"keyword=value\" was expected").hint(
                    "Write a URI as in \"postgres://user@host/dbname\", or pairs as in \
                     \"host=h dbname=d\"; put values with blanks between single quotes.",
                ),
            );
        };
        let after = after.trim_start_matches(is_blank);
        let (value, tail) = match after.strip_prefix('\'') {
            Some(quoted) => quoted_value(quoted)?,
            None => bare_value(after),
        };
        let written = after.len().saturating_sub(tail.len());
        let raw = after.get(..written).unwrap_or("").trim_matches('\'');
        draft.put(name, value, raw)?;
        rest = tail.trim_start_matches(is_blank);
    }
    Ok(())
}

/// A value up to the next blank, and what follows it.
fn bare_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        let here = chars.as_str();
        match chars.next() {
            None => return (value, ""),
            Some(c) if is_blank(c) => return (value, here),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

/// A value up to the closing quote, and what follows that.
fn quoted_value(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next() {
            None => return Err(invalid("a quoted value has no closing quote")),
            Some('\'') => return Ok((value, chars.as_str())),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Vec<(String, String)>> {
        let mut draft = Draft::default();
        parse(text, &mut draft)?;
        Ok(draft.finish().0.into_iter().collect())
    }

    #[test]
    fn quotes_backslashes_and_blanks_are_read_as_libpq_reads_them() {
        for (text, expected) in [
            ("host=h", &[("host", "h")][..]),
            ("  host = h \n user\t=u ", &[("host", "h"), ("user", "u")]),
            (r"password='a b\'c\\d'", &[("password", r"a b'c\d")]),
            (r"password=a\ b", &[("password", "a b")]),
            (
                "password='é%@:/ 'user=u",
                &[("password", "é%@:/ "), ("user", "u")],
            ),
            ("password='' user=", &[("password", ""), ("user", "")]),
            ("user=a user=b", &[("user", "b")]),
            ("requiressl=1", &[("sslmode", "require")]),
            (r"user=a\", &[("user", "a")]),
            ("host= user=u", &[("host", "user=u")]),
        ] {
            let pairs = values(text).expect(text);
            let pairs: Vec<(&str, &str)> = pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            assert_eq!(pairs, expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_keyword_brings_a_proposal() {
        for (name, meant) in [
            ("sslmod", "sslmode"),
            ("hots", "host"),
            ("Host", "host"),
            ("database", "dbname"),
            ("conect_timeout", "connect_timeout"),
        ] {
            let error = values(&format!("{name}=x")).expect_err(name);
            assert_eq!(
                error.message(),
                format!("invalid connection string: unknown parameter \"{name}\"")
            );
            assert_eq!(
                error.hint_text(),
                Some(format!("Perhaps you meant \"{meant}\".").as_str())
            );
        }
        assert!(
            values("zzzzzzzz=1")
                .expect_err("unknown")
                .hint_text()
                .is_none()
        );
    }

    #[test]
    fn an_unquoted_password_with_blanks_does_not_reach_the_error() {
        for text in [
            "password=my s3cret host=h",
            "password=my s3cret=x",
            "password='my s3cret",
        ] {
            let shown = values(text).expect_err(text).to_string();
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
