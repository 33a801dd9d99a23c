-- Lists what a drop of the source's tables would take along on the target, though the source does not have
-- it: views on views included, children of a table, and foreign keys of other tables.
-- Parameters: $1 text[] nspname, $2 text[] relname, $3 text[] relkind of the source's relations, same order
-- Result: kind text not null, name text not null (quoted; a foreign key with its table)
-- Order: kind, name. Versions: 12 and newer (target).
with recursive known as (
    select c.oid, k.relkind
      from unnest($1::text[], $2::text[], $3::text[]) as k (nspname, relname, relkind)
           join pg_catalog.pg_namespace n on n.nspname = k.nspname
           join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = k.relname
), doomed (oid) as (
    select known.oid from known where known.relkind = 'r'
    union
    select next.oid
      from doomed
           cross join lateral (
                select w.ev_class
                  from pg_catalog.pg_depend d
                       join pg_catalog.pg_rewrite w on w.oid = d.objid and w.rulename = '_RETURN'
                 where d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = doomed.oid
                   and d.classid = 'pg_catalog.pg_rewrite'::regclass
                union all
                select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = doomed.oid
           ) next (oid)
)
select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as kind,
       format('%I.%I', n.nspname, c.relname) as name
  from doomed
       join pg_catalog.pg_class c on c.oid = doomed.oid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where doomed.oid not in (select known.oid from known)
union all
select 'foreign key', format('%I of table %I.%I', f.conname, n.nspname, c.relname)
  from doomed
       join pg_catalog.pg_constraint f on f.confrelid = doomed.oid and f.contype = 'f'
       join pg_catalog.pg_class c on c.oid = f.conrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where f.conrelid not in (select known.oid from known)
   and f.conrelid not in (select doomed.oid from doomed)
 order by 1, 2
