//! Connection URIs: the parser, and the writer that shows a connection without its secrets.
//!
//! Runs in the supervisor and, for the writer, in every worker; on plain data. Reads and writes
//! nothing. The parser must not repeat its input in an error; the writer is given no secret.

use super::draft::{Draft, invalid};
use super::host::Host;
use super::keyword::is_blank;
use crate::error::{Error, Result};

/// The schemes that libpq knows.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// What follows the scheme, `None` if the text is no connection URI.
pub(super) fn after_scheme(text: &str) -> Option<&str> {
    SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme))
}

/// Reads what follows the scheme: `[user[:password]@][host[:port],…][/dbname][?name=value&…]`.
pub(super) fn parse(rest: &str, draft: &mut Draft) -> Result<()> {
    let credentials = rest
        .find(['@', '/'])
        .and_then(|at| rest.split_at_checked(at));
    let (user_part, rest) = match credentials {
        Some((user_part, after)) if after.starts_with('@') => {
            (Some(user_part), after.strip_prefix('@').unwrap_or(after))
        }
        _ => (None, rest),
    };
    if let Some(user_part) = user_part {
        let (user, password) = user_part.split_once(':').unwrap_or((user_part, ""));
        store(draft, "user", user)?;
        store(draft, "password", password)?;
    }
    let rest = parse_hosts(rest, draft)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let dbname = path.strip_prefix('/').unwrap_or(path);
    if user_part.is_none() && dbname.contains('@') {
        return Err(stray_at("the database name"));
    }
    store(draft, "dbname", dbname)?;
    parse_query(query, draft)
}

/// Reads the list of hosts, returns what follows: nothing, `/…` or `?…`.
fn parse_hosts<'a>(mut rest: &'a str, draft: &mut Draft) -> Result<&'a str> {
    let mut hosts = String::new();
    let mut ports = String::new();
    loop {
        let (host, after) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed_host(bracketed)?,
            None => before_any(rest, &[':', '/', '?', ',']),
        };
        if host.contains('@') {
            return Err(stray_at("a host name"));
        }
        hosts.push_str(host);
        rest = after;
        if let Some(after) = rest.strip_prefix(':') {
            let (port, after) = before_any(after, &['/', '?', ',']);
            ports.push_str(port);
            rest = after;
        }
        let Some(after) = rest.strip_prefix(',') else {
            break;
        };
        hosts.push(',');
        ports.push(',');
        rest = after;
    }
    store(draft, "host", &hosts)?;
    store(draft, "port", &ports)?;
    Ok(rest)
}

/// An address in brackets, and what follows the bracket.
fn bracketed_host(text: &str) -> Result<(&str, &str)> {
    let Some((host, after)) = text.split_once(']') else {
        return Err(invalid("an IPv6 address has no closing \"]\""));
    };
    if host.is_empty() {
        return Err(invalid("an IPv6 address between brackets is empty"));
    }
    if !(after.is_empty() || after.starts_with([':', '/', '?', ','])) {
        return Err(invalid(
            "expected \":\" or \"/\" after an IPv6 address in brackets",
        ));
    }
    Ok((host, after))
}

/// Reads `name=value&name=value`; a final `&` does not count.
fn parse_query(query: &str, draft: &mut Draft) -> Result<()> {
    let mut rest = query;
    while !rest.is_empty() {
        let (pair, after) = rest.split_once('&').unwrap_or((rest, ""));
        rest = after;
        let Some((name, raw)) = pair.split_once('=') else {
            return Err(invalid("a parameter of the URI has no \"=\"")
                .hint("Write \"%26\" for an ampersand that is part of a value."));
        };
        if raw.contains('=') {
            return Err(invalid("a parameter of the URI has more than one \"=\"")
                .hint("Write \"%3D\" for an equals sign that is part of a value."));
        }
        let name = decode(name, "the name of a parameter")?;
        let value = decode(raw, "the value of a parameter")?;
        if name == "ssl" && value == "true" {
            draft.put("sslmode", "require".to_owned(), "")?;
        } else {
            draft.put(&name, value, raw)?;
        }
    }
    Ok(())
}

/// Puts a decoded part into the draft; an empty part was not given.
fn store(draft: &mut Draft, keyword: &'static str, raw: &str) -> Result<()> {
    if raw.is_empty() {
        return Ok(());
    }
    let value = decode(raw, &format!("the {keyword} part"))?;
    draft.put(keyword, value, raw)
}

/// An `@` behind the place where the password must have ended.
fn stray_at(place: &str) -> Error {
    invalid(format!("found \"@\" in {place}")).hint(
        "In a password, write \"%40\" for \"@\", \"%2F\" for \"/\" and \"%25\" for \"%\"; write \
         \"%40\" for an \"@\" in any other part as well.",
    )
}

/// Splits before the first of the delimiters.
fn before_any<'a>(text: &'a str, delimiters: &[char]) -> (&'a str, &'a str) {
    let end = text.find(delimiters).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Resolves percent-encoding byte by byte; blanks around the part do not count.
fn decode(part: &str, what: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.trim_matches(is_blank).as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.split_at_checked(2).and_then(|(digits, after)| {
            rest = after;
            hex_byte(digits)
        });
        match digits {
            Some(0) => return Err(invalid(format!("{what} contains \"%00\""))),
            Some(byte) => bytes.push(byte),
            None => {
                return Err(
                    invalid(format!("{what} contains a \"%\" without two hex digits"))
                        .hint("Write \"%25\" for a percent sign."),
                );
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid(format!("{what} is not UTF-8")))
}

/// The byte that two hex digits stand for.
fn hex_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |byte, digit| {
        let value = char::from(*digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())?;
        Some(byte << 4 | value)
    })
}

