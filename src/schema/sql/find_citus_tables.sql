-- Finds the view of citus that lists its tables; it is in schema public or citus.
-- Parameters: none.
-- Columns: qname text (quoted).
-- Order: qname. Servers: 9.6 and later.
select format('%I.%I', n.nspname, c.relname) as qname
  from pg_catalog.pg_extension e
       join pg_catalog.pg_depend d
         on d.refclassid = 'pg_catalog.pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
        and d.classid = 'pg_catalog.pg_class'::regclass
       join pg_catalog.pg_class c on c.oid = d.objid and c.relname = 'citus_tables'
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where e.extname = 'citus'
 order by qname
