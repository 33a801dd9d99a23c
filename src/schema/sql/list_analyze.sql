-- Lists what has statistics but is not copied: partitioned tables and populated materialized views.
-- Parameters: none.
-- Columns: oid oid, qname text (quoted), relkind text (p, m), depth int4 (in the partition tree, 0: root).
-- Order: depth descending, oid. Servers: 9.6 and later.
with recursive tree (oid, depth) as (
    select c.oid, 0
      from pg_catalog.pg_class c
     where c.relkind = 'p'
       and not exists (select 1 from pg_catalog.pg_inherits i where i.inhrelid = c.oid)
    union all
    select c.oid, w.depth + 1
      from tree w
           join pg_catalog.pg_inherits i on i.inhparent = w.oid
           join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relkind = 'p'
)
select c.oid, format('%I.%I', n.nspname, c.relname) as qname, c.relkind::text,
       coalesce(w.depth, 0) as depth
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       left join tree w on w.oid = c.oid
 where (c.relkind = 'p' or (c.relkind = 'm' and c.relispopulated))
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and not exists (
        select 1 from pg_catalog.pg_depend d
         where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
           and d.objsubid = 0 and d.deptype = 'e')
 order by depth desc, c.oid;
