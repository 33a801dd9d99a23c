//! `--filters`: what is left out of a clone, what goes with it, and what is refused.
//!
//! Each test clones a source through filters and compares it with a second source, made by hand
//! without what the filters leave out.

use crate::support::{Output, Pair, WorkDir, assert_equal, pair};

/// A clone of `sql` through `filters`, and what it printed.
fn filtered(sql: &str, filters: &str, more: &[&str]) -> (Pair, Output) {
    let pair = Pair::with(sql);
    let work = WorkDir::new();
    let file = work.file("filters.ini", filters);
    let out = pair.clone(&work, &[&["--filters", &file], more].concat());
    (pair, out)
}

/// The clone of `sql` through `filters` equals what `expected` makes.
#[track_caller]
fn leaves(sql: &str, filters: &str, expected: &str) -> Output {
    let (copy, out) = filtered(sql, filters, &[]);
    let out = out.exits(0);
    let by_hand = Pair::with(expected);
    assert_equal(&by_hand.source(), &copy.target());
    out
}

const TABLES: &str = "
    create table a (id serial primary key, t text); insert into a (t) select 'a' from generate_series(1, 9);
    create table b (id integer primary key, a_id integer references a); insert into b values (1, 1);";
const ONLY_A: &str = "
    create table a (id serial primary key, t text); insert into a (t) select 'a' from generate_series(1, 9);";

#[test]
fn a_table_can_be_left_out_by_name_or_pattern_and_comments_stand_anywhere() {
    for filters in [
        "# all\n[exclude-table] ; these\npublic.B ; that\n\n",
        "[exclude-table]\npublic.~/^b$/",
        "[exclude-table]\n~/^pub/.~<^[b-z]{1,2}$>",
        "[include-only-table]\n\"public\".\"a\"",
    ] {
        leaves(TABLES, filters, ONLY_A);
    }
}

#[test]
fn nothing_is_left_out_where_filters_name_nothing() {
    let out = leaves(
        TABLES,
        "[exclude-table]\npublic.nothing\n[exclude-index]\n",
        TABLES,
    );
    out.says(&[
        "line 2 of filters file",
        "has no table public.nothing",
        "is empty and has no effect",
    ]);
}

#[test]
fn foreign_keys_views_triggers_and_policies_go_with_their_table() {
    let rest = "
        create function f() returns trigger language plpgsql as 'begin return new; end';
        create table b (id integer primary key, a_id integer); insert into b values (1, 1);
        create trigger tr after insert on b for each row execute function f();
        comment on table b is 'stays'; grant select on b to public;
        create publication p for table b;";
    let all = "
        create function f() returns trigger language plpgsql as 'begin return new; end';
        create table a (id integer primary key, t text); insert into a values (1, 'x');
        comment on column a.t is 'goes'; grant select (t) on a to public;
        create table b (id integer primary key, a_id integer references a); insert into b values (1, 1);
        create view v as select * from a; comment on view v is 'goes';
        create view w as select count(*) as c from v;
        create materialized view m as select * from w; create index mi on m (c);
        create function g(a) returns integer language sql as 'select 1';
        create trigger tr after insert on a for each row execute function f();
        create trigger tr after insert on b for each row execute function f();
        create rule r as on insert to b where new.id = 0 do also delete from a;
        create policy p on b using (exists (select 1 from a));
        alter table a enable row level security;
        create statistics s on id, t from a;
        comment on table b is 'stays'; grant select on b to public;
        create publication p for table a, b;";
    let out = leaves(all, "[exclude-table]\npublic.a\n", rest);
    out.says(&[
        "materialized view public.m: needs view public.w",
        "Left out, too: table constraint b_a_id_fkey on public.b",
    ]);
}

#[test]
fn a_schema_goes_with_its_functions_and_types_but_for_those_that_a_table_needs() {
    let all = "
        create schema s; create schema \"O'dd\";
        create type s.mood as enum ('a', 'b'); create type s.spare as (x integer);
        create function s.used(integer) returns integer language sql as 'select $1';
        create function s.spare() returns integer language sql as 'select 1';
        create table s.t (id integer primary key); insert into s.t values (1);
        create sequence s.q; create domain s.d as integer check (s.used(value) > 0);
        create table public.kept (m s.mood, n integer default s.used(3), q bigint default nextval('s.q'), d s.d);
        insert into public.kept values ('a');
        create view public.v as select s.spare() as x;
        create table \"O'dd\".t (x integer);
        alter default privileges in schema s grant select on tables to public;";
    let rest = "
        create schema s;
        create type s.mood as enum ('a', 'b');
        create function s.used(integer) returns integer language sql as 'select $1';
        create sequence s.q; create domain s.d as integer check (s.used(value) > 0);
        create table public.kept (m s.mood, n integer default s.used(3), q bigint default nextval('s.q'), d s.d);
        insert into public.kept values ('a');";
    let out = leaves(all, "[exclude-schema]\ns\n~/^O'/\n", rest);
    out.says(&["Kept in spite of the filters: type s.mood: table public.kept needs it"]);
    leaves(all, "[include-only-schema]\npublic\n", rest);
}

