-- Says whether this role may read the table of the target in which applying keeps its progress.
-- Parameters: none.
-- Columns: may_read bool.
-- One row, or none where there is no such table. Servers: 12 and later (target).
select pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select') as may_read
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'pgcopydb' and c.relname = 'cdc_applied' and c.relkind = 'r';
