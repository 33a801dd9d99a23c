//! JSON objects: wal2json's (format version 2) and the same shape written of pgoutput's messages.
//!
//! Pure. Numbers keep their text: no conversion could hold every int8, numeric or float.

use super::model::{Change, Decoded, Field, Old, Table, Value};
use super::{Error, Result, bad};
use crate::follow::json_line::Action;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    schema: Option<Text<'a>>,
    #[serde(borrow)]
    table: Option<Text<'a>>,
    #[serde(borrow, default)]
    columns: Option<Vec<Column<'a>>>,
    #[serde(borrow, default)]
    identity: Option<Vec<Column<'a>>>,
    #[serde(borrow)]
    identity_kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    unchanged: Vec<Text<'a>>,
    #[serde(borrow, default)]
    key: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    generated: Vec<Text<'a>>,
    #[serde(borrow, default)]
    tables: Option<Vec<Name<'a>>>,
    #[serde(default)]
    cascade: bool,
    #[serde(default)]
    restart: bool,
    /// Only version 1 of wal2json's format has it.
    change: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Column<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, rename = "type")]
    type_name: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Name<'a> {
    #[serde(borrow)]
    schema: Text<'a>,
    #[serde(borrow)]
    table: Text<'a>,
}

/// Borrows where no escape stands in the way.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn value<'a>(column: &Column<'a>) -> Result<Value<'a>> {
    let Some(raw) = column.value.map(RawValue::get) else {
        return Ok(Value::Null);
    };
    let text = match raw.as_bytes().first() {
        Some(b'"') => {
            let text: Text<'a> = serde_json::from_str(raw).map_err(bad)?;
            text.0
        }
        Some(b'{' | b'[') => {
            return Err(bad(format!("column \"{}\" is no text", column.name.0)));
        }
        Some(b'n') => return Ok(Value::Null),
        // true, false, or a number.
        _ => Cow::Borrowed(raw),
    };
    // wal2json writes the digits alone.
    let is_bytea = column
        .type_name
        .as_ref()
        .is_some_and(|name| name.0 == "bytea");
    if is_bytea && !text.starts_with("\\x") {
        return Ok(Value::Text(Cow::Owned(format!("\\x{text}"))));
    }
    Ok(Value::Text(text))
}

fn fields<'a>(columns: Vec<Column<'a>>, generated: &[Text<'_>]) -> Result<Vec<Field<'a>>> {
    columns
        .into_iter()
        .filter(|column| !generated.iter().any(|name| name.0 == column.name.0))
        .map(|column| {
            Ok(Field {
                value: value(&column)?,
                name: column.name.0,
            })
        })
        .collect()
}

/// Reads the object of a `I`, `U`, `D` or `T` line.
pub(super) fn parse(text: &str, action: Action) -> Result<Decoded<'_>> {
    let object: Object<'_> = serde_json::from_str(text).map_err(bad)?;
    if object.change.is_some() {
        return Err(old_format());
    }
    let Object {
        schema,
        table,
        columns,
        identity,
        key,
        generated,
        ..
    } = object;
    if action == Action::Truncate {
        return truncate(object.tables, schema, table, object.cascade, object.restart);
    }
    let (Some(schema), Some(table)) = (schema, table) else {
        return Err(bad("it names no table"));
    };
    let table = Table {
        schema: schema.0,
        name: table.0,
    };
    let mut new = fields(columns.unwrap_or_default(), &generated)?;
    new.extend(object.unchanged.into_iter().map(|name| Field {
        name: name.0,
        value: Value::Unchanged,
    }));
    let full = object.identity_kind.is_some_and(|kind| kind.0 == "full");
    let old = match (identity, key) {
        (Some(identity), _) => Old::Fields {
            fields: fields(identity, &generated)?,
            full,
            sparse: false,
        },
        (None, Some(key)) => Old::Unchanged(key.into_iter().map(|name| name.0).collect()),
        (None, None) => Old::Nothing,
    };
    Ok(Decoded::Change(match action {
        Action::Insert => Change::Insert { table, new },
        Action::Update => Change::Update { table, new, old },
        Action::Delete => Change::Delete { table, old },
        _ => return Ok(Decoded::Nothing),
    }))
}

