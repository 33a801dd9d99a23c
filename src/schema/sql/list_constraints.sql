-- Lists the constraints of tables that an index backs, those of partitions among them: pg_dump, too, makes
-- them on the partition and attaches their indexes afterwards.
-- Parameters: $1 oid[]: the tables.
-- Columns: oid oid, table_oid oid, index_oid oid, conname text (quoted), contype text (p, u, x),
--   is_deferrable bool, is_deferred bool, is_temporal bool (WITHOUT OVERLAPS), definition text (null:
--   dropped since).
-- Order: oid. Servers: 9.6 and later. A temporal key (18) has no flag that older servers know by name,
-- but its index is marked as one of an exclusion constraint.
select k.oid, k.conrelid as table_oid, k.conindid as index_oid, format('%I', k.conname) as conname,
       k.contype::text, k.condeferrable as is_deferrable, k.condeferred as is_deferred,
       k.contype in ('p', 'u') and i.indisexclusion as is_temporal,
       pg_catalog.pg_get_constraintdef(k.oid) as definition
  from unnest($1::oid[]) as t(oid)
       join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
       join pg_catalog.pg_index i on i.indexrelid = k.conindid
 order by k.oid;
