//! What a client asks of a follow that listens, what it is answered, and both as bytes.
//!
//! Pure. The client sends its token and one request, the server one answer; then both close.
//!
//! ```text
//! message  version u8 = 2, type u8, length u16, payload of at most 1024 bytes; numbers are big endian
//! client   32 token (64 hexadecimal digits), then one of
//!          3 set endpos (u64), 4 sentinel?, 8 set startpos (u64), 9 set apply (u8), 10 prune (u8: only say),
//!          33 source?
//! server   5 sentinel (startpos, endpos, write, flush, replay, transform u64; apply u8),
//!          11 pruned (files, bytes, replay u64), 18 done, 19 endpos is set (before, replay u64),
//!          34 source (JSON), 99 error (exit code u8; message, detail, hint, a zero byte between them)
//! ```
//! The types of the existing program have its numbers, and version 1 its layout, which is that of its machine.

use crate::catalog::Sentinel;
use crate::error::{Error, Kind};
use crate::follow::endpos::Followed;
use crate::follow::prune::Pruned;
use crate::units::Lsn;
use std::fmt;

/// The version of these messages.
const VERSION: u8 = 2;
/// Bytes before the payload.
const HEAD: usize = 4;
/// Longest payload.
const PAYLOAD_MAX: usize = 1024;
/// Longest message.
pub(super) const MESSAGE_MAX: usize = HEAD + PAYLOAD_MAX;

const TOKEN: u8 = 32;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Where to stop.
    SetEndpos(Lsn),
    /// The sentinel.
    Sentinel,
    /// Where receiving began.
    SetStartpos(Lsn),
    /// Whether changes may be applied.
    SetApply(bool),
    /// Files of applied changes are to go.
    Prune {
        /// Only say which.
        dry_run: bool,
    },
    /// What is followed.
    Source,
}

/// What an endpos replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndposSet {
    /// The one before.
    pub before: Lsn,
    /// What is applied.
    pub replay_lsn: Lsn,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The sentinel, and what is transformed.
    Sentinel(Sentinel, Lsn),
    /// What was removed, or would be.
    Pruned(Pruned),
    /// It is done.
    Done,
    /// It is done.
    EndposSet(EndposSet),
    /// What is followed.
    Source(Followed),
    /// It is not done.
    Refused(Error),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetEndpos(lsn) => write!(f, "set endpos {lsn}"),
            Self::Sentinel => f.write_str("get"),
            Self::SetStartpos(lsn) => write!(f, "set startpos {lsn}"),
            Self::SetApply(true) => f.write_str("set apply"),
            Self::SetApply(false) => f.write_str("set prefetch"),
            Self::Prune { dry_run: true } => f.write_str("prune --dry-run"),
            Self::Prune { dry_run: false } => f.write_str("prune"),
            Self::Source => f.write_str("get the source"),
        }
    }
}

impl Request {
    /// Whether it changes anything.
    pub fn changes(self) -> bool {
        !matches!(
            self,
            Self::Sentinel | Self::Source | Self::Prune { dry_run: true }
        )
    }

    /// The bytes of the request behind those of the token.
    pub(super) fn encode(self, token: &str) -> Vec<u8> {
        let mut bytes = message(TOKEN, token.as_bytes());
        bytes.extend(match self {
            Self::SetEndpos(lsn) => message(3, &lsn.0.to_be_bytes()),
            Self::Sentinel => message(4, &[]),
            Self::SetStartpos(lsn) => message(8, &lsn.0.to_be_bytes()),
            Self::SetApply(apply) => message(9, &[u8::from(apply)]),
            Self::Prune { dry_run } => message(10, &[u8::from(dry_run)]),
            Self::Source => message(33, &[]),
        });
        bytes
    }

    fn decode(frame: &Frame<'_>) -> Option<Self> {
        let switch = || match frame.payload {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        };
        let lsn = || Some(Lsn(numbers::<1>(frame.payload)?[0]));
        match frame.kind {
            3 => lsn().map(Self::SetEndpos),
            8 => lsn().map(Self::SetStartpos),
            9 => switch().map(Self::SetApply),
            10 => switch().map(|dry_run| Self::Prune { dry_run }),
            4 if frame.payload.is_empty() => Some(Self::Sentinel),
            33 if frame.payload.is_empty() => Some(Self::Source),
            _ => None,
        }
    }
}

/// What was heard of a client so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// Less than a whole request.
    Part,
    /// A token, and what is asked for.
    Whole(&'a [u8], Request),
}

/// Reads what a client has sent so far. Errors: no client of ours sends that.
pub(super) fn heard(bytes: &[u8]) -> Result<Heard<'_>, String> {
    let Some(token) = frame(bytes)? else {
        return Ok(Heard::Part);
    };
    if token.kind != TOKEN {
        return Err("the first message is no token".to_owned());
    }
    let Some(request) = frame(token.rest)? else {
        return Ok(Heard::Part);
    };
    let kind = request.kind;
    let request = Request::decode(&request)
        .ok_or_else(|| format!("a message of type {kind} is none that can be answered"))?;
    Ok(Heard::Whole(token.payload, request))
}

