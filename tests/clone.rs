//! What a clone must carry over: each test makes a source, clones it and asks `ci/equal`.

use crate::support::servers::{lonely_pair, pair_of};
use crate::support::{Pair, WorkDir, assert_equal, pair, run};

/// Small enough that a table of a few hundred rows is split.
const SPLIT: &str = "--split-tables-larger-than=20kB";

/// An extension with configuration tables, one row of which it brings itself.
pub const CONFIG: &str = "
    create extension hstore;
    create table conf (id integer primary key, t text, shipped boolean); create table bare (t text);
    create sequence conf_seq; insert into conf values (1, 'shipped', true);
    alter extension hstore add table conf; alter extension hstore add table bare;
    alter extension hstore add sequence conf_seq;
    update pg_extension set extcondition = array['where not shipped', '', ''],
        extconfig = array['conf'::regclass, 'bare'::regclass, 'conf_seq'::regclass]::oid[]
     where extname = 'hstore';";

/// Clones what the SQL makes, in the default way and equal in the end.
#[track_caller]
fn arrives(sql: &str, more: &[&str]) -> Pair {
    let pair = Pair::with(sql);
    pair.clone(&WorkDir::new(), more).exits(0);
    pair.assert_equal();
    pair
}

#[test]
fn the_sample_shop_arrives_whole() {
    let pair = lonely_pair();
    pair.load("shopdb.sql");
    pair.clone(&WorkDir::new(), &["--roles"]).exits(0);
    pair.assert_equal();
}

#[test]
fn the_torture_database_arrives_whole_in_parts() {
    let pair = pair();
    pair.load("torture.sql");
    pair.clone(&WorkDir::new(), &["--split-tables-larger-than", "200kB"])
        .exits(0);
    pair.assert_equal();
}

#[test]
fn an_empty_database_arrives() {
    arrives("", &[]);
}

#[test]
fn every_step_is_announced_once_and_the_summary_is_on_stdout() {
    let pair = Pair::with("create table a (id integer primary key)");
    let out = pair.clone(&WorkDir::new(), &[]).exits(0);
    for step in 1..=10 {
        let times = out.stderr.matches(&format!("STEP {step}:")).count() + {
            out.stderr.matches(&format!("STEP {step} ")).count()
        };
        assert_eq!(times, 1, "STEP {step} in\n{}", out.stderr);
    }
    assert!(
        !out.stdout.contains("STEP") && !out.stdout.is_empty(),
        "{}",
        out.stdout
    );
}

#[test]
fn dl_01_a_part_that_ends_or_begins_at_minus_one_keeps_its_rows() {
    for first in [-121, -80, -1, 0] {
        let sql = format!(
            "create table t (id integer primary key, pad text);
             insert into t select i, repeat('x', 500) from generate_series({first}, {first} + 199) i"
        );
        arrives(&sql, &[SPLIT, "--skip-split-by-ctid"]);
    }
}

#[test]
fn dl_01_extreme_and_missing_keys_arrive_once() {
    arrives(
        "create table t (id bigint unique, pad text);
         insert into t select i, repeat('x', 500) from generate_series(-50, 49) i;
         insert into t values (-9223372036854775808, 'least'), (9223372036854775807, 'greatest');
         insert into t select null, 'none' from generate_series(1, 10)",
        &[SPLIT, "--skip-split-by-ctid"],
    );
}

#[test]
fn dl_02_no_row_comes_twice_where_no_index_would_tell() {
    arrives(
        "create table t (id integer, pad text);
         insert into t select i % 60 - 30, repeat('x', 500) from generate_series(1, 400) i;
         create table u (id integer not null, pad text);
         insert into u select i, repeat('x', 500) from generate_series(-200, 200) i",
        &[SPLIT],
    );
}

#[test]
fn dl_15_a_key_to_a_partitioned_table_is_made_once() {
    let pair = arrives(
        "create table p (id integer primary key) partition by range (id);
         create table p1 partition of p for values from (0) to (100);
         create table p2 partition of p for values from (100) to (200);
         create table c (id integer references p);
         insert into p select generate_series(0, 199); insert into c select generate_series(0, 199)",
        &[],
    );
    pair.in_target("insert into c values (7), (150)");
}

