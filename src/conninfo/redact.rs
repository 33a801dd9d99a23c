//! Blanks out passwords of connection strings inside any text, such as a command line.
//!
//! Runs in every process, on plain data. Reads and writes nothing. In doubt it must blank out more
//! than the password: a lost detail costs less than a shown secret.

use super::keyword::{KEYWORDS, is_blank};
use std::ops::Range;

/// What stands in place of a secret.
const BLANK: &str = "***";

/// Words that announce a secret when `=` follows; also the ends of longer words.
const ANNOUNCED: [&str; 5] = [
    "password",
    "passwd",
    "scram_client_key",
    "scram_server_key",
    "oauth_client_secret",
];

/// The text with `***` in place of the passwords of all URIs and `keyword=value` strings in it.
pub fn redact(text: &str) -> String {
    blank_keywords(&blank_uris(text))
}

/// Blanks out `:password@` after each `://`, and values of names that hide behind percent-encoding.
fn blank_uris(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let mut end = 0;
        if let Some(secret) = secret_range(zone(after)) {
            out.push_str(after.get(..secret.start).unwrap_or(""));
            out.push_str(BLANK);
            end = secret.end;
        }
        let tail = after.get(end..).unwrap_or("");
        let token = tail.find(is_blank).unwrap_or(tail.len());
        let (token, tail) = tail.split_at_checked(token).unwrap_or(("", tail));
        // A token that runs into the next scheme is looked at again from there.
        let head = token.split_once("://").map_or(token, |(head, _)| head);
        out.push_str(&blank_encoded_names(head));
        rest = if head.len() < token.len() {
            tail_from(after, end + head.len())
        } else {
            tail
        };
    }
    out.push_str(rest);
    out
}

/// What follows a position, nothing if the position is none.
fn tail_from(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or("")
}

/// What follows a scheme, up to the next scheme that another word contains.
fn zone(after: &str) -> &str {
    let word = after.find(is_blank).unwrap_or(after.len());
    let rest = tail_from(after, word);
    let end = word + rest.find("://").unwrap_or(rest.len());
    after.get(..end).unwrap_or(after)
}

/// Where the password stands in a zone.
fn secret_range(zone: &str) -> Option<Range<usize>> {
    let token = zone.get(..zone.find(is_blank).unwrap_or(zone.len()))?;
    // An address in brackets at the start has colons of its own.
    let skip = if token.starts_with('[') {
        token.find(']').unwrap_or(0)
    } else {
        0
    };
    let colon = skip + token.get(skip..)?.find(':')?;
    let after_colon = zone.get(colon + 1..)?;
    let start = colon + 1;
    match (token.find('@'), token.rfind('@')) {
        (Some(first), _) if first < colon && is_port(after_colon) => None,
        (Some(_), Some(last)) if last > colon => Some(start..last),
        _ if is_port(after_colon) => None,
        _ => {
            let last = zone.rfind('@').filter(|at| *at > colon);
            Some(start..last.unwrap_or(token.len()))
        }
    }
}

/// Whether the text begins with a port number that ends as one.
fn is_port(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == text.len() {
        return false;
    }
    rest.is_empty() || rest.starts_with(|c| is_blank(c) || "/?,'\"".contains(c))
}

/// Blanks out values whose names are percent-encoded, as in `?pass%77ord=`.
fn blank_encoded_names(token: &str) -> String {
    let Some((head, query)) = token.split_once('?') else {
        return token.to_owned();
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.contains('%') => format!("{name}={BLANK}"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{head}?{}", pairs.join("&"))
}

/// Blanks out the value after each `password =` and the like.
fn blank_keywords(text: &str) -> String {
    // Lower case of ASCII only: offsets stay those of the text.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(value) = next_value(&lower, at) {
        let begin = value.start;
        out.push_str(text.get(at..begin).unwrap_or(""));
        out.push_str(BLANK);
        at = begin + value_length(tail_from(text, begin), value.in_uri);
    }
    out.push_str(tail_from(text, at));
    out
}

/// A place where a secret value begins.
struct Place {
    start: usize,
    /// Whether `?` or `&` stands before the name, so that `&` ends the value.
    in_uri: bool,
}

/// The next value at or after a position.
fn next_value(lower: &str, at: usize) -> Option<Place> {
    let mut from = at;
    loop {
        let rest = lower.get(from..)?;
        let found = ANNOUNCED
            .iter()
            .filter_map(|name| rest.find(name).map(|start| (start, name.len())));
        let (start, length) = found.min()?;
        let name_end = from + start + length;
        let after = tail_from(lower, name_end);
        if let Some(value) = after.trim_start_matches(is_blank).strip_prefix('=') {
            let value = value.trim_start_matches(is_blank);
            let before = lower.get(..from + start).unwrap_or("");
            let before = before.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '_');
            return Some(Place {
                start: lower.len() - value.len(),
                in_uri: before.ends_with(['?', '&']),
            });
        }
        from = name_end;
    }
}

