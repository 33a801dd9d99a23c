-- Lists the relations that users made: tables, views, sequences, types with columns; no indexes, no
-- members of extensions.
-- Parameters: none
-- Result: nspname text not null, relname text not null, both raw; relkind text not null; oid oid not null
-- Order: by name. Versions: 9.6 and newer.
select n.nspname::text, c.relname::text, c.relkind::text, c.oid
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select 1 from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      and d.objid = c.oid and d.deptype = 'e')
 order by 1, 2
