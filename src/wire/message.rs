//! What a server says in `ErrorResponse` and `NoticeResponse`: turned into our errors and log lines.
//!
//! Runs in every process with a session, of this module or of the `postgres` crate. Writes log
//! lines. It must not show row values: they are cut out of messages, details and contexts.

use super::frame::{self, Malformed};
use crate::error::{Error, Kind};
use crate::notice;
use crate::units::Side;

/// SQLSTATE of a ROLLBACK that had nothing to do: who sends one after a failure wants to be certain, no more.
const NO_TRANSACTION: &str = "25P01";

/// The fields of an error or a notice that we use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerMessage {
    /// `ERROR`, `FATAL`, `WARNING`, … never translated where the server says it so (9.6 on).
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// The message.
    pub text: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
    /// CONTEXT.
    pub place: Option<String>,
    /// The constraint that was violated.
    pub constraint: Option<String>,
}

/// `[SOURCE 1234]`, the start of every message about a session; without the number before the
/// server has told it.
pub fn prefix(side: Side, backend_pid: i32) -> String {
    match backend_pid {
        0 => format!("[{}]", side.tag()),
        pid => format!("[{} {pid}]", side.tag()),
    }
}

/// Joins the lines of a text.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// True for errors about a value of a row, which they quote. Not those of a parameter, and of characters that an
/// encoding lacks: one character is what a person has to look for.
fn quotes_a_value(code: &str) -> bool {
    code.starts_with("22") && !matches!(code, "22023" | "22021" | "22P05")
}

