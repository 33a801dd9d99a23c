-- Lists the tables of users on the source, partitions among them: no members of extensions.
-- Parameters: none
-- Result: oid oid not null, qname text not null (quoted)
-- Order: qname. Versions: 9.6 and newer.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r'
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select 1 from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      and d.objid = c.oid and d.objsubid = 0 and d.deptype = 'e')
 order by 2
