//! Store and recovery together: what is written is found again, whatever is cut off.

use super::line::{Facts, Line, line_of};
use super::recover::{Recovered, recover};
use super::store::Store;
use super::timeline::Timelines;
use crate::follow::files::CdcDir;
use crate::follow::json_line::{Action, JsonLine};
use crate::follow::txn_index::TxnIndex;
use crate::units::Lsn;

fn whole(line: &[u8]) -> Line<'_> {
    Line {
        head: line,
        message: "",
    }
}

const SEGMENT: u64 = 1 << 20;

fn facts(xid: u32, lsn: u64) -> Facts {
    Facts {
        lsn: Lsn(lsn),
        xid,
        commit_lsn: Lsn::UNSET,
        commit_time: 0,
    }
}

fn folder() -> (tempfile::TempDir, CdcDir) {
    let folder = tempfile::tempdir().unwrap();
    let cdc = CdcDir::new(folder.path().to_path_buf());
    (folder, cdc)
}

fn open(cdc: &CdcDir) -> (Store, Recovered) {
    let found = recover(cdc).unwrap();
    let start = Lsn(5 * SEGMENT);
    let store = Store::new(cdc.clone(), Timelines::only(1), SEGMENT, &found, start);
    (store, found)
}

/// Writes a transaction whose changes stand at `lsns`, the last of which is its end.
fn transaction(store: &mut Store, xid: u32, lsns: &[u64]) {
    let (end, changes) = lsns.split_last().unwrap();
    let line = |action, lsn| line_of(action, facts(xid, lsn), None, "t", "\"x\"");
    store
        .begin(facts(xid, changes[0]), line(Action::Begin, changes[0]))
        .unwrap();
    for lsn in changes {
        store
            .inside(Lsn(*lsn), whole(&line(Action::Insert, *lsn)), true)
            .unwrap();
    }
    store
        .commit(facts(xid, *end), &line(Action::Commit, *end), "t")
        .unwrap();
}

/// The actions of all files, `|` between files.
fn actions(cdc: &CdcDir) -> String {
    let files = cdc.segments().unwrap();
    let texts = files.iter().map(|segment| {
        let text = std::fs::read_to_string(cdc.readable(segment)).unwrap();
        let letters = text
            .lines()
            .map(|line| JsonLine::parse(line).unwrap().action.letter());
        letters.collect::<String>()
    });
    texts.collect::<Vec<_>>().join("|")
}

#[test]
fn a_transaction_goes_on_in_the_next_file_and_none_goes_back() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let s = SEGMENT;
    transaction(
        &mut store,
        1,
        &[5 * s + 10, 5 * s + 20, 6 * s + 1, 7 * s + 1],
    );
    // Begun before the first one, committed after it.
    transaction(&mut store, 2, &[5 * s + 15, 7 * s + 50]);
    store.close().unwrap();
    assert_eq!(actions(&cdc), "BIIX|IX|CBIC");
    let index = TxnIndex::open(&cdc).unwrap().unwrap();
    let records: Vec<_> = (0..2).map(|at| index.get(at).unwrap().unwrap()).collect();
    assert_eq!(records[0].xid, 1);
    assert!(records[0].begin.segment < records[0].end.segment);
    assert_eq!(
        (records[1].end_lsn, records[1].changes),
        (Lsn(7 * s + 50), 1)
    );
    let (_, found) = open(&cdc);
    assert_eq!(found.boundary, Lsn(7 * s + 50));
    assert_eq!((found.seq, found.is_open, found.next), (2, false, None));
}

#[test]
fn a_file_that_was_said_to_come_next_and_was_not_made_is_made_by_the_next_run() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let s = SEGMENT;
    transaction(&mut store, 1, &[5 * s + 10, 5 * s + 20]);
    // What follows goes to another file; it is killed before that is there.
    store.keepalive(Lsn(7 * s + 1), "t").unwrap();
    drop(store);
    let made = cdc.segments().unwrap().pop().unwrap().name;
    std::fs::remove_file(cdc.json_partial(made)).unwrap();
    assert_eq!(actions(&cdc), "BICX");
    let (mut store, found) = open(&cdc);
    assert_eq!(found.next, Some(Lsn(7 * s + 1)));
    transaction(&mut store, 2, &[9 * s + 10, 9 * s + 20]);
    store.close().unwrap();
    assert_eq!(actions(&cdc), "BICX|X|BIC");
    assert_eq!(cdc.segments().unwrap()[1].name, made);
    // The same where a transaction is open there.
    let (mut store, _) = open(&cdc);
    let line = |action| line_of(action, facts(3, 9 * s + 30), None, "t", "\"x\"");
    let (begin, insert) = (line(Action::Begin), line(Action::Insert));
    store.begin(facts(3, 9 * s + 30), begin).unwrap();
    for lsn in [9 * s + 30, 10 * s + 1] {
        store.inside(Lsn(lsn), whole(&insert), true).unwrap();
    }
    drop(store);
    let made = cdc.segments().unwrap().pop().unwrap().name;
    std::fs::remove_file(cdc.json_partial(made)).unwrap();
    let (mut store, found) = open(&cdc);
    assert!(found.is_open);
    transaction(&mut store, 4, &[12 * s + 10, 12 * s + 20]);
    store.close().unwrap();
    assert!(actions(&cdc).ends_with("X|RX|BIC"), "{}", actions(&cdc));
}

