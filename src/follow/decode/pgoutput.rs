//! `pgoutput`, protocol version 1: binary messages to the shape of wal2json, with the tables' names,
//! as the files must be readable without the source.
//!
//! Pure but for what it remembers: the description of each table, replaced whenever it is sent anew.
//!
//! ```text
//! B i64 commit_lsn i64 time i32 xid          C i8 flags i64 commit_lsn i64 end_lsn i64 time
//! R i32 oid str schema str table i8 identity i16 n, n × (i8 flags str name i32 type i32 modifier)
//! I i32 oid 'N' tuple     U i32 oid [('K'|'O') tuple] 'N' tuple     D i32 oid ('K'|'O') tuple
//! T i32 n i8 options(1 cascade, 2 restart) n × i32 oid
//! Y type, O origin: no line     M i8 flags i64 lsn str prefix i32 length bytes
//! tuple: i16 n, n × ('n' | 'u' | 't' i32 length bytes)
//! ```

use super::{Decoded, malformed, not_utf8};
use crate::error::{Error, Kind, Result};
use crate::follow::files::Plugin;
use crate::follow::json_line::{Action, push_string};
use crate::units::{Lsn, Oid};
use std::collections::HashMap;

/// What the server has told of the tables.
#[derive(Debug, Default)]
pub struct Pgoutput {
    tables: HashMap<Oid, Table>,
}

#[derive(Debug)]
struct Table {
    /// JSON: `"schema":"s","table":"t"`.
    names: String,
    /// For messages to people.
    shown: String,
    columns: Vec<Column>,
    identity: u8,
}

#[derive(Debug)]
struct Column {
    /// JSON string with its quotes.
    name: String,
    is_key: bool,
}

/// One value of a tuple.
enum Value<'a> {
    Null,
    Unchanged,
    Text(&'a str),
}

/// What is left of a message.
struct Cursor<'a> {
    rest: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn short(&self) -> Error {
        malformed(Plugin::Pgoutput, "it is too short", self.whole)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn lsn(&mut self) -> Result<Lsn> {
        self.array().map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    fn text(&mut self) -> Result<&'a str> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| self.short())?;
        let bytes = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(bytes).map_err(|_| not_utf8("a name", bytes))
    }

    fn value(&mut self) -> Result<Value<'a>> {
        Ok(match self.byte()? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            b't' => {
                let length = usize::try_from(self.u32()?).map_err(|_| self.short())?;
                let bytes = self.take(length)?;
                Value::Text(std::str::from_utf8(bytes).map_err(|_| not_utf8("a value", bytes))?)
            }
            other => {
                let why = format!("a value of kind \"{}\"", other.escape_ascii());
                return Err(malformed(Plugin::Pgoutput, &why, self.whole));
            }
        })
    }

    fn tuple(&mut self) -> Result<Vec<Value<'a>>> {
        let count = self.u16()?;
        (0..count).map(|_| self.value()).collect()
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(text, &mut out);
    out
}

impl Pgoutput {
    /// Reads one message.
    pub fn decode(&mut self, payload: &[u8], out: &mut String) -> Result<Option<Decoded>> {
        let mut cursor = Cursor {
            rest: payload,
            whole: payload,
        };
        let tag = cursor.byte()?;
        let decoded = match tag {
            b'B' => {
                out.push_str("{\"action\":\"B\"}");
                let (commit, time, xid) = (cursor.lsn()?, cursor.i64()?, cursor.u32()?);
                Decoded {
                    xid: Some(xid),
                    commit_lsn: Some(commit),
                    commit_time: Some(time),
                    ..Decoded::plain(Action::Begin)
                }
            }
            b'C' => {
                out.push_str("{\"action\":\"C\"}");
                cursor.byte()?;
                let (commit, end, time) = (cursor.lsn()?, cursor.lsn()?, cursor.i64()?);
                Decoded {
                    commit_lsn: Some(commit),
                    end_lsn: Some(end),
                    commit_time: Some(time),
                    ..Decoded::plain(Action::Commit)
                }
            }
            b'R' => {
                self.relation(&mut cursor)?;
                return whole(&cursor).map(|()| None);
            }
            b'I' | b'U' | b'D' => self.row(tag, &mut cursor, out)?,
            b'T' => self.truncate(&mut cursor, out)?,
            b'M' => {
                out.push_str("{\"action\":\"M\"}");
                return Ok(Some(Decoded::plain(Action::Message)));
            }
            b'O' | b'Y' => return Ok(None),
            other => {
                let why = format!("kind \"{}\"", other.escape_ascii());
                return Err(malformed(Plugin::Pgoutput, &why, payload));
            }
        };
        whole(&cursor)?;
        Ok(Some(decoded))
    }

