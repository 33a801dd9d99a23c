-- Lists the extensions of the database with the relations that they declare as configuration.
-- Parameters: none.
-- Columns: oid oid, extname text, nspname text, config_schemas text[], config_names text[] (side by side).
--   Names are raw.
-- Order: extname. Servers: 9.6 and later.
select e.oid, e.extname::text, n.nspname::text,
       coalesce(k.schemas, '{}') as config_schemas, coalesce(k.names, '{}') as config_names
  from pg_catalog.pg_extension e
       join pg_catalog.pg_namespace n on n.oid = e.extnamespace
       left join lateral (
            select pg_catalog.array_agg(cn.nspname::text order by p.position) as schemas,
                   pg_catalog.array_agg(c.relname::text order by p.position) as names
              from pg_catalog.unnest(e.extconfig) with ordinality as p(oid, position)
                   join pg_catalog.pg_class c on c.oid = p.oid
                   join pg_catalog.pg_namespace cn on cn.oid = c.relnamespace
       ) k on true
 order by e.extname;
