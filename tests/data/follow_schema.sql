-- Tables for following changes: every type, every replica identity, generated and identity columns.
create table t (id int primary key, v text, b bytea, n numeric, f float8, ts timestamptz, j jsonb, a int[], e text);
create table gen (g int generated always as (a + 1) stored, a int primary key,
    h text generated always as (upper(t)) stored, t text);
create table ident (id int generated always as identity primary key, other int generated always as identity, v text);
create table fullt (a int, b text, n numeric, j json, p point, ts timestamptz);
alter table fullt replica identity full;
create table idx (a int not null, b text not null, v text);
create unique index idx_u on idx (b, a);
alter table idx replica identity using index idx_u;
create table "Odd ""x" ("new-tuple: z" int primary key, "a.b[c]:d" text);
create table two (a int, b int, v text, primary key (a, b));
create table allkey (a int, b int, primary key (a, b));
create table part (id int primary key, v text) partition by range (id);
create table part1 partition of part for values from (0) to (100);
create table part2 partition of part for values from (100) to (1000);
create table ref (id int primary key, p int references t (id));
create type mood as enum ('sad', 'ok');
create type comp as (x int, y text);
create domain posint as int check (value > 0);
create table types (id serial primary key, m mood, c comp, d posint, u uuid, i inet, iv interval, bt bit(5),
    vb bit varying, ch char(5), nm name, q "char", x xml, r int4range, mr nummultirange, tsv tsvector, mo money,
    arr text[], am mood[], dt date, tm time, ok bool, bx box, hs int2vector, lsn pg_lsn, byt bytea, doc json);
create table uq (id int primary key, u int unique);
create table swap (id int primary key, u int unique deferrable initially deferred);
create table big (id int primary key, t text);
create table q (id numeric primary key, v text);
