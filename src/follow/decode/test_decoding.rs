//! `test_decoding`: which message it is. Its rows are read when they are transformed.
//!
//! Pure.
//!
//! ```text
//! begin    := "BEGIN" [" " xid]
//! commit   := "COMMIT" [" " xid] [" (at " time ")"]
//! change   := "table " qname ": " ("INSERT" | "UPDATE" | "DELETE") ":" …
//! truncate := "table " qname {", " qname} ": TRUNCATE:" …
//! message  := "message: transactional: " (0|1) " prefix: " …
//! qname    := ident "." ident      ident := bare | '"' { any | '""' } '"'
//! ```

use super::{Decoded, malformed};
use crate::error::Result;
use crate::follow::files::Plugin;
use crate::follow::json_line::{Action, push_string};

/// Reads one message.
pub fn decode(text: &str, out: &mut String) -> Result<Decoded> {
    let wrong = |why: &str| malformed(Plugin::TestDecoding, why, text.as_bytes());
    let decoded = if let Some(rest) = text.strip_prefix("BEGIN") {
        with_xid(Action::Begin, rest).ok_or_else(|| wrong("a transaction id was expected"))?
    } else if let Some(rest) = text.strip_prefix("COMMIT PREPARED") {
        let _ = rest;
        return Err(wrong("the slot was made for two-phase transactions"));
    } else if let Some(rest) = text.strip_prefix("COMMIT") {
        with_xid(Action::Commit, rest).ok_or_else(|| wrong("a transaction id was expected"))?
    } else if let Some(rest) = text.strip_prefix("table ") {
        let operation = behind_names(rest).ok_or_else(|| wrong("a table's name was expected"))?;
        let action = [
            ("INSERT:", Action::Insert),
            ("UPDATE:", Action::Update),
            ("DELETE:", Action::Delete),
            ("TRUNCATE:", Action::Truncate),
        ]
        .into_iter()
        .find(|(word, _)| operation.starts_with(word))
        .ok_or_else(|| wrong("INSERT, UPDATE, DELETE or TRUNCATE was expected"))?
        .1;
        Decoded::plain(action)
    } else if text.starts_with("message: transactional: ") {
        Decoded::plain(Action::Message)
    } else {
        return Err(wrong("its kind is unknown"));
    };
    push_string(text, out);
    Ok(decoded)
}

/// Reads what follows BEGIN and COMMIT.
fn with_xid(action: Action, rest: &str) -> Option<Decoded> {
    let word = rest.trim_start().split(' ').next().unwrap_or("");
    let xid = if word.is_empty() || word.starts_with('(') {
        None
    } else {
        Some(word.parse().ok()?)
    };
    Some(Decoded {
        xid,
        ..Decoded::plain(action)
    })
}

/// What stands behind `qname {", " qname} ": "`.
fn behind_names(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        rest = behind_ident(rest)?.strip_prefix('.')?;
        rest = behind_ident(rest)?;
        match rest.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return rest.strip_prefix(": "),
        }
    }
}

/// What stands behind an identifier.
fn behind_ident(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        // quote_identifier() leaves only these unquoted; letters beyond ASCII are quoted.
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$'))?;
        return (end > 0).then(|| text.get(end..))?;
    };
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix('"') {
            Some(next) => rest = next,
            None => return Some(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(text: &str) -> Result<(Action, Option<u32>)> {
        let mut out = String::new();
        let decoded = decode(text, &mut out)?;
        let back: String = serde_json::from_str(&out).unwrap();
        assert_eq!(back, text);
        Ok((decoded.action, decoded.xid))
    }

    #[test]
    fn messages_are_told_apart_whatever_names_and_values_hold() {
        for (text, expected, xid) in [
            ("BEGIN 493", Action::Begin, Some(493)),
            ("BEGIN", Action::Begin, None),
            ("COMMIT 493", Action::Commit, Some(493)),
            (
                "COMMIT 493 (at 2024-01-01 00:00:00+00)",
                Action::Commit,
                Some(493),
            ),
            (
                "table public.t: INSERT: id[integer]:1 v[text]:'a: DELETE:'",
                Action::Insert,
                None,
            ),
            (
                "table \"a: INSERT:\".\"b\"\"c.d\": DELETE: (no-tuple-data)",
                Action::Delete,
                None,
            ),
            (
                "table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2",
                Action::Update,
                None,
            ),
            (
                "table public.a, \"X\".b: TRUNCATE: restart_seqs cascade",
                Action::Truncate,
                None,
            ),
            ("table public.t: INSERT:", Action::Insert, None),
            (
                "message: transactional: 1 prefix: p, sz: 3 content:a\nb",
                Action::Message,
                None,
            ),
        ] {
            assert_eq!(action(text).unwrap(), (expected, xid), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "",
            "BEGIN x",
            "table t: INSERT:",
            "table \"a.b: INSERT:",
            "table a.b: MERGE:",
            "PREPARE TRANSACTION 'x', txid 5",
            "COMMIT PREPARED 'x', txid 5",
            "opening a streamed block for transaction",
        ] {
            assert_eq!(action(text).unwrap_err().kind().exit_code(), 6, "{text}");
        }
    }
}
