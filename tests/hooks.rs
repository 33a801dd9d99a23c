//! Extensions that are told of a restore, by stand-ins: any extension takes the name of timescaledb or citus in
//! `pg_extension`, and gets their tables and functions as members. The functions write down what they see.

use nix::sys::signal::Signal::SIGKILL;

use crate::steps::RESUME;
use crate::support::program::start_program;
use crate::support::servers::GATED;
use crate::support::{Output, Pair, WorkDir, run};

/// What both sides have of timescaledb.
const TIMESCALEDB: &str = "
    create extension tcn;
    create schema _timescaledb_catalog; create schema _timescaledb_internal;
    create table _timescaledb_catalog.hypertable (
        id integer primary key, schema_name name, table_name name,
        compressed_hypertable_id integer references _timescaledb_catalog.hypertable);
    create table _timescaledb_catalog.chunk (
        id integer primary key, hypertable_id integer references _timescaledb_catalog.hypertable,
        schema_name name, table_name name, dropped boolean default false);
    create table _timescaledb_catalog.metadata (key name primary key, value text);
    create table _timescaledb_catalog.calls (
        id timestamptz default clock_timestamp(), what text, tables bigint, rows bigint, indexes bigint,
        configured bigint, progress boolean);
    create function _timescaledb_internal.count_rows() returns bigint language plpgsql as $$
        declare n bigint; begin select count(*) into n from public.metrics; return n;
        exception when undefined_table then return 0; end $$;
    create function _timescaledb_internal.note(called text) returns void language sql as $$
        insert into _timescaledb_catalog.calls (what, tables, rows, indexes, configured, progress)
        select called, count(*) filter (where relkind = 'r'), _timescaledb_internal.count_rows(),
               count(*) filter (where relkind = 'i'), (select count(*) from _timescaledb_catalog.chunk),
               to_regclass('pgcopydb.progress') is not null
          from pg_class c where relnamespace in ('public'::regnamespace, '_timescaledb_internal'::regnamespace) $$;
    create function timescaledb_pre_restore() returns boolean language plpgsql as $$ begin
        perform _timescaledb_internal.note('pre');
        execute format('alter database %I set timescaledb.restoring = %L', current_database(), 'on');
        perform set_config('timescaledb.restoring', 'on', false); return true; end $$;
    create function timescaledb_post_restore() returns boolean language plpgsql as $$ begin
        perform _timescaledb_internal.note('post');
        execute format('alter database %I reset timescaledb.restoring', current_database());
        perform set_config('timescaledb.restoring', 'off', false); return true; end $$;
    create function _timescaledb_internal.may_write() returns boolean language plpgsql immutable as $$ begin
        if inet_server_port() = (select value::int from _timescaledb_catalog.metadata where key = 'target')
           and current_setting('timescaledb.restoring', true) is distinct from 'on'
        then raise 'written while not restoring'; end if; return true; end $$;
    create function _timescaledb_internal.insert_blocker() returns trigger language plpgsql as
        $$ begin raise 'the root of a hypertable is written'; end $$;
    alter extension tcn add schema _timescaledb_catalog; alter extension tcn add schema _timescaledb_internal;
    alter extension tcn add table _timescaledb_catalog.hypertable;
    alter extension tcn add table _timescaledb_catalog.chunk;
    alter extension tcn add table _timescaledb_catalog.metadata;
    alter extension tcn add table _timescaledb_catalog.calls;
    alter extension tcn add function _timescaledb_internal.count_rows();
    alter extension tcn add function _timescaledb_internal.note(text);
    alter extension tcn add function timescaledb_pre_restore();
    alter extension tcn add function timescaledb_post_restore();
    alter extension tcn add function _timescaledb_internal.may_write();
    alter extension tcn add function _timescaledb_internal.insert_blocker();
    insert into _timescaledb_catalog.metadata values ('uuid', gen_random_uuid());
    update pg_extension set extname = 'timescaledb', extcondition = array['', '', 'WHERE key not in (''uuid'', ''target'')'],
           extconfig = array['_timescaledb_catalog.chunk'::regclass, '_timescaledb_catalog.hypertable'::regclass,
                             '_timescaledb_catalog.metadata'::regclass]::oid[]
     where extname = 'tcn';";