impl Answer {
    /// The number of its type.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Sentinel(..) => 5,
            Self::Pruned(_) => 11,
            Self::Done => 18,
            Self::EndposSet(_) => 19,
            Self::Source(_) => 34,
            Self::Refused(_) => 99,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let payload = match self {
            Self::Sentinel(row, transformed) => {
                let mut payload = joined(&[
                    row.startpos,
                    row.endpos,
                    row.write_lsn,
                    row.flush_lsn,
                    row.replay_lsn,
                    *transformed,
                ]);
                payload.push(u8::from(row.apply));
                payload
            }
            Self::Pruned(pruned) => {
                joined(&[Lsn(pruned.files), Lsn(pruned.bytes), pruned.replayed])
            }
            Self::Done => Vec::new(),
            Self::EndposSet(set) => joined(&[set.before, set.replay_lsn]),
            Self::Source(followed) => match serde_json::to_vec(followed) {
                Ok(json) if json.len() <= PAYLOAD_MAX => json,
                _ => {
                    let error = Error::bad_state("what is followed does not fit into an answer")
                        .hint("Leave --source out and give a position, or use the command where the work directory is.");
                    return Self::Refused(error).encode();
                }
            },
            Self::Refused(error) => refusal(error),
        };
        message(self.kind(), &payload)
    }

    /// Reads an answer; none while it is not whole. Errors: it is no answer.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(frame) = frame(bytes)? else {
            return Ok(None);
        };
        let payload = frame.payload;
        let answer = match frame.kind {
            5 => sentinel(payload),
            11 => numbers(payload).map(|[files, bytes, replayed]| {
                Self::Pruned(Pruned {
                    files,
                    bytes,
                    replayed: Lsn(replayed),
                })
            }),
            18 => payload.is_empty().then_some(Self::Done),
            19 => numbers(payload).map(|[before, replayed]| {
                Self::EndposSet(EndposSet {
                    before: Lsn(before),
                    replay_lsn: Lsn(replayed),
                })
            }),
            34 => serde_json::from_slice(payload).ok().map(Self::Source),
            99 => refused(payload).map(Self::Refused),
            _ => None,
        };
        let kind = frame.kind;
        answer
            .map(Some)
            .ok_or_else(|| format!("a message of type {kind} is no answer"))
    }
}

/// A message within its bytes.
struct Frame<'a> {
    kind: u8,
    payload: &'a [u8],
    rest: &'a [u8],
}

