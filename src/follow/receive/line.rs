//! The lines that receive makes of messages, and what the store has to know of them.
//!
//! Pure.

use crate::follow::json_line::{Action, JsonLine, Message};
use crate::units::Lsn;
use std::borrow::Cow;

/// What a line is about beyond its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The line's LSN.
    pub(super) lsn: Lsn,
    /// The transaction, 0 where it is not told.
    pub(super) xid: u32,
    /// Start of the commit record, unset where it is not told.
    pub(super) commit_lsn: Lsn,
    /// Time of the commit, 0 where it is not told.
    pub(super) commit_time: i64,
}

/// A line in pieces, as a value may be long: what stands before the message, with its key, and the
/// message. The end is added. A line without a message stands in `head` as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) head: &'a [u8],
    pub(super) message: &'a str,
}

impl Line<'_> {
    pub(super) fn len(&self) -> usize {
        let end = if self.message.is_empty() { 0 } else { 2 };
        self.head.len() + self.message.len() + end
    }
}

/// The head of a line of a change.
pub(super) fn head_of(action: Action, facts: Facts, timestamp: &str) -> Vec<u8> {
    let mut head = line_of(action, facts, None, timestamp, "");
    // Without the end, which follows the message.
    head.truncate(head.len() - 2);
    head
}

/// Writes the line of a message. `message` is JSON.
pub(super) fn line_of(
    action: Action,
    facts: Facts,
    end_lsn: Option<Lsn>,
    timestamp: &str,
    message: &str,
) -> Vec<u8> {
    let is_begin = action == Action::Begin;
    let mut line = Vec::with_capacity(message.len() + 160);
    JsonLine {
        action,
        xid: facts.xid,
        lsn: facts.lsn,
        timestamp: Some(Cow::Borrowed(timestamp)),
        commit_lsn: Some(facts.commit_lsn).filter(|lsn| is_begin && lsn.is_set()),
        end_lsn: end_lsn.filter(|_| is_begin),
        message: Message::Object(message),
        join: None,
    }
    .write(&mut line);
    line
}