#[test]
fn empty_transactions_leave_no_line() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let line = line_of(Action::Begin, facts(1, 5), None, "t", "\"x\"");
    store
        .begin(facts(1, 5 * SEGMENT + 1), line.clone())
        .unwrap();
    store.commit(facts(1, 5 * SEGMENT + 9), &line, "t").unwrap();
    store.close().unwrap();
    assert_eq!(actions(&cdc), "");
    store.keepalive(Lsn(5 * SEGMENT + 12), "t").unwrap();
    store.keepalive(Lsn(5 * SEGMENT + 12), "t").unwrap();
    store.sync().unwrap();
    assert_eq!(actions(&cdc), "K");
    assert_eq!(store.safe(), Lsn(5 * SEGMENT + 12));
}

#[test]
fn whatever_is_cut_off_the_newest_file_receiving_goes_on_behind_a_complete_transaction() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let s = SEGMENT;
    transaction(&mut store, 1, &[5 * s + 10, 5 * s + 20]);
    store.sync().unwrap();
    transaction(&mut store, 2, &[5 * s + 30, 5 * s + 40]);
    transaction(&mut store, 3, &[5 * s + 50, 5 * s + 60]);
    store.flush().unwrap();
    drop(store);
    let name = cdc.segments().unwrap()[0].name;
    let path = cdc.json_partial(name);
    let whole = std::fs::read(&path).unwrap();
    let indexed = std::fs::read(cdc.txn_index()).unwrap();
    let first = TxnIndex::open(&cdc)
        .unwrap()
        .unwrap()
        .get(0)
        .unwrap()
        .unwrap();
    let from = usize::try_from(first.end.offset).unwrap();
    for end in (from..=whole.len()).rev().step_by(9) {
        for with_index in [true, false] {
            std::fs::write(&path, &whole[..end]).unwrap();
            if with_index {
                std::fs::write(cdc.txn_index(), &indexed).unwrap();
            } else {
                let _gone = std::fs::remove_file(cdc.txn_index());
            }
            let (mut store, found) = open(&cdc);
            let complete = whole[..end]
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| line.starts_with(b"{\"action\":\"C\"") && line.ends_with(b"\n"))
                .count();
            let boundary = Lsn(5 * s + 20 * u64::try_from(complete).unwrap());
            assert_eq!(found.boundary, boundary, "{end}");
            assert_eq!(found.seq, u64::try_from(complete).unwrap());
            transaction(&mut store, 9, &[5 * s + 70, 5 * s + 80]);
            store.sync().unwrap();
            let written = actions(&cdc);
            let void = if found.is_open { "R" } else { "" };
            assert!(written.ends_with(&format!("{void}BIC")), "{written}");
            let last = TxnIndex::open(&cdc)
                .unwrap()
                .unwrap()
                .last()
                .unwrap()
                .unwrap();
            assert_eq!((last.xid, last.seq), (9, found.seq + 1));
        }
    }
}

#[test]
fn after_a_crash_of_the_machine_only_records_are_believed() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let s = SEGMENT;
    transaction(&mut store, 1, &[5 * s + 10, 5 * s + 20]);
    store.sync().unwrap();
    transaction(&mut store, 2, &[5 * s + 30, 6 * s + 40]);
    store.flush().unwrap();
    let sql = cdc.sql(cdc.segments().unwrap()[1].name);
    std::fs::write(&sql, "").unwrap();
    // Closing a file writes records, which a crash may have kept from the disk.
    let index = std::fs::OpenOptions::new()
        .write(true)
        .open(cdc.txn_index())
        .unwrap();
    index.set_len(96).unwrap();
    std::fs::write(cdc.boot_id(), "another\n").unwrap();
    let (_, found) = open(&cdc);
    assert_eq!(found.boundary, Lsn(5 * s + 20));
    assert_eq!(actions(&cdc), "BIC");
    assert!(!sql.exists());
}