/// The first message of some bytes; none while it is not whole.
fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, String> {
    if let Some(version) = bytes.first().filter(|version| **version != VERSION) {
        return Err(format!("messages of version {version} are not known"));
    }
    let Some((&[_, kind, high, low], rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > PAYLOAD_MAX {
        return Err(format!("a message of {length} bytes is too long"));
    }
    let whole = rest.split_at_checked(length);
    Ok(whole.map(|(payload, rest)| Frame {
        kind,
        payload,
        rest,
    }))
}

/// A message; `payload` has at most [`PAYLOAD_MAX`] bytes, what is longer is cut.
fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..PAYLOAD_MAX).unwrap_or(payload);
    let length = u16::try_from(payload.len()).unwrap_or(0);
    let mut bytes = vec![VERSION, kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn joined(numbers: &[Lsn]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.0.to_be_bytes())
        .collect()
}

fn numbers<const COUNT: usize>(payload: &[u8]) -> Option<[u64; COUNT]> {
    let (chunks, rest) = payload.as_chunks::<8>();
    let chunks: &[[u8; 8]; COUNT] = chunks.try_into().ok()?;
    rest.is_empty().then(|| chunks.map(u64::from_be_bytes))
}

fn sentinel(payload: &[u8]) -> Option<Answer> {
    let (apply, positions) = payload.split_last()?;
    let [
        startpos,
        endpos,
        write_lsn,
        flush_lsn,
        replay_lsn,
        transformed,
    ] = numbers(positions)?.map(Lsn);
    let row = Sentinel {
        startpos,
        endpos,
        apply: *apply == 1,
        write_lsn,
        flush_lsn,
        replay_lsn,
    };
    Some(Answer::Sentinel(row, transformed))
}

fn refusal(error: &Error) -> Vec<u8> {
    let texts = [
        Some(error.message()),
        error.detail_text(),
        error.hint_text(),
    ];
    let mut text = texts.map(Option::unwrap_or_default).join("\0");
    let mut end = text.len().min(PAYLOAD_MAX - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let mut payload = vec![error.kind().exit_code()];
    payload.extend(text.into_bytes());
    payload
}

fn refused(payload: &[u8]) -> Option<Error> {
    let (code, text) = payload.split_first()?;
    let kind = match code {
        1 => Kind::BadArgs,
        2 => Kind::BadConfig,
        3 => Kind::BadState,
        4 => Kind::Postgres,
        5 => Kind::Tool,
        6 => Kind::Source,
        7 => Kind::Target,
        _ => Kind::Internal,
    };
    let text = std::str::from_utf8(text).ok()?;
    let mut parts = text.split('\0');
    // A terminal is not to obey what came over the network.
    let mut part = || {
        let part = parts.next().unwrap_or_default();
        part.replace(|c: char| c.is_control() && c != '\n', "?")
    };
    let mut error = Error::new(kind, part().replace('\n', " "));
    let (detail, hint) = (part(), part());
    if !detail.is_empty() {
        error = error.detail(detail);
    }
    if !hint.is_empty() {
        error = error.hint(hint);
    }
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN_TEXT: &str = "0123456789abcdef";

    #[test]
    fn requests_survive_the_wire_and_a_part_of_one_is_waited_for() {
        for request in [
            Request::SetEndpos(Lsn(0x16_B374_D848)),
            Request::SetStartpos(Lsn(u64::MAX)),
            Request::SetApply(true),
            Request::SetApply(false),
            Request::Prune { dry_run: true },
            Request::Sentinel,
            Request::Source,
        ] {
            let bytes = request.encode(TOKEN_TEXT);
            let whole = Heard::Whole(TOKEN_TEXT.as_bytes(), request);
            assert_eq!(heard(&bytes), Ok(whole));
            for end in 0..bytes.len() {
                assert_eq!(heard(&bytes[..end]), Ok(Heard::Part), "{request:?} {end}");
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_manual() {
        let bytes = Request::SetEndpos(Lsn(0x0102_0304_0506_0708)).encode("ab");
        let expected = [2, 32, 0, 2, b'a', b'b', 2, 3, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(bytes, expected);
        assert_eq!(Answer::Done.encode(), [2, 18, 0, 0]);
    }

    #[test]
    fn answers_survive_the_wire() {
        let row = Sentinel {
            startpos: Lsn(1),
            endpos: Lsn(2),
            apply: true,
            write_lsn: Lsn(3),
            flush_lsn: Lsn(4),
            replay_lsn: Lsn(5),
        };
        let followed = Followed {
            system_id: Some("7".to_owned()),
            database_oid: Some("5".to_owned()),
            source_uri: Some("postgres://h/d".to_owned()),
            timeline: Some(1),
        };
        let error = Error::bad_state("é no").detail("so").hint("Do.");
        let pruned = Pruned {
            files: 1,
            bytes: 2,
            replayed: Lsn(3),
        };
        let set = EndposSet {
            before: Lsn(8),
            replay_lsn: Lsn(9),
        };
        for answer in [
            Answer::Sentinel(row, Lsn(6)),
            Answer::Pruned(pruned),
            Answer::Done,
            Answer::EndposSet(set),
            Answer::Source(followed),
            Answer::Refused(error),
        ] {
            let bytes = answer.encode();
            let read = Answer::decode(&bytes).unwrap().unwrap();
            assert_eq!(format!("{read:?}"), format!("{answer:?}"));
            for end in 0..bytes.len() {
                assert!(Answer::decode(&bytes[..end]).unwrap().is_none());
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut_or_refused_and_never_sent() {
        let long = Error::internal("é".repeat(5000));
        let bytes = Answer::Refused(long).encode();
        assert!(bytes.len() <= MESSAGE_MAX);
        assert!(matches!(
            Answer::decode(&bytes),
            Ok(Some(Answer::Refused(_)))
        ));
        let followed = Followed {
            source_uri: Some("x".repeat(2000)),
            ..Followed::default()
        };
        let read = Answer::decode(&Answer::Source(followed).encode());
        assert!(matches!(read, Ok(Some(Answer::Refused(_)))));
    }

    #[test]
    fn garbage_is_refused_at_the_first_byte_that_tells() {
        assert!(heard(b"GET / HTTP/1.0\r\n").is_err());
        assert!(heard(&[1]).is_err(), "the existing program");
        assert!(heard(&[2, TOKEN, 4, 1]).is_err(), "too long");
        assert!(heard(&[2, 4, 0, 0]).is_err(), "no token");
        let mut other = message(TOKEN, b"x");
        other.extend(message(3, &[1, 2, 3]));
        assert!(heard(&other).is_err(), "a position of three bytes");
        // A generator that is good enough to look for panics.
        let mut state = 0x1234_5678_u32;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..24)
                .map(|at| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let byte = u8::try_from(state >> 24).unwrap_or(0);
                    if at % 4 == 0 { byte % 4 } else { byte % 40 }
                })
                .collect();
            let _any = (heard(&bytes).is_ok(), Answer::decode(&bytes).is_ok());
        }
    }
}