/// A hypertable with two chunks and a compressed twin, beside an ordinary table.
const METRICS: &str = "
    create table devices (id integer primary key, name text);
    insert into devices select i, 'device ' || i from generate_series(1, 9) i;
    create table metrics (at timestamptz not null, device integer references devices, v float8);
    create index metrics_at on metrics (at desc);
    create trigger ts_insert_blocker before insert on metrics
        for each row execute function _timescaledb_internal.insert_blocker();
    create table _timescaledb_internal._hyper_1_1_chunk (
        constraint constraint_1 check (at < '2026-01-02'), check (_timescaledb_internal.may_write()),
        constraint \"1_1_metrics_device_fkey\" foreign key (device) references devices) inherits (metrics);
    create table _timescaledb_internal._hyper_1_2_chunk (
        constraint constraint_2 check (at >= '2026-01-02'), check (_timescaledb_internal.may_write())) inherits (metrics);
    create index \"1_1_at\" on _timescaledb_internal._hyper_1_1_chunk (at desc);
    create index \"1_2_at\" on _timescaledb_internal._hyper_1_2_chunk (at desc);
    insert into _timescaledb_internal._hyper_1_1_chunk select '2026-01-01', 1 + i % 9, i from generate_series(1, 3000) i;
    insert into _timescaledb_internal._hyper_1_2_chunk select '2026-01-03', 1 + i % 9, i from generate_series(1, 2000) i;
    create table _timescaledb_internal._compressed_hypertable_2 (device integer, at bytea);
    create table _timescaledb_internal.compress_hyper_2_3_chunk () inherits (_timescaledb_internal._compressed_hypertable_2);
    insert into _timescaledb_internal.compress_hyper_2_3_chunk values (1, '\\x01');
    insert into _timescaledb_catalog.hypertable values
        (2, '_timescaledb_internal', '_compressed_hypertable_2', null), (1, 'public', 'metrics', 2);
    insert into _timescaledb_catalog.chunk values
        (1, 1, '_timescaledb_internal', '_hyper_1_1_chunk', false),
        (2, 1, '_timescaledb_internal', '_hyper_1_2_chunk', false),
        (3, 2, '_timescaledb_internal', 'compress_hyper_2_3_chunk', false),
        (4, 1, '_timescaledb_internal', '_hyper_1_4_chunk', true);
    insert into _timescaledb_catalog.metadata values ('install_timestamp', 'of the source');";

/// What the stand-in was called for, in order.
const CALLS: &str =
    "select string_agg(format('%s: %s tables, %s rows, %s indexes, %s chunks', what, tables, rows,
    indexes, configured), '; ' order by id) from _timescaledb_catalog.calls";

/// Both sides with the stand-in, the source with hypertables.
fn with_hypertables(more: &str) -> Pair {
    let pair = Pair::with(&format!("{TIMESCALEDB}{METRICS}{more}"));
    pair.in_target(TIMESCALEDB);
    pair.in_target(
        "insert into _timescaledb_catalog.metadata values ('target', inet_server_port())",
    );
    pair
}

/// Rows of both sides that the extension's own tables and the chunks have.
#[track_caller]
fn assert_hypertables_equal(pair: &Pair) {
    for table in [
        "_timescaledb_catalog.hypertable",
        "_timescaledb_catalog.chunk",
        "_timescaledb_catalog.metadata where key not in ('uuid', 'target')",
        "only _timescaledb_internal._hyper_1_1_chunk",
        "only _timescaledb_internal._hyper_1_2_chunk",
        "_timescaledb_internal.compress_hyper_2_3_chunk",
        "devices",
    ] {
        let sum = format!(
            "select count(*) || ' ' || coalesce(sum(hashtext(t::text)), 0) from (select * from {table}) t"
        );
        assert_eq!(pair.in_source(&sum), pair.in_target(&sum), "{table}");
    }
    assert_eq!(pair.in_target("select count(*) from only metrics"), "0");
    let restoring =
        "select coalesce(current_setting('timescaledb.restoring', true), '') in ('', 'off')";
    assert_eq!(pair.in_target(restoring), "t");
}

