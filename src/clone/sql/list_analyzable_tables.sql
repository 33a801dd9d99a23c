-- Lists the tables of users, to be analyzed before their statistics are trusted.
-- Parameters: none
-- Result: qname text not null, quoted
-- Order: by name. Versions: 9.6 and newer.
select pg_catalog.format('%I.%I', n.nspname, c.relname)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
 order by 1
