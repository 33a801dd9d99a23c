-- Lists large objects that the current role may not read.
-- Parameters: $1 int8: how many at most.
-- Columns: oid oid.
-- Order: oid. Servers: 9.6 and later.
select m.oid
  from pg_catalog.pg_largeobject_metadata m
 where current_setting('lo_compat_privileges') <> 'on'
   and not (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)
   and not pg_has_role(m.lomowner, 'usage')
   and not exists (
        select 1 from pg_catalog.aclexplode(m.lomacl) a
         where a.privilege_type = 'SELECT'
           and (a.grantee = 0 or pg_has_role(a.grantee, 'usage')))
 order by m.oid
 limit $1::int8;