#[test]
fn extensions_and_large_objects_stay_where_only_one_schema_is_included() {
    let all = "
        create schema ext; create extension hstore schema ext; create schema app; create schema junk;
        create table app.t (h ext.hstore); insert into app.t values ('a=>1');
        create table junk.t (x integer); create function junk.f() returns integer language sql as 'select 1';
        select lo_from_bytea(4711, 'large');";
    let rest = "
        create schema ext; create extension hstore schema ext; create schema app;
        create table app.t (h ext.hstore); insert into app.t values ('a=>1');
        select lo_from_bytea(4711, 'large');";
    leaves(all, "[include-only-schema]\napp\n", rest);
}

#[test]
fn rows_are_left_out_and_the_table_with_its_indexes_and_sequence_stays() {
    let all = "
        create table a (id serial primary key, t text); create index i on a (t);
        insert into a (t) select 'a' from generate_series(1, 9);
        create table part (id integer, primary key (id)) partition by range (id);
        create table part1 partition of part for values from (0) to (10); insert into part values (1);
        create materialized view m as select t from a; create materialized view n as select * from m;";
    let rest = "
        create table a (id serial primary key, t text); create index i on a (t);
        select setval('a_id_seq', 9);
        create table part (id integer, primary key (id)) partition by range (id);
        create table part1 partition of part for values from (0) to (10);
        create materialized view m as select t from a with no data;
        create materialized view n as select * from m with no data;";
    let filters = "[exclude-table-data]\npublic.a\npublic.part\npublic.m\n";
    leaves(all, filters, rest);
}

#[test]
fn a_key_to_rows_that_are_left_out_stays_not_valid_and_stops_nothing() {
    let (pair, out) = filtered(TABLES, "[exclude-table-data]\npublic.a", &[]);
    out.exits(0).says(&["b_a_id_fkey stays NOT VALID"]);
    let state =
        pair.in_target("select convalidated from pg_constraint where conname = 'b_a_id_fkey'");
    assert_eq!(state.trim(), "f");
    assert_eq!(pair.in_target("select count(*) from b").trim(), "1");
}

#[test]
fn an_index_goes_with_its_constraint_and_the_keys_that_need_it() {
    let all = "
        create table a (id integer primary key, u integer, t text, constraint au unique (u));
        create index \"I.1\" on a (t); create index a_extra on a (id, t);
        create table b (u integer references a (u), id integer references a (id));
        insert into a values (1, 1); insert into b values (1, 1);";
    let rest = "
        create table a (id integer primary key, u integer, t text); create index a_extra on a (id, t);
        create table b (u integer, id integer references a (id));
        insert into a values (1, 1); insert into b values (1, 1);";
    let out = leaves(
        all,
        "[exclude-index]\npublic.\"I.1\"\n~/^pub/.~/^a.$/\n",
        rest,
    );
    out.says(&["b_u_fkey on public.b: needs table constraint au on public.a"]);
}

#[test]
fn extensions_are_left_out_with_their_comments_and_refused_where_something_needs_them() {
    let all =
        "create extension hstore; comment on extension hstore is 'mine'; create extension citext;
        create table t (x citext);";
    let rest = "create extension citext; create table t (x citext);";
    leaves(all, "[exclude-extension]\nhstore\n", rest);
    leaves(all, "[include-only-extension]\n\"citext\"\n", rest);
    let (pair, out) = filtered(all, "[exclude-extension]\ncitext\n", &[]);
    out.exits(2).says(&[
        "leave out extension citext",
        "table public.t needs it",
        "create extension",
    ]);
    assert_eq!(
        pair.in_target("select count(*) from pg_class where relname = 't'")
            .trim(),
        "0"
    );
}

