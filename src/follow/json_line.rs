//! One line of a CDC JSON file, pipe or standard output: what was received, in arrival order.
//!
//! Pure. `receive` writes these lines, `transform` reads them, of its own and of the existing
//! program's files. A line ends with one newline and holds no other. Key order is fixed:
//!
//! ```text
//! change  {"action":A,"xid":"493","lsn":L,"timestamp":T[,"commit_lsn":L][,"end_lsn":L],"message":M}
//!         A: B begin, C commit, I insert, U update, D delete, T truncate, M logical message
//!         lsn: of the change; of C the end LSN; of B whatever the plugin says
//!         commit_lsn, end_lsn: of B only, where known: start of the commit record, first byte after it
//!         xid: "0" where the plugin does not tell it: that of the open transaction is meant
//!         M: test_decoding a string, its text; wal2json and pgoutput an object:
//!            {"action","schema","table","columns":[{"name","type"?,"value"}],"identity":[…]}
//!            pgoutput: values are strings or null, no "type"; also "identity_kind":"key"|"full" beside
//!            "identity", "unchanged":["column",…] for TOAST values that did not change (then absent
//!            from "columns"), "key":["column",…] the identity's columns where there is no "identity",
//!            "generated":["column",…] where the source publishes generated columns;
//!            T {"action","tables":[{"schema","table"}],"cascade":bool,"restart":bool};
//!            B {"action":"B"}, C {"action":"C"}
//! K       {"action":"K","lsn":L,"timestamp":T}   keepalive, outside of transactions only
//! X       {"action":"X","lsn":L}                 the next line stands in the file of that LSN
//! E       {"action":"E","lsn":L}                 receiving stopped here; L is an endpos, no record boundary
//! R       {"action":"R","lsn":L}                 what was written of the open transaction is void
//! J       {"action":"J","lsn":L,"file":F,"offset":N,"tli":N,"wal_segment_size":N}   first on a pipe
//! ```

use crate::error::{Error, Result};
use crate::units::{Lsn, Tli};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `B`: a transaction begins.
    Begin,
    /// `C`: it is complete.
    Commit,
    /// `I`.
    Insert,
    /// `U`.
    Update,
    /// `D`.
    Delete,
    /// `T`.
    Truncate,
    /// `M`: a logical message, which nobody applies.
    Message,
    /// `K`: nothing happened up to here.
    Keepalive,
    /// `X`: goes on in another file.
    Switch,
    /// `E`: the end that was asked for.
    End,
    /// `R`: the open transaction is void.
    Rollback,
    /// `J`: where a pipe begins.
    Join,
}

const LETTERS: [(Action, &str); 12] = [
    (Action::Begin, "B"),
    (Action::Commit, "C"),
    (Action::Insert, "I"),
    (Action::Update, "U"),
    (Action::Delete, "D"),
    (Action::Truncate, "T"),
    (Action::Message, "M"),
    (Action::Keepalive, "K"),
    (Action::Switch, "X"),
    (Action::End, "E"),
    (Action::Rollback, "R"),
    (Action::Join, "J"),
];

impl Action {
    /// Its letter.
    pub fn letter(self) -> &'static str {
        LETTERS
            .iter()
            .find(|(action, _)| *action == self)
            .map_or("?", |(_, letter)| letter)
    }

    /// The action of a letter.
    pub fn of_letter(letter: &str) -> Option<Self> {
        LETTERS
            .iter()
            .find(|(_, known)| *known == letter)
            .map(|(action, _)| *action)
    }

    /// Whether it is a change of rows: `I`, `U`, `D` or `T`.
    pub fn is_change(self) -> bool {
        matches!(
            self,
            Self::Insert | Self::Update | Self::Delete | Self::Truncate
        )
    }
}

