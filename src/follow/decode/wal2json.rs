//! wal2json, format version 2: which message it is. The object passes as it is, so that a number
//! stays the text that the server wrote.
//!
//! Pure.

use super::{Decoded, malformed};
use crate::error::Result;
use crate::follow::files::Plugin;
use crate::follow::json_line::{Action, write_string};
use crate::units::Lsn;
use serde::Deserialize;

/// What stands before the name of a column's type, and behind it.
const TYPE: &str = "\"type\":\"";
const BEHIND_TYPE: &str = "\",\"value\":";

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    action: Option<std::borrow::Cow<'a, str>>,
    xid: Option<u32>,
    lsn: Option<Lsn>,
    nextlsn: Option<Lsn>,
    change: Option<serde::de::IgnoredAny>,
}

/// Reads one message.
pub fn decode(text: &str, out: &mut String) -> Result<Decoded> {
    let wrong = |why: &str| malformed(Plugin::Wal2json, why, text.as_bytes());
    let head: Head<'_> = match serde_json::from_str(text) {
        Ok(head) => head,
        Err(error) => {
            let escaped = escape_types(text);
            return match escaped {
                Some(escaped) => decode(&escaped, out),
                None => Err(wrong(&error.to_string())),
            };
        }
    };
    if head.change.is_some() {
        return Err(wrong("it is of format version 1"));
    }
    let letter = head.action.as_deref().unwrap_or("");
    let action = Action::of_letter(letter)
        .filter(|action| {
            action.is_change() || matches!(action, Action::Begin | Action::Commit | Action::Message)
        })
        .ok_or_else(|| wrong("its action is unknown"))?;
    if text.contains('\n') {
        // Only between tokens: inside of strings JSON has none.
        out.push_str(&text.replace(['\n', '\r'], " "));
    } else {
        out.push_str(text);
    }
    let is_begin = action == Action::Begin;
    Ok(Decoded {
        action,
        xid: head.xid,
        commit_lsn: head.lsn.filter(|_| is_begin),
        end_lsn: head.nextlsn.filter(|_| is_begin),
        commit_time: None,
    })
}

/// wal2json puts names of types into its JSON as they are, quotes and all: `"type":""Mood"","value":…`. The
/// same with each of them escaped; none where there is nothing to escape.
fn escape_types(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let (mut rest, mut is_other) = (text, false);
    // Each time round, `rest` begins outside of strings.
    while let Some(at) = rest.find('"') {
        let (before, string) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let named = string.strip_prefix(TYPE).and_then(|name| {
            let end = name.find(BEHIND_TYPE)?;
            Some((name.get(..end)?, name.get(end + 1..)?))
        });
        if let Some((name, more)) = named {
            is_other |= name.contains(['"', '\\']);
            out.extend_from_slice(b"\"type\":");
            write_string(name, &mut out);
            rest = more;
            continue;
        }
        let end = end_of_string(string)?;
        out.extend_from_slice(string.get(..end)?.as_bytes());
        rest = string.get(end..)?;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).ok().filter(|_| is_other)
}

/// Length of the JSON string that a text begins with, quotes included.
fn end_of_string(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    let inside = text.bytes().enumerate().skip(1);
    for (at, byte) in inside {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_passes_as_it_is() {
        let text = r#"{"action":"I","xid":7,"schema":"public","table":"t","columns":[{"name":"n","type":"numeric","value":0.00000000000000006938893903907228},{"name":"b","type":"bigint","value":9007199254740993}]}"#;
        let mut out = String::new();
        let decoded = decode(text, &mut out).unwrap();
        assert_eq!((decoded.action, decoded.xid), (Action::Insert, Some(7)));
        assert_eq!(out, text);
    }

    #[test]
    fn names_of_types_that_need_quotes_are_escaped() {
        let text = r#"{"action":"U","xid":7,"schema":"S","table":"\"type\":\"","columns":[{"name":"type","type":""My ""T\ype"[]","value":"\"type\":\"x\",\"value\":"},{"name":"b","type":"text","value":"\\"}],"identity":[{"name":"e","type":""S c"."Dom"","value":5}]}"#;
        let wanted = r#"{"action":"U","xid":7,"schema":"S","table":"\"type\":\"","columns":[{"name":"type","type":"\"My \"\"T\\ype\"[]","value":"\"type\":\"x\",\"value\":"},{"name":"b","type":"text","value":"\\"}],"identity":[{"name":"e","type":"\"S c\".\"Dom\"","value":5}]}"#;
        let mut out = String::new();
        let decoded = decode(text, &mut out).unwrap();
        assert_eq!((decoded.action, decoded.xid), (Action::Update, Some(7)));
        assert_eq!(out, wanted);
    }

    #[test]
    fn a_begin_tells_where_its_transaction_ends() {
        let text = r#"{"action":"B","xid":731,"timestamp":"2024-01-01 00:00:00+00","lsn":"0/1A","nextlsn":"0/2B"}"#;
        let decoded = decode(text, &mut String::new()).unwrap();
        assert_eq!(decoded.commit_lsn, Some(Lsn(0x1A)));
        assert_eq!(decoded.end_lsn, Some(Lsn(0x2B)));
    }

    #[test]
    fn other_formats_are_refused() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"change":[]}"#,
            r#"{"action":"K"}"#,
            r#"{"xid":1}"#,
        ] {
            assert!(decode(text, &mut String::new()).is_err(), "{text}");
        }
    }
}
