-- Lists the configuration relations of all extensions, with the other configuration tables that each of
-- them references.
-- Parameters: none.
-- Columns: ext_oid oid, position int8 (as the extension declared it), oid oid, qname text (quoted),
--   relkind text (r, S, ...), condition text (WHERE clause or empty), refs oid[] (itself left out).
-- Order: ext_oid, position. Servers: 9.6 and later.
select e.oid as ext_oid, k.position, c.oid, format('%I.%I', n.nspname, c.relname) as qname,
       c.relkind::text, coalesce(e.extcondition[k.position::int4], '') as condition,
       array(select distinct f.confrelid from pg_catalog.pg_constraint f
              where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid
                and f.confrelid = any (e.extconfig)
              order by f.confrelid) as refs
  from pg_catalog.pg_extension e
       cross join lateral unnest(e.extconfig) with ordinality as k(oid, position)
       join pg_catalog.pg_class c on c.oid = k.oid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 order by e.oid, k.position;
