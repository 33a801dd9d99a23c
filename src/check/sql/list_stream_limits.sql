-- Lists what a follow does not bring along, or does not see coming.
-- Parameters: none
-- Result: kind text not null ('partitioned table', 'event trigger'), name text not null (quoted, schema-qualified)
-- Order: kind, name. Versions: 10 and newer.
select 'event trigger' as kind, format('%I', e.evtname) as name
  from pg_catalog.pg_event_trigger e
 where e.evtenabled <> 'D'
union all
select 'partitioned table', format('%I.%I', n.nspname, c.relname)
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'p' and not c.relispartition and n.nspname !~ '^pg_'
 order by 1, 2
