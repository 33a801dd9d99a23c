-- What the current role of the target may do on behalf of roles.
-- Parameters: $1 text[] role names, raw
-- Result: rolname text not null (raw; only roles that exist), is_super bool not null, may_give bool not null
--   (objects can be given to it), may_use bool not null (its objects can be used)
-- Order: rolname. Versions: 12 and newer.
select r.rolname::text, r.rolsuper as is_super,
       pg_catalog.pg_has_role(r.oid, case when pg_catalog.current_setting('server_version_num')::int4 >= 160000
                                          then 'set' else 'member' end) as may_give,
       pg_catalog.pg_has_role(r.oid, 'usage') as may_use
  from pg_catalog.pg_roles r
 where r.rolname = any ($1)
 order by 1
