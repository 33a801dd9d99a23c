-- torture.sql - a small database whose every object needs care when a copy dies.
-- About 8 MB; with --split-tables-larger-than 200kB seven tables are split.
-- Load as superuser into an empty database. Deterministic.
\set ON_ERROR_STOP on
select setseed(0.5) \g /dev/null
create extension hstore;
create schema hold;
create schema "odd ""schema";
create type mood as enum ('good', 'bad', 'it''s odd');
create sequence free_no start 500 increment 7;
create sequence down_no increment -1 minvalue -1000 maxvalue -1 start -1;

-- split tables
create table by_key (id bigint primary key, grp integer not null, note text);
insert into by_key select i, i % 17, md5(i::text) from generate_series(-9000, 9000) i;
create index by_key_grp on by_key (grp);
create unique index by_key_note on by_key (note);
create table extremes (id bigint primary key, t text);
insert into extremes select i, repeat(md5(i::text), 4) from generate_series(1, 5000) i;
insert into extremes values (-9223372036854775808, 'least'), (9223372036854775807, 'greatest'), (-1, 'minus one'), (0, 'zero');
create table wide (id integer generated always as identity primary key, doc text, raw bytea, h hstore);
alter table wide alter column doc set storage external;
insert into wide (doc, raw, h) select repeat(md5(i::text), 90), decode(repeat(md5(i::text), 40), 'hex'), hstore('k', i::text)
  from generate_series(1, 400) i;
create table no_index (at timestamptz, kind text, body text);
insert into no_index select timestamptz '2024-01-01 00:00+00' + i * interval '1 s', 'k' || i % 5, md5(i::text)
  from generate_series(1, 20000) i;
create unlogged table volatile (id integer primary key, t text);
insert into volatile select i, md5(i::text) from generate_series(1, 8000) i;
create table gaps (id integer primary key, t text);
insert into gaps select i, repeat('x', 60) from generate_series(1, 12000) i;
delete from gaps where id between 2000 and 9000;
create table nullable (k integer unique, t text);
insert into nullable select case when i % 3 > 0 then i end, md5(i::text) from generate_series(1, 8000) i;

-- foreign keys, one pair in a cycle
create table team (id integer primary key, head integer);
create table member (id serial primary key, team integer references team deferrable initially deferred, boss integer references member);
alter table team add constraint team_head foreign key (head) references member deferrable initially deferred;
begin;
insert into team select i, i from generate_series(1, 50) i;
insert into member (team, boss) select 1 + i % 50, case when i > 50 then 1 + i % 50 end from generate_series(1, 2000) i;
commit;
create table detail (id bigserial primary key, key bigint references by_key on delete cascade, amount numeric(10,2) check (amount >= 0));
insert into detail (key, amount) select -9000 + i, i / 3.0 from generate_series(1, 10000) i;
alter table detail add constraint later foreign key (key) references extremes not valid;

-- partitions, inheritance, generated columns, no columns
create table part (id integer, day date, t text, primary key (id, day)) partition by range (day);
create table part_1 partition of part for values from ('2024-01-01') to ('2024-07-01');
create table hold.part_2 partition of part for values from ('2024-07-01') to ('2025-01-01');
insert into part select i, date '2024-01-01' + i % 366, md5(i::text) from generate_series(1, 4000) i;
create index part_t on part (t);
create table parent (id integer primary key, t text);
create table child (extra integer) inherits (parent);
insert into parent select i, 'p' from generate_series(1, 100) i;
insert into child select i, 'c', i from generate_series(1, 100) i;
create table computed (id integer primary key, net numeric, gross numeric generated always as (net * 1.2) stored);
insert into computed select i, i from generate_series(1, 500) i;
create table nothing ();
insert into nothing default values;
insert into nothing default values;
create table "odd ""schema"."tab
le" ("a ""b" integer primary key, m mood);
insert into "odd ""schema"."tab
le" select i, (enum_range(null::mood))[1 + i % 3] from generate_series(1, 30) i;
create table booking (room integer, during int4range, exclude using gist (during with &&));
insert into booking select 1, int4range(i * 10, i * 10 + 5) from generate_series(1, 300) i;

-- many small tables
select format('create table hold.small_%s (id integer primary key, t text unique); insert into hold.small_%s select i, %L || i from generate_series(1, 10) i',
              n, n, 's' || n) from generate_series(1, 40) n \gexec

-- large objects
select lo_from_bytea(20000 + i, decode(repeat(md5(i::text), i * 20), 'hex')) from generate_series(1, 50) i \g /dev/null
comment on large object 20001 is 'the first';

-- what comes after the data
create function bump() returns trigger language plpgsql as $$ begin new.note := new.note || '!'; return new; end; $$;
create trigger by_key_bump before insert or update on by_key for each row execute function bump();
create materialized view mv as select grp, count(*) n from by_key group by grp;
create unique index mv_grp on mv (grp);
create materialized view mv_empty as select 1 as x with no data;
create view v as select d.id, b.note from detail d join by_key b on b.id = d.key;
create statistics st (dependencies) on grp, note from by_key;
alter table by_key cluster on by_key_pkey;
create table ident (a integer not null, b text);
create unique index ident_a on ident (a);
alter table ident replica identity using index ident_a;
insert into ident select i, 'b' from generate_series(1, 50) i;
comment on constraint by_key_pkey on by_key is 'kept';
comment on column wide.doc is E'two\nlines';
select nextval('free_no'), nextval('free_no'), setval('down_no', -42, false) \g /dev/null
select format('alter database %I set datestyle = ''German, DMY''', current_database()) \gexec
analyze;
