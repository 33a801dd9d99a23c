-- Finds the partitioned tables at the top of tables.
-- Parameters: $1 text[]: schemas, $2 text[]: tables of the same positions; both raw.
-- Columns: nspname text, relname text, root oid (the table itself where it is no partition).
-- Order: none. Servers: 12 and later.
select distinct n.nspname::text, c.relname::text, coalesce(pg_catalog.pg_partition_root(c.oid)::oid, c.oid) as root
  from unnest($1::text[], $2::text[]) as w(nspname, relname)
       join pg_catalog.pg_namespace n on n.nspname = w.nspname::name
       join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname::name;
