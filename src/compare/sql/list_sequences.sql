-- Lists the sequences whose values are compared.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), nspname text, relname text.
-- Order: oid. Servers: 9.6 and later. Members of extensions are left out.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, n.nspname::text, c.relname::text
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'S' and c.relpersistence <> 't'
   and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
                      and d.objsubid = 0 and d.deptype = 'e')
 order by c.oid;
