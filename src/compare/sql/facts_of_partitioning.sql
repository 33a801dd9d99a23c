-- How partitioned tables are cut.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
-- Servers: 10 and later.
select 'table' as class, array[n.nspname::text, c.relname::text] as name, '' as detail,
       f.fact, f.value, false as same_major
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       cross join lateral (values
         ('partition key', case when c.relkind = 'p' then pg_catalog.pg_get_partkeydef(c.oid) end),
         ('partition bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid))
       ) f(fact, value)
 where (c.relkind = 'p' or c.relispartition) and c.relkind in ('r', 'p')
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema';
