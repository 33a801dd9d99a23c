-- Finds what the entries of a filters file name on the source.
-- Parameters: five arrays of the same length, one element an entry: $1 text[] subject (schema, table, index,
--   extension), $2 text[] schema and $3 text[] pattern for the schema, $4 text[] name and $5 text[] pattern for
--   the name; null where the other one of the two is given, or both of the schema for a subject without one.
-- Columns: number int4 (from 1, the entry), catalog_oid oid, object_oid oid.
-- Order: number, catalog_oid, object_oid. Servers: 9.6 and later.
with rule as (
    select (row_number() over ())::int4 as number, r.*
      from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
           as r (subject, schema_name, schema_pattern, object_name, object_pattern)
), named as (
    select 'schema' as subject, n.tableoid as catalog_oid, n.oid as object_oid, null::text as nspname,
           n.nspname::text as objname
      from pg_catalog.pg_namespace n
     where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
    union all
    select 'extension', e.tableoid, e.oid, null, e.extname::text from pg_catalog.pg_extension e
    union all
    select case when c.relkind in ('i', 'I') then 'index' else 'table' end, c.tableoid, c.oid,
           n.nspname::text, c.relname::text
      from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'f', 'v', 'm', 'i', 'I')
       and c.relpersistence in ('p', 'u')
       and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
)
select r.number, o.catalog_oid, o.object_oid
  from rule r
       join named o
         on o.subject = r.subject
        and case when r.schema_name is not null then o.nspname = r.schema_name
                 when r.schema_pattern is not null then o.nspname ~ r.schema_pattern
                 else true end
        and case when r.object_name is not null then o.objname = r.object_name
                 else o.objname ~ r.object_pattern end
 order by r.number, o.catalog_oid, o.object_oid;
