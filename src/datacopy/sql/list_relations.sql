-- Lists the relations that hold rows or look as if they did, with what the current role may do with each.
-- Parameters: none.
-- Columns: oid oid, nspname text, relname text, relkind text (r, p, v, m, f), persistence text, owner text (null:
--   no such role), reltuples int8 (-1: never analyzed), bytes int8 (all of it; null: dropped since), above oid
--   (partitioned table, 0: none), is_partition bool, is_extension bool, can_use bool (its schema), can_insert
--   bool, can_truncate bool, can_delete bool, is_owned bool, hides_rows bool (row security is active), has_rule
--   bool (an INSERT rule that some session obeys), has_delete_rule bool (likewise).
-- Order: nspname, relname. Servers: 9.6 and later; relispartition came in 10.
select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text as persistence,
       o.rolname::text as owner,
       case when c.reltuples = 0 and c.relpages = 0 then -1 else c.reltuples end::int8 as reltuples,
       case when c.relkind = 'r' then pg_catalog.pg_total_relation_size(c.oid) else 0 end as bytes,
       case when j.is_partition then coalesce(i.inhparent, 0) else 0 end as above, j.is_partition,
       d.objid is not null as is_extension,
       has_schema_privilege(n.oid, 'usage') as can_use,
       has_table_privilege(c.oid, 'insert') as can_insert,
       has_table_privilege(c.oid, 'truncate') as can_truncate,
       has_table_privilege(c.oid, 'delete') as can_delete,
       pg_has_role(c.relowner, 'usage') as is_owned,
       row_security_active(c.oid) as hides_rows,
       exists (select 1 from pg_catalog.pg_rewrite r
                where r.ev_class = c.oid and r.ev_type = '3' and r.ev_enabled <> 'D') as has_rule,
       exists (select 1 from pg_catalog.pg_rewrite r
                where r.ev_class = c.oid and r.ev_type = '4' and r.ev_enabled <> 'D') as has_delete_rule
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       cross join lateral (
            select coalesce((to_jsonb(c) ->> 'relispartition')::bool, false) as is_partition offset 0) j
       left join pg_catalog.pg_roles o on o.oid = c.relowner
       left join pg_catalog.pg_inherits i on j.is_partition and i.inhrelid = c.oid
       left join pg_catalog.pg_depend d
              on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
             and d.objsubid = 0 and d.deptype = 'e'
 where c.relkind in ('r', 'p', 'v', 'm', 'f')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
 order by 2, 3;
