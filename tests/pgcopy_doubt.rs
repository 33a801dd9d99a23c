//! `pgcopy` after a crash: parts whose COMMIT nobody answered, tables that are emptied to make keys hold, records of
//! removed keys that other work directories hold.

use nix::sys::signal::Signal;

use crate::support::program::{lives, signal, start_program, start_program_with};
use crate::support::servers::lonely_pair;
use crate::support::shops::{gated_shops, kill_all, shops};
use crate::support::{PATIENCE, Pair, Running, WorkDir, within};

/// A table of five parts; the COMMIT of the first one waits at the gate of the target.
const BIG: &str = "set role app; create table shop.big (id integer, t text);";
const GATE_AT_COMMIT: &str = "set role app;
    create function shop.wait() returns trigger language plpgsql as
        'begin perform pg_catalog.pg_advisory_xact_lock_shared(42); return null; end';
    create constraint trigger wait after insert on shop.big deferrable initially deferred
        for each row when (new.id = 1) execute function shop.wait();";
const SPLIT: [&str; 6] = [
    "--include",
    "shop.big",
    "--constraints",
    "keep",
    "--split-tables-larger-than",
    "200kB",
];

fn big() -> Pair {
    let pair = shops();
    pair.in_source(BIG);
    pair.in_target(BIG);
    pair.in_target(GATE_AT_COMMIT);
    pair.in_source(
        "insert into shop.big select i, repeat(md5(i::text), 3) from generate_series(1, 8000) i",
    );
    pair
}

/// The worker whose COMMIT waits at the gate.
fn worker_at_the_gate(pair: &Pair, run: &Running) -> i32 {
    pair.wait_for_gate(run);
    let workers = run.children_named("copy shop.big [1/");
    assert_eq!(workers.len(), 1, "{}", run.said());
    workers[0]
}

fn rows(pair: &Pair) -> String {
    pair.in_target("select count(*) || ' ' || count(distinct id) from shop.big")
}

#[test]
fn a_part_that_was_committed_without_a_mark_is_not_copied_twice() {
    let pair = big();
    let gate = pair.gate();
    let run = pair.start_copy(&WorkDir::new(), &SPLIT);
    let worker = worker_at_the_gate(&pair, &run);
    signal(worker, Signal::SIGSTOP);
    drop(gate);
    let first = "select count(*) > 0 from shop.big where id = 1";
    assert!(pair.to.wait_until(&pair.db, first, PATIENCE));
    signal(worker, Signal::SIGKILL);
    run.wait()
        .exits(0)
        .says(&["copy shop.big [1/", "is on the target already"]);
    assert_eq!(rows(&pair), "8000 8000");
}

#[test]
fn a_part_that_was_rolled_back_is_copied_again_and_its_table_is_not() {
    let pair = big();
    let gate = pair.gate();
    let run = pair.start_copy(&WorkDir::new(), &SPLIT);
    let worker = worker_at_the_gate(&pair, &run);
    signal(worker, Signal::SIGKILL);
    assert!(within(PATIENCE, || !lives(worker)));
    // its successor ends the server process that waits at the gate
    assert!(within(PATIENCE, || run.said().contains("again")));
    drop(gate);
    let out = run.wait().exits(0);
    assert!(!out.stderr.contains("as a whole"), "{}", out.stderr);
    assert_eq!(rows(&pair), "8000 8000");
}

#[test]
fn a_second_run_is_refused_at_once_and_shows_no_figures() {
    let pair = big();
    let gate = pair.gate();
    let mut run = pair.start_copy(&WorkDir::new(), &SPLIT);
    pair.wait_for_gate(&run);
    pair.in_target("set role app; begin; lock table shop.customer; commit");
    let other = WorkDir::new();
    let out = pair
        .copy(&other, &[])
        .exits(3)
        .says(&["another pgcopy is at work"]);
    assert_eq!(out.stdout, "");
    drop(gate);
    run.wait_within(PATIENCE * 3).exits(0);
}

