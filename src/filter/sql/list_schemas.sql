-- Lists what objects are in, or belong to: schemas of users, and extensions.
-- Parameters: none.
-- Columns: catalog_oid oid, oid oid, name text (raw).
-- Order: none. Servers: 9.6 and later.
select n.tableoid as catalog_oid, n.oid, n.nspname::text as name
  from pg_catalog.pg_namespace n
 where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
union all
select e.tableoid, e.oid, e.extname::text from pg_catalog.pg_extension e;
