-- Whether schema public can be given to a role.
-- Parameters: $1 text name of the role, raw
-- Columns: is_same bool (it belongs to it), may_give bool (the current role may give it).
-- One row, or none where there is no such schema. Servers: 12 and later.
select coalesce(n.nspowner = r.oid, false) as is_same,
       coalesce(pg_catalog.pg_has_role(n.nspowner, 'usage')
                and pg_catalog.pg_has_role(r.oid,
                        case when current_setting('server_version_num')::int4 >= 160000
                             then 'set' else 'member' end), false) as may_give
  from pg_catalog.pg_namespace n
       left join pg_catalog.pg_roles r on r.rolname = $1
 where n.nspname = 'public';