fn check(pair: &Pair, more: &[&str]) -> Output {
    let (source, target) = (pair.source(), pair.target());
    let sides = [
        "check", "--source", &source, "--target", &target, "--dir", "/var/tmp",
    ];
    run(&[&sides[..], more].concat())
}

#[test]
fn timescaledb_restores_from_before_the_first_table_until_all_is_there() {
    let pair = with_hypertables("");
    let plan = check(&pair, &[]).exits(0);
    let call = "CALL public.timescaledb_pre_restore()";
    assert!(plan.stdout.contains(call), "{}", plan.stdout);
    let split = ["--split-tables-larger-than", "50kB"];
    pair.clone(&WorkDir::new(), &split).exits(0).says(&[
        "Calling public.timescaledb_pre_restore()",
        "Calling public.timescaledb_post_restore()",
    ]);
    assert_eq!(
        pair.in_target(CALLS),
        "pre: 0 tables, 0 rows, 0 indexes, 0 chunks; post: 6 tables, 5000 rows, 4 indexes, 4 chunks"
    );
    assert_eq!(
        pair.in_target("select bool_or(progress) from _timescaledb_catalog.calls"),
        "f"
    );
    assert_hypertables_equal(&pair);
}

#[test]
fn a_killed_run_leaves_timescaledb_restoring_and_says_so_and_the_next_one_ends_that() {
    let (pair, work) = (with_hypertables(GATED), WorkDir::new());
    let gate = pair.gate();
    let run_ = pair.start(&work, &[]);
    pair.wait_for_gate(&run_);
    run_.kill(SIGKILL);
    drop(gate);
    let _ = run_.wait();
    let status = run(&["status", "--dir", &work.dir()]);
    assert!(
        status.stdout.contains("restoring mode"),
        "{}",
        status.stdout
    );
    let on = "select current_setting('timescaledb.restoring', true)";
    assert_eq!(pair.in_target(on), "on");
    // Somebody ends the mode by hand in between: it is on again before anything is written.
    pair.in_target("select timescaledb_post_restore()");
    pair.clone(&work, &RESUME).exits(0);
    let calls = "select string_agg(what, ' ' order by id) from _timescaledb_catalog.calls";
    assert_eq!(pair.in_target(calls), "pre post pre post");
    assert_hypertables_equal(&pair);
    let status = run(&["status", "--dir", &work.dir()]);
    assert!(
        !status.stdout.contains("restoring mode"),
        "{}",
        status.stdout
    );
}

