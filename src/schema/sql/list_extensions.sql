-- Lists the extensions of the database.
-- Parameters: none.
-- Columns: oid oid, extname text, nspname text, version text. Names are raw.
-- Order: extname. Servers: 9.6 and later.
select e.oid, e.extname::text, n.nspname::text, e.extversion as version
  from pg_catalog.pg_extension e
       join pg_catalog.pg_namespace n on n.oid = e.extnamespace
 order by e.extname;
