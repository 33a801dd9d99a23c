//! wal2json, format version 2: which message it is. The object passes as it is, so that a number
//! stays the text that the server wrote.
//!
//! Pure.

use super::{Decoded, malformed};
use crate::error::Result;
use crate::follow::files::Plugin;
use crate::follow::json_line::Action;
use crate::units::Lsn;
use serde::Deserialize;

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
    let head: Head<'_> = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
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
