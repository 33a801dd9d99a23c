-- Lists the tables that the current role may not read as a whole: pg_dump locks, and COPY reads, whole
-- tables, for which a privilege on every single column is not enough.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (schema, columns: only some columns are readable, table).
-- Order: qname. Servers: 9.6 and later.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname,
       case when not has_schema_privilege(n.oid, 'usage') then 'schema'
            when has_any_column_privilege(c.oid, 'select') then 'columns'
            else 'table' end as reason
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and (not has_schema_privilege(n.oid, 'usage') or not has_table_privilege(c.oid, 'select'))
   and not exists (
        select 1 from pg_catalog.pg_depend d
         where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
           and d.objsubid = 0 and d.deptype = 'e')
 order by qname;