#[test]
fn a_partitioned_table_is_meant_with_its_partitions_and_a_partition_alone() {
    let all = "
        create table p (id integer primary key, t text) partition by range (id); create index pi on p (t);
        create table p1 partition of p for values from (0) to (10);
        create table p2 partition of p for values from (10) to (20);
        insert into p select i, 'x' from generate_series(0, 19) i; create table other (x integer);";
    let without_p = "create table other (x integer);";
    let without_p1 = "
        create table p (id integer primary key, t text) partition by range (id); create index pi on p (t);
        create table p2 partition of p for values from (10) to (20);
        insert into p select i, 'x' from generate_series(10, 19) i; create table other (x integer);";
    let p1_alone = "
        create table p1 (id integer not null, t text); insert into p1 select i, 'x' from generate_series(0, 9) i;
        alter table p1 add primary key (id); create index p1_t_idx on p1 (t);";
    leaves(all, "[exclude-table]\npublic.p", without_p);
    leaves(all, "[exclude-table]\npublic.p1", without_p1);
    leaves(all, "[include-only-table]\npublic.p1", p1_alone);
}

#[test]
fn a_sequence_of_a_table_left_out_stays_for_the_table_that_uses_it() {
    let all = "create table a (id serial); create table b (id integer default nextval('a_id_seq'));
        create table c (id serial); insert into a default values; insert into b default values;";
    let rest = "create sequence a_id_seq as integer; create table b (id integer default nextval('a_id_seq'));
        select setval('a_id_seq', 2); insert into b values (2);";
    leaves(all, "[exclude-table]\npublic.a\npublic.c\n", rest);
}

#[test]
fn a_child_whose_parent_is_left_out_is_named_and_is_refused_where_it_was_asked_for() {
    let all = "create table base (x integer); create table kid (y integer) inherits (base);
        insert into kid values (1, 2); create table other (z integer);";
    let out = leaves(
        all,
        "[exclude-table]\npublic.base",
        "create table other (z integer);",
    );
    out.says(&["Table public.kid is left out with its rows: it needs table public.base"]);
    let (_, out) = filtered(all, "[include-only-table]\npublic.kid", &[]);
    out.exits(2).says(&[
        "line 2 of",
        "public.kid cannot be copied: it needs \"public\".\"base\"",
    ]);
}

