//! What the output plugins send: bytes to one line of change data each.
//!
//! Pure, no I/O. Runs in the receive process. A decoder says what a message is and writes its
//! `message` (a JSON string or object) for the line; values pass as the server's text, byte for byte.
//! A message that is not understood is an error: nothing is ever left out.

pub mod pgoutput;
pub mod test_decoding;
pub mod wal2json;

use super::files::Plugin;
use super::json_line::Action;
use crate::error::{Error, Kind, Result};
use crate::units::Lsn;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// `B`, `C`, `I`, `U`, `D`, `T` or `M`.
    pub action: Action,
    /// The transaction, where the message tells it.
    pub xid: Option<u32>,
    /// Start of the commit record, where `B` or `C` tell it.
    pub commit_lsn: Option<Lsn>,
    /// End of the transaction, where `B` tells it.
    pub end_lsn: Option<Lsn>,
    /// Time of the commit, microseconds since 2000-01-01 UTC, where `B` or `C` tell it.
    pub commit_time: Option<i64>,
}

impl Decoded {
    /// A message that tells nothing beyond what it is.
    pub fn plain(action: Action) -> Self {
        Self {
            action,
            xid: None,
            commit_lsn: None,
            end_lsn: None,
            commit_time: None,
        }
    }
}

/// How the server's text is encoded. pgoutput converts to UTF-8 by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8; other bytes are refused.
    Utf8,
    /// Latin 1: each byte is its character.
    Latin1,
}

/// The decoder of one stream.
#[derive(Debug)]
pub enum Decoder {
    /// Text.
    TestDecoding(Encoding),
    /// JSON.
    Wal2json(Encoding),
    /// Binary.
    Pgoutput(Box<pgoutput::Pgoutput>),
}

impl Decoder {
    /// A decoder for a new stream.
    pub fn new(plugin: Plugin, encoding: Encoding) -> Self {
        match plugin {
            Plugin::TestDecoding => Self::TestDecoding(encoding),
            Plugin::Wal2json => Self::Wal2json(encoding),
            Plugin::Pgoutput => Self::Pgoutput(Box::default()),
        }
    }

    /// Reads one message. `out` is emptied and gets the `message` of its line. None: a message that
    /// makes no line, such as the description of a table.
    pub fn decode(&mut self, payload: &[u8], out: &mut String) -> Result<Option<Decoded>> {
        out.clear();
        match self {
            Self::TestDecoding(encoding) => {
                let text = text(payload, *encoding)?;
                test_decoding::decode(&text, out).map(Some)
            }
            Self::Wal2json(encoding) => {
                let text = text(payload, *encoding)?;
                wal2json::decode(&text, out).map(Some)
            }
            Self::Pgoutput(decoder) => decoder.decode(payload, out),
        }
    }
}

/// The text of a message.
fn text(payload: &[u8], encoding: Encoding) -> Result<std::borrow::Cow<'_, str>> {
    match encoding {
        Encoding::Utf8 => std::str::from_utf8(payload)
            .map(std::borrow::Cow::Borrowed)
            .map_err(|_| not_utf8("a message", payload)),
        Encoding::Latin1 => Ok(payload.iter().copied().map(char::from).collect()),
    }
}

/// The error for bytes that are no UTF-8.
fn not_utf8(what: &str, bytes: &[u8]) -> Error {
    let shown: String = bytes
        .iter()
        .take(60)
        .flat_map(|byte| byte.escape_ascii())
        .map(char::from)
        .collect();
    Error::new(
        Kind::Source,
        format!("{what} of the source holds bytes that are not UTF-8"),
    )
    .detail(format!("It begins with {shown}"))
    .hint("Databases of encoding SQL_ASCII can be followed only while all their text is UTF-8.")
}

/// The error for a message that does not follow its plugin's grammar.
fn malformed(plugin: Plugin, why: &str, payload: &[u8]) -> Error {
    let shown: String = payload
        .iter()
        .take(60)
        .flat_map(|byte| byte.escape_ascii())
        .map(char::from)
        .collect();
    Error::new(
        Kind::Source,
        format!(
            "{} sent a message that is not understood: {why}",
            plugin.name()
        ),
    )
    .detail(format!("It begins with {shown}"))
    .hint("Nothing was lost: the source keeps what comes after the last complete transaction.")
}