/// Percent-encodes every byte but the unreserved ones of RFC 3986.
pub(super) fn encode(text: &str) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend(HEX.get(usize::from(byte >> 4)));
            encoded.extend(HEX.get(usize::from(byte & 15)));
        }
    }
    encoded
}

/// The same encoding with hex digits in lower case, which other programs write.
pub(super) fn encode_lower(text: &str) -> String {
    let encoded = encode(text);
    let mut pieces = encoded.split('%');
    let mut lower = pieces.next().unwrap_or("").to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// Writes `postgres://user@host:port,…/dbname?name=value&…`; the caller leaves secrets out.
pub(super) fn write<'a>(
    user: &str,
    hosts: &[Host],
    dbname: &str,
    params: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let hosts: Vec<String> = hosts.iter().map(host_and_port).collect();
    let mut uri = format!(
        "postgres://{}@{}/{}",
        encode(user),
        hosts.join(","),
        encode(dbname)
    );
    for (position, (name, value)) in params.enumerate() {
        uri.push(if position == 0 { '?' } else { '&' });
        uri.push_str(name);
        uri.push('=');
        uri.push_str(&encode(value));
    }
    uri
}

/// `host:port`, addresses with colons in brackets, socket directories encoded.
fn host_and_port(host: &Host) -> String {
    let name = host.name.as_deref().unwrap_or("");
    if name.contains(':') && !name.starts_with(['/', '@']) {
        return format!("[{}]:{}", encode(name).replace("%3A", ":"), host.port);
    }
    format!("{}:{}", encode(name), host.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Vec<(String, String)>> {
        let mut draft = Draft::default();
        parse(after_scheme(text).expect("a URI"), &mut draft)?;
        Ok(draft.finish().0.into_iter().collect())
    }

    #[test]
    fn every_part_of_a_uri_is_read_as_libpq_reads_it() {
        for (text, expected) in [
            ("postgres://", &[][..]),
            ("postgresql://h", &[("host", "h")]),
            (
                "postgres://u@h:5433/d",
                &[
                    ("dbname", "d"),
                    ("host", "h"),
                    ("port", "5433"),
                    ("user", "u"),
                ],
            ),
            (
                "postgres://u:p@/d",
                &[("dbname", "d"), ("password", "p"), ("user", "u")],
            ),
            (
                "postgres:///d?host=/tmp&port=1",
                &[("dbname", "d"), ("host", "/tmp"), ("port", "1")],
            ),
            (
                "postgres://%2Fvar%2Frun/d",
                &[("dbname", "d"), ("host", "/var/run")],
            ),
            (
                "postgres://[::1]:5433",
                &[("host", "::1"), ("port", "5433")],
            ),
            ("postgres://[::1]/d", &[("dbname", "d"), ("host", "::1")]),
            (
                "postgres://h1:1,[::1]:2,h3/d",
                &[("dbname", "d"), ("host", "h1,::1,h3"), ("port", "1,2,")],
            ),
            (
                "postgres://h?sslmode=disable&",
                &[("host", "h"), ("sslmode", "disable")],
            ),
            (
                "postgres://h/?ssl=true",
                &[("host", "h"), ("sslmode", "require")],
            ),
            (
                "postgres://h/d?user=u%20x",
                &[("dbname", "d"), ("host", "h"), ("user", "u x")],
            ),
            ("postgres://:p?w@h", &[("host", "h"), ("password", "p?w")]),
            (
                "postgres://u:%C3%A9%25%40%3A%2f%20@h",
                &[("host", "h"), ("password", "é%@:/ "), ("user", "u")],
            ),
            (
                "postgres://u:é@h",
                &[("host", "h"), ("password", "é"), ("user", "u")],
            ),
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
    fn a_malformed_uri_is_refused_without_repeating_it() {
        for text in [
            "postgres://u:s3cret%@h",
            "postgres://u:s3cret%4@h",
            "postgres://u:s3cret%zz@h",
            "postgres://u:s3cret%+1@h",
            "postgres://u:s3cret%00@h",
            "postgres://u:s3cret%ff@h",
            "postgres://u:a@s3cret@h/d",
            "postgres://u:1/s3cret@h/d",
            "postgres://u:s3cret@[::1/d",
            "postgres://u:s3cret@[]/d",
            "postgres://u:s3cret@[::1]x/d",
            "postgres://h/?s3cret",
            "postgres://h/?password=a=s3cret",
            "postgres://h/?password=a&s3cret=b",
            "postgres://h/?password=a&s3cret",
            "postgres://h/?&user=s3cret",
            "postgres://h/?ssl=s3cret",
        ] {
            let error = values(text).expect_err(text);
            assert!(
                error.message().starts_with("invalid connection string: "),
                "{error}"
            );
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn encoding_keeps_unreserved_bytes_only() {
        assert_eq!(encode("aZ9-._~"), "aZ9-._~");
        assert_eq!(encode("é%@:/ +"), "%C3%A9%25%40%3A%2F%20%2B");
        assert_eq!(encode_lower("%Aé/B"), "%25A%c3%a9%2fB");
    }
}
