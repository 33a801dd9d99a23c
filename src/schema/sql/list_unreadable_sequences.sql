-- Lists the sequences that the current role may not read.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (schema, sequence).
-- Order: qname. Servers: 9.6 and later.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname,
       case when not has_schema_privilege(n.oid, 'usage') then 'schema' else 'sequence' end as reason
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'S'
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   -- in a case, as a plain condition may be tried on tables first, and then the function fails
   and case when c.relkind = 'S'
            then not has_schema_privilege(n.oid, 'usage') or not has_sequence_privilege(c.oid, 'select')
            else false end
   and not exists (
        select 1 from pg_catalog.pg_depend d
         where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
           and d.objsubid = 0 and d.deptype = 'e')
 order by qname;
