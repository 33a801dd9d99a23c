-- Lists the tables whose changes cannot be followed as they are.
-- Parameters: none
-- Result: qname text not null (quoted), problem text not null: none (nothing tells rows apart), deferrable (its
--   primary key is), incomparable (REPLICA IDENTITY FULL with a column type without equality), oid oid not null
-- Order: qname. Versions: 10 and newer. Unlogged tables are not followed at all.
select format('%I.%I', n.nspname, c.relname) as qname,
       case when c.relreplident = 'f' then 'incomparable'
            when exists (select 1 from pg_catalog.pg_index i
                          where i.indrelid = c.oid and i.indisprimary) and c.relreplident = 'd'
            then 'deferrable' else 'none' end as problem,
       c.oid
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and c.relpersistence = 'p'
   and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select 1 from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      and d.objid = c.oid and d.deptype = 'e')
   and case c.relreplident
            when 'f' then exists (
                select 1 from pg_catalog.pg_attribute a
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                   and a.atttypid in ('json'::pg_catalog.regtype, 'xml'::pg_catalog.regtype,
                                      'point'::pg_catalog.regtype, 'polygon'::pg_catalog.regtype))
            when 'd' then not exists (
                select 1 from pg_catalog.pg_index i
                 where i.indrelid = c.oid and i.indisprimary and i.indimmediate and i.indisvalid)
            when 'i' then not exists (
                select 1 from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisreplident)
            else true end
 order by 1
