//! Roles that are no superusers, on either side: each pair works, or is refused at once with the statement that
//! an administrator must run; with it, it works.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::servers::pair_on;
use crate::support::{Cluster, Output, Pair, WorkDir, run};

/// What a run may be refused with, and what each needs.
const OWNED: &str = "
    create schema shop authorization app;
    create table shop.item (id integer primary key, name text);
    alter table shop.item owner to app;
    insert into shop.item select i, 'item ' || i from generate_series(1, 500) i;
    create table note (id integer primary key); insert into note values (1), (2);
    alter table note owner to app;
    grant select on shop.item to reader;
    select lo_create(70001); alter large object 70001 owner to app;
    create sequence counter; alter sequence counter owner to app; select setval('counter', 7);";

const ROLES: &str = "
    create role app; create role reader;
    create role owner_only login; create role member login in role app;
    create role managed login createrole createdb; create role rds_superuser;
    grant rds_superuser to managed;
    create role closed login noinherit in role app";

fn servers() -> &'static (Cluster, Cluster) {
    static SERVERS: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let (from, to) = (Cluster::start(), Cluster::start());
        from.sql(
            "postgres",
            "create role app; create role reader; create role plain login",
        );
        from.sql(
            "postgres",
            "create role seer login; grant pg_read_all_data to seer",
        );
        to.sql("postgres", ROLES);
        (from, to)
    })
}

