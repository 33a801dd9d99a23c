//! Transactions that are applied in parts, before it is known where they end: all of one, or nothing.

use crate::follow_apply::{assert_same_rows, catchup, ready};

#[test]
fn a_large_transaction_whose_commit_fails_leaves_no_part_of_itself() {
    let follow = ready(
        "test_decoding",
        "create table t (id int primary key, v text)",
        &[],
    )
    .unwrap();
    follow.pair.in_target(
        "create function no() returns trigger language plpgsql as 'begin raise ''not at commit''; end';
         create constraint trigger no after insert on t deferrable initially deferred for each row
             when (new.v = 'bad') execute function no();
         alter table t enable always trigger no;",
    );
    // Several parts, and another transaction that is sent with its COMMIT.
    follow.pair.in_source(
        "insert into t select i, case i when 1 then 'bad' else 'good' end from generate_series(1, 11000) i;
         insert into t values (20000, 'behind it');",
    );
    follow.receive_all();
    catchup(&follow, &[])
        .exits(7)
        .says(&["COMMIT", "not at commit"]);
    assert_eq!(follow.pair.in_target("select count(*) from t"), "0");
    follow.pair.in_target("drop function no() cascade");
    catchup(&follow, &[]).exits(0);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}

/// 25P01: what had failed was forgotten by the second part behind it, and the third went on where no
/// transaction was open any more.
#[test]
fn parts_of_a_large_transaction_behind_one_that_failed_are_passed_over_up_to_its_end() {
    let follow = ready(
        "test_decoding",
        "create table t (id int primary key, v text)",
        &[],
    )
    .unwrap();
    follow.pair.in_target("insert into t values (1, 'mine')");
    follow.pair.in_source("select pg_switch_wal()");
    follow.pair.in_source(
        "insert into t select i, 'row' from generate_series(1, 31000) i; insert into t values (0, 'last')",
    );
    follow.receive_all();
    let json = follow.cdc().join(follow.files().pop().unwrap().0);
    let sql = follow.work.path().join("by-hand.sql").display().to_string();
    let json = json.display().to_string();
    follow.command(&["transform"], &[&json, &sql]).exits(0);
    // As in a file that is begun before the transaction ends: where it ends is not known at its begin.
    let text = std::fs::read_to_string(&sql).unwrap();
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(",\"commit_lsn\"") {
            Some((begin, _)) if line.starts_with("BEGIN") => format!("{begin}}}"),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&sql, lines.join("\n") + "\n").unwrap();
    let target = follow.pair.target();
    let apply = || follow.command(&["apply"], &["--target", &target, "--resume", &sql]);
    apply().exits(7).says(&["23505", "(id)=(1)"]);
    assert_eq!(follow.pair.in_target("select count(*) from t"), "1");
    follow.pair.in_target("delete from t");
    apply().exits(0);
    assert_same_rows(&follow.pair);
    // Each of its parts fails now, and none of that matters.
    apply().exits(0).says(&["Skipped 2 transactions"]);
    assert_same_rows(&follow.pair);
    follow.cleanup(&[]).exits(0);
}