    fn relation(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let oid = cursor.u32()?;
        let schema = match cursor.text()? {
            "" => "pg_catalog",
            schema => schema,
        };
        let name = cursor.text()?;
        let identity = cursor.byte()?;
        let count = cursor.u16()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let flags = cursor.byte()?;
            let name = quoted(cursor.text()?);
            cursor.take(8)?;
            columns.push(Column {
                name,
                is_key: flags & 1 == 1,
            });
        }
        let table = Table {
            names: format!("\"schema\":{},\"table\":{}", quoted(schema), quoted(name)),
            shown: format!("{schema}.{name}"),
            columns,
            identity,
        };
        self.tables.insert(oid, table);
        Ok(())
    }

    fn table(&self, oid: Oid, cursor: &Cursor<'_>) -> Result<&Table> {
        self.tables.get(&oid).ok_or_else(|| {
            let why = format!("table {oid} was not described");
            malformed(Plugin::Pgoutput, &why, cursor.whole)
        })
    }

    fn row(&self, tag: u8, cursor: &mut Cursor<'_>, out: &mut String) -> Result<Decoded> {
        let oid = cursor.u32()?;
        let table = self.table(oid, cursor)?;
        let (action, letter) = match tag {
            b'I' => (Action::Insert, "I"),
            b'U' => (Action::Update, "U"),
            _ => (Action::Delete, "D"),
        };
        out.push_str("{\"action\":\"");
        out.push_str(letter);
        out.push_str("\",");
        out.push_str(&table.names);
        let mut has_old = false;
        let mut part = cursor.byte()?;
        if matches!(part, b'K' | b'O') && action != Action::Insert {
            // The identity stands behind the columns in the line, and before them in the message.
            has_old = true;
            let full = part == b'O';
            let old = cursor.tuple()?;
            let mut identity = String::new();
            table.write_identity(&old, full, cursor, &mut identity)?;
            if action == Action::Update {
                part = cursor.byte()?;
                self.expect_new(part, cursor)?;
                let new = cursor.tuple()?;
                table.write_columns(&new, has_old, cursor, out)?;
            }
            out.push_str(&identity);
        } else {
            self.expect_new(part, cursor)?;
            let new = cursor.tuple()?;
            table.write_columns(&new, has_old || action == Action::Insert, cursor, out)?;
            if action == Action::Update {
                table.write_key(out);
            }
        }
        out.push('}');
        Ok(Decoded::plain(action))
    }

    #[allow(clippy::unused_self, reason = "reads as a part of `row`")]
    fn expect_new(&self, part: u8, cursor: &Cursor<'_>) -> Result<()> {
        if part == b'N' {
            return Ok(());
        }
        let why = format!("a tuple of kind \"{}\"", part.escape_ascii());
        Err(malformed(Plugin::Pgoutput, &why, cursor.whole))
    }

    fn truncate(&self, cursor: &mut Cursor<'_>, out: &mut String) -> Result<Decoded> {
        let count = cursor.u32()?;
        let options = cursor.byte()?;
        out.push_str("{\"action\":\"T\",\"tables\":[");
        for number in 0..count {
            if number > 0 {
                out.push(',');
            }
            let oid = cursor.u32()?;
            out.push('{');
            out.push_str(&self.table(oid, cursor)?.names);
            out.push('}');
        }
        out.push_str(if options & 1 == 1 {
            "],\"cascade\":true"
        } else {
            "],\"cascade\":false"
        });
        out.push_str(if options & 2 == 2 {
            ",\"restart\":true}"
        } else {
            ",\"restart\":false}"
        });
        Ok(Decoded::plain(Action::Truncate))
    }
}