/// What the plugin said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing: a line of ours.
    #[default]
    None,
    /// Text of `test_decoding`.
    Text(Cow<'a, str>),
    /// A JSON object, as it stands in the line.
    Object(&'a str),
}

/// The first line of a pipe: where the next line stands in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Name of the JSON file, without folder and without `.partial`.
    pub file: String,
    /// Offset of the next line in it.
    pub offset: u64,
    /// Current timeline.
    pub tli: Tli,
    /// Bytes of a WAL segment.
    pub wal_segment_size: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonLine<'a> {
    /// What it says.
    pub action: Action,
    /// The transaction, 0 where it is not told.
    pub xid: u32,
    /// Where; see the grammar above.
    pub lsn: Lsn,
    /// When, [`timestamp_text`]; of `B` and `C` of pgoutput the time of the commit.
    pub timestamp: Option<Cow<'a, str>>,
    /// Of `B`: start of the commit record.
    pub commit_lsn: Option<Lsn>,
    /// Of `B`: end LSN of the transaction.
    pub end_lsn: Option<Lsn>,
    /// What the plugin said.
    pub message: Message<'a>,
    /// Of `J` alone.
    pub join: Option<Join>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    xid: Option<Xid>,
    lsn: Option<Lsn>,
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    commit_lsn: Option<Lsn>,
    end_lsn: Option<Lsn>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    file: Option<String>,
    offset: Option<u64>,
    tli: Option<Tli>,
    wal_segment_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Xid {
    Number(u32),
    Text(String),
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> JsonLine<'a> {
    /// A line of ours with nothing but a position: `X`, `E`, `R`.
    pub fn mark(action: Action, lsn: Lsn) -> Self {
        Self {
            action,
            xid: 0,
            lsn,
            timestamp: None,
            commit_lsn: None,
            end_lsn: None,
            message: Message::None,
            join: None,
        }
    }

    /// Reads a line, with or without its newline. The error (`BadState`) says what is wrong with it;
    /// the caller adds file and offset.
    pub fn parse(line: &'a str) -> Result<Self> {
        let bad = |why: String| {
            let shown: String = line.chars().take(80).collect();
            Error::bad_state(format!("not a line of change data: {why}"))
                .detail(format!("It begins with {shown}"))
        };
        let fields: Fields<'a> =
            serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
        let action = Action::of_letter(&fields.action)
            .ok_or_else(|| bad(format!("unknown action \"{}\"", fields.action)))?;
        let xid = match fields.xid {
            None => 0,
            Some(Xid::Number(xid)) => xid,
            Some(Xid::Text(text)) => text
                .parse()
                .map_err(|_| bad(format!("\"{text}\" is no transaction id")))?,
        };
        let lsn = match (fields.lsn, action) {
            (Some(lsn), _) => lsn,
            (None, Action::Rollback) => Lsn::UNSET,
            (None, _) => return Err(bad("it has no lsn".to_owned())),
        };
        let message = match fields.message.map(RawValue::get) {
            None => Message::None,
            Some(raw) if raw.starts_with('"') => {
                let text: Text<'a> =
                    serde_json::from_str(raw).map_err(|error| bad(error.to_string()))?;
                Message::Text(text.0)
            }
            Some(raw) if raw.starts_with('{') => Message::Object(raw),
            Some(_) => return Err(bad("the message is no text and no object".to_owned())),
        };
        let join = match (
            fields.file,
            fields.offset,
            fields.tli,
            fields.wal_segment_size,
        ) {
            (Some(file), Some(offset), Some(tli), Some(wal_segment_size)) => Some(Join {
                file,
                offset,
                tli,
                wal_segment_size,
            }),
            _ if action == Action::Join => return Err(bad("a J line is incomplete".to_owned())),
            _ => None,
        };
        Ok(Self {
            action,
            xid,
            lsn,
            timestamp: fields.timestamp.map(|text| text.0),
            commit_lsn: fields.commit_lsn,
            end_lsn: fields.end_lsn,
            message,
            join,
        })
    }

    /// Appends the line with its newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing into memory cannot fail.
        let _infallible = self.try_write(out);
    }

    fn try_write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(out, "{{\"action\":\"{}\"", self.action.letter())?;
        if !matches!(self.message, Message::None) {
            write!(out, ",\"xid\":\"{}\"", self.xid)?;
        }
        write!(out, ",\"lsn\":\"{}\"", self.lsn)?;
        if let Some(timestamp) = &self.timestamp {
            write!(out, ",\"timestamp\":\"{timestamp}\"")?;
        }
        if let Some(lsn) = self.commit_lsn {
            write!(out, ",\"commit_lsn\":\"{lsn}\"")?;
        }
        if let Some(lsn) = self.end_lsn {
            write!(out, ",\"end_lsn\":\"{lsn}\"")?;
        }
        match &self.message {
            Message::None => {}
            Message::Text(text) => {
                out.extend_from_slice(b",\"message\":");
                write_string(text, out);
            }
            Message::Object(object) => {
                out.extend_from_slice(b",\"message\":");
                out.extend_from_slice(object.as_bytes());
            }
        }
        if let Some(join) = &self.join {
            out.extend_from_slice(b",\"file\":");
            write_string(&join.file, out);
            write!(
                out,
                ",\"offset\":{},\"tli\":{},\"wal_segment_size\":{}",
                join.offset, join.tli, join.wal_segment_size
            )?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Appends a JSON string with its quotes.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_string(text, &mut quoted);
    out.extend_from_slice(quoted.as_bytes());
}

/// Appends a JSON string with its quotes to a text.
pub fn push_string(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        // What is escaped is ASCII, so both ends lie between characters.
        out.push_str(text.get(copied..at).unwrap_or_default());
        if short.is_empty() {
            out.push_str("\\u00");
            for nibble in [byte >> 4, byte & 0xF] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        } else {
            out.push_str(short);
        }
        copied = at + 1;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out.push('"');
}

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// Prints a server's time, microseconds since 2000-01-01 UTC, as `2024-07-30 11:12:03.673700+0000`.
pub fn timestamp_text(micros: i64) -> String {
    let days = micros.div_euclid(DAY_MICROS) + EPOCH_DAYS;
    let of_day = micros.rem_euclid(DAY_MICROS);
    // Civil date from days, for all dates of the Gregorian calendar (Hinnant's algorithm).
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 {
        month_shifted + 3
    } else {
        month_shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{fraction:06}+0000",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &JsonLine<'_>) -> String {
        let mut out = Vec::new();
        line.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_read_back_as_they_were_written() {
        for text in [
            r#"{"action":"B","xid":"740","lsn":"0/5FFF000","timestamp":"2025-01-01 10:00:00.000100+0000","message":"BEGIN 740"}"#,
            r#"{"action":"B","xid":"740","lsn":"0/5FFF000","timestamp":"2025-01-01 10:00:00.000100+0000","commit_lsn":"0/6","end_lsn":"0/7","message":{"action":"B"}}"#,
            r#"{"action":"I","xid":"0","lsn":"0/5FFF000","message":"table public.t: INSERT: id[integer]:1 v[text]:'a''\"\\b\n\u0001é'"}"#,
            r#"{"action":"X","lsn":"0/6000060"}"#,
            r#"{"action":"R","lsn":"0/0"}"#,
            r#"{"action":"J","lsn":"0/1","file":"000000010000000000000005.json","offset":17,"tli":1,"wal_segment_size":16777216}"#,
        ] {
            let line = JsonLine::parse(text).unwrap();
            assert_eq!(written(&line), format!("{text}\n"));
        }
    }

    #[test]
    fn numbers_as_xid_and_unknown_keys_are_accepted() {
        let line =
            JsonLine::parse(r#"{"action":"C","xid":493,"nextlsn":"x","lsn":"0/1"}"#).unwrap();
        assert_eq!(
            (line.xid, line.action, line.lsn),
            (493, Action::Commit, Lsn(1))
        );
    }

    #[test]
    fn a_text_that_a_person_would_not_expect_stays_what_it_is() {
        let every: String = (1..0x300).filter_map(char::from_u32).collect();
        let mut out = Vec::new();
        write_string(&every, &mut out);
        assert!(!out.contains(&b'\n'));
        let mut pushed = String::new();
        push_string(&every, &mut pushed);
        assert_eq!(pushed.as_bytes(), out);
        let back: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(back, every);
    }

    #[test]
    fn what_is_no_line_is_refused_with_a_reason() {
        for bad in [
            "",
            "{",
            r#"{"action":"B","xid":"740","ls"#,
            r#"{"action":"Z","lsn":"0/1"}"#,
            r#"{"action":"B","lsn":"0/1","message":7}"#,
            r#"{"action":"B"}"#,
            r#"{"action":"J","lsn":"0/1"}"#,
            r#"{"action":"K","lsn":"0"}"#,
        ] {
            let error = JsonLine::parse(bad).unwrap_err();
            assert_eq!(error.kind().exit_code(), 3, "{bad}");
        }
    }

    #[test]
    fn times_are_utc_with_six_digits() {
        assert_eq!(timestamp_text(0), "2000-01-01 00:00:00.000000+0000");
        assert_eq!(timestamp_text(-1), "1999-12-31 23:59:59.999999+0000");
        // select extract(epoch from timestamptz '2024-02-29 11:12:03.6737+00' - '2000-01-01+00')
        assert_eq!(
            timestamp_text(762_520_323_673_700),
            "2024-02-29 11:12:03.673700+0000"
        );
    }
}
