-- The tables whose changes are followed, with what decides how each is published.
-- Parameters: none.
-- Columns: oid int8, qname text (quoted), relkind text (r, p), root_oid int8 (topmost partitioned ancestor, 0: none),
--   has_identity bool: its UPDATE and DELETE tell which row is meant,
--   generated_identity text (n none, s a stored, v a virtual generated column is part of the identity),
--   is_unlogged bool, is_owned bool: the role may publish it.
-- Order: oid. Servers: 10 and later.
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
select c.oid::int8 as oid,
       format('%I.%I', n.nspname, c.relname) as qname,
       c.relkind::text as relkind,
       coalesce(r.ancestor::int8, 0) as root_oid,
       c.relreplident = 'f' or k.oid is not null as has_identity,
       coalesce((select max(case to_jsonb(a) ->> 'attgenerated' when 'v' then 'v' when 's' then 's' else 'n' end)
                   from pg_catalog.pg_attribute a
                  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                    and (c.relreplident = 'f' or a.attnum = any (k.attnums))), 'n') as generated_identity,
       c.relpersistence = 'u' as is_unlogged,
       pg_catalog.pg_has_role(c.relowner, 'usage') as is_owned
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join root r on r.oid = c.oid
       left join identity_key k on k.oid = c.oid
 where c.relkind in ('r', 'p')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and not exists (select 1 from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
                      and d.objsubid = 0 and d.deptype = 'e'
                      and not exists (select 1 from pg_catalog.pg_extension e where c.oid = any (e.extconfig)))
 order by c.oid;