/// Refuses bytes behind the end of a message.
fn whole(cursor: &Cursor<'_>) -> Result<()> {
    if cursor.rest.is_empty() {
        Ok(())
    } else {
        Err(malformed(Plugin::Pgoutput, "it is too long", cursor.whole))
    }
}

impl Table {
    /// The columns beside the values of a tuple.
    fn pairs<'t, 'v>(
        &'t self,
        values: &'v [Value<'v>],
        cursor: &Cursor<'_>,
    ) -> Result<impl Iterator<Item = (&'t Column, &'v Value<'v>)>> {
        if values.len() != self.columns.len() {
            let why = format!(
                "{} values for the {} columns of {}",
                values.len(),
                self.columns.len(),
                self.shown
            );
            return Err(malformed(Plugin::Pgoutput, &why, cursor.whole));
        }
        Ok(self.columns.iter().zip(values))
    }

    /// Writes `,"columns":[…]` and, where there are some, `,"unchanged":[…]`.
    fn write_columns(
        &self,
        values: &[Value<'_>],
        key_is_known: bool,
        cursor: &Cursor<'_>,
        out: &mut String,
    ) -> Result<()> {
        out.push_str(",\"columns\":[");
        let mut first = true;
        let mut unchanged = String::new();
        for (column, value) in self.pairs(values, cursor)? {
            if matches!(value, Value::Unchanged) {
                if column.is_key && !key_is_known {
                    return Err(self.unknown_key(column));
                }
                unchanged.push_str(if unchanged.is_empty() {
                    ",\"unchanged\":["
                } else {
                    ","
                });
                unchanged.push_str(&column.name);
                continue;
            }
            write_pair(column, value, &mut first, out);
        }
        out.push(']');
        if !unchanged.is_empty() {
            out.push_str(&unchanged);
            out.push(']');
        }
        Ok(())
    }

    /// Writes `,"identity":[…],"identity_kind":…`: of a key its columns alone, as the others are not
    /// known; of a full row all, null being null.
    fn write_identity(
        &self,
        values: &[Value<'_>],
        full: bool,
        cursor: &Cursor<'_>,
        out: &mut String,
    ) -> Result<()> {
        out.push_str(",\"identity\":[");
        let mut first = true;
        for (column, value) in self.pairs(values, cursor)? {
            if !full && !column.is_key {
                continue;
            }
            if matches!(value, Value::Unchanged) {
                return Err(self.unknown_key(column));
            }
            write_pair(column, value, &mut first, out);
        }
        out.push_str(if full {
            "],\"identity_kind\":\"full\""
        } else {
            "],\"identity_kind\":\"key\""
        });
        Ok(())
    }

    /// Writes `,"key":[…]`, where the table has an identity.
    fn write_key(&self, out: &mut String) {
        let mut opened = false;
        for column in self.columns.iter().filter(|column| column.is_key) {
            out.push_str(if opened { "," } else { ",\"key\":[" });
            opened = true;
            out.push_str(&column.name);
        }
        if opened {
            out.push(']');
        }
    }

    fn unknown_key(&self, column: &Column) -> Error {
        Error::new(
            Kind::Source,
            format!(
                "a change of table {} does not tell the value of column {}, which identifies the row",
                self.shown, column.name
            ),
        )
        .detail(format!("Its replica identity is \"{}\".", self.identity.escape_ascii()))
    }
}

/// Writes `{"name":…,"value":…}`.
fn write_pair(column: &Column, value: &Value<'_>, first: &mut bool, out: &mut String) {
    out.push_str(if *first { "{\"name\":" } else { ",{\"name\":" });
    *first = false;
    out.push_str(&column.name);
    out.push_str(",\"value\":");
    match value {
        Value::Text(text) => push_string(text, out),
        Value::Null | Value::Unchanged => out.push_str("null"),
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(identity: u8, columns: &[(&str, u8)]) -> Vec<u8> {
        let mut bytes = b"R\0\0\0\x07public\0a\"b\0".to_vec();
        bytes.push(identity);
        bytes.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for (name, flags) in columns {
            bytes.push(*flags);
            bytes.extend(name.as_bytes());
            bytes.extend(b"\0\0\0\0\x17\xff\xff\xff\xff");
        }
        bytes
    }

    fn line(decoder: &mut Pgoutput, message: &[u8]) -> String {
        let mut out = String::new();
        decoder.decode(message, &mut out).unwrap().unwrap();
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
        out
    }

    fn known() -> Pgoutput {
        let mut decoder = Pgoutput::default();
        let message = relation(b'd', &[("id", 1), ("v", 0)]);
        assert_eq!(decoder.decode(&message, &mut String::new()).unwrap(), None);
        decoder
    }

    #[test]
    fn rows_have_the_shape_of_wal2json() {
        let mut decoder = known();
        let head = r#""schema":"public","table":"a\"b""#;
        assert_eq!(
            line(
                &mut decoder,
                b"I\0\0\0\x07N\0\x02t\0\0\0\x011t\0\0\0\x03a\n'"
            ),
            format!(
                r#"{{"action":"I",{head},"columns":[{{"name":"id","value":"1"}},{{"name":"v","value":"a\n'"}}]}}"#
            )
        );
        assert_eq!(
            line(&mut decoder, b"U\0\0\0\x07N\0\x02t\0\0\0\x011u"),
            format!(
                r#"{{"action":"U",{head},"columns":[{{"name":"id","value":"1"}}],"unchanged":["v"],"key":["id"]}}"#
            )
        );
        assert_eq!(
            line(
                &mut decoder,
                b"U\0\0\0\x07K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x012n"
            ),
            format!(
                r#"{{"action":"U",{head},"columns":[{{"name":"id","value":"2"}},{{"name":"v","value":null}}],"identity":[{{"name":"id","value":"1"}}],"identity_kind":"key"}}"#
            )
        );
        assert_eq!(
            line(&mut decoder, b"D\0\0\0\x07O\0\x02t\0\0\0\x011n"),
            format!(
                r#"{{"action":"D",{head},"identity":[{{"name":"id","value":"1"}},{{"name":"v","value":null}}],"identity_kind":"full"}}"#
            )
        );
        assert_eq!(
            line(&mut decoder, b"T\0\0\0\x02\x03\0\0\0\x07\0\0\0\x07"),
            format!(
                r#"{{"action":"T","tables":[{{{head}}},{{{head}}}],"cascade":true,"restart":true}}"#
            )
        );
    }

    #[test]
    fn a_table_that_is_described_again_replaces_the_old_description() {
        let mut decoder = known();
        let message = relation(b'd', &[("id", 1), ("w", 0), ("x", 0)]);
        decoder.decode(&message, &mut String::new()).unwrap();
        let out = line(&mut decoder, b"I\0\0\0\x07N\0\x03nnn");
        assert!(out.contains("\"x\""), "{out}");
    }

    #[test]
    fn a_transaction_tells_its_commit() {
        let mut decoder = Pgoutput::default();
        let begin = b"B\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x05\0\0\0\x09";
        let told = decoder.decode(begin, &mut String::new()).unwrap().unwrap();
        assert_eq!(
            (told.xid, told.commit_lsn, told.commit_time),
            (Some(9), Some(Lsn(256)), Some(5))
        );
    }

    #[test]
    fn every_truncation_and_every_changed_byte_gives_a_value_or_an_error() {
        let samples: [&[u8]; 6] = [
            b"B\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x05\0\0\0\x09",
            b"I\0\0\0\x07N\0\x02t\0\0\0\x011t\0\0\0\x03abc",
            b"U\0\0\0\x07K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x012n",
            b"D\0\0\0\x07O\0\x02t\0\0\0\x011n",
            b"T\0\0\0\x02\x03\0\0\0\x07\0\0\0\x07",
            &relation(b'd', &[("id", 1), ("v", 0)]),
        ];
        for sample in samples {
            for end in 0..sample.len() {
                assert!(
                    known().decode(&sample[..end], &mut String::new()).is_err(),
                    "{end}"
                );
            }
            for at in 0..sample.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = sample.to_vec();
                    changed[at] = value;
                    let _any = known().decode(&changed, &mut String::new());
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_not_told_is_an_error() {
        let error = known()
            .decode(b"U\0\0\0\x07N\0\x02ut\0\0\0\x011", &mut String::new())
            .unwrap_err();
        assert!(error.message().contains("identifies the row"), "{error}");
    }
}