/// How long a secret value is. After its quotes, or its first word, it goes on until something that
/// cannot be a part of it: an option, or a keyword of libpq with its `=`.
fn value_length(text: &str, in_uri: bool) -> usize {
    let mut at = quoted_length(text);
    loop {
        let rest = tail_from(text, at);
        let Some(c) = rest.chars().next() else {
            return text.len();
        };
        let after = rest.get(c.len_utf8()..).unwrap_or("");
        if c == '\\' {
            at += c.len_utf8() + after.chars().next().map_or(0, char::len_utf8);
            continue;
        }
        if is_blank(c) {
            let next = after.trim_start_matches(is_blank);
            if next.is_empty() || next.starts_with('-') || starts_with_keyword(next) {
                return at;
            }
        } else if c == '&' && in_uri && starts_with_keyword(after) {
            return at;
        }
        at += c.len_utf8();
    }
}

/// Length of the quoted string at the start, all of the text if it is not closed, 0 if none is.
fn quoted_length(text: &str) -> usize {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return 0;
    };
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Whether a keyword of libpq and `=` stand at the start.
fn starts_with_keyword(text: &str) -> bool {
    KEYWORDS.iter().any(|keyword| {
        let after = text.strip_prefix(keyword.name);
        after.is_some_and(|after| after.trim_start_matches(is_blank).starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_uris_are_blanked_out_and_the_rest_stays() {
        for (text, expected) in [
            ("clone --table-jobs 4", "clone --table-jobs 4"),
            (
                "--source postgres://u:s3cret@h:1/d --x",
                "--source postgres://u:***@h:1/d --x",
            ),
            (
                "postgres://u@h:5432/d?sslmode=require",
                "postgres://u@h:5432/d?sslmode=require",
            ),
            ("postgres://h:5432/d -x a@b", "postgres://h:5432/d -x a@b"),
            ("postgres://h1:1,h2:2/d", "postgres://h1:1,h2:2/d"),
            ("postgres://[::1]:5432/d", "postgres://[::1]:5432/d"),
            (
                "postgres://u:s3cret@[::1]:5432/d",
                "postgres://u:***@[::1]:5432/d",
            ),
            (
                "postgresql://u:s3@cr/et:s3cret@h/d",
                "postgresql://u:***@h/d",
            ),
            ("postgres://u:s3cret s3cret@h/d", "postgres://u:***@h/d"),
            ("postgres://u:s3cret", "postgres://u:***"),
            ("postgres://u@srv:s3cret@h/d", "postgres://u@srv:***@h/d"),
            (
                "-S postgres://u:s3cret@h/d -T postgres://u:s3cret@h2/d",
                "-S postgres://u:***@h/d -T postgres://u:***@h2/d",
            ),
            (
                "postgres://h/d?user=u&password=s3cret&sslmode=require",
                "postgres://h/d?user=u&password=***&sslmode=require",
            ),
            (
                "postgres://h/d?password=a&s3cret&sslmode=require",
                "postgres://h/d?password=***&sslmode=require",
            ),
            (
                "postgres://h/d?pass%77ord=s3cret&user=u",
                "postgres://h/d?pass%77ord=***&user=u",
            ),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn passwords_in_keyword_form_are_blanked_out() {
        for (text, expected) in [
            (
                "host=h password=s3cret user=u",
                "host=h password=*** user=u",
            ),
            (
                "host=h PASSWORD = s3cret user=u",
                "host=h PASSWORD = *** user=u",
            ),
            (
                r"password='a s3cret\' s3cret' user=u",
                "password=*** user=u",
            ),
            (r"password=a\ s3cret user=u", "password=*** user=u"),
            ("password=a s3cret user=u", "password=*** user=u"),
            ("password='a s3cret", "password=***"),
            (
                "sslpassword=s3cret sslmode=require",
                "sslpassword=*** sslmode=require",
            ),
            ("PGPASSWORD=s3cret --dir x", "PGPASSWORD=*** --dir x"),
            (
                "scram_client_key=s3cret host=h",
                "scram_client_key=*** host=h",
            ),
            ("password=a&s3cret host=h", "password=*** host=h"),
            (
                "--source \"host=h password=s3cret\" --dir x",
                "--source \"host=h password=*** --dir x",
            ),
            ("postgres://u:@h/d", "postgres://u:***@h/d"),
            ("postgres://u:a://s3cret@h/d", "postgres://u:***@h/d"),
            (
                "postgres://u@h:1/d,postgres://u:s3cret@h/d x",
                "postgres://u@h:1/d,postgres://u:***@h/d x",
            ),
            (
                "postgres://u@h/d,postgres://u:s3cret@h/d x",
                "postgres://u@h/d,postgres:***@h/d x",
            ),
            ("a password is asked for", "a password is asked for"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let sample = "é://é:é@é?é%é=é&password = 'é\\é' é://[::]:1@ password=\\é é";
        for (end, _) in sample.char_indices() {
            for (start, _) in sample.char_indices().take_while(|(start, _)| *start <= end) {
                redact(&sample[start..end]);
            }
        }
    }
}
