-- The tables whose changes can come, with their columns and what tells a row.
-- Parameters: none.
-- Columns: oid int8, nspname text, relname text, identity text (key, full, nothing), columns text (JSON array of
--   {name, generated, is_key, type}, in order), root_nspname text and root_relname text (null: no partition),
--   rewritten int8 (rows that were updated or deleted, as the statistics count them; null: no plain table).
-- Order: oid. Servers: 9.6 and later.
-- A deferrable primary key is no identity: the server does not log it.
with recursive up as (
    select i.inhrelid as oid, i.inhparent as ancestor
      from pg_catalog.pg_inherits i
           join pg_catalog.pg_class p on p.oid = i.inhparent and p.relkind = 'p'
    union all
    select u.oid, i.inhparent
      from up u
           join pg_catalog.pg_inherits i on i.inhrelid = u.ancestor
           join pg_catalog.pg_class p on p.oid = i.inhparent and p.relkind = 'p'
), root as (
    select u.oid, u.ancestor from up u
     where not exists (select 1 from pg_catalog.pg_inherits i
                              join pg_catalog.pg_class p on p.oid = i.inhparent and p.relkind = 'p'
                        where i.inhrelid = u.ancestor)
), identity_key as (
    -- columns that an index only includes (11) tell no row
    select i.indrelid as oid,
           (i.indkey::int2[])[0:coalesce((to_jsonb(i) ->> 'indnkeyatts')::int4, i.indnatts) - 1] as attnums
      from pg_catalog.pg_index i
           join pg_catalog.pg_class c on c.oid = i.indrelid
     where i.indisvalid and i.indimmediate
       and ((c.relreplident = 'd' and i.indisprimary) or (c.relreplident = 'i' and i.indisreplident))
)
select c.oid::int8 as oid, n.nspname::text as nspname, c.relname::text as relname,
       case when c.relreplident = 'f' then 'full' when k.oid is not null then 'key' else 'nothing' end as identity,
       coalesce((select jsonb_agg(jsonb_build_object(
                            'name', a.attname,
                            'type', format_type(a.atttypid, a.atttypmod),
                            'generated', coalesce(to_jsonb(a) ->> 'attgenerated', '') <> '',
                            'is_key', coalesce(a.attnum = any (k.attnums), false))
                        order by a.attnum)
                   from pg_catalog.pg_attribute a
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]')::text as columns,
       rn.nspname::text as root_nspname, rc.relname::text as root_relname,
       case when c.relkind = 'r'
            then pg_catalog.pg_stat_get_tuples_updated(c.oid) + pg_catalog.pg_stat_get_tuples_deleted(c.oid)
       end as rewritten
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join root r on r.oid = c.oid
       left join pg_catalog.pg_class rc on rc.oid = r.ancestor
       left join pg_catalog.pg_namespace rn on rn.oid = rc.relnamespace
       left join identity_key k on k.oid = c.oid
 where c.relkind in ('r', 'p', 'm')
   and c.relpersistence = 'p'
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
 order by c.oid;