#[test]
fn a_failed_run_says_that_timescaledb_is_still_restoring() {
    let (pair, work) = (with_hypertables(""), WorkDir::new());
    pair.in_source("create function broken(i integer) returns boolean language plpgsql immutable as
            'begin if inet_server_port() <> (select setting::int from pg_settings where name = ''port'') then end if; return true; end';
        create table odd (i integer); insert into odd values (1);
        alter table odd add check (_timescaledb_internal.may_write())");
    pair.in_target("create or replace function _timescaledb_internal.may_write() returns boolean language plpgsql immutable as
            $$ begin raise 'no room'; end $$");
    pair.clone(&work, &[]).exits(7).says(&[
        "no room",
        "restoring mode",
        "run there: select public.timescaledb_post_restore();",
    ]);
    pair.in_target("create or replace function _timescaledb_internal.may_write() returns boolean language plpgsql immutable as
            $$ begin return true; end $$");
    pair.clone(&work, &RESUME).exits(0);
    assert_hypertables_equal(&pair);
}

#[test]
fn the_recipe_keeps_timescaledb_restoring_until_post_data() {
    let (pair, work) = (with_hypertables(""), WorkDir::new());
    pair.does_all(&work, &[]);
    assert_hypertables_equal(&pair);
    let first = "select what || tables from _timescaledb_catalog.calls order by id limit 1";
    assert_eq!(pair.in_target(first), "pre0");
    let posts = "select count(*), max(rows) from _timescaledb_catalog.calls where what = 'post'";
    assert_eq!(pair.in_target(posts), "1|5000");
}

#[test]
fn the_schema_first_and_the_rows_later_restore_twice() {
    // Foreign keys that are there before the rows would be refused.
    let without_keys = "alter table metrics drop constraint metrics_device_fkey;
        alter table _timescaledb_internal._hyper_1_1_chunk drop constraint \"1_1_metrics_device_fkey\"";
    let (pair, work) = (with_hypertables(without_keys), WorkDir::new());
    pair.does(&work, "copy schema", &[]).exits(0);
    pair.does(&work, "copy data", &[]).exits(0);
    assert_hypertables_equal(&pair);
    let calls = "select string_agg(what, ' ' order by id) from _timescaledb_catalog.calls";
    assert_eq!(pair.in_target(calls), "pre post pre post");
}

#[test]
fn what_timescaledb_cannot_restore_is_refused_by_name() {
    let (pair, work) = (with_hypertables(""), WorkDir::new());
    let refused = |more: &[&str], words: &[&str]| {
        check(&pair, more).exits(2).says(words);
    };
    refused(
        &["--skip-extensions"],
        &["2 hypertables of timescaledb", "3 chunks"],
    );
    refused(&["--follow"], &["timescaledb cannot be followed"]);
    let filters = work.file("only.ini", "[include-only-schema]\npublic\n");
    refused(
        &["--filters", &filters],
        &[
            "_timescaledb_internal._hyper_1_1_chunk",
            "chunks of timescaledb",
        ],
    );
    let filters = work.file("rows.ini", "[exclude-table-data]\npublic.metrics\n");
    refused(
        &["--filters", &filters],
        &["rows of 1 hypertables", "public.metrics"],
    );
    let filters = work.file("ext.ini", "[exclude-extension]\ntimescaledb\n");
    refused(&["--filters", &filters], &["2 hypertables of timescaledb"]);
    let filters = work.file("good.ini", "[exclude-table]\npublic.\"no such\"\n");
    assert!(
        !check(&pair, &["--filters", &filters])
            .stdout
            .contains("FAIL")
    );
    let clone = |words: &[&str]| {
        pair.clone(&WorkDir::new(), &[]).exits(7).says(words);
    };
    let (source, target, dir) = (pair.source(), pair.target(), work.dir());
    let words = [
        "copy", "--yes", "--source", &source, "--target", &target, "--dir", &dir,
    ];
    let rows_alone = start_program("pgcopy", &words).wait();
    rows_alone
        .exits(6)
        .says(&["2 hypertables of timescaledb", "pgcopydb clone"]);
    let other = WorkDir::new().dir();
    let sides = ["--source", &source, "--target", &target, "--dir", &other];
    let setup = run(&[&["stream", "setup"], &sides[..]].concat());
    assert_ne!(setup.code, 0, "{}", setup.stderr);
    setup.says(&["timescaledb, whose chunks and compressed rows change"]);
    pair.in_target("insert into _timescaledb_catalog.hypertable values (7, 'public', 'theirs')");
    refused(&[], &["target has 1 hypertables", "public.theirs"]);
    clone(&["target has 1 hypertables"]);
    pair.in_target(
        "delete from _timescaledb_catalog.hypertable;
        update pg_extension set extversion = '0.9' where extname = 'timescaledb'",
    );
    refused(
        &[],
        &[
            "version 1.0 on the source and 0.9 on the target",
            "alter extension timescaledb update to '1.0'",
        ],
    );
    clone(&["version 1.0 on the source and 0.9 on the target"]);
    pair.in_target(
        "update pg_extension set extversion = '1.0' where extname = 'timescaledb';
        alter extension timescaledb drop function timescaledb_post_restore()",
    );
    refused(&[], &["has no function timescaledb_post_restore()"]);
    assert_eq!(
        pair.in_target("select count(*) from _timescaledb_catalog.calls"),
        "0"
    );
    assert_eq!(pair.in_target("select to_regclass('devices') is null"), "t");
}

#[test]
fn a_target_whose_new_sessions_do_not_restore_is_left_without_tables() {
    let pair = with_hypertables("");
    pair.in_target("create or replace function timescaledb_pre_restore() returns boolean language sql as 'select true'");
    pair.clone(&WorkDir::new(), &[])
        .exits(7)
        .says(&["not in restoring mode"]);
    assert_eq!(pair.in_target("select to_regclass('devices') is null"), "t");
}

#[test]
fn timescaledb_without_hypertables_can_stay_behind() {
    let pair = Pair::with(&format!("{TIMESCALEDB} create table t as select 1 as i"));
    pair.clone(&WorkDir::new(), &["--skip-extensions"]).exits(0);
    assert_eq!(pair.in_target("select i from t"), "1");
}

/// What both sides have of citus. The parent of `shards` is a distributed table: its own file is empty.
const CITUS: &str = r"
    create extension tcn; create schema citus; create schema shards;
    create table citus.meta (name regclass primary key, kind text, col text, colocation integer, shards bigint, size text);
    create table citus.calls (at timestamptz default clock_timestamp(), call text, rows bigint, indexes bigint);
    create view citus_tables as select name as table_name, kind as citus_table_type, coalesce(col, '<none>') as distribution_column,
        colocation as colocation_id, size as table_size, shards as shard_count, 'me'::name as table_owner, 'heap'::name as access_method
        from citus.meta;
    create function citus.note(t regclass, words text) returns void language plpgsql as $$
        declare n bigint; begin execute format('select count(*) from %s', t) into n;
        insert into citus.calls (call, rows, indexes) values (t || ': ' || words, n, (select count(*) from pg_index where indrelid = t)); end $$;
    create function create_distributed_table(table_name regclass, distribution_column text, distribution_type text default 'hash',
        colocate_with text default 'default', shard_count integer default null) returns void language plpgsql as $$ begin
        perform citus.note(table_name, format('%s, %s shards, with %s', distribution_column, shard_count, colocate_with));
        insert into citus.meta select table_name, 'distributed', distribution_column,
            coalesce((select colocation from citus.meta where name = case when colocate_with <> 'none' then colocate_with::regclass end),
                     1 + (select count(*) from citus.meta)),
            coalesce(shard_count, (select shards from citus.meta where name = case when colocate_with <> 'none' then colocate_with::regclass end)), '0 bytes'; end $$;
    create function create_reference_table(table_name regclass) returns void language plpgsql as $$ begin
        perform citus.note(table_name, 'everywhere');
        insert into citus.meta values (table_name, 'reference', null, 99, 1, '0 bytes'); end $$;
    alter extension tcn add schema citus; alter extension tcn add schema shards;
    alter extension tcn add table citus.meta; alter extension tcn add table citus.calls; alter extension tcn add view citus_tables;
    alter extension tcn add function citus.note(regclass, text);
    alter extension tcn add function create_distributed_table(regclass, text, text, text, integer);
    alter extension tcn add function create_reference_table(regclass);
    update pg_extension set extname = 'citus', extconfig = array['citus.meta'::regclass]::oid[], extcondition = array['']
     where extname = 'tcn';";

const SPREAD: &str = r#"
    create table countries (code text primary key, name text);
    insert into countries select 'c' || i, 'country ' || i from generate_series(1, 20) i;
    create table orders (tenant integer, id integer, country text references countries, t text, primary key (tenant, id));
    create table shards.orders_1 () inherits (orders); create table shards.orders_2 () inherits (orders);
    insert into shards.orders_1 select 1, i, 'c1', repeat('x', 50) from generate_series(1, 4000) i;
    insert into shards.orders_2 select 2, i, 'c2', repeat('y', 50) from generate_series(1, 3000) i;
    create table items (tenant integer, id integer, t text, unique (tenant, id));
    create table shards.items_1 () inherits (items);
    insert into shards.items_1 select 1, i, 'item' from generate_series(1, 500) i;
    create table "Events" ("Tenant Id" integer, t text);
    create table shards.events_1 () inherits ("Events");
    insert into shards.events_1 select i, 'event' from generate_series(1, 700) i;
    create table here (id integer primary key); insert into here select generate_series(1, 10);
    alter extension citus add table shards.orders_1; alter extension citus add table shards.orders_2;
    alter extension citus add table shards.items_1; alter extension citus add table shards.events_1;
    insert into citus.meta values ('orders', 'distributed', 'tenant', 7, 8, '900 MB'), ('items', 'distributed', 'tenant', 7, 8, '16 kB'),
        ('"Events"', 'distributed', 'Tenant Id', 5, 4, '0 bytes'), ('countries', 'reference', null, 99, 1, '8192 bytes');"#;

fn with_citus() -> Pair {
    let pair = Pair::with(&format!("{CITUS}{SPREAD}"));
    pair.in_target(CITUS);
    pair
}

#[track_caller]
fn assert_spread_equal(pair: &Pair, tables: &[&str]) {
    for table in tables {
        let sum =
            format!("select count(*) || ' ' || coalesce(sum(hashtext(t::text)), 0) from {table} t");
        assert_eq!(pair.in_source(&sum), pair.in_target(&sum), "{table}");
    }
}

const ALL_SPREAD: [&str; 5] = ["countries", "orders", "items", "\"Events\"", "here"];

/// What the stand-in was called for, in order.
const SPREAD_CALLS: &str = "select string_agg(call, '; ' order by at) from citus.calls";

/// What it has to be called for.
const SPREAD_AS: &str = "public.\"Events\": Tenant Id, 4 shards, with none; public.items: tenant, 8 shards, with none; \
    public.orders: tenant,  shards, with public.items; public.countries: everywhere";

#[test]
fn tables_of_citus_are_spread_before_their_rows_arrive() {
    let pair = with_citus();
    // No constraint takes a ready index, as citus knows no such statement.
    pair.in_target(
        "create function citus.no_using() returns event_trigger language plpgsql as $$ begin
            if current_query() ~* 'using +index' then raise 'using an index'; end if; end $$;
         alter extension citus add function citus.no_using();
         create event trigger no_using on ddl_command_start when tag in ('ALTER TABLE') execute function citus.no_using();
         alter extension citus add event trigger no_using",
    );
    let plan = check(&pair, &[])
        .exits(1)
        .says(&["4 tables of citus are read without a common snapshot"]);
    let call = "CALL select public.create_distributed_table('public.orders', 'tenant', colocate_with := 'public.items')";
    assert!(plan.stdout.contains(call), "{}", plan.stdout);
    let split = ["--split-tables-larger-than", "50kB"];
    pair.clone(&WorkDir::new(), &split).exits(0).says(&[
        "select public.create_distributed_table('public.items', 'tenant', shard_count := 8, colocate_with := 'none')",
        "COPY public.orders: 7",
    ]);
    assert_eq!(pair.in_target(SPREAD_CALLS), SPREAD_AS);
    assert_eq!(
        pair.in_target("select sum(rows), sum(indexes) from citus.calls"),
        "0|0"
    );
    assert_spread_equal(&pair, &ALL_SPREAD);
    assert_eq!(
        pair.in_target(
            "select count(*) from pg_constraint where contype in ('p', 'u', 'f') and convalidated
        and conrelid in ('orders'::regclass, 'items'::regclass, 'countries'::regclass)"
        ),
        "4"
    );
    assert_eq!(pair.in_target("select count(*) from citus.meta"), "4");
}

#[test]
fn a_killed_run_spreads_no_table_of_citus_twice() {
    let (pair, work) = (with_citus(), WorkDir::new());
    pair.in_source(GATED);
    let gate = pair.gate();
    let run_ = pair.start(&work, &[]);
    pair.wait_for_gate(&run_);
    run_.kill(SIGKILL);
    drop(gate);
    let _ = run_.wait();
    pair.clone(&work, &RESUME)
        .exits(0)
        .says(&["Table public.orders is distributed on the target already"]);
    assert_eq!(pair.in_target(SPREAD_CALLS), SPREAD_AS);
    assert_spread_equal(&pair, &ALL_SPREAD);
}

#[test]
fn a_table_that_citus_has_in_another_way_on_the_target_is_refused() {
    let (pair, work) = (with_citus(), WorkDir::new());
    pair.does(&work, "dump schema", &[]).exits(0);
    pair.does(&work, "restore pre-data", &[]).exits(0);
    assert_eq!(pair.in_target(SPREAD_CALLS), SPREAD_AS);
    pair.in_target("update citus.meta set shards = 2 where name = '\"Events\"'::regclass");
    pair.does(&work, "restore pre-data", &["--resume"])
        .exits(7)
        .says(&[
            "table public.\"Events\" is spread in another way on the target",
            "undistribute_table",
        ]);
    pair.in_target("update citus.meta set shards = 4 where name = '\"Events\"'::regclass");
    pair.does(&work, "restore pre-data", &["--resume"]).exits(0);
    // Rows that are not in the table's own file are rows.
    pair.in_target(
        "create table shards.theirs () inherits (orders); insert into shards.theirs values (1, 1)",
    );
    pair.does(&work, "copy table-data", &[])
        .exits(7)
        .says(&["already have rows", "orders"]);
    pair.in_target("drop table shards.theirs");
    for command in [
        "copy table-data",
        "copy indexes",
        "copy constraints",
        "restore post-data",
    ] {
        pair.does(&work, command, &[]).exits(0);
    }
    assert_spread_equal(&pair, &ALL_SPREAD);
}

#[test]
fn tables_of_citus_that_filters_leave_out_are_not_spread() {
    let (pair, work) = (with_citus(), WorkDir::new());
    let filters = work.file(
        "some.ini",
        "[exclude-table]\npublic.items\n[exclude-table-data]\npublic.\"Events\"\n",
    );
    pair.clone(&work, &["--filters", &filters]).exits(0);
    let calls = "public.\"Events\": Tenant Id, 4 shards, with none; public.orders: tenant, 8 shards, with none; \
        public.countries: everywhere";
    assert_eq!(pair.in_target(SPREAD_CALLS), calls);
    assert_spread_equal(&pair, &["countries", "orders", "here"]);
    assert_eq!(
        pair.in_target("select count(*), to_regclass('items') is null from \"Events\""),
        "0|t"
    );
}

#[test]
fn what_of_citus_is_not_carried_is_refused_by_name() {
    let pair = with_citus();
    let refused = |more: &[&str], words: &[&str]| {
        check(&pair, more).exits(2).says(words);
    };
    refused(
        &["--skip-extensions"],
        &["4 tables of citus, which need the extension"],
    );
    refused(
        &["--follow"],
        &["tables that citus spreads cannot be followed"],
    );
    pair.in_source("insert into citus.meta values ('here', 'local', null, 0, 1, '0 bytes')");
    refused(
        &[],
        &["1 local tables in the metadata of citus", "public.here"],
    );
    pair.clone(&WorkDir::new(), &[])
        .exits(6)
        .says(&["local tables in the metadata of citus"]);
    pair.in_source("update citus.meta set kind = 'schema' where name = 'here'::regclass");
    refused(&[], &["1 tables of schemas that citus distributes"]);
    pair.in_source("update citus.meta set kind = 'distributed' where name = 'here'::regclass");
    refused(&[], &["without a distribution column", "public.here"]);
    pair.in_source(
        "delete from citus.meta where name = 'here'::regclass;
         create function spread_me(i integer) returns integer language sql as 'select 1';
         create table citus.pg_dist_object (classid oid, objid oid, distribution_argument_index integer);
         alter extension citus add table citus.pg_dist_object;
         insert into citus.pg_dist_object values ('pg_proc'::regclass, 'spread_me'::regproc, 0)",
    );
    refused(
        &[],
        &["1 distributed functions of citus", "spread_me(integer)"],
    );
    pair.in_source("delete from citus.pg_dist_object");
    pair.in_target("alter extension citus drop function create_reference_table(regclass)");
    refused(&[], &["no function create_reference_table()"]);
    let (source, target, work) = (pair.source(), pair.target(), WorkDir::new());
    let sides = [
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &work.dir(),
    ];
    let rows_alone = start_program("pgcopy", &[&["copy", "--yes"], &sides[..]].concat()).wait();
    rows_alone.exits(6).says(&["4 tables of citus"]);
    run(&[&["compare", "data"], &sides[..]].concat())
        .exits(6)
        .says(&["whose rows are not compared"]);
}
