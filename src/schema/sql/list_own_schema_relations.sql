-- Lists the relations in schema pgcopydb that this program, or the one it stands in for, did not make.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (relkind).
-- Order: qname. Servers: 9.6 and later.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, c.relkind::text as reason
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'pgcopydb'
   and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
   and c.relname not in ('progress', 'sentinel', 'table_size', 'pgcopydb_table_size')
 order by qname;
