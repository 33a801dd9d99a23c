-- Lists unlogged tables, which a crash of the server empties.
-- Parameters: none.
-- Columns: nspname text, relname text (raw).
-- Order: by name. Servers: 12 and later.
select n.nspname::text, c.relname::text
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and c.relpersistence = 'u'
 order by 1, 2;
