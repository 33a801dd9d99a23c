-- Lists which objects of this database need which roles: as owner, for a grant, or for a policy; and roles
-- that have settings in it. The same roles as list_used_roles.sql, for a copy that leaves objects out.
-- Parameters: none.
-- Columns: rolname text (raw), classid oid, objid oid (both 0: no object), how text (o: owns, a: granted,
--   r: named by a policy, s: has settings).
-- Order: rolname. Servers: 9.6 and later. pg_shdepend leaves out the role that made the cluster.
select r.rolname::text, u.classid, u.objid, u.how
  from pg_catalog.pg_roles r
       join (
            select s.refobjid as role, s.classid, s.objid, s.deptype::text as how
              from pg_catalog.pg_shdepend s
                   join pg_catalog.pg_database d on d.oid = s.dbid and d.datname = current_database()
             where s.refclassid = 'pg_catalog.pg_authid'::regclass and s.deptype in ('o', 'a', 'r')
               and not exists (
                    select 1 from pg_catalog.pg_depend e
                     where e.classid = s.classid and e.objid = s.objid and e.deptype = 'e')
            union
            select s.setrole, 0, 0, 's'
              from pg_catalog.pg_db_role_setting s
                   join pg_catalog.pg_database d
                     on d.oid = s.setdatabase and d.datname = current_database()
            union all
            select 10, n.tableoid, n.oid, 'o'
              from pg_catalog.pg_namespace n
             where n.nspowner = 10 and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
               and n.oid >= 16384
            union all
            select 10, c.tableoid, c.oid, 'o'
              from pg_catalog.pg_class c
                   join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where c.relowner = 10 and c.oid >= 16384 and n.nspname !~ '^pg_'
            union all
            select 10, p.tableoid, p.oid, 'o'
              from pg_catalog.pg_proc p where p.proowner = 10 and p.oid >= 16384
       ) u on u.role = r.oid
 order by r.rolname;
