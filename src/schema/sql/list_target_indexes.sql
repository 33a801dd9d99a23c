-- Lists the indexes on the target that are given by name.
-- Parameters: $1 text[]: schemas, $2 text[]: indexes of the same positions; both raw.
-- Columns: position int8 (in the arrays, from 1), oid oid, table_qname text (quoted), is_valid bool (and
--   ready), definition text. Indexes that do not exist have no rows.
-- Order: position. Servers: 12 and later. An empty search_path makes definitions of both sides comparable.
select w.position, c.oid, format('%I.%I', tn.nspname, t.relname) as table_qname,
       i.indisvalid and i.indisready as is_valid, pg_catalog.pg_get_indexdef(c.oid) as definition
  from unnest($1::text[], $2::text[]) with ordinality as w(nspname, relname, position)
       join pg_catalog.pg_namespace n on n.nspname = w.nspname::name
       join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname::name
       join pg_catalog.pg_index i on i.indexrelid = c.oid
       join pg_catalog.pg_class t on t.oid = i.indrelid
       join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
 order by w.position;
