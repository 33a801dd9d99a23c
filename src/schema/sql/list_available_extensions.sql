-- Lists the extensions that can be, or are, installed.
-- Parameters: none.
-- Columns: extname text (raw), default_version text (null: the files are gone), installed_version text
--   (null: not in this database), versions text[] (that can be asked for, ascending as text).
-- Order: extname. Servers: 12 and later.
with version as materialized (
    select v.name, array_agg(v.version order by v.version) as versions
      from pg_catalog.pg_available_extension_versions v
     group by v.name
)
select coalesce(a.name, e.extname)::text as extname, a.default_version,
       e.extversion as installed_version, coalesce(v.versions, '{}') as versions
  from pg_catalog.pg_available_extensions a
       full join pg_catalog.pg_extension e on e.extname = a.name
       left join version v on v.name = coalesce(a.name, e.extname)
 order by 1;
