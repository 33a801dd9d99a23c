//! What the commands that copy rows, large objects and sequences do with what is there: gone on with, copied again, refused.

use crate::steps::{SPLIT, kill_at};
use crate::support::servers::GATED;
use crate::support::{Pair, WorkDir, pair};

const RESUME: [&str; 2] = ["--resume", "--not-consistent"];

#[test]
fn rows_are_copied_again_or_gone_on_with_by_the_command_for_all_data() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    for command in ["dump schema", "restore pre-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    let gate = pair.gate();
    let run = pair.start_step(&work, "copy data", &SPLIT);
    pair.wait_for_gate(&run);
    kill_at(run, "copy worker");
    drop(gate);
    pair.does(&work, "copy data", &SPLIT)
        .exits(3)
        .says(&["--resume"]);
    pair.does(&work, "copy data", &["--resume"]).exits(1);
    pair.does(&work, "copy data", &[&SPLIT[..], &RESUME].concat())
        .exits(0);
    pair.in_source("delete from before where id > 7");
    pair.does(&work, "copy data", &[&SPLIT[..], &["--restart"]].concat())
        .exits(0);
    assert_eq!(pair.in_target("select count(*) from before"), "7");
    pair.does(&work, "copy constraints", &[]).exits(3);
    pair.does(&work, "copy constraints", &["--restart"])
        .exits(0);
    pair.does(&work, "restore post-data", &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn rows_are_not_copied_into_tables_whose_foreign_keys_would_refuse_them() {
    let sql = "create table a (id integer primary key); create table b (id integer primary key, a integer references a);
        create table self (id integer primary key, up integer references self)";
    let (pair, work) = (Pair::with(sql), WorkDir::new());
    pair.in_source("insert into a values (1); insert into b values (1, 1); insert into self values (1, 2), (2, 1)");
    pair.in_target(sql);
    let out = pair.does(&work, "copy table-data", &[]).exits(7);
    out.says(&[
        "b_a_fkey on public.b",
        "alter table public.b drop constraint b_a_fkey;",
        "--constraints drop",
    ]);
    assert_eq!(pair.in_target("select count(*) from a"), "0");
    pair.in_target("alter table b disable trigger all");
    pair.does(&work, "copy table-data", &["--restart"]).exits(0);
    assert_eq!(pair.in_target("select count(*) from b"), "1");
}

#[test]
fn large_objects_that_are_there_are_overwritten_only_when_told() {
    let (pair, work) = (pair(), WorkDir::new());
    pair.in_source("select lo_from_bytea(4711, 'mine')");
    pair.in_target("select lo_from_bytea(4711, 'yours')");
    pair.does(&work, "copy blobs", &[]).exits(7).says(&["4711"]);
    pair.does(&work, "copy blobs", &["--drop-if-exists"])
        .exits(0);
    assert_eq!(pair.in_target("select lo_get(4711)"), "\\x6d696e65");
    pair.does(&work, "copy blobs", &[]).exits(3);
    pair.in_source("select lo_put(4711, 0, 'ours')");
    pair.does(&work, "copy blobs", &["--restart"]).exits(0);
    assert_eq!(pair.in_target("select lo_get(4711)"), "\\x6f757273");
}

#[test]
fn sequences_are_read_again_each_time() {
    let (pair, work) = (Pair::with("create sequence s"), WorkDir::new());
    pair.in_target("create sequence s");
    for (options, value) in [(&[][..], 5), (&RESUME, 6), (&["--restart"], 7)] {
        pair.in_source(&format!("select setval('s', {value})"));
        pair.does(&work, "copy sequences", options).exits(0);
        assert_eq!(
            pair.in_target("select last_value from s"),
            value.to_string()
        );
    }
    pair.does(&work, "copy sequences", &[]).exits(3);
}
