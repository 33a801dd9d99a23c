-- What the target can do about extensions, and what the current role may do with those that are there.
-- Parameters: $1 text[] names of extensions, raw
-- Result: name text not null (raw), default_version text (null: not available), versions text[] not null,
--   installed text (null: not; else versions is empty and default_version null, as looking for files takes long),
--   needs_superuser bool not null (of the default version), is_trusted bool not null,
--   is_mine bool not null (the current role may act as its owner), unwritable text (quoted; a configuration
--   table that the current role may not fill)
-- Order: name. Versions: 12 and newer.
select w.name, a.default_version,
       case when e.oid is null
            then array(select v.version from pg_catalog.pg_available_extension_versions v
                        where v.name = w.name order by 1)
            else '{}' end as versions,
       e.extversion as installed,
       coalesce(d.superuser, false) as needs_superuser,
       coalesce((pg_catalog.to_jsonb(d) ->> 'trusted')::bool, false) as is_trusted,
       coalesce(pg_catalog.pg_has_role(e.extowner, 'usage'), true) as is_mine,
       (select min(c.oid::pg_catalog.regclass::text)
          from pg_catalog.unnest(e.extconfig) as x (oid)
          join pg_catalog.pg_class c on c.oid = x.oid and c.relkind in ('r', 'p')
         where not (pg_catalog.has_table_privilege(c.oid, 'select')
                    and pg_catalog.has_table_privilege(c.oid, 'insert')
                    and pg_catalog.has_table_privilege(c.oid, 'update'))) as unwritable
  from pg_catalog.unnest($1::text[]) as w (name)
  left join pg_catalog.pg_extension e on e.extname = w.name
  left join lateral (select v.default_version from pg_catalog.pg_available_extensions v
                      where v.name = w.name and e.oid is null) a on true
  left join lateral (select v.* from pg_catalog.pg_available_extension_versions v
                      where v.name = w.name and v.version = a.default_version and e.oid is null) d on true
 order by 1