/// A run that copied the keyless half of the tables and was killed then.
fn half_a_copy(pair: &Pair, work: &WorkDir) {
    let gate = pair.gate();
    let mut run = pair.start_copy(work, &[]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
}

#[test]
fn emptied_tables_let_every_key_among_them_hold() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let work = WorkDir::new();
    half_a_copy(&pair, &work);
    // what refers into them from outside would stay broken, and be named
    pair.in_target("truncate audit.trail");
    pair.pgcopy("restore-constraints", &work, &["--empty"])
        .exits(3)
        .says(&["no terminal", "--yes"]);
    pair.pgcopy("restore-constraints", &work, &["--empty", "--yes"])
        .exits(0)
        .says(&["Emptied 58 tables"]);
    assert_eq!(before, pair.target_schema());
    assert_eq!(pair.in_target("select count(*) from shop.customer"), "0");
    pair.pgcopy("restore-constraints", &work, &["--empty", "--yes", "-q"])
        .exits(0);
    // rows that were copied before they were emptied are copied again
    pair.copy(&work, &["--resume"]).exits(0);
    pair.assert_equal();
    assert_eq!(before, pair.target_schema());
    pair.pgcopy("restore-constraints", &work, &["--empty", "--yes"])
        .exits(3)
        .says(&["the last copy was complete"]);
}

#[test]
fn keys_that_another_work_directory_has_on_record_forbid_a_copy() {
    let pair = gated_shops();
    let home = WorkDir::new();
    let folder = home.path().parent().unwrap().join("pgcopy");
    let state = folder.parent().unwrap().to_str().unwrap().to_owned();
    std::fs::create_dir(&folder).unwrap();
    let (source, target) = (
        pair.from.uri_as(&pair.db, "app", ""),
        pair.to.uri_as(&pair.db, "app", ""),
    );
    let copy = |target: &str| {
        start_program_with(
            "pgcopy",
            &["copy", "-s", &source, "-t", target, "--yes"],
            &[("XDG_STATE_HOME", &state)],
        )
    };
    let gate = pair.gate();
    let mut run = copy(&target);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    let other = target.replace("127.0.0.1", "localhost");
    assert_ne!(other, target);
    copy(&other)
        .wait()
        .exits(3)
        .says(&["on record in", "pgcopy restore-constraints --dir"]);
    // the same place under its own name knows what to do
    copy(&target).wait().exits(3).says(&["--resume"]);
    // who looks in the wrong place is told where there is something
    for more in [&[][..], &["--dry-run"]] {
        let all = [&["restore-constraints", "-t", &other][..], more].concat();
        start_program_with("pgcopy", &all, &[("XDG_STATE_HOME", &state)])
            .wait()
            .exits(0)
            .says(&[
                "nothing to restore in \"",
                "Removed keys are on record in",
                "pgcopy restore-constraints --dir",
            ]);
    }
}

