//! Bodies of changes, as each output plugin writes them, to one model.
//!
//! Pure: no I/O. Values stay the server's text, byte by byte. Bytes from outside may be anything:
//! what does not follow a plugin's grammar is an error, never a guess.

mod model;
mod object;
mod test_decoding;

pub use model::{Change, Decoded, Field, Old, Table, Value};

use super::json_line::{Action, JsonLine, Message};
use crate::error::{Error, Result};

/// Reads the message of a `B`, `C`, `I`, `U`, `D`, `T` or `M` line.
pub fn decode<'a>(line: &'a JsonLine<'_>) -> Result<Decoded<'a>> {
    let decoded = match (&line.message, line.action) {
        (_, Action::Begin | Action::Commit | Action::Message) | (Message::None, _) => {
            Decoded::Nothing
        }
        (Message::Text(text), _) => test_decoding::parse(text)?,
        (Message::Object(object), _) => object::parse(object, line.action)?,
    };
    match (&decoded, line.action.is_change()) {
        (Decoded::Nothing, true) => Err(bad("the line of a change holds none")),
        _ => Ok(decoded),
    }
}

/// What does not follow the grammar.
fn bad(why: impl std::fmt::Display) -> Error {
    Error::bad_state(format!("could not read a change: {why}"))
}
