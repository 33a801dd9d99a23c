-- Lists the sequences that are no members of an extension.
-- Parameters: none.
-- Columns: oid oid, nspname text, relname text, qname text (quoted), is_unlogged bool.
-- Order: oid. Servers: 9.6 and later; a sequence can be unlogged from 15 on.
select c.oid, n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname) as qname,
       c.relpersistence = 'u' as is_unlogged
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'S'
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and not exists (
        select 1 from pg_catalog.pg_depend d
         where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
           and d.objsubid = 0 and d.deptype = 'e')
 order by c.oid;
