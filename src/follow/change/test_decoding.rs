//! Text of `test_decoding`.
//!
//! Pure. Grammar, as PostgreSQL's `contrib/test_decoding` prints it:
//!
//! ```text
//! change   "table " name "." name ": " ("INSERT" | "UPDATE" | "DELETE") ":" body
//!          "table " name "." name {", " name "." name} ": TRUNCATE:" (" (no-flags)" | [" restart_seqs"] [" cascade"])
//! body     " (no-tuple-data)" | columns | " old-key:" columns " new-tuple:" columns
//! columns  {" " name "[" type "]:" value}
//! value    null | unchanged-toast-datum | other text up to a blank | 'text with '' for each quote' | B'bits'
//! name     a bare one, or a quoted one with "" for each double quote
//! ```
//! `null` and `unchanged-toast-datum` mean something only without quotes, and a column of the name
//! `old-key: x` is quoted, so words are looked for at the begin of a token only.

use super::model::{Change, Decoded, Field, Old, Table, Value};
use super::{Result, bad};
use std::borrow::Cow;

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn must(&mut self, word: &str) -> Result<()> {
        if self.take(word) {
            return Ok(());
        }
        // The text holds row values, which must not get into an error.
        Err(bad(format!("\"{word}\" is missing at byte {}", self.at)))
    }

    /// Text up to the end of a quoted part whose opening quote has been taken.
    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, str>> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let (mut at, mut doubled) = (0, false);
        loop {
            match bytes.get(at) {
                None => return Err(bad(format!("a quote at byte {} has no end", self.at))),
                Some(byte) if *byte == quote => {
                    if bytes.get(at + 1) != Some(&quote) {
                        break;
                    }
                    doubled = true;
                    at += 2;
                }
                Some(_) => at += 1,
            }
        }
        let inside = rest.get(..at).unwrap_or("");
        self.at += at + 1;
        if !doubled {
            return Ok(Cow::Borrowed(inside));
        }
        let (two, one) = if quote == b'"' {
            ("\"\"", "\"")
        } else {
            ("''", "'")
        };
        Ok(Cow::Owned(inside.replace(two, one)))
    }

    /// A bare name ends before any of `ends`.
    fn name(&mut self, ends: &[char]) -> Result<Cow<'a, str>> {
        if self.take("\"") {
            return self.quoted(b'"');
        }
        let rest = self.rest();
        let end = rest.find(ends).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or("");
        if name.is_empty() {
            return Err(bad(format!("a name is missing at byte {}", self.at)));
        }
        self.at += end;
        Ok(Cow::Borrowed(name))
    }

    fn table(&mut self) -> Result<Table<'a>> {
        let schema = self.name(&['.'])?;
        self.must(".")?;
        let name = self.name(&[':', ','])?;
        Ok(Table { schema, name })
    }

    /// A type between brackets, which may hold quoted names and brackets of its own.
    fn type_name(&mut self) -> Result<()> {
        self.must("[")?;
        let mut depth = 1;
        while depth > 0 {
            let rest = self.rest();
            let Some(at) = rest.find(['[', ']', '"']) else {
                return Err(bad(format!("the type at byte {} has no end", self.at)));
            };
            self.at += at + 1;
            match rest.as_bytes().get(at) {
                Some(b'[') => depth += 1,
                Some(b']') => depth -= 1,
                _ => drop(self.quoted(b'"')?),
            }
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value<'a>> {
        if self.take("'") {
            return self.quoted(b'\'').map(Value::Text);
        }
        if self.take("B'") {
            return self.quoted(b'\'').map(Value::Text);
        }
        let rest = self.rest();
        let end = rest.find(' ').unwrap_or(rest.len());
        let bare = rest.get(..end).unwrap_or("");
        self.at += end;
        Ok(match bare {
            "null" => Value::Null,
            "unchanged-toast-datum" => Value::Unchanged,
            other => Value::Text(Cow::Borrowed(other)),
        })
    }

    /// Columns up to the end, or up to ` new-tuple:`.
    fn columns(&mut self) -> Result<Vec<Field<'a>>> {
        let mut fields = Vec::new();
        while !self.rest().is_empty() && !self.rest().starts_with(" new-tuple:") {
            self.must(" ")?;
            let name = self.name(&['['])?;
            self.type_name()?;
            self.must(":")?;
            let value = self.value()?;
            fields.push(Field { name, value });
        }
        Ok(fields)
    }
}