/// A context without the row value that COPY appends: `COPY t, line 3, column a: "value"`. About a value, no line
/// may show what it is about: `JSON data, line 1: {"a": …`.
fn without_value(code: &str, context: &str) -> String {
    let lines = context.lines().map(|line| match line.find(": ") {
        Some(end) if line.starts_with("COPY ") || quotes_a_value(code) => &line[..end],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A message without the value that it quotes, in whatever language: `invalid input syntax for type integer: "value"`.
fn without_quoted(code: &str, text: &str) -> String {
    const QUOTES: [char; 6] = ['"', '»', '«', '„', '“', '”'];
    let found = (text.find(QUOTES), text.rfind(QUOTES));
    let (Some(first), Some(last)) = found else {
        return text.to_owned();
    };
    if !quotes_a_value(code) || first == last {
        return text.to_owned();
    }
    let rest = text[last..]
        .chars()
        .next()
        .map_or(last, |quote| last + quote.len_utf8());
    format!("{}\"...\"{}", &text[..first], &text[rest..])
}

/// A detail without the values of a row; `None`: nothing is left of it.
fn without_row(code: &str, detail: &str) -> Option<String> {
    if quotes_a_value(code) {
        // How large a number may be says nothing about a row.
        return Some(detail.to_owned()).filter(|_| code == "22003");
    }
    if !code.starts_with("23") {
        return Some(detail.to_owned());
    }
    if detail.starts_with("Failing row contains") {
        return None;
    }
    let Some((columns, rest)) = detail.split_once(")=(") else {
        return Some(detail.to_owned());
    };
    // `Key (a)=(1) already exists.`, `Key (r)=(1) conflicts with existing key (r)=(1).`
    let words = rest.rfind(") ").and_then(|at| rest.get(at + 1..));
    let words = words.filter(|words| !words.contains(")=("));
    Some(format!("{columns}){}", words.unwrap_or_default()))
}

impl ServerMessage {
    /// Reads the body of `E` or `N`.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut message = Self::default();
        let mut untranslated = None;
        for (code, text) in frame::fields(body)? {
            match code {
                b'S' => message.severity = text,
                b'V' => untranslated = Some(text),
                b'C' => message.code = text,
                b'M' => message.text = text,
                b'D' => message.detail = Some(text),
                b'H' => message.hint = Some(text),
                b'W' => message.place = Some(text),
                b'n' => message.constraint = Some(text),
                _ => {}
            }
        }
        if let Some(severity) = untranslated {
            message.severity = severity;
        }
        Ok(message)
    }

    /// The error to return, with the statement that brought it about.
    pub fn to_error(&self, side: Side, backend_pid: i32, sql: Option<&str>) -> Error {
        let text = format!(
            "{} {}: {}",
            prefix(side, backend_pid),
            self.severity,
            one_line(&without_quoted(&self.code, &self.text))
        );
        let mut error = Error::new(side.kind(), text);
        if self.code.len() == 5 {
            error = error.with_sqlstate(self.code.as_str());
        }
        let detail = self.detail.as_deref();
        let mut facts: Vec<String> = detail
            .and_then(|detail| without_row(&self.code, detail))
            .into_iter()
            .collect();
        if let Some(place) = &self.place {
            facts.push(format!("CONTEXT: {}", without_value(&self.code, place)));
        }
        if !facts.is_empty() {
            error = error.detail(facts.join("\n"));
        }
        if let Some(hint) = &self.hint {
            error = error.hint(one_line(hint));
        }
        match sql {
            Some(sql) => error.with_query(sql),
            None => error,
        }
    }

    /// Logs a notice: `WARNING` as such, all others as NOTICE.
    pub fn log(&self, side: Side, backend_pid: i32) {
        let mut text = format!(
            "{} {}: {}",
            prefix(side, backend_pid),
            self.severity,
            one_line(&self.text)
        );
        if let Some(detail) = &self.detail {
            text.push_str("; DETAIL: ");
            text.push_str(&one_line(detail));
        }
        if self.severity == "WARNING" && self.code != NO_TRANSACTION {
            log::warn!("{text}");
        } else {
            notice!("{text}");
        }
    }
}

/// Why a socket gave nothing, before it is known which session it belongs to.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The operating system or OpenSSL refused.
    Io(std::io::Error),
    /// The server closed the connection.
    Closed,
    /// The time limit of connecting has passed.
    TimedOut,
    /// The stop flag is set.
    Stopped,
    /// The server broke the protocol.
    Protocol(String),
}

impl From<Malformed> for Trouble {
    fn from(_: Malformed) -> Self {
        Self::Protocol("malformed message".to_owned())
    }
}

impl Trouble {
    /// The error to return.
    pub(super) fn to_error(&self, side: Side, backend_pid: i32) -> Error {
        let prefix = prefix(side, backend_pid);
        let transient =
            |what: &str| Error::new(side.kind(), format!("{prefix} {what}")).transient();
        match self {
            Self::Io(error) => transient(&format!("the connection to the server failed: {error}")),
            Self::Closed => transient("the server closed the connection unexpectedly"),
            Self::TimedOut => transient("the connection to the server timed out"),
            Self::Stopped => Error::new(
                Kind::Stopped(15),
                format!("{prefix} stopped while waiting for the server"),
            ),
            Self::Protocol(what) => Error::new(
                side.kind(),
                format!("{prefix} the server broke the protocol: {what}"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_broken_constraints_hold_no_value_of_a_row() {
        let bare = |detail: &str| without_row("23514", detail);
        assert_eq!(bare("Failing row contains (5, secret)."), None);
        assert_eq!(
            bare("Key (id, t)=(5, a) b) already exists.").as_deref(),
            Some("Key (id, t) already exists.")
        );
        assert_eq!(
            bare("Key (r)=([1,2)) conflicts with existing key (r)=([1,3)).").as_deref(),
            Some("Key (r)")
        );
        assert_eq!(
            bare("Nothing of the kind.").as_deref(),
            Some("Nothing of the kind.")
        );
        assert_eq!(
            without_row("42P01", "Key (a)=(1)").as_deref(),
            Some("Key (a)=(1)")
        );
    }

    #[test]
    fn a_message_about_a_value_does_not_hold_it() {
        let cases = [
            (
                "22P02",
                r#"invalid input syntax for type integer: "secret "2"""#,
                r#"invalid input syntax for type integer: "...""#,
            ),
            (
                "22003",
                r#"value "4711" is out of range for type integer"#,
                r#"value "..." is out of range for type integer"#,
            ),
            (
                "22P02",
                "ungültige Eingabesyntax für Typ integer: »secret«",
                r#"ungültige Eingabesyntax für Typ integer: "...""#,
            ),
            (
                "22001",
                "value too long for type character varying(3)",
                "value too long for type character varying(3)",
            ),
            (
                "22021",
                r#"invalid byte sequence for encoding "UTF8": 0xff"#,
                r#"invalid byte sequence for encoding "UTF8": 0xff"#,
            ),
            (
                "22023",
                r#"invalid value for parameter "a": "b""#,
                r#"invalid value for parameter "a": "b""#,
            ),
            (
                "42P01",
                r#"relation "t" does not exist"#,
                r#"relation "t" does not exist"#,
            ),
        ];
        for (code, said, shown) in cases {
            assert_eq!(without_quoted(code, said), shown);
        }
        assert_eq!(without_row("22P02", r#"Token "secret" is invalid."#), None);
        assert_eq!(
            without_value(
                "22P02",
                "JSON data, line 1: {\"a\": secret...\nCOPY t, line 1, column j: \"{secret\""
            ),
            "JSON data, line 1\nCOPY t, line 1, column j"
        );
    }

    #[test]
    fn an_error_has_all_that_the_server_said_but_row_values() {
        let body = b"SFEHLER\0VERROR\0C22P02\0Minvalid input\nsyntax\0Dfacts\0Hdo it\0\
            WCOPY t, line 3, column a: \"secret\"\nPL/pgSQL function f() line 1\0\0";
        let error = ServerMessage::parse(body)
            .unwrap()
            .to_error(Side::Target, 12, Some("copy t"));
        assert_eq!(
            error.lines(),
            [
                "[TARGET 12] ERROR: invalid input syntax [22P02]",
                "DETAIL: CONTEXT: COPY t, line 3, column a",
                "DETAIL: PL/pgSQL function f() line 1",
                "QUERY: copy t",
                "HINT: do it",
            ]
        );
    }
}
