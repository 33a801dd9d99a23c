-- Lists the relations in schema pgcopydb that this program, or the one it stands in for, did not make: they
-- have another name, or other columns.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), reason text (relkind).
-- Order: qname. Servers: 9.6 and later.
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, c.relkind::text as reason
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'pgcopydb'
   and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
   and not exists (select from (values ('progress', array['work', 'kind', 'object', 'part', 'plan', 'rows']),
                                      ('sentinel', array['startpos', 'endpos', 'apply']),
                                      ('table_size', array['bytes']),
                                      ('pgcopydb_table_size', array['bytes'])) as made (relname, columns)
                    where made.relname = c.relname
                      and made.columns <@ array(select a.attname::text from pg_catalog.pg_attribute a
                                                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))
 order by qname;
