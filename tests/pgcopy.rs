//! `pgcopy`: rows alone are replaced, keys and triggers come back, and nothing else of the target changes.
//! The role that copies owns the tables and is no superuser.

use nix::sys::signal::Signal;

use crate::support::program::{signal, start_program};
use crate::support::shops::{gated_shops, kill_all, shops};
use crate::support::{PATIENCE, WorkDir, start};

#[test]
fn all_rows_arrive_and_the_schema_is_as_before_without_a_superuser() {
    let pair = shops();
    let before = pair.target_schema();
    pair.copy(&WorkDir::new(), &[]).exits(0).says(&[
        "may not set session_replication_role",
        "Restored 20/20 foreign keys, 19 valid, 1 NOT VALID as before",
        "Foreign keys: 20 removed, 20 restored, 19 valid, 1 NOT VALID as before",
    ]);
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
}

#[test]
fn a_run_that_was_killed_while_it_copied_goes_on_and_puts_everything_back() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let work = WorkDir::new();
    let gate = pair.gate();
    let mut run = pair.start_copy(&work, &[]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    assert_eq!(pair.keys(), 0, "all of them were removed");
    assert!(work.path().join("restore-constraints.sql").exists());
    pair.copy(&work, &[])
        .exits(3)
        .says(&["--resume", "restore-constraints"]);
    pair.copy(&work, &["--resume"]).exits(0);
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
    assert!(!work.path().join("restore-constraints.sql").exists());
    pair.copy(&work, &["--resume"])
        .exits(0)
        .says(&["nothing to resume"]);
    // a finished run is no obstacle to the next one
    pair.copy(&work, &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn restore_constraints_puts_back_what_a_killed_run_took_away_and_names_what_the_rows_break() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let work = WorkDir::new();
    let gate = pair.gate();
    let mut run = pair.start_copy(&work, &[]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    let out = pair.pgcopy("restore-constraints", &work, &[]);
    assert!(out.code == 0 || out.code == 10, "{}", out.stderr);
    // half a copy may break keys; the rest of the rows mends that
    pair.copy(&work, &["--restart"]).exits(0);
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
    pair.pgcopy("restore-constraints", &work, &[])
        .exits(0)
        .says(&["nothing to restore in \"", "are put back with --dir"]);
}

#[test]
fn the_script_for_psql_puts_back_the_same() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let work = WorkDir::new();
    let gate = pair.gate();
    let mut run = pair.start_copy(&work, &["--include", "shop.gated"]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    assert_ne!(before, pair.target_schema());
    let script = work.path().join("restore-constraints.sql");
    for _ in 0..2 {
        pair.to.psql_file(&pair.db, &script);
        assert_eq!(before, pair.target_schema());
    }
    pair.pgcopy("restore-constraints", &work, &[]).exits(0);
}

#[test]
fn a_signal_leaves_the_schema_as_it_was() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let work = WorkDir::new();
    let gate = pair.gate();
    let mut run = pair.start_copy(&work, &["--include", "shop.gated,audit.*"]);
    pair.wait_for_gate(&run);
    let other = WorkDir::new();
    pair.copy(&other, &["--include", "shop.gated"])
        .exits(3)
        .says(&["another pgcopy is at work"]);
    run.kill(Signal::SIGTERM);
    let out = run.wait_within(PATIENCE * 3).exits(143);
    assert!(out.stderr.contains("back as they were"), "{}", out.stderr);
    drop(gate);
    assert_eq!(before, pair.target_schema());
    assert!(!work.path().join("restore-constraints.sql").exists());
}

#[test]
fn a_table_outside_of_the_selection_keeps_its_rows_and_its_key() {
    let pair = shops();
    let before = pair.target_schema();
    let rows = "select md5(string_agg(t::text, ',' order by id)) from audit.trail t";
    let trail = pair.in_target(rows);
    pair.copy(&WorkDir::new(), &["--include", "shop.customer"])
        .exits(0)
        .says(&["audit.trail.trail_customer_fk"]);
    assert_eq!(trail, pair.in_target(rows));
    assert_eq!(before, pair.target_schema());
    assert_eq!(pair.in_target("select count(*) from shop.customer"), "3000");
}

#[test]
fn rows_outside_that_point_to_what_is_gone_are_found_by_the_query_in_the_message() {
    let pair = shops();
    pair.in_target("update audit.trail set customer = 100001 where id = 1");
    let work = WorkDir::new();
    let out = pair.copy(&work, &["--include", "shop.customer"]).exits(10);
    let query = out
        .stderr
        .split("found by: ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("a query");
    assert!(pair.in_target(query).starts_with("1|100001"), "{query}");
    pair.in_target("update audit.trail set customer = 1 where id = 1");
    pair.pgcopy("restore-constraints", &work, &[]).exits(0);
}

#[test]
fn one_row_of_many_that_breaks_a_key_is_found_when_the_key_is_checked_by_sorting() {
    let pair = shops();
    let tables = "set role app; create table shop.many (id integer primary key, t text);
         create table shop.few (id integer primary key, many bigint)";
    let key = "set role app; alter table shop.few add constraint few_fk foreign key (many) references shop.many";
    pair.in_source(tables);
    pair.in_target(tables);
    pair.in_target(key);
    pair.in_source(
        "insert into shop.many select i, 'many' from generate_series(1, 120000) i;
         insert into shop.few select i, 1 + i * 7919 % 120000 from generate_series(1, 20000) i;
         insert into shop.few values (0, 120001), (-1, null)",
    );
    let only = ["--include", "shop.many,shop.few"];
    pair.copy(&WorkDir::new(), &[&only[..], &["-vv"]].concat())
        .exits(10)
        .says(&[
            "set local enable_hashjoin to off",
            "Foreign key shop.few.few_fk -> shop.many is NOT VALID: 1 rows",
        ]);
    pair.in_source("delete from shop.few where id = 0");
    pair.in_target(
        "delete from shop.few where id = 0; alter table shop.few validate constraint few_fk",
    );
    let before = pair.target_schema();
    pair.copy(&WorkDir::new(), &only).exits(0);
    assert_eq!(before, pair.target_schema());
}

#[test]
fn types_of_one_name_that_are_made_otherwise_are_refused() {
    let pair = shops();
    let made = |digits: u32, parts: &str| {
        format!(
            "create domain shop.exact as numeric(12, {digits}); create type shop.place as ({parts});
             create table shop.otherwise (id integer primary key, e shop.exact[], p shop.place);
             grant all on shop.otherwise to app; alter table shop.otherwise owner to app;"
        )
    };
    pair.in_source(&made(6, "x integer, y integer"));
    pair.in_source("insert into shop.otherwise values (1, '{1.234567}', '(1,2)')");
    pair.in_target(&made(2, "y integer, x integer"));
    let only = ["--include", "shop.otherwise"];
    pair.copy(&WorkDir::new(), &only).exits(3).says(&[
        "column e: on the source, type shop.exact is numeric(12,6); on the target, shop.exact is numeric(12,2)",
        "shop.place is (x integer, y integer); on the target, shop.place is (y integer, x integer)",
    ]);
    assert_eq!(pair.in_target("select count(*) from shop.otherwise"), "0");
}

#[test]
fn what_forbids_a_copy_is_named_and_nothing_is_written() {
    let pair = shops();
    pair.in_target(
        "alter table audit.plain_1 alter t type varchar(9); alter table audit.plain_2 add more integer;
         alter table audit.plain_4 drop t; drop table audit.plain_5; alter table audit.plain_6 alter t set not null;
         drop table audit.plain_7; create view audit.plain_7 as select 1 as id;
         alter table shop.same1 owner to boss; grant all on shop.same1 to app; revoke insert on audit.plain_8 from app;
         alter type shop.mood rename value 'so so' to 'so';",
    );
    let before = pair.target_state();
    let out = pair.copy(&WorkDir::new(), &[]).exits(3);
    for named in [
        "audit.plain_1: column t is text on the source, character varying(9) on the target",
        "audit.plain_2: column more integer is on the target only",
        "audit.plain_4: column t text is on the source only",
        "table audit.plain_5 does not exist",
        "audit.plain_6: column t is NOT NULL on the target only",
        "audit.plain_7: a table on the source, a view on the target",
        "no INSERT on audit.plain_8",
        "lacks so so",
        "shop.same1.same_fk -> shop.customer: role \"app\" has not the rights of boss",
    ] {
        assert!(out.stderr.contains(named), "{named}\n{}", out.stderr);
    }
    assert_eq!(before, pair.target_state());
    let work = WorkDir::new();
    let same = pair.to.uri_as(&pair.db, "app", "");
    let dir = work.dir();
    start_program(
        "pgcopy",
        &["copy", "-s", &same, "-t", &same, "--dir", &dir, "--yes"],
    )
    .wait()
    .exits(3)
    .says(&["the same database"]);
    pair.pgcopy("copy", &WorkDir::new(), &["--include", "audit.trail"])
        .exits(3)
        .says(&["no terminal", "--yes"]);
    pair.copy(&WorkDir::new(), &["--include", "nowhere"])
        .exits(3)
        .says(&["no such table"]);
    pair.copy(&WorkDir::new(), &["--include", "shop.v"])
        .exits(3)
        .says(&["is a view"]);
    pair.copy(&WorkDir::new(), &["--resume", "--include", "audit.trail"])
        .exits(3)
        .says(&["nothing to resume"]);
    assert_eq!(before, pair.target_state());
}

#[test]
fn the_plan_of_a_dry_run_is_what_a_run_does() {
    let pair = shops();
    let before = pair.target_state();
    let choice = [
        "--exclude",
        "temp_*,*_logs",
        "--include",
        "public.*,audit.*,shop.person",
    ];
    let work = WorkDir::new();
    let out = pair
        .pgcopy(
            "copy",
            &work,
            &[&choice[..], &["--dry-run", "--output", "json"]].concat(),
        )
        .exits(0);
    assert_eq!(before, pair.target_state());
    assert!(!work.path().exists(), "a dry run leaves nothing behind");
    let planned: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    pair.copy(&work, &choice).exits(0);
    let read = |name: &str| -> serde_json::Value {
        let text = std::fs::read_to_string(work.path().join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let names = |plan: &serde_json::Value| -> Vec<String> {
        let tables = plan["tables"].as_array().unwrap();
        let mut names: Vec<String> = tables
            .iter()
            .map(|t| format!("{}.{}", t["schema"], t["table"]))
            .collect();
        names.sort();
        names
    };
    let run = read("plan.json");
    assert_eq!(names(&planned), names(&run));
    assert_eq!(names(&planned), names(&read("summary.json")));
    for part in ["keys", "triggers", "sequences", "left_out", "mode"] {
        assert_eq!(planned[part], run[part], "{part}");
    }
    assert!(
        planned["left_out"]
            .to_string()
            .contains("excluded by temp_*")
    );
    assert_eq!(pair.in_target("select count(*) from audit.temp_1"), "0");
    assert_eq!(pair.in_target("select count(*) from audit.plain_3"), "60");
}

#[test]
fn modes_replica_and_keep_copy_the_same() {
    let pair = shops();
    let before = pair.target_schema();
    let superuser = ["-t", &pair.target()];
    pair.copy(&WorkDir::new(), &superuser)
        .exits(0)
        .says(&["may set session_replication_role"]);
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
    // a row that refers to what is outside, and missing there, is found though nothing checked it
    pair.in_target(
        "set session_replication_role = replica; delete from shop.customer where id = 7",
    );
    let some = ["-t", &pair.target(), "--include", "shop.same1"];
    pair.copy(&WorkDir::new(), &some)
        .exits(10)
        .says(&["same_fk", "does not hold"]);
    pair.copy(&WorkDir::new(), &["--constraints", "replica"])
        .exits(3)
        .says(&["may not set session_replication_role"]);
    let keep = ["--constraints", "keep", "--include"];
    pair.copy(
        &WorkDir::new(),
        &[&keep[..], &["shop.egg,shop.hen"]].concat(),
    )
    .exits(3)
    .says(&["in a circle"]);
    pair.in_target("alter table shop.customer disable trigger user; alter table shop.orders disable trigger user;
        alter table shop.line disable trigger user;");
    let tables = "shop.person,shop.same2,audit.*,audit.trail,shop.quick";
    pair.in_target("alter table audit.trail drop constraint trail_customer_fk");
    pair.copy(&WorkDir::new(), &[&keep[..], &[tables]].concat())
        .exits(0);
    assert_eq!(pair.in_target("select count(*) from shop.person"), "1000");
}

#[test]
fn insert_of_many_rows_brings_the_same_and_shows_no_value() {
    let pair = shops();
    let before = pair.target_schema();
    let odd = "insert into audit.plain_1 values (-1, E'a\\tb\\nc\\\\d''e'), (-2, ''), (-3, null), (-4, 'secret-value')";
    pair.in_source(odd);
    let more = ["--insert", "--batch-size", "70", "-v", "-v", "-v"];
    let out = pair.copy(&WorkDir::new(), &more).exits(0);
    assert!(!out.stderr.contains("secret-value"));
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
    pair.in_target("set role app; create rule r as on insert to audit.plain_2 do instead nothing");
    pair.copy(&WorkDir::new(), &["--insert"])
        .exits(3)
        .says(&["INSERT rule"]);
}

#[test]
fn files_variables_and_the_command_line_are_read_in_their_order_and_doubt_is_an_error() {
    let pair = shops();
    let work = WorkDir::new();
    let (source, target) = (pair.source(), pair.target());
    let conn = work.file("source.conn", &format!("# the source\n\n{source}\n"));
    let list = |more: &[&str]| start_program("pgcopy", &[&["list"], more].concat()).wait();
    list(&[
        "--source-file",
        &conn,
        "--include",
        "audit.plain_1*",
        "--exact-rows",
    ])
    .exits(0)
    .says(&["SCHEMA", "plain_12", "TOTAL   11 tables"]);
    let json = list(&["-s", &source, "--schema", "audit", "--json"]).exits(0);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["total"]["tables"], 28);
    let config = work.file("c.toml", "source-file = 'nowhere'\nschema = ['audit']\n");
    list(&["--config", &config, "-s", &source])
        .exits(0)
        .says(&["TOTAL   28 tables"]);
    let bad = work.file("bad.toml", "paralel = 3\n");
    list(&["--config", &bad, "-s", &source])
        .exits(1)
        .says(&["line 1", "parallel"]);
    let consent = work.file("yes.toml", "yes = true\n");
    list(&["--config", &consent, "-s", &source])
        .exits(1)
        .says(&["command line"]);
    list(&[]).exits(1).says(&["PGCOPY_SOURCE"]);
    list(&["-s", &source, "stray"]).exits(1);
    list(&["-s", &source, "--include", "a.b.c"])
        .exits(1)
        .says(&["more than one dot"]);
    let dir = work.dir();
    let copy = |more: &[&str]| {
        start_program(
            "pgcopy",
            &[&["copy", "--dir", &dir, "-s", &source], more].concat(),
        )
        .wait()
    };
    copy(&["-t", &target, "-d", &source])
        .exits(1)
        .says(&["--dest"]);
    copy(&["-t", &target, "--target-file", &conn])
        .exits(1)
        .says(&["both given"]);
    copy(&["-t", &target, "--compress"])
        .exits(1)
        .says(&["ssh -C"]);
    copy(&["-t", &target, "--output", "web"])
        .exits(1)
        .says(&["not supported yet"]);
    let nowhere = format!("{target}_that_is_not_there");
    copy(&["-t", &nowhere, "--dry-run"]).exits(7);
    assert!(!work.path().exists());
}

#[test]
fn pgcopydb_copies_rows_into_tables_with_keys_and_puts_back_what_a_killed_run_took_away() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let work = WorkDir::new();
    let (source, target) = (
        pair.from.uri_as(&pair.db, "app", ""),
        pair.to.uri_as(&pair.db, "app", ""),
    );
    let dir = work.dir();
    let words = |more: &[&str]| -> Vec<String> {
        let all = [
            "copy", "data", "--source", &source, "--target", &target, "--dir", &dir,
        ];
        let all = all.iter().chain(more).map(|word| (*word).to_owned());
        all.collect()
    };
    let begin = |more: &[&str]| {
        let all = words(more);
        start(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    begin(&["--constraints", "drop", "--drop-if-exists"])
        .wait()
        .exits(1)
        .says(&["--drop-if-exists cannot be used with --constraints"]);
    begin(&["--constraints", "replica"])
        .wait()
        .exits(3)
        .says(&["may not set session_replication_role"]);
    let gate = pair.gate();
    let mut run = begin(&["--constraints", "auto"]);
    pair.wait_for_gate(&run);
    kill_all(&run);
    run.wait_within(PATIENCE);
    drop(gate);
    assert_eq!(pair.keys(), 0);
    let restore = ["restore", "constraints", "--target", &target, "--dir", &dir];
    crate::support::run(&[&restore[..], &["--dry-run"]].concat())
        .exits(0)
        .says(&["add constraint"]);
    let out = crate::support::run(&[&restore[..], &["--index-jobs", "2"]].concat());
    assert!(out.code == 0 || out.code == 10, "{}", out.stderr);
    if out.code == 0 {
        assert_eq!(before, pair.target_schema());
    }
    let json = begin(&["--constraints", "drop", "--restart", "--json"])
        .wait()
        .exits(0);
    let summary: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(summary["keys"]["valid"], 20);
    assert_eq!(summary["keys"]["not_valid_before"], 1);
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
}

#[test]
fn who_becomes_the_owner_by_an_option_of_the_connection_ends_the_sessions_of_dead_workers() {
    let pair = gated_shops();
    let before = pair.target_schema();
    let as_app = |uri: String| format!("{uri}?options=-c%20role%3Dapp");
    let source = as_app(pair.from.uri_as(&pair.db, "guest", ""));
    let target = as_app(pair.to.uri_as(&pair.db, "guest", ""));
    let work = WorkDir::new();
    let dir = work.dir();
    let gate = pair.gate();
    let all = ["copy", "-s", &source, "-t", &target, "--dir", &dir, "--yes"];
    let run = start_program("pgcopy", &all);
    pair.wait_for_gate(&run);
    let backend =
        "select pid from pg_stat_activity where usename = 'guest' and wait_event = 'advisory'
                      and datname = current_database()";
    let stuck = pair.in_target(backend);
    for pid in run.children_named("copy ") {
        signal(pid, Signal::SIGKILL);
    }
    let gone = format!("select count(*) = 0 from pg_stat_activity where pid = {stuck}");
    assert!(
        pair.to.wait_until(&pair.db, &gone, PATIENCE),
        "{}",
        run.said()
    );
    drop(gate);
    run.wait().exits(0);
    assert_eq!(before, pair.target_schema());
    pair.assert_equal();
}
