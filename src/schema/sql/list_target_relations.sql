-- Lists all relations of users on the target, to see whether what is to be created is there.
-- Parameters: none.
-- Columns: nspname text, relname text, relkind text. Names are raw.
-- Order: none. Servers: 9.6 and later.
select n.nspname::text, c.relname::text, c.relkind::text
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema';