#[test]
fn what_a_killed_copy_took_away_is_told_by_one_with_another_work_directory() {
    let pair = gated_shops();
    let gate = pair.gate();
    let killed = WorkDir::new();
    let mut run = pair.start_copy(&killed, &[]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    pair.in_target(
        "alter table shop.orders add constraint orders_customer_fk foreign key (customer)
        references shop.customer deferrable initially deferred not valid",
    );
    pair.copy(&WorkDir::new(), &["--dry-run"]).exits(0).says(&[
        "foreign key shop.orders.orders_customer_fk -> shop.customer is valid on the source and NOT VALID on the target",
        "the target lacks foreign key shop.reading.reading_measure_fk -> shop.measure, which the source has: FOREIGN KEY",
        "trigger shop.orders.always is enabled on the source and disabled on the target",
        "\"pgcopy restore-constraints --dir\" of that directory mends",
    ]);
}

#[test]
fn an_unfinished_run_with_nothing_to_put_back_is_settled_by_restore_constraints() {
    let pair = big();
    let work = WorkDir::new();
    let gate = pair.gate();
    let mut run = pair.start_copy(&work, &SPLIT);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    pair.copy(&work, &SPLIT).exits(3).says(&["--resume"]);
    pair.pgcopy("restore-constraints", &work, &[])
        .exits(0)
        .says(&["nothing to restore"]);
    pair.copy(&work, &SPLIT).exits(0);
    assert_eq!(rows(&pair), "8000 8000");
    start_program("pgcopy", &["restore-constraints", "--dir", &work.dir()])
        .wait()
        .exits(1);
}

#[test]
fn an_unlogged_table_that_a_crash_of_the_target_emptied_is_no_finished_one() {
    let pair = lonely_pair();
    let tables = "create unlogged table fast (id integer primary key, t text);
        create table gated (id integer primary key, t text);";
    for cluster in [pair.from, pair.to] {
        cluster.sql(&pair.db, tables);
    }
    pair.in_source(
        "insert into fast select i, repeat('x', 100) from generate_series(1, 5000) i;
         insert into gated select i, repeat('y', 100) from generate_series(1, 9000) i",
    );
    pair.in_target(
        "create function gate(i integer) returns boolean language plpgsql immutable as
             'begin perform pg_catalog.pg_advisory_xact_lock_shared(42); return true; end';
         alter table gated add check (gate(id))",
    );
    let work = WorkDir::new();
    let (source, target, dir) = (pair.source(), pair.target(), work.dir());
    let copy = |more: &[&str]| {
        let all = ["copy", "-s", &source, "-t", &target, "--dir", &dir, "--yes"];
        start_program("pgcopy", &[&all[..], more].concat())
    };
    let gate = pair.gate();
    let run = copy(&[]);
    pair.wait_for_gate(&run);
    assert!(within(PATIENCE, || run.said().contains("COPY public.fast")));
    pair.to.stop_immediate();
    drop(gate);
    pair.to.start_again();
    run.wait()
        .exits(7)
        .says(&["unlogged tables lost their rows", "public.fast"]);
    copy(&["--resume"]).wait().exits(0);
    assert_eq!(pair.in_target("select count(*) from fast"), "5000");
    assert_eq!(pair.in_target("select count(*) from gated"), "9000");
}

/// Found by hand: each of these ended with exit status 0 and wrong rows.
#[test]
fn settings_and_rules_of_the_target_that_would_break_rows_unseen_are_refused() {
    let pair = shops();
    let table = "create table shop.rd (a integer); alter table shop.rd owner to boss;
                 grant select, insert, delete on shop.rd to app;";
    pair.in_source(table);
    pair.in_target(&format!(
        "{table} create rule r as on delete to shop.rd do instead nothing;
         create rule rr as on insert to audit.plain_2 do also insert into audit.plain_3 values (new.id, new.t);
         alter table audit.plain_2 enable replica rule rr;
         alter database {} set session_replication_role = replica",
        pair.db
    ));
    let before = pair.target_state();
    let superuser = pair.target();
    let of_app: [(&[&str], &str); 2] = [
        (
            &["--include", "shop.same1"],
            "reset session_replication_role",
        ),
        (&["--include", "shop.rd"], "emptied by DELETE"),
    ];
    for (words, said) in of_app {
        pair.copy(&WorkDir::new(), words).exits(3).says(&[said]);
    }
    let insert = ["-t", &superuser, "--insert", "--include", "audit.plain_2"];
    pair.copy(&WorkDir::new(), &insert)
        .exits(3)
        .says(&["INSERT rule"]);
    assert_eq!(before, pair.target_state());
    pair.in_target("delete from shop.customer where id = 7");
    let some = ["-t", &superuser, "--include", "shop.same1"];
    pair.copy(&WorkDir::new(), &some)
        .exits(10)
        .says(&["same_fk", "does not hold"]);
}
