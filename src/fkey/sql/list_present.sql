-- Lists the foreign keys and the triggers of users that tables have now.
-- Parameters: $1 text[]: schemas, $2 text[]: tables of the same positions; both raw.
-- Columns: kind text (key, trigger), nspname text, relname text, name text, definition text, is_valid bool,
--   state text (of a trigger; '' for keys), comment text (of a key; null: none), oid oid.
-- Order: none. Servers: 12 and later. Keys that PostgreSQL keeps for partitions of a referenced table are left out.
with t as (
    select c.oid, n.nspname, c.relname
      from (select distinct nspname, relname from unnest($1::text[], $2::text[]) as w(nspname, relname)) w
           join pg_catalog.pg_namespace n on n.nspname = w.nspname::name
           join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname::name
)
select 'key' as kind, t.nspname::text, t.relname::text, k.conname::text as name,
       pg_catalog.pg_get_constraintdef(k.oid) as definition, k.convalidated as is_valid, '' as state,
       pg_catalog.obj_description(k.oid, 'pg_constraint') as comment, k.oid
  from t
       join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype = 'f'
       left join pg_catalog.pg_constraint u on u.oid = k.conparentid
 where u.oid is null or u.confrelid = k.confrelid
union all
select 'trigger', t.nspname::text, t.relname::text, g.tgname::text, pg_catalog.pg_get_triggerdef(g.oid), true,
       g.tgenabled::text, null, g.oid
  from t
       join pg_catalog.pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal;
