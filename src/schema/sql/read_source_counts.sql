-- Counts what the preflight tells about a source.
-- Parameters: $1 oid[] relations that are left out, $2 text[] schemas that pg_dump does not look at (raw names).
-- Columns: foreign_tables int8 (that are not left out), locked_relations int8 (that pg_dump will lock: tables, and the views and
--   materialized views whose definitions it prints), has_attver bool (columns carry pg_attver, which a
--   pg_dump that does not know it writes into the schema).
-- One row. Servers: 9.6 and later.
select count(*) filter (where c.relkind = 'f' and c.oid <> all ($1::oid[])) as foreign_tables,
       count(*) filter (where c.relkind <> 'f') as locked_relations,
       exists (select 1 from pg_catalog.pg_attribute a
                where a.attoptions::text like '%pg_attver=%') as has_attver
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f')
   and c.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and n.nspname <> all ($2::text[]);
