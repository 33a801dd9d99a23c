-- Lists the indexes that a failed concurrent build left behind: pg_dump does not take them, nor do we.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (qname of the table).
-- Order: qname. Servers: 9.6 and later.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, format('%I.%I', tn.nspname, t.relname) as reason
  from pg_catalog.pg_index i
       join pg_catalog.pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_class t on t.oid = i.indrelid
       join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
 where not (i.indisvalid and i.indisready)
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
 order by qname;
