-- Lists the foreign keys of tables, without the copies that PostgreSQL keeps for partitions.
-- Parameters: $1 oid[]: the referencing tables.
-- Columns: oid oid, table_oid oid, ref_oid oid, conname text (quoted), is_validated bool, is_enforced bool,
--   is_plain bool (both sides are ordinary tables), definition text (null: dropped since).
-- Order: oid. Servers: 9.6 and later; conparentid came in 11, conenforced in 18.
select k.oid, k.conrelid as table_oid, k.confrelid as ref_oid, format('%I', k.conname) as conname,
       k.convalidated as is_validated,
       coalesce((j.con ->> 'conenforced')::bool, true) as is_enforced,
       c.relkind = 'r' and r.relkind = 'r' as is_plain,
       pg_catalog.pg_get_constraintdef(k.oid) as definition
  from unnest($1::oid[]) as t(oid)
       join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype = 'f'
       join pg_catalog.pg_class c on c.oid = k.conrelid
       join pg_catalog.pg_class r on r.oid = k.confrelid
       cross join lateral (select to_jsonb(k) as con offset 0) j
 where coalesce(j.con ->> 'conparentid', '0') = '0'
 order by k.oid;
