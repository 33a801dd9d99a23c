//! One line of an SQL file or pipe.
//!
//! Pure. The grammar stands in `transform`; files of the existing program follow it, too. A line that
//! is none of these is an error: nothing is guessed.

use crate::error::{Error, Result};
use crate::units::Lsn;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What stands behind `-- ` in a line that begins or ends a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The transaction, 0 where it is not told.
    pub(super) xid: u32,
    /// Of BEGIN the first change, of COMMIT the end LSN.
    pub(super) lsn: Lsn,
    /// When it was committed, as the server wrote it; empty where it is not told.
    pub(super) timestamp: String,
    /// Of BEGIN: the end LSN, where it is known.
    pub(super) end: Option<Lsn>,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SqlLine<'a> {
    Begin(Meta),
    Commit(Meta),
    Rollback,
    /// A statement and the number by which EXECUTE names it.
    Prepare(u32, &'a str),
    /// The number, and a JSON array of values with its brackets.
    Execute(u32, &'a str),
    /// A TRUNCATE.
    Truncate(&'a str),
    /// A REFRESH MATERIALIZED VIEW.
    Refresh(&'a str),
    Keepalive(Meta),
    Switch(Lsn),
    Endpos(Lsn),
    Join(Lsn),
    /// A change that no statement can make; the JSON object behind the word.
    Conflict(&'a str),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u32),
    Text(String),
}

#[derive(Deserialize)]
struct Fields {
    xid: Option<Number>,
    lsn: Option<Lsn>,
    timestamp: Option<String>,
    commit_lsn: Option<Lsn>,
}

fn bad(why: &str) -> Error {
    Error::bad_state(format!("could not read a line of SQL: {why}")).hint(
        "Files of change data must not be changed by hand; transform can make this one again.",
    )
}

fn meta(text: &str) -> Result<Meta> {
    let fields: Fields = serde_json::from_str(text.trim_end()).map_err(|error| {
        bad(&format!(
            "what stands behind its dashes is no JSON: {error}"
        ))
    })?;
    let xid = match fields.xid {
        None => 0,
        Some(Number::Number(xid)) => xid,
        Some(Number::Text(text)) => text.parse().map_err(|_| bad("the xid is no number"))?,
    };
    Ok(Meta {
        xid,
        lsn: fields.lsn.unwrap_or_default(),
        timestamp: fields.timestamp.unwrap_or_default(),
        end: fields.commit_lsn.filter(|lsn| lsn.is_set()),
    })
}

fn position(text: &str) -> Result<Lsn> {
    let meta = meta(text)?;
    if meta.lsn.is_set() {
        Ok(meta.lsn)
    } else {
        Err(bad("it has no lsn"))
    }
}

impl<'a> SqlLine<'a> {
    /// Reads a line without its newline; none for an empty one.
    pub(super) fn parse(line: &'a str) -> Result<Option<Self>> {
        let line = line.trim_end_matches('\r');
        let parsed = if let Some(rest) = line.strip_prefix("EXECUTE ") {
            let at = rest.find('[').ok_or_else(|| bad("EXECUTE has no values"))?;
            let (hash, values) = rest.split_at(at);
            Self::Execute(number(hash)?, values.trim_end_matches(';'))
        } else if let Some(rest) = line.strip_prefix("PREPARE ") {
            let (hash, text) = rest
                .split_once(" AS ")
                .ok_or_else(|| bad("PREPARE has no statement"))?;
            Self::Prepare(number(hash)?, text.strip_suffix(';').unwrap_or(text))
        } else if let Some(rest) = line.strip_prefix("BEGIN; -- ") {
            Self::Begin(meta(rest)?)
        } else if let Some(rest) = line.strip_prefix("COMMIT; -- ") {
            let meta = meta(rest)?;
            if !meta.lsn.is_set() {
                return Err(bad("COMMIT has no lsn"));
            }
            Self::Commit(meta)
        } else if line == "ROLLBACK;" || line.starts_with("ROLLBACK; -- ") {
            Self::Rollback
        } else if line.starts_with("TRUNCATE ") {
            Self::Truncate(line.strip_suffix(';').unwrap_or(line))
        } else if line.starts_with("REFRESH MATERIALIZED VIEW ") {
            Self::Refresh(line.strip_suffix(';').unwrap_or(line))
        } else if let Some(rest) = line.strip_prefix("-- ") {
            return Self::remark(rest).map(Some);
        } else if line.is_empty() {
            return Ok(None);
        } else {
            return Err(bad("it is no statement of change data"));
        };
        Ok(Some(parsed))
    }

    fn remark(rest: &'a str) -> Result<Self> {
        if let Some(rest) = rest.strip_prefix("KEEPALIVE ") {
            position(rest)?;
            meta(rest).map(Self::Keepalive)
        } else if let Some(rest) = rest.strip_prefix("SWITCH WAL ") {
            position(rest).map(Self::Switch)
        } else if let Some(rest) = rest.strip_prefix("ENDPOS ") {
            position(rest).map(Self::Endpos)
        } else if let Some(rest) = rest.strip_prefix("JOIN ") {
            position(rest).map(Self::Join)
        } else if let Some(rest) = rest.strip_prefix("CONFLICT ") {
            let _checked: IgnoredAny =
                serde_json::from_str(rest).map_err(|error| bad(&error.to_string()))?;
            Ok(Self::Conflict(rest))
        } else {
            Err(bad("an unknown remark"))
        }
    }
}

fn number(text: &str) -> Result<u32> {
    u32::from_str_radix(text.trim_end(), 16).map_err(|_| bad("a statement has no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> SqlLine<'_> {
        SqlLine::parse(line).unwrap().unwrap()
    }

    #[test]
    fn every_line_of_the_format_is_read() {
        let begin = r#"BEGIN; -- {"xid":493,"lsn":"0/24EFBE0","timestamp":"2024-07-30 11:12:03.673700+0000","commit_lsn":"0/24F0060"}"#;
        assert_eq!(
            parse(begin),
            SqlLine::Begin(Meta {
                xid: 493,
                lsn: Lsn(0x24E_FBE0),
                timestamp: "2024-07-30 11:12:03.673700+0000".to_owned(),
                end: Some(Lsn(0x24F_0060)),
            })
        );
        assert_eq!(
            parse("PREPARE d003ca15 AS INSERT INTO t (a) VALUES ($1);"),
            SqlLine::Prepare(0xd003_ca15, "INSERT INTO t (a) VALUES ($1)")
        );
        assert_eq!(
            parse(r#"EXECUTE d003ca15["];",null];"#),
            SqlLine::Execute(0xd003_ca15, r#"["];",null]"#)
        );
        assert_eq!(
            parse("TRUNCATE ONLY public.t"),
            parse("TRUNCATE ONLY public.t;")
        );
        assert_eq!(
            parse(r#"-- SWITCH WAL {"lsn":"0/1"}"#),
            SqlLine::Switch(Lsn(1))
        );
        assert_eq!(parse(r#"-- ENDPOS {"lsn":"0/2"}"#), SqlLine::Endpos(Lsn(2)));
        assert_eq!(parse(r#"-- JOIN {"lsn":"0/3"}"#), SqlLine::Join(Lsn(3)));
        assert_eq!(parse("ROLLBACK;"), SqlLine::Rollback);
        assert_eq!(
            parse(r#"ROLLBACK; -- {"xid":1,"lsn":"0/0"}"#),
            SqlLine::Rollback
        );
        assert!(matches!(
            parse(r#"-- KEEPALIVE {"lsn":"0/24EFEC8","timestamp":"t"}"#),
            SqlLine::Keepalive(_)
        ));
        assert!(matches!(
            parse(r#"COMMIT; -- {"xid":"7","lsn":"0/9"}"#),
            SqlLine::Commit(_)
        ));
        assert_eq!(SqlLine::parse("").unwrap(), None);
    }

    #[test]
    fn anything_else_is_an_error() {
        for line in [
            "DROP TABLE t;",
            "BEGIN;",
            "COMMIT; -- {}",
            "EXECUTE zz[]",
            "EXECUTE 1(1)",
            "PREPARE 1 select",
            "-- a remark",
            r#"-- SWITCH WAL {"lsn":"x"}"#,
            "-- SWITCH WAL {}",
            "BEGIN; -- {",
        ] {
            assert!(SqlLine::parse(line).is_err(), "{line}");
        }
    }
}
