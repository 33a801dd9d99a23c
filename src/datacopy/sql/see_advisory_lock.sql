-- Tells whether an advisory lock with two keys is held in this database.
-- Parameters: $1 int4, $2 int4: the keys.
-- Columns: is_seen bool.
-- Order: one row. Servers: 9.6 and later; the keys are shown as unsigned numbers.
select exists (
    select 1 from pg_catalog.pg_locks
     where locktype = 'advisory' and granted and objsubid = 2
       and classid = ($1::int4::int8 & 4294967295)::oid and objid = ($2::int4::int8 & 4294967295)::oid
       and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
) as is_seen;
