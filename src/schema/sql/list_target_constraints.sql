-- Lists the constraints on the target of relations that are given by name.
-- Parameters: $1 text[]: schemas, $2 text[]: relations of the same positions; both raw.
-- Columns: position int8 (in the arrays, from 1), oid oid, conname text (quoted), contype text (p, u, x,
--   f, c, ...), is_validated bool, index_name text (quoted; null: no index backs it), definition text.
-- Order: position, conname. Servers: 12 and later.
select w.position, k.oid, format('%I', k.conname) as conname, k.contype::text,
       k.convalidated as is_validated,
       case when k.contype in ('p', 'u', 'x') then format('%I', x.relname) end as index_name,
       pg_catalog.pg_get_constraintdef(k.oid) as definition
  from unnest($1::text[], $2::text[]) with ordinality as w(nspname, relname, position)
       join pg_catalog.pg_namespace n on n.nspname = w.nspname::name
       join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname::name
       join pg_catalog.pg_constraint k on k.conrelid = c.oid
       left join pg_catalog.pg_class x on x.oid = k.conindid
 order by w.position, k.conname;
