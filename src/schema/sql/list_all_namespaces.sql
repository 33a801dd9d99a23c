-- Lists all schemas, those of the system too.
-- Parameters: none.
-- Columns: nspname text (raw).
-- Order: nspname. Servers: 9.6 and later.
select n.nspname::text from pg_catalog.pg_namespace n order by n.nspname;