/// Reads one message.
pub(super) fn parse(text: &str) -> Result<Decoded<'_>> {
    let mut cursor = Cursor { text, at: 0 };
    if !cursor.take("table ") {
        return other(text);
    }
    let table = cursor.table()?;
    if cursor.rest().starts_with(", ") || cursor.rest().starts_with(": TRUNCATE:") {
        return truncate(cursor, table).map(Decoded::Change);
    }
    cursor.must(": ")?;
    let change = if cursor.take("INSERT:") {
        let new = if cursor.take(" (no-tuple-data)") {
            Vec::new()
        } else {
            cursor.columns()?
        };
        Change::Insert { table, new }
    } else if cursor.take("UPDATE:") {
        update(&mut cursor, table)?
    } else if cursor.take("DELETE:") {
        delete(&mut cursor, table)?
    } else {
        return Err(bad(format!(
            "an unknown kind of change at byte {}",
            cursor.at
        )));
    };
    if !cursor.rest().is_empty() {
        return Err(bad(format!("there is more at byte {}", cursor.at)));
    }
    Ok(Decoded::Change(change))
}

fn other(text: &str) -> Result<Decoded<'_>> {
    let word = text.split([' ', ':']).next().unwrap_or("");
    match word {
        "BEGIN" | "COMMIT" | "message" => Ok(Decoded::Nothing),
        "PREPARE" | "ROLLBACK" => Err(bad(format!(
            "{word}: transactions prepared in two phases are not decoded by slots of this program"
        ))),
        _ => Err(bad("it is nothing that test_decoding writes")),
    }
}

fn update<'a>(cursor: &mut Cursor<'a>, table: Table<'a>) -> Result<Change<'a>> {
    let mut old = Old::Untold;
    if cursor.take(" old-key:") {
        old = Old::Fields {
            fields: cursor.columns()?,
            full: false,
            sparse: true,
        };
        cursor.must(" new-tuple:")?;
    }
    if cursor.take(" (no-tuple-data)") {
        return Err(bad("an UPDATE has no new row"));
    }
    let new = cursor.columns()?;
    Ok(Change::Update { table, new, old })
}

fn delete<'a>(cursor: &mut Cursor<'a>, table: Table<'a>) -> Result<Change<'a>> {
    let old = if cursor.take(" (no-tuple-data)") {
        Old::Nothing
    } else {
        Old::Fields {
            fields: cursor.columns()?,
            full: false,
            sparse: true,
        }
    };
    Ok(Change::Delete { table, old })
}