/// A pair whose target database belongs to that role, with SQL run in the source.
fn owned_by(role: &str, sql: &str) -> Pair {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (from, to) = servers();
    let db = format!("roles{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let pair = pair_on(from, to, db, "");
    pair.in_source(sql);
    pair.in_target(&format!("alter database {} owner to {role}", pair.db));
    pair
}

/// A clone by these roles.
fn clone(pair: &Pair, source: &str, target: &str, more: &[&str]) -> Output {
    let work = WorkDir::new();
    let by = |uri: String, role| uri.replace("postgres@", &format!("{role}@"));
    let (source, target, dir) = (
        by(pair.source(), source),
        by(pair.target(), target),
        work.dir(),
    );
    let mut all = vec![
        "clone", "--source", &source, "--target", &target, "--dir", &dir,
    ];
    all.extend(more);
    run(&all)
}

/// Nothing was made on the target.
#[track_caller]
fn assert_untouched(pair: &Pair) {
    let made = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";
    assert_eq!(pair.in_target(made), "0");
}

/// Refused with that statement, nothing made; with the statement run, it works.
#[track_caller]
fn refused_until(pair: &Pair, role: &str, more: &[&str], statements: &[&str]) {
    let refused = clone(pair, "postgres", role, more).exits(7);
    refused.says(statements);
    assert_untouched(pair);
    for statement in statements {
        pair.in_target(statement);
    }
    clone(pair, "postgres", role, more).exits(0);
}

#[test]
fn the_owner_of_the_target_database_copies_everything_but_owners_and_privileges() {
    let pair = owned_by("owner_only", OWNED);
    clone(&pair, "postgres", "owner_only", &["--no-owner", "--no-acl"]).exits(0);
    let count = "select count(*), (select last_value from counter) from shop.item";
    assert_eq!(pair.in_target(count), "500|7");
    let owners = "select string_agg(distinct tableowner, ',') from pg_tables where schemaname in ('shop', 'public')";
    assert_eq!(pair.in_target(owners), "owner_only");
}

#[test]
fn a_member_of_the_owners_needs_create_on_public_for_them() {
    let pair = owned_by("member", OWNED);
    refused_until(
        &pair,
        "member",
        &[],
        &["grant create on schema \"public\" to \"app\";"],
    );
    pair.in_source("grant create on schema public to app");
    pair.assert_equal();
}

#[test]
fn one_who_is_no_member_of_the_owners_is_told_to_become_one() {
    let pair = owned_by("owner_only", OWNED);
    let statements = [
        "grant \"app\" to \"owner_only\";",
        "grant create on schema \"public\" to \"app\";",
    ];
    refused_until(&pair, "owner_only", &[], &statements);
    pair.in_source("grant create on schema public to app");
    pair.assert_equal();
    pair.in_target("revoke app from owner_only");
}

#[test]
fn one_who_does_not_inherit_from_the_owners_is_told_so() {
    let pair = owned_by("closed", OWNED);
    pair.in_target("grant create on schema public to app");
    let statement = "alter role \"closed\" inherit;";
    refused_until(&pair, "closed", &[], &[statement]);
    pair.in_source("grant create on schema public to app");
    pair.assert_equal();
    pair.in_target("alter role closed noinherit");
}

#[test]
fn default_privileges_of_a_role_need_membership_in_it() {
    let pair = owned_by(
        "owner_only",
        "create table t (id integer primary key);
         alter default privileges for role app grant select on tables to reader",
    );
    let said = clone(&pair, "postgres", "owner_only", &["--no-owner"]).exits(7);
    said.says(&[
        "default privileges for role app",
        "grant \"app\" to \"owner_only\"",
        "--no-acl",
    ]);
    assert_untouched(&pair);
    clone(&pair, "postgres", "owner_only", &["--no-owner", "--no-acl"]).exits(0);
}

#[test]
fn schema_public_keeps_an_owner_that_may_not_be_changed_as_after_an_upgrade_from_before_15() {
    let pair = owned_by(
        "member",
        "alter schema public owner to postgres; create schema s authorization app;
         create table s.t (id integer primary key); alter table s.t owner to app",
    );
    let said = clone(&pair, "postgres", "member", &[]).exits(0);
    said.says(&["Schema public belongs to \"postgres\" on the source and keeps its owner here"]);
    let owner = "select nspowner::regrole::text from pg_namespace where nspname = 'public'";
    assert_eq!(pair.in_target(owner), "pg_database_owner");
}

#[test]
fn an_owner_of_a_publication_needs_create_on_the_database() {
    let pair = owned_by(
        "member",
        "create schema s authorization app; create table s.t (id integer primary key);
         alter table s.t owner to app; create publication p for table s.t",
    );
    pair.in_source(&format!(
        "grant create on database {} to app; alter publication p owner to app",
        pair.db
    ));
    let statement = format!("grant create on database \"{}\" to \"app\";", pair.db);
    refused_until(&pair, "member", &[], &[&statement]);
}

#[test]
fn create_on_the_database_is_enough_where_no_schema_is_there_before() {
    let pair = owned_by(
        "postgres",
        "create schema s; create table s.t (id integer primary key)",
    );
    let statement = format!(
        "grant create on database \"{}\" to \"owner_only\";",
        pair.db
    );
    refused_until(
        &pair,
        "owner_only",
        &["--no-owner", "--no-acl"],
        &[&statement],
    );
    assert_eq!(
        pair.in_target("select tableowner from pg_tables where tablename = 't'"),
        "owner_only"
    );
}

#[test]
fn public_must_be_open_to_one_who_does_not_own_the_database() {
    let pair = owned_by("postgres", "create table t (id integer primary key)");
    let database = format!(
        "grant create on database \"{}\" to \"owner_only\";",
        pair.db
    );
    let schema = "grant create on schema \"public\" to \"owner_only\";";
    refused_until(
        &pair,
        "owner_only",
        &["--no-owner", "--no-acl"],
        &[&database, schema],
    );
}

#[test]
fn trusted_extensions_come_along_and_others_wait_for_an_administrator() {
    let pair = owned_by(
        "owner_only",
        "create extension hstore; create table t (h hstore)",
    );
    clone(&pair, "postgres", "owner_only", &["--no-owner", "--no-acl"]).exits(0);
    let pair = owned_by(
        "owner_only",
        "create schema inspect; create extension pageinspect schema inspect;
         comment on extension pageinspect is 'ours'",
    );
    let statements = [
        "create schema if not exists \"inspect\";",
        "create extension \"pageinspect\" with schema \"inspect\" cascade;",
    ];
    refused_until_extension(&pair, &statements);
    let skipping = owned_by("owner_only", "create extension pageinspect");
    let options = ["--no-owner", "--no-acl", "--skip-extensions"];
    clone(&skipping, "postgres", "owner_only", &options).exits(0);
}

/// The same for schemas that the administrator made: they count as made by us.
#[track_caller]
fn refused_until_extension(pair: &Pair, statements: &[&str]) {
    let options = ["--no-owner", "--no-acl"];
    clone(pair, "postgres", "owner_only", &options)
        .exits(7)
        .says(statements);
    assert_untouched(pair);
    for statement in statements {
        pair.in_target(statement);
    }
    clone(pair, "postgres", "owner_only", &options).exits(0);
}

#[test]
fn what_only_superusers_create_is_refused_by_name_with_the_way_to_do_it() {
    let objects = [
        (
            "event trigger e",
            "create function f() returns event_trigger language plpgsql as 'begin end';
                             create event trigger e on ddl_command_start execute function f()",
        ),
        ("publication p", "create publication p for all tables"),
        ("foreign data wrapper w", "create foreign data wrapper w"),
        (
            "function in an untrusted language public.g(cstring)",
            "create function g(cstring) returns int4 language internal as 'int4in'",
        ),
        (
            "leakproof function public.l()",
            "create function l() returns int language sql leakproof return 1",
        ),
    ];
    for (named, sql) in objects {
        let pair = owned_by("owner_only", &format!("create table t (id integer); {sql}"));
        let said = clone(&pair, "postgres", "owner_only", &["--no-owner", "--no-acl"]).exits(7);
        said.says(&[
            named,
            "alter role \"owner_only\" superuser;",
            "alter role \"owner_only\" nosuperuser;",
        ]);
        assert_untouched(&pair);
    }
    let (_, to) = servers();
    let pair = owned_by("postgres", objects[0].1);
    to.sql("postgres", "create role risen login superuser");
    clone(&pair, "postgres", "risen", &["--no-owner", "--no-acl"]).exits(0);
}

#[test]
fn what_filters_leave_out_needs_no_rights() {
    let pair = owned_by(
        "owner_only",
        "create schema low; create function low.g(cstring) returns int4 language internal as 'int4in';
         create table low.t (id integer); alter table low.t owner to app;
         create table mine (id integer primary key)",
    );
    let work = WorkDir::new();
    let filters = work.file("filters.ini", "[exclude-schema]\nlow\n");
    let options = ["--no-owner", "--no-acl", "--filters", &filters];
    clone(&pair, "postgres", "owner_only", &options).exits(0);
    assert_eq!(
        pair.in_target("select to_regclass('mine') is not null, to_regnamespace('low') is null"),
        "t|t"
    );
}

#[test]
fn a_partition_is_copied_alone_by_one_who_may_not_read_its_parent() {
    let pair = owned_by(
        "owner_only",
        "create schema hidden;
         create table hidden.p (id integer primary key, t text) partition by range (id); create index on hidden.p (t);
         create table part partition of hidden.p for values from (0) to (100) partition by range (id);
         create table part_a partition of part for values from (0) to (10);
         create table part_b partition of part for values from (10) to (20);
         create table lone partition of hidden.p for values from (100) to (200);
         create table unread partition of hidden.p for values from (200) to (300);
         insert into hidden.p select i, 'x' from generate_series(0, 19) i;
         insert into hidden.p select i, 'y' from generate_series(100, 102) i;
         grant select on part, part_a, part_b, lone to plain",
    );
    let work = WorkDir::new();
    let filters = work.file(
        "filters.ini",
        "[include-only-table]\npublic.part\npublic.lone\n",
    );
    let options = ["--no-owner", "--no-acl", "--filters", &filters];
    clone(&pair, "plain", "owner_only", &options).exits(0);
    let found = "select (select count(*) from part), (select count(*) from only part_b), (select count(*) from lone),
        (select string_agg(relname, ' ' order by relname) from pg_class where relispartition and relkind = 'r'),
        (select count(*) from pg_index where indisvalid and indrelid in
            ('part'::regclass, 'part_a'::regclass, 'part_b'::regclass, 'lone'::regclass)),
        (select count(*) from pg_constraint where contype = 'p' and connamespace = 'public'::regnamespace),
        to_regclass('hidden.p') is null";
    assert_eq!(pair.in_target(found), "20|10|3|part_a part_b|8|4|t");
}

#[test]
fn a_provider_may_allow_more_than_postgres_so_it_is_a_warning_there() {
    let pair = owned_by(
        "managed",
        "create publication p for all tables; create table t (id integer)",
    );
    let (source, target) = (
        pair.source(),
        pair.target().replace("postgres@", "managed@"),
    );
    let said = run(&[
        "check",
        "--source",
        &source,
        "--target",
        &target,
        "--no-owner",
        "--dir",
        "/var/tmp",
    ]);
    said.exits(1).says(&["WARNING  target", "publication p"]);
}

#[test]
fn privileges_that_others_than_the_owner_granted_need_a_superuser_or_are_left_out() {
    let pair = owned_by(
        "member",
        "create schema s authorization app; create table s.t (id integer primary key);
         alter table s.t owner to app; create role granter; grant usage on schema s to granter;
         grant select on s.t to granter with grant option;
         set role granter; grant select on s.t to reader; reset role",
    );
    let said = clone(&pair, "postgres", "member", &[]).exits(7);
    said.says(&[
        "granter",
        "s.t",
        "alter role \"member\" superuser;",
        "--no-acl",
    ]);
    assert_untouched(&pair);
    clone(&pair, "postgres", "member", &["--no-acl"]).exits(0);
    pair.in_source("drop owned by granter; drop role granter");
}

#[test]
fn a_reader_of_everything_copies_from_a_source_that_is_not_its_own() {
    let pair = owned_by("postgres", &format!("{OWNED} select lo_unlink(70001)"));
    clone(&pair, "seer", "postgres", &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn a_source_role_without_rights_is_told_the_grants_it_needs() {
    let pair = owned_by("postgres", OWNED);
    let said = clone(&pair, "plain", "postgres", &[]).exits(6);
    said.says(&[
        "grant select on",
        "Also:",
        "grant select on sequence",
        "large objects",
    ]);
    assert_untouched(&pair);
}

#[test]
fn roles_are_copied_without_passwords_by_one_who_may_not_read_them() {
    let (from, to) = (leak(Cluster::start()), leak(Cluster::start()));
    from.sql(
        "postgres",
        "create role seer login;
         create role strong login bypassrls createdb password 'secret';
         create role app login; grant app to strong with admin option;
         alter role app set work_mem to '5MB'; alter role app set log_min_duration_statement to 7;
         comment on role app is 'the application'",
    );
    to.sql("postgres", "create role maker login createrole");
    let pair = pair_on(from, to, "db".to_owned(), "");
    pair.in_source(
        "create schema s authorization app; create table s.t (id integer primary key);
                    alter table s.t owner to app; insert into s.t values (1);
         grant usage on schema s to seer; grant select on s.t to seer",
    );
    pair.in_target("alter database db owner to maker");
    let said = clone(&pair, "seer", "maker", &["--roles"]).exits(6);
    said.says(&[
        "--no-role-passwords",
        "grant select on pg_catalog.pg_authid to \"seer\"",
    ]);
    let said = clone(&pair, "seer", "maker", &["--roles", "--no-role-passwords"]).exits(0);
    said.says(&[
        "BYPASSRLS",
        "log_min_duration_statement",
        "revoke \"app\" from \"maker\";",
    ]);
    assert_eq!(
        pair.in_target("select tableowner from pg_tables where tablename = 't'"),
        "app"
    );
    assert_eq!(pair.in_target("select count(*) from s.t"), "1");
    let copied =
        "select rolcanlogin, rolbypassrls, rolcreatedb, pg_has_role('strong', 'app', 'member')
                    from pg_roles where rolname = 'strong'";
    assert_eq!(pair.in_target(copied), "t|f|f|t");
    assert_eq!(
        pair.in_target("select rolconfig::text from pg_roles where rolname = 'app'"),
        "{work_mem=5MB}"
    );
}

#[test]
fn one_who_may_not_create_roles_is_told_before_anything_happens() {
    let pair = owned_by("owner_only", "create table t (id integer)");
    let said = clone(
        &pair,
        "postgres",
        "owner_only",
        &["--roles", "--no-owner", "--no-acl"],
    )
    .exits(7);
    said.says(&[
        "alter role \"owner_only\" createrole;",
        "create role \"plain\";",
    ]);
    assert_untouched(&pair);
}

fn leak(cluster: Cluster) -> &'static Cluster {
    Box::leak(Box::new(cluster))
}