fn truncate<'a>(
    tables: Option<Vec<Name<'a>>>,
    schema: Option<Text<'a>>,
    table: Option<Text<'a>>,
    cascade: bool,
    restart: bool,
) -> Result<Decoded<'a>> {
    let tables = match (tables, schema, table) {
        (Some(tables), ..) => tables
            .into_iter()
            .map(|name| Table {
                schema: name.schema.0,
                name: name.table.0,
            })
            .collect(),
        (None, Some(schema), Some(table)) => vec![Table {
            schema: schema.0,
            name: table.0,
        }],
        _ => return Err(bad("a TRUNCATE names no table")),
    };
    Ok(Decoded::Change(Change::Truncate {
        tables,
        cascade,
        restart,
    }))
}

fn old_format() -> Error {
    bad("it is of wal2json's format version 1")
        .hint("Only version 2 tells one change from the next; this program asks for it by itself.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str, action: Action) -> Change<'_> {
        match parse(text, action).unwrap() {
            Decoded::Change(change) => change,
            Decoded::Nothing => panic!("no change"),
        }
    }

    fn shown(fields: &[Field<'_>]) -> Vec<String> {
        fields
            .iter()
            .map(|field| match &field.value {
                Value::Null => format!("{}=NULL", field.name),
                Value::Unchanged => format!("{}=?", field.name),
                Value::Text(text) => format!("{}={text}", field.name),
            })
            .collect()
    }

    #[test]
    fn numbers_keep_every_digit_and_bytea_gets_its_prefix() {
        let Change::Insert { table, new } = change(
            r#"{"action":"I","schema":"pub\"lic","table":"t.x","columns":[
                {"name":"a","type":"bigint","value":9223372036854775807},
                {"name":"b","type":"numeric","value":0.00000000000000006938893903907228},
                {"name":"c","type":"double precision","value":1e+300},
                {"name":"d","type":"bytea","value":"00ff"},{"name":"e","type":"boolean","value":true},
                {"name":"f","type":"text","value":"a\n\u00e9\""},{"name":"g","type":"text","value":null},
                {"name":"h","type":"text","value":"null"}]}"#,
            Action::Insert,
        ) else {
            panic!("an insert")
        };
        assert_eq!((&*table.schema, &*table.name), ("pub\"lic", "t.x"));
        assert_eq!(
            shown(&new),
            [
                "a=9223372036854775807",
                "b=0.00000000000000006938893903907228",
                "c=1e+300",
                "d=\\x00ff",
                "e=true",
                "f=a\né\"",
                "g=NULL",
                "h=null",
            ]
        );
    }

    #[test]
    fn what_pgoutput_tells_beside_the_columns_is_read() {
        let Change::Update { new, old, .. } = change(
            r#"{"action":"U","schema":"s","table":"t","columns":[{"name":"a","value":"1"},
                {"name":"g","value":"9"}],"unchanged":["b"],"key":["a"],"generated":["g"]}"#,
            Action::Update,
        ) else {
            panic!("an update")
        };
        assert_eq!(shown(&new), ["a=1", "b=?"]);
        assert_eq!(old, Old::Unchanged(vec!["a".into()]));
        let Change::Delete { old, .. } = change(
            r#"{"action":"D","schema":"s","table":"t","identity":[{"name":"a","value":"1"},
                {"name":"b","value":null}],"identity_kind":"full"}"#,
            Action::Delete,
        ) else {
            panic!("a delete")
        };
        let Old::Fields {
            fields,
            full,
            sparse,
        } = old
        else {
            panic!("an image")
        };
        assert!(full && !sparse);
        assert_eq!(shown(&fields), ["a=1", "b=NULL"]);
    }

    #[test]
    fn a_truncate_names_one_table_or_many() {
        let one = r#"{"action":"T","schema":"s","table":"t"}"#;
        let many = r#"{"action":"T","tables":[{"schema":"s","table":"t"},{"schema":"s","table":"u"}],"cascade":true,"restart":false}"#;
        for (text, count, flag) in [(one, 1, false), (many, 2, true)] {
            let Change::Truncate {
                tables, cascade, ..
            } = change(text, Action::Truncate)
            else {
                panic!("a truncate")
            };
            assert_eq!((tables.len(), cascade), (count, flag));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            r#"{"change":[]}"#,
            r#"{"action":"I","table":"t"}"#,
            r#"{"action":"I","schema":"s","table":"t","columns":[{"name":"a","value":{"b":1}}]}"#,
            r#"{"action":"I","schema":"s","table":"t","columns":[{"value":1}]}"#,
            "{",
        ] {
            assert!(parse(text, Action::Insert).is_err(), "{text}");
        }
    }
}