#[test]
fn a_closed_file_that_goes_on_is_copied_and_an_end_is_remembered() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let s = SEGMENT;
    transaction(&mut store, 1, &[5 * s + 10, 5 * s + 20]);
    let line = line_of(Action::Begin, facts(2, 5 * s + 30), None, "t", "\"x\"");
    store.begin(facts(2, 5 * s + 30), line.clone()).unwrap();
    store.inside(Lsn(5 * s + 30), whole(&line), true).unwrap();
    store.end(Lsn(5 * s + 25)).unwrap();
    store.close().unwrap();
    assert_eq!(actions(&cdc), "BICBBER");
    let (mut store, found) = open(&cdc);
    assert_eq!(
        (found.ended_at, found.is_open),
        (Some(Lsn(5 * s + 25)), false)
    );
    let closed = cdc.json(found.newest.unwrap());
    let before = std::fs::metadata(&closed).unwrap().len();
    transaction(&mut store, 2, &[5 * s + 30, 5 * s + 40]);
    store.flush().unwrap();
    assert_eq!(std::fs::metadata(&closed).unwrap().len(), before);
    let (_, found) = open(&cdc);
    assert_eq!((found.ended_at, found.boundary), (None, Lsn(5 * s + 40)));
}

#[test]
fn a_file_that_ends_in_a_switch_is_never_written_again() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    let s = SEGMENT;
    let line = line_of(Action::Begin, facts(2, 5 * s + 30), None, "t", "\"x\"");
    store.begin(facts(2, 5 * s + 30), line.clone()).unwrap();
    store.inside(Lsn(5 * s + 30), whole(&line), true).unwrap();
    store.inside(Lsn(6 * s + 30), whole(&line), true).unwrap();
    store.flush().unwrap();
    // The process died before it made the second file.
    std::fs::remove_file(cdc.json_partial(cdc.segments().unwrap()[1].name)).unwrap();
    let (mut store, found) = open(&cdc);
    assert_eq!((found.next, found.is_open), (Some(Lsn(6 * s + 30)), true));
    transaction(&mut store, 2, &[5 * s + 30, 5 * s + 40]);
    store.flush().unwrap();
    assert_eq!(actions(&cdc), "BBX|RBIC");
}

#[test]
fn a_file_that_is_gone_is_noticed() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    transaction(&mut store, 1, &[5 * SEGMENT + 10, 5 * SEGMENT + 20]);
    store.close().unwrap();
    std::fs::remove_file(cdc.json(cdc.segments().unwrap()[0].name)).unwrap();
    assert_eq!(recover(&cdc).unwrap_err().kind().exit_code(), 3);
}

#[test]
fn the_last_file_of_a_run_that_was_killed_behind_its_endpos_is_closed() {
    let (_folder, cdc) = folder();
    let (mut store, _) = open(&cdc);
    transaction(&mut store, 1, &[5 * SEGMENT + 10, 5 * SEGMENT + 20]);
    store.end(Lsn(5 * SEGMENT + 30)).unwrap();
    store.sync().unwrap();
    drop(store);
    let (mut store, found) = open(&cdc);
    assert_eq!(found.ended_at, Some(Lsn(5 * SEGMENT + 30)));
    store.close_left_over().unwrap();
    assert_eq!(actions(&cdc), "BICE");
    assert!(cdc.segments().unwrap()[0].partial.is_none());
}

#[test]
fn a_file_that_a_killed_run_left_is_closed_and_leads_to_the_next_one() {
    let s = SEGMENT;
    // Killed; stopped; killed between the last line of a file and its new name.
    for end in ["killed", "stopped", "unnamed"] {
        let (_folder, cdc) = folder();
        let (mut store, _) = open(&cdc);
        transaction(&mut store, 1, &[5 * s + 10, 5 * s + 20]);
        let before = match end {
            "stopped" => store.close().map(|()| "BICX"),
            "unnamed" => {
                transaction(&mut store, 2, &[6 * s + 10, 6 * s + 20]);
                store.close().unwrap();
                let [first, last] = [0, 1].map(|at| cdc.segments().unwrap()[at].name);
                std::fs::remove_file(cdc.json(last)).unwrap();
                std::fs::remove_file(cdc.txn_index()).unwrap();
                std::fs::rename(cdc.json(first), cdc.json_partial(first)).unwrap();
                // Readers look for the file that X names.
                Ok("BICX|X")
            }
            _ => store.sync().map(|()| "BICX"),
        };
        drop(store);
        let (mut store, _) = open(&cdc);
        transaction(&mut store, 3, &[8 * s + 10, 8 * s + 20]);
        store.close().unwrap();
        assert_eq!(actions(&cdc), format!("{}|BIC", before.unwrap()), "{end}");
        let partial = |segment: &crate::follow::files::Segment| segment.partial.is_some();
        assert!(!cdc.segments().unwrap().iter().any(partial), "{end}");
    }
}
