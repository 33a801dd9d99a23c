//! Sessions against recorded server bytes: whatever arrives, and wherever it ends, no panic.
//!
//! Runs in the test program. Uses socket pairs, no server.

use super::link::{Link, Raw};
use super::session::Session;
use crate::error::Kind;
use crate::units::Side;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A session whose server end is the second value.
fn pair() -> (Session, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut link = Link::new(Raw::Unix(ours), Instant::now() + Duration::from_secs(5));
    link.established();
    (Session::new(link, Side::Target), theirs)
}

/// A session whose server says `bytes` and hangs up.
fn saying(bytes: &[u8]) -> Session {
    let (session, mut server) = pair();
    server.write_all(bytes).unwrap();
    server.shutdown(std::net::Shutdown::Write).unwrap();
    // Kept open for reading, so that what the session sends goes somewhere.
    std::thread::spawn(move || std::io::copy(&mut server, &mut std::io::sink()));
    session
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

fn join(messages: &[(u8, &[u8])]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|(tag, body)| message(*tag, body))
        .collect()
}

const NOTICE: (u8, &[u8]) = (b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhi\0\0");
const FAILURE: (u8, &[u8]) = (b'E', b"SERROR\0VERROR\0C42P01\0Mno such table\0\0");
const READY: (u8, &[u8]) = (b'Z', b"I");

#[test]
fn a_query_is_answered_only_by_the_whole_of_what_the_server_says() {
    let answer = join(&[
        (b'T', b"\0\0"),
        (b'D', b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"),
        (b'S', b"TimeZone\0UTC\0"),
        NOTICE,
        (b'C', b"SELECT 1\0"),
        (b'A', b"\0\0\0\x01x\0\0"),
        READY,
    ]);
    for end in 0..answer.len() {
        let mut session = saying(&answer[..end]);
        let error = session.simple("select").unwrap_err();
        assert!(
            error.is_transient() && error.kind() == Kind::Target,
            "{end}: {error}"
        );
        assert!(session.is_broken());
        assert!(session.simple("select").is_err());
    }
    let mut session = saying(&answer);
    let results = session.simple("select").unwrap();
    assert_eq!(results[0].rows, [[Some("a".to_owned()), None]]);
    assert_eq!(session.parameter("TimeZone"), Some("UTC"));
}

#[test]
fn changed_bytes_give_a_result_or_an_error() {
    let answer = join(&[
        (b'T', b"\0\0"),
        (b'D', b"\0\x01\0\0\0\x01a"),
        (b'C', b"SELECT 1\0"),
        READY,
    ]);
    for position in 0..answer.len() {
        for value in [0, 1, b'd', b'E', b'G', b'W', 0x80, 0xff] {
            let mut changed = answer.clone();
            changed[position] = value;
            let _any = saying(&changed).simple("select");
            let _any = saying(&changed).copy_out("copy").map(|mut copy| {
                while let Ok(true) = copy.read(&mut Vec::new(), 10) {}
            });
            let _any = saying(&changed)
                .copy_in("copy")
                .and_then(super::CopyIn::finish);
        }
    }
}

#[test]
fn after_an_error_the_session_can_be_used_again() {
    let mut session = saying(&join(&[FAILURE, READY, (b'C', b"SELECT 0\0"), READY]));
    let error = session.simple("select * from x").unwrap_err();
    assert_eq!(error.sqlstate(), Some("42P01"));
    assert_eq!(session.simple("select").unwrap()[0].tag, "SELECT 0");
}

#[test]
fn replication_is_refused_in_words() {
    let mut session = saying(&message(b'W', b"\0\0\0"));
    let error = session.simple("START_REPLICATION").unwrap_err();
    assert!(error.message().contains("CopyBothResponse"), "{error}");
}

#[test]
fn copied_bytes_are_the_same_however_they_arrive_and_are_taken() {
    let rows: Vec<Vec<u8>> = (0..200_usize).map(|n| vec![b'x'; n * 7 % 1000]).collect();
    let mut stream = message(b'H', b"\0\0\0");
    for row in &rows {
        stream.extend(message(b'd', row));
        stream.extend(message(NOTICE.0, NOTICE.1));
    }
    stream.extend(join(&[(b'c', b""), (b'C', b"COPY 200\0"), READY]));
    for limit in [0, 1, 100, 5000, 1 << 20] {
        for chunk in [1, 3, 1000, usize::MAX] {
            let (mut session, mut server) = pair();
            let sent = stream.clone();
            let thread = std::thread::spawn(move || {
                for piece in sent.chunks(chunk.min(sent.len())) {
                    server.write_all(piece).unwrap();
                }
                server
            });
            let mut copy = session.copy_out("copy").unwrap();
            let (mut all, mut part) = (Vec::new(), Vec::new());
            while copy.read(&mut part, limit).unwrap() {
                assert!(part.len() <= limit.max(1));
                all.append(&mut part);
            }
            assert_eq!(copy.finish().unwrap(), 200);
            assert!(all == rows.concat() && !session.is_broken());
            drop(thread.join().unwrap());
        }
    }
}

#[test]
fn a_copy_that_ends_early_is_an_error_and_breaks_the_session() {
    let stream = join(&[
        (b'H', b"\0\0\0"),
        (b'd', b"row\n"),
        (b'c', b""),
        (b'C', b"COPY 1\0"),
        READY,
    ]);
    for end in 0..stream.len() {
        let mut session = saying(&stream[..end]);
        let outcome = session.copy_out("copy").and_then(|mut copy| {
            while copy.read(&mut Vec::new(), 100)? {}
            copy.finish()
        });
        assert!(outcome.is_err() && session.is_broken(), "{end}");
    }
    let mut session = saying(&stream);
    drop(session.copy_out("copy").unwrap());
    assert!(session.is_broken());
}

#[test]
fn a_target_that_fails_early_ends_the_copy_without_waiting_for_its_end() {
    let (mut session, mut server) = pair();
    server.write_all(&join(&[(b'G', b"\0\0\0")])).unwrap();
    let thread = std::thread::spawn(move || {
        let mut seen = vec![0; 100_000];
        server.read_exact(&mut seen).unwrap();
        server.write_all(&join(&[FAILURE, READY])).unwrap();
        std::io::copy(&mut server, &mut std::io::sink()).unwrap();
    });
    let mut copy = session.copy_in("copy").unwrap();
    let payload = vec![b'x'; 100_000];
    let error = (0..10_000).find_map(|_| copy.send(&payload).err()).unwrap();
    assert_eq!(error.sqlstate(), Some("42P01"));
    drop(copy);
    assert!(!session.is_broken());
    drop(session);
    thread.join().unwrap();
}

#[test]
fn payloads_of_every_size_arrive_whole_and_in_order() {
    let (mut session, mut server) = pair();
    server.write_all(&join(&[(b'G', b"\0\0\0")])).unwrap();
    let sizes = [1, 20_000, 0, 16_383, 16_384, 300_000, 5];
    let mut expected = message(b'Q', b"copy\0");
    for size in sizes.into_iter().filter(|size| *size > 0) {
        expected.extend(message(b'd', &vec![b'x'; size]));
    }
    expected.extend(message(b'c', b""));
    let length = expected.len();
    let thread = std::thread::spawn(move || {
        let mut bytes = vec![0; length];
        server.read_exact(&mut bytes).unwrap();
        server
            .write_all(&join(&[(b'C', b"COPY 6\0"), READY]))
            .unwrap();
        bytes
    });
    let mut copy = session.copy_in("copy").unwrap();
    for size in sizes {
        copy.send(&vec![b'x'; size]).unwrap();
    }
    assert_eq!(copy.finish().unwrap(), 6);
    assert!(thread.join().unwrap() == expected);
}
