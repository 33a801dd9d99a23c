-- Lists the relations that users made, of all kinds, with whether the role may read them: pg_dump locks the
-- tables that it dumps, and needs that privilege for it.
-- Parameters: none.
-- Columns: oid oid, schema_oid oid, nspname text, relname text (both raw), relkind text, is_readable bool.
-- Order: none. Servers: 9.6 and later.
select c.oid, n.oid as schema_oid, n.nspname::text, c.relname::text, c.relkind::text,
       -- in a case, as the functions fail on other kinds
       case when c.relkind in ('r', 'p', 'f')
            then has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
            else true end as is_readable
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I', 'c')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb');