fn truncate<'a>(mut cursor: Cursor<'a>, first: Table<'a>) -> Result<Change<'a>> {
    let mut tables = vec![first];
    while cursor.take(", ") {
        tables.push(cursor.table()?);
    }
    cursor.must(": TRUNCATE:")?;
    let (mut cascade, mut restart) = (false, false);
    if !cursor.take(" (no-flags)") {
        restart = cursor.take(" restart_seqs");
        cascade = cursor.take(" cascade");
    }
    if !cursor.rest().is_empty() {
        return Err(bad(format!("there is more at byte {}", cursor.at)));
    }
    Ok(Change::Truncate {
        tables,
        cascade,
        restart,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change<'_> {
        match parse(text) {
            Ok(Decoded::Change(change)) => change,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn field<'a>(name: &'a str, value: Value<'a>) -> Field<'a> {
        Field {
            name: name.into(),
            value,
        }
    }

    fn text(value: &str) -> Value<'_> {
        Value::Text(value.into())
    }

    #[test]
    fn an_insert_with_every_kind_of_value_is_read() {
        let got = change(
            "table public.t: INSERT: id[integer]:1 v[text]:'a''b' n[numeric]:1e+300 b[boolean]:true \
             z[text]:null q[text]:'null' u[bit varying]:B'0101' a[text[]]:'{a,\"b c\"}' \
             \"Odd [name]: x\"[\"My\".\"ty]pe\"]:' line\nand\ttab \\' m[\"Sch\".mood]:''",
        );
        let Change::Insert { table, new } = got else {
            panic!("an insert")
        };
        assert_eq!((&*table.schema, &*table.name), ("public", "t"));
        assert_eq!(
            new,
            [
                field("id", text("1")),
                field("v", text("a'b")),
                field("n", text("1e+300")),
                field("b", text("true")),
                field("z", Value::Null),
                field("q", text("null")),
                field("u", text("0101")),
                field("a", text("{a,\"b c\"}")),
                field("Odd [name]: x", text(" line\nand\ttab \\")),
                field("m", text("")),
            ]
        );
    }

    #[test]
    fn old_keys_are_told_from_columns_that_are_called_so() {
        let got = change(
            "table \"My \"\"sch\".\"t.x\": UPDATE: old-key: id[integer]:1 \"new-tuple: z\"[text]:' new-tuple: q' \
             new-tuple: id[integer]:2 \"old-key: y\"[text]:unchanged-toast-datum",
        );
        let Change::Update { table, new, old } = got else {
            panic!("an update")
        };
        assert_eq!((&*table.schema, &*table.name), ("My \"sch", "t.x"));
        assert_eq!(
            old,
            Old::Fields {
                fields: vec![
                    field("id", text("1")),
                    field("new-tuple: z", text(" new-tuple: q"))
                ],
                full: false,
                sparse: true
            }
        );
        assert_eq!(
            new,
            [
                field("id", text("2")),
                field("old-key: y", Value::Unchanged)
            ]
        );
    }

    #[test]
    fn a_change_without_identity_is_told() {
        assert!(matches!(
            change("table public.t: DELETE: (no-tuple-data)"),
            Change::Delete {
                old: Old::Nothing,
                ..
            }
        ));
        assert!(matches!(
            change("table public.t: UPDATE: a[integer]:1"),
            Change::Update {
                old: Old::Untold,
                ..
            }
        ));
        assert!(
            matches!(change("table public.t: INSERT:"), Change::Insert { new, .. } if new.is_empty())
        );
    }

    #[test]
    fn a_truncate_has_tables_and_flags() {
        for (text, count, flags) in [
            ("table public.a: TRUNCATE: (no-flags)", 1, (false, false)),
            (
                "table public.a, \"B\".\"c, d\": TRUNCATE: restart_seqs cascade",
                2,
                (true, true),
            ),
            ("table public.a: TRUNCATE: cascade", 1, (false, true)),
        ] {
            let Change::Truncate {
                tables,
                cascade,
                restart,
            } = change(text)
            else {
                panic!("a truncate")
            };
            assert_eq!((tables.len(), (restart, cascade)), (count, flags), "{text}");
        }
    }

    #[test]
    fn every_truncation_is_a_change_or_an_error_and_never_a_panic() {
        let whole = "table \"S\".\"é\": UPDATE: old-key: id[integer]:1 new-tuple: \"ü\"[\"x\"\"y\"[]]:'ä''' b[bit]:B'1'";
        for end in 0..=whole.len() {
            if whole.is_char_boundary(end) {
                let _any = parse(&whole[..end]);
            }
        }
        for text in [
            "",
            "x",
            "table ",
            "table a",
            "table a.b: MERGE:",
            "table a.b: TRUNCATE: x",
            "PREPARE TRANSACTION 'x', txid 5",
            "table a.b: INSERT: c[text]:'x'y",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            "BEGIN 493",
            "COMMIT 493 (at 2020-01-01)",
            "message: transactional: 1 prefix: p, sz: 1 content:x",
        ] {
            assert_eq!(parse(text).unwrap(), Decoded::Nothing);
        }
    }
}