#[test]
fn odd_names_and_patterns_arrive_at_the_server_as_they_are() {
    let all = r#"create table "a,b{""c\d" (x integer); create table "s.t u" (x integer); create table aaa (x integer);
        create table t12 (x integer); create table "T12" (x integer); create table "d''é" (x integer);"#;
    let filters = "[exclude-table]\npublic.\"a,b{\"\"c\\d\"\npublic.\"s.t u\" ; why\npublic.~/^a{2,3}$/\n\
        public.~/^t\\d+$/\npublic.\"d''é\"";
    leaves(all, filters, r#"create table "T12" (x integer);"#);
}

#[test]
fn a_misspelled_section_a_wrong_pattern_and_a_missing_include_end_with_exit_2_and_the_line() {
    for (filters, words) in [
        ("\n[exclude-tabel]\npublic.a", "line 2 of filters file"),
        ("[exclude-table]\npublic.~/(/", "line 2 of filters file"),
        (
            "[include-only-table]\npublic.a\npublic.zzz",
            "has no table public.zzz",
        ),
        (
            "[include-only-table]\npublic.~/zz/",
            "has no table public.~/zz/",
        ),
        ("[include-only-schema]\nNowhere", "has no schema Nowhere"),
        (
            "[include-only-schema]\n~/a/\n[exclude-schema]\n~/b/",
            "line 4 of filters file",
        ),
    ] {
        let (pair, out) = filtered(TABLES, filters, &[]);
        out.exits(2).says(&[words]);
        assert_eq!(
            pair.in_target("select count(*) from pg_class where relname = 'a'")
                .trim(),
            "0"
        );
    }
    let pair = pair();
    pair.clone(&WorkDir::new(), &["--filters", "/nowhere.ini"])
        .exits(1);
}

#[test]
fn check_looks_at_what_is_kept_and_at_the_filters_themselves() {
    let pair = Pair::with(TABLES);
    pair.in_target("create table b (mine integer)");
    let work = WorkDir::new();
    let check = |filters: &str| {
        let file = work.file("f.ini", filters);
        let (source, target) = (pair.source(), pair.target());
        let all = [
            "check",
            "--source",
            &source,
            "--target",
            &target,
            "--filters",
            &file,
        ];
        crate::support::run(&[&all[..], &["--dir", "/var/tmp"]].concat())
    };
    check("[exclude-table]\npublic.a")
        .exits(2)
        .says(&["the target is not empty"]);
    check("[exclude-table]\npublic.b").exits(0);
    check("[exclude-table]\npublic.b\npublic.c")
        .exits(1)
        .says(&["line 3 of filters file"]);
    check("[exclude-tables]\npublic.b").exits(2);
}

#[test]
fn dry_run_shows_what_is_left_out_and_why() {
    let work = WorkDir::new();
    let pair = Pair::with(TABLES);
    let file = work.file("f.ini", "[exclude-table]\npublic.a");
    let out = pair
        .clone(&work, &["--filters", &file, "--dry-run"])
        .exits(0);
    let out = out.says(&[
        "LEAVE OUT table public.a: line 2: [exclude-table] public.a",
        "LEAVE OUT table constraint b_a_id_fkey on public.b: needs table",
        "COPY public.b",
    ]);
    assert!(!out.stdout.contains("COPY public.a"));
    let out = pair
        .clone(&work, &["--filters", &file, "--dry-run", "--json"])
        .exits(0);
    assert!(
        out.stdout.contains(r#""identity": "public.a""#),
        "{}",
        out.stdout
    );
    assert_eq!(
        pair.in_target("select count(*) from pg_class where relname = 'b'")
            .trim(),
        "0"
    );
}

#[test]
fn a_resume_with_other_filters_is_refused_with_the_difference() {
    let pair = Pair::with(crate::support::servers::GATED);
    pair.in_source("create table extra (x integer)");
    let work = WorkDir::new();
    let one = work.file("one.ini", "[exclude-table]\npublic.extra");
    let other = work.file("other.ini", "[exclude-table]\npublic.before");
    let gate = pair.gate();
    let run = pair.start(&work, &["--filters", &one]);
    pair.wait_for_gate(&run);
    run.kill(nix::sys::signal::Signal::SIGTERM);
    run.wait().exits(143);
    drop(gate);
    let again =
        |more: &[&str]| pair.clone(&work, &[&["--resume", "--not-consistent"], more].concat());
    again(&["--filters", &other]).exits(3).says(&[
        "the first run had other filters",
        "Only then: [exclude-table] \"public\".\"extra\"",
        "Only now: [exclude-table] \"public\".\"before\"",
    ]);
    again(&[]).exits(3).says(&["Only now: nothing"]);
    // Another spelling of the same is no other filter.
    let same = work.file("same.ini", "; again\n[exclude-table]\n\"public\".EXTRA");
    again(&["--filters", &same]).exits(0);
    pair.in_source("drop table extra");
    pair.assert_equal();
}

#[test]
fn what_the_role_may_not_read_is_no_obstacle_when_it_is_left_out() {
    let pair = Pair::with(
        "create schema hidden; create table hidden.t (x integer); create table secret (x integer);
         create table mine (x integer); insert into mine values (1);",
    );
    let reader = format!("reader_{}", pair.db);
    pair.in_source(&format!(
        "create role {reader} login; grant select on mine to {reader}; alter table mine owner to {reader}"
    ));
    let source = pair.from.uri_as(&pair.db, &reader, "");
    let work = WorkDir::new();
    let file = work.file(
        "f.ini",
        "[exclude-table]\npublic.secret\n[exclude-schema]\nhidden",
    );
    let (target, dir) = (pair.target(), work.dir());
    let all = [
        "clone", "--source", &source, "--target", &target, "--dir", &dir,
    ];
    let options = ["--no-owner", "--no-acl", "--skip-db-properties"];
    crate::support::run(&[&all[..], &options[..]].concat()).exits(6);
    crate::support::run(&[&all[..], &options[..], &["--restart", "--filters", &file]].concat())
        .exits(0);
    assert_eq!(pair.in_target("select count(*) from mine").trim(), "1");
    pair.in_source(&format!("drop owned by {reader}; drop role {reader}"));
}

#[test]
fn what_is_there_already_is_no_obstacle_when_it_is_left_out() {
    let pair = Pair::with(TABLES);
    pair.in_target("create table b (mine integer); insert into b values (42)");
    let work = WorkDir::new();
    let file = work.file("f.ini", "[exclude-table]\npublic.b");
    pair.clone(&work, &["--filters", &file]).exits(0);
    assert_eq!(pair.in_target("select mine from b").trim(), "42");
    let again = ["--filters", &file, "--restart", "--drop-if-exists"];
    pair.clone(&work, &again).exits(0);
    assert_eq!(pair.in_target("select mine from b").trim(), "42");
}

#[test]
fn lists_show_what_is_kept_or_left_out_and_what_hangs_on_what() {
    let pair = Pair::with(
        "create table a (id serial primary key); create table b (id integer primary key, a_id integer references a);
         create view v as select * from a; create view w as select * from v;",
    );
    let work = WorkDir::new();
    let (file, source) = (
        work.file("f.ini", "[exclude-table]\npublic.a"),
        pair.source(),
    );
    let list = |what: &[&str]| {
        let dir = work.dir();
        let options = [
            "--source",
            &source,
            "--dir",
            &dir,
            "--filters",
            &file,
            "--json",
        ];
        let out = crate::support::run(&[&["list"], what, &options].concat()).exits(0);
        let json: serde_json::Value = serde_json::from_str(&out.stdout).expect("JSON");
        let names = |key: &str| -> Vec<String> {
            let rows = json.as_array().expect("a list").iter();
            rows.map(|row| row[key].as_str().expect("a name").to_owned())
                .collect()
        };
        (
            names("name"),
            if what[0] == "depends" {
                names("identity")
            } else {
                Vec::new()
            },
        )
    };
    assert_eq!(list(&["tables"]).0, ["b"]);
    assert_eq!(list(&["tables", "--list-skipped"]).0, ["a"]);
    assert_eq!(list(&["indexes"]).0, ["b_pkey"]);
    assert_eq!(list(&["indexes", "--list-skipped"]).0, ["a_pkey"]);
    assert_eq!(list(&["sequences"]).0, [""; 0]);
    assert_eq!(list(&["sequences", "--list-skipped"]).0, ["a_id_seq"]);
    let (tables, identities) = list(&["depends", "--list-skipped"]);
    for (table, identity) in [
        ("a", "public.v"),
        ("v", "public.w"),
        ("a", "b_a_id_fkey on public.b"),
    ] {
        let mut rows = tables.iter().zip(&identities);
        assert!(
            rows.any(|row| row == (&table.to_owned(), &identity.to_owned())),
            "{identities:?}"
        );
    }
    let of_view = list(&["depends", "--table-name", "v"]);
    assert_eq!(of_view.1, ["public.w"]);
}

#[test]
fn foreign_tables_that_are_left_out_are_no_warning() {
    let pair = Pair::with(
        "create extension postgres_fdw; create server s foreign data wrapper postgres_fdw;
         create foreign table f (id integer) server s; create table t (id integer)",
    );
    let work = WorkDir::new();
    let (source, target) = (pair.source(), pair.target());
    let check = |more: &[&str]| {
        let sides = ["check", "--source", &source, "--target", &target];
        crate::support::run(&[&sides[..], more].concat()).stdout
    };
    assert!(check(&[]).contains("1 foreign tables"));
    let file = work.file("filters.ini", "[exclude-table]\npublic.f\n");
    assert!(!check(&["--filters", &file]).contains("foreign tables"));
}

#[test]
fn what_filters_leave_out_is_kept_as_statements_that_can_be_run_by_hand() {
    let pair = Pair::with(
        "create table a (id integer primary key, t text); comment on table a is 'it''s a'; create index on a (t);
         create view of_a as select id from a; create table b (id integer)",
    );
    let work = WorkDir::new();
    let file = work.file("filters.ini", "[exclude-table]\npublic.a\n");
    pair.clone(&work, &["--filters", &file])
        .exits(0)
        .says(&["not-restored.sql"]);
    let kept = work.path().join("schema/not-restored.sql");
    let text = std::fs::read_to_string(&kept).expect("the file");
    for words in [
        "-- TABLE public a postgres: left out by filters",
        "-- VIEW public of_a postgres: left out by filters",
        "-- COMMENT public TABLE a postgres: belongs to TABLE public a",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    pair.to.psql_file(&pair.db, &kept);
    assert_eq!(pair.in_target("select count(*) from of_a"), "0");
    assert_eq!(
        pair.in_target("select count(*) from pg_index where indrelid = 'a'::regclass"),
        "2"
    );
    // Nothing missing, no file.
    let (pair, work) = (Pair::with("create table t (i integer)"), WorkDir::new());
    pair.clone(&work, &[]).exits(0);
    assert!(!work.path().join("schema/not-restored.sql").exists());
}