#[test]
fn dl_16_what_hangs_on_indexes_and_constraints_is_kept() {
    let pair = Pair::with(
        "create extension hstore;
         create table t (id integer primary key, k text not null, e text);
         create unique index t_k on t (k);
         create index t_e on t (lower(e), (id + 1));
         alter index t_e alter column 1 set statistics 500;
         alter index t_e depends on extension hstore;
         alter table t replica identity using index t_k;
         alter table t cluster on t_pkey;
         comment on constraint t_pkey on t is 'the key';
         comment on index t_e is 'the expression'",
    );
    pair.in_source(&format!("comment on database {} is 'ours'", pair.db));
    pair.in_source(&format!("alter database {} set my.own = 'x y'", pair.db));
    pair.clone(&WorkDir::new(), &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn comment_and_privileges_of_the_database_arrive_unless_left_out() {
    let pair = Pair::with("create role db_reader");
    pair.to.sql("postgres", "create role db_reader");
    let db = &pair.db;
    pair.in_source(&format!(
        "comment on database {db} is E'it''s \\\\ ours'; revoke temporary on database {db} from public;
         grant create on database {db} to db_reader with grant option"
    ));
    pair.clone(&WorkDir::new(), &[]).exits(0);
    pair.assert_equal();

    let without = Pair::with("");
    without.in_source(&format!("comment on database {} is 'x'", without.db));
    let more = ["--no-comments", "--no-acl"];
    without.clone(&WorkDir::new(), &more).exits(0);
    let comment = "select shobj_description(oid, 'pg_database') is null and datacl is null
                     from pg_database where datname = current_database()";
    assert_eq!(without.in_target(comment), "t");
}

#[test]
fn dl_29_parents_and_children_keep_their_own_rows() {
    arrives(
        "create table parent (id integer primary key, t text);
         create table child (extra integer) inherits (parent);
         insert into parent select i, repeat('p', 500) from generate_series(1, 200) i;
         insert into child select i, repeat('c', 500), i from generate_series(100000, 100200) i",
        &[SPLIT],
    );
}

#[test]
fn dl_30_statistics_never_decide_what_is_copied() {
    arrives(
        "create table never (id integer, pad text) with (autovacuum_enabled = off);
         insert into never select i, repeat('x', 500) from generate_series(1, 2000) i;
         create table stale (id integer, pad text) with (autovacuum_enabled = off);
         insert into stale values (1, 'x'); analyze stale;
         insert into stale select i, repeat('x', 500) from generate_series(2, 2000) i;
         delete from stale where id between 200 and 1800",
        &[SPLIT],
    );
}

#[test]
fn dl_59_settings_of_roles_have_no_effect() {
    let pair = Pair::with(
        "create table t (id integer primary key, d date, i interval, f float8, b bytea, a text[],
                         m money, s timestamptz);
         insert into t select i, date '2024-01-02' + i, i * interval '1 day -2 hours', pi() * i,
             decode(md5(i::text), 'hex'), array['NULL', null, 'x'], i::money,
             timestamptz '2024-01-02 03:04:05.678+00' from generate_series(1, 500) i;
         create index on t (lower(a[1]))",
    );
    for cluster in [pair.from, pair.to] {
        cluster.sql("postgres", "create role hostile superuser login");
        for setting in [
            "array_nulls = off",
            "intervalstyle = 'sql_standard'",
            "row_security = off",
        ] {
            cluster.sql("postgres", &format!("alter role hostile set {setting}"));
        }
        for setting in [
            "extra_float_digits = -15",
            "bytea_output = 'escape'",
            "search_path = ''",
        ] {
            cluster.sql("postgres", &format!("alter role hostile set {setting}"));
        }
        cluster.sql(
            "postgres",
            "alter role hostile set default_transaction_read_only = on",
        );
        cluster.sql(
            "postgres",
            "alter role hostile set quote_all_identifiers = on",
        );
    }
    pair.from
        .sql("postgres", "alter role hostile set datestyle = 'SQL, DMY'");
    pair.to
        .sql("postgres", "alter role hostile set datestyle = 'SQL, MDY'");
    let (source, target) = (
        pair.from.uri_as(&pair.db, "hostile", ""),
        pair.to.uri_as(&pair.db, "hostile", ""),
    );
    let dir = WorkDir::new();
    let all = [
        "clone",
        "--no-owner",
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &dir.dir(),
    ];
    run(&all).exits(0);
    let rows =
        "set timezone = 'UTC'; select md5(string_agg(row(t.*)::text, ' ' order by id)) from t";
    assert_eq!(pair.in_source(rows), pair.in_target(rows));
}

#[test]
fn dl_59_settings_of_the_database_are_copied_and_have_no_effect() {
    let pair = Pair::with(
        "create table t (id integer primary key, d date, i interval, b bytea);
         insert into t select i, date '2024-01-02' + i, i * interval '1 day -2 hours',
             decode(md5(i::text), 'hex') from generate_series(1, 500) i;
         create function twice(integer) returns integer language sql immutable as 'select $1 * 2';
         create index on t (twice(id))",
    );
    let settings = [
        "datestyle = 'German'",
        "default_transaction_read_only = on",
        "search_path = ''",
    ];
    for setting in settings {
        pair.in_source(&format!(
            "set default_transaction_read_only = off; alter database {} set {setting}",
            pair.db
        ));
    }
    pair.clone(&WorkDir::new(), &[]).exits(0);
    assert_equal(&pair.source(), &pair.target());
}

#[test]
fn names_mean_the_same_though_the_path_of_the_database_has_others_first() {
    let pair = Pair::with(
        "create table t (id integer primary key, v text, n integer);
         insert into t select i, 'V' || i, i from generate_series(1, 10) i;
         create function public.lower(text) returns text language sql immutable as 'select $1 || $1';
         create function never(integer, integer) returns boolean language sql immutable as 'select false';
         create operator public.= (leftarg = integer, rightarg = integer, function = never);
         create operator public.< (leftarg = integer, rightarg = integer, function = never);
         create index on t (pg_catalog.lower(v)); create index on t (v) where n operator(pg_catalog.<) 5;
         create unlogged table u (n integer, exclude (n with operator(pg_catalog.=)));
         insert into u values (1), (2)",
    );
    let path = "set search_path = public, pg_catalog";
    pair.in_source(&format!("alter database {} {path}", pair.db));
    pair.clone(&WorkDir::new(), &[]).exits(0);
    assert_equal(&pair.source(), &pair.target());
}

#[test]
fn a_backslash_in_an_index_is_one_though_the_source_quotes_with_it() {
    let pair = Pair::with(
        r"
        create table t (id integer primary key, v text, check (v <> 'a\b'), exclude (v with =) where (v ~ '^\d\\'));
        insert into t values (1, 'a'), (2, 'b'); create index on t (id) where v ~ '^\d+$';
        create index on t ((v || '\')); create table u (id integer default length('\') references t)",
    );
    let strings = "set standard_conforming_strings = off";
    pair.in_source(&format!("alter database {} {strings}", pair.db));
    pair.clone(&WorkDir::new(), &[]).exits(0);
    let conforming = "set standard_conforming_strings = on; select string_agg(d, ' ' order by d)
        from (select indexdef from pg_indexes where schemaname = 'public'
              union all select pg_get_constraintdef(oid) from pg_constraint where conrelid > 0) s (d)";
    assert_eq!(pair.in_source(conforming), pair.in_target(conforming));
}

/// A function that is not as immutable as it says, over which many index a moment by its day.
#[test]
fn an_index_is_built_with_the_settings_it_is_looked_up_with() {
    let pair = Pair::with(
        "create table t (id integer primary key, at timestamptz,
                         g text);
         create function day(timestamptz) returns text language sql immutable as 'select $1::text';
         alter table t drop g, add g text generated always as (day(at)) stored;
         insert into t select i, timestamptz '2024-01-01 23:00Z' + i * interval '1 hour'
           from generate_series(1, 50) i;
         create index on t (day(at))",
    );
    for setting in ["timezone = 'Asia/Tokyo'", "datestyle = 'German'"] {
        pair.in_source(&format!("alter database {} set {setting}", pair.db));
    }
    pair.clone(&WorkDir::new(), &[]).exits(0);
    let found = "set enable_seqscan = off; select count(*), bool_and(g = day(at)) from t
                  where day(at) = '02.01.2024 09:00:00 JST'";
    assert_eq!(pair.in_target(found), "1|t");
}

#[test]
fn indexes_of_a_view_that_waits_for_a_primary_key_come_behind_it() {
    arrives(
        "create table t (id integer primary key, a text, b text);
         insert into t select i, 'a', 'b' from generate_series(1, 5) i;
         create materialized view m as select id, a, b, count(*) from t group by id;
         create unique index on m (id); create index on m (a);
         create materialized view n as select * from m; create index on n (b)",
        &[],
    );
}

#[test]
fn rows_without_columns_are_counted() {
    arrives(
        "create table n (); insert into n default values; insert into n default values",
        &[],
    );
}

#[test]
fn generated_and_identity_columns_keep_their_values() {
    let pair = arrives(
        "create table t (a integer generated always as identity (start 5 increment 3) primary key,
                         b integer generated by default as identity, n numeric,
                         g numeric generated always as (n * 1.2) stored);
         insert into t (n) select generate_series(1, 50); delete from t where a % 2 = 0;
         alter table t drop column b",
        &[],
    );
    pair.in_target("insert into t (n) values (1)");
}

#[test]
fn bytes_of_an_sql_ascii_database_are_kept() {
    let pair = pair_of("encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'");
    pair.in_source(
        "create table t (id integer primary key, v text);
         insert into t values (1, E'\\xff\\xfe'), (2, E'caf\\xe9'), (3, E'\\x80\\\\N')",
    );
    pair.clone(&WorkDir::new(), &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn any_name_can_be_copied() {
    arrives(
        "create schema \"S \"\"q\"\" %s\"; set search_path = 'S \"q\" %s';
         create table \"T\nnew 'line'\" (\"a \"\"b\"\"\" integer primary key, \"select\" text unique);
         insert into \"T\nnew 'line'\" select i, i::text from generate_series(1, 10) i;
         create table \"back\\slash\" (\"x.y\" serial);
         insert into \"back\\slash\" select generate_series(1, 5);
         create table \"a_name_of_sixty_three_bytes_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" (id serial)",
        &[SPLIT],
    );
}

#[test]
fn text_that_looks_like_copy_syntax_is_kept() {
    arrives(
        "create table t (id integer primary key, v text);
         insert into t values (1, '\\N'), (2, '\\.'), (3, E'a\\tb\\nc\\rd\\\\'), (4, null), (5, ''),
             (6, 'null'), (7, E'\\x07\\x1b')",
        &[],
    );
}

/// A soft hyphen equals nothing at all where the collation ignores it.
#[test]
fn a_char_n_that_only_looks_blank_keeps_its_characters() {
    let sql = "create collation lax (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false);
         create table t (id integer primary key, plain char(40), lax char(40) collate lax, bare bpchar, short char(3));
         insert into t select i, v, v, v, left(v, 3)
           from generate_series(1, 400) i,
                lateral (select (array[null, '', '   ', U&'\\00AD', U&' \\00AD\\200B', E'\\t', ' x', 'é'])[1 + i % 8]) a (v);
         create table texts (like t); alter table texts drop column id; insert into texts select plain, lax, bare, short from t";
    let bytes = "select md5(string_agg(row, ',' order by row collate \"C\"))
           from (select t::text || (bpcharsend(plain), bpcharsend(lax), bpcharsend(bare))::text as row from";
    for more in [&["--copy-format", "text"][..], &[SPLIT]] {
        let pair = arrives(sql, more);
        for table in ["t", "texts"] {
            let bytes = format!("{bytes} {table} t) as rows");
            assert_eq!(pair.in_source(&bytes), pair.in_target(&bytes), "{table}");
        }
        let blank =
            "select count(*) from t where lax = '' and bpcharsend(lax) <> bpcharsend(''::char(40))";
        assert_ne!(pair.in_target(blank), "0");
    }
}

#[test]
fn unlogged_tables_and_their_rows_arrive() {
    arrives(
        "create unlogged table u (id integer primary key, t text);
         insert into u select i, repeat('u', 200) from generate_series(1, 500) i",
        &[SPLIT],
    );
}

#[test]
fn large_objects_keep_content_owner_privileges_and_comment() {
    let pair = Pair::with(
        "select lo_from_bytea(40000 + i, decode(repeat(md5(i::text), i * 300), 'hex'))
           from generate_series(1, 30) i;
         select lo_create(41000); comment on large object 40001 is 'first ''one''';
         create role lo_owner; create role lo_reader;
         alter large object 40002 owner to lo_owner;
         grant select on large object 40003 to lo_reader",
    );
    pair.to
        .sql("postgres", "create role lo_owner; create role lo_reader");
    pair.clone(&WorkDir::new(), &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn rows_that_users_put_into_tables_of_an_extension_arrive_once() {
    let pair = Pair::with(CONFIG);
    pair.in_target(CONFIG);
    pair.in_source(
        "insert into conf values (2, 'mine', false), (3, 'mine, too', false);
         insert into bare values ('a'), ('a'); select setval('conf_seq', 42)",
    );
    pair.clone(&WorkDir::new(), &[]).exits(0);
    let rows = "select string_agg(c::text, ' ' order by id), (select count(*) from bare),
                       (select last_value from conf_seq) from conf c";
    assert_eq!(pair.in_source(rows), pair.in_target(rows));
    pair.assert_equal();
}

#[test]
fn rows_of_an_extension_that_differ_on_the_target_get_the_values_of_the_source_and_the_rest_is_told()
 {
    let pair = Pair::with(CONFIG);
    pair.in_target(CONFIG);
    pair.in_source(
        "insert into conf values (2, 'changed on the source', false);
         alter table conf add extra text; update conf set extra = 'x';
         insert into bare values ('twice'), ('twice'), (null)",
    );
    pair.in_target(
        "insert into conf values (2, 'as the script made it', false), (3, 'only here', false);
         insert into bare values ('twice'), ('only here');
         alter table conf add computed integer generated always as (id * 2) stored",
    );
    let out = pair.clone(&WorkDir::new(), &[]).exits(0);
    out.says(&[
        "Columns extra of configuration table public.conf are not on the target",
        "1 rows of configuration table public.conf are on the target and not on the source",
        "1 rows of configuration table public.bare are on the target and not on the source",
    ]);
    let rows = "select (select string_agg(t, ',' order by id) from conf where not shipped),
                       (select count(*) from bare where t = 'twice'), (select count(*) from bare)";
    assert_eq!(pair.in_target(rows), "changed on the source,only here|2|4");
}

#[test]
fn sequences_stand_where_they_stood() {
    let pair = arrives(
        "create sequence up; create sequence down increment -1; create sequence fresh start 77;
         create sequence called; select setval('called', 42, false);
         select nextval('up') from generate_series(1, 9); select nextval('down');
         create table s (id smallserial, b bigserial)",
        &[],
    );
    assert_eq!(
        pair.in_target("select nextval('up'), nextval('fresh')"),
        "10|77"
    );
}

#[test]
fn roles_are_made_on_the_target_when_asked_for() {
    let pair = lonely_pair();
    pair.in_source(
        "create role \"New Owner\" login; create role new_group; grant new_group to \"New Owner\";
         create table t (id integer); alter table t owner to \"New Owner\"",
    );
    pair.clone(&WorkDir::new(), &["--roles"]).exits(0);
    pair.assert_equal();
    let member = "select pg_has_role('New Owner', 'new_group', 'member')";
    assert_eq!(pair.in_target(member), "t");
}

#[test]
fn a_short_statement_timeout_stops_nothing() {
    let pair = Pair::with(
        "create table t (id integer primary key); insert into t select generate_series(1, 1000);
         create index on t (id); create view v as select * from t",
    );
    for side in [pair.from, pair.to] {
        side.sql(
            "postgres",
            &format!("alter database {} set statement_timeout = '1ms'", pair.db),
        );
    }
    let work = WorkDir::new();
    pair.clone(&work, &[]).exits(0);
    for what in ["schema", "data"] {
        let (source, target) = (pair.source(), pair.target());
        run(&["compare", what, "--source", &source, "--target", &target]).exits(0);
    }
}

/// Objects of all kinds that a restore drops and makes.
const KINDS: &str = "
    create schema app; create schema \"Odd S\";
    create type app.mood as enum ('a', 'b'); create type app.pair as (x integer, y text);
    create domain app.pos as integer check (value > 0); create type app.fr as range (subtype = float8);
    create collation app.german (provider = icu, locale = 'de');
    create function app.f(i integer) returns integer language sql immutable as 'select $1 + 1';
    create procedure app.p(i integer) language sql as 'select 1';
    create aggregate app.total(integer) (sfunc = int4pl, stype = integer, initcond = '0');
    create function app.eq(app.pair, app.pair) returns boolean language sql immutable as 'select $1.x = $2.x';
    create operator app.=== (leftarg = app.pair, rightarg = app.pair, function = app.eq);
    create function app.mk(integer) returns app.pair language sql immutable as 'select row($1, null)::app.pair';
    create cast (integer as app.pair) with function app.mk(integer);
    create text search configuration app.mine (copy = simple); create extension hstore schema \"Odd S\";
    create extension postgres_fdw; create server far foreign data wrapper postgres_fdw;
    create user mapping for public server far; create foreign table app.there (id integer) server far;
    create table app.a (id integer primary key, m app.mood, d app.pos, p app.pair, t text collate app.german,
        n integer default app.f(1), h \"Odd S\".hstore, r app.fr, check (app.f(id) > 0));
    create table app.b (id integer generated always as identity primary key, a integer references app.a,
        x tstzrange, exclude using gist (x with &&));
    create table app.part (id integer, k text, primary key (id)) partition by range (id);
    create table app.part1 partition of app.part for values from (0) to (10);
    create table app.base (x integer); create table app.kid (y integer) inherits (app.base);
    create sequence app.s; create view app.v as select id, t from app.a;
    create materialized view app.mv as select 1 as n; create unique index on app.mv (n);
    create index ai on app.a (t); create statistics app.st on id, t from app.a;
    create function app.tr() returns trigger language plpgsql as 'begin return new; end';
    create trigger t1 before insert on app.a for each row execute function app.tr();
    create rule r1 as on delete to app.b do instead nothing;
    alter table app.a enable row level security; create policy po on app.a using (id > 0);
    create publication pub for table app.a, app.b;
    create function app.ev() returns event_trigger language plpgsql as 'begin end';
    create event trigger evt on sql_drop execute function app.ev();
    comment on schema app is 'v1'; comment on table app.a is 'one'; comment on function app.f(integer) is 'f';
    alter default privileges in schema app grant select on tables to public; grant select on app.a to public;
    insert into app.a values (1, 'a', 5, row(1, 'x'), 'z'); insert into app.b (a, x) values (1, '[2020-01-01,2020-02-01)');
    insert into app.part values (1, 'k'); insert into app.kid values (1, 2); select setval('app.s', 7), lo_from_bytea(555, 'v1')";

/// The same objects, changed.
const CHANGED: &str = "
    alter type app.mood add value 'c'; alter type app.pair add attribute z integer;
    alter domain app.pos drop constraint pos_check; alter domain app.pos add check (value > -5);
    create or replace function app.f(i integer) returns integer language sql immutable as 'select $1 + 2';
    alter table app.a add column extra text; alter table app.a drop column h;
    drop view app.v; create view app.v as select id, n, t from app.a;
    drop materialized view app.mv; create materialized view app.mv as select 2 as n, 5 as five;
    drop index app.ai; create index ai on app.a (id, t); drop policy po on app.a; create policy po on app.a using (id > 5);
    drop rule r1 on app.b; create rule r1 as on update to app.b do instead nothing;
    alter publication pub drop table app.b; alter sequence app.s increment 5;
    comment on table app.a is 'two'; comment on schema app is 'v2';
    drop event trigger evt; create event trigger evt on ddl_command_end when tag in ('CREATE VIEW') execute function app.ev();
    drop statistics app.st; create statistics app.st (ndistinct) on id, n from app.a;
    insert into app.a (id, m, n) values (2, 'c', 3); select lo_put(555, 0, 'v2');
    create table app.part2 partition of app.part for values from (10) to (20); insert into app.part values (11, 'x');
    create table app.new (id integer)";

#[test]
fn objects_of_all_kinds_are_replaced_by_what_the_source_has_now() {
    let pair = arrives(KINDS, &[]);
    pair.in_source(CHANGED);
    let again = |more: &[&str]| {
        let options = [&["--drop-if-exists"], more].concat();
        pair.clone(&WorkDir::new(), &options)
    };
    // what the first copy brought along holds for all that the second one makes
    let revoke = "alter default privileges for role postgres in schema app revoke select on tables from public;";
    again(&["--dry-run"])
        .exits(1)
        .says(&["default privileges of the target", revoke]);
    pair.in_target(revoke);
    let said = again(&[]).exits(0).stderr;
    assert!(!said.contains("default privileges"), "{said}");
    pair.assert_equal();
}
