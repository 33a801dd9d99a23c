-- Lists the extensions that can be installed, with their versions.
-- Parameters: none.
-- Columns: extname text (raw), default_version text (null: none), versions text[] (ascending as text).
-- Order: extname. Servers: 9.6 and later.
select v.name::text as extname, a.default_version, v.versions
  from (select name, pg_catalog.array_agg(version order by version) as versions
          from pg_catalog.pg_available_extension_versions group by name) v
       left join pg_catalog.pg_available_extensions a on a.name = v.name
 order by v.name;
