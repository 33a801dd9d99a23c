-- Lists the roles that own objects of this database, are granted something on them, are named by a policy,
-- or have settings in it; members of extensions do not count.
-- Parameters: none.
-- Columns: rolname text (raw), owns bool, is_granted bool, in_policy bool, has_settings bool.
-- Order: rolname. Servers: 9.6 and later. pg_shdepend leaves out the role that made the cluster.
with used as (
    select s.refobjid as role, s.deptype::text as how
      from pg_catalog.pg_shdepend s
           join pg_catalog.pg_database d on d.oid = s.dbid and d.datname = current_database()
     where s.refclassid = 'pg_catalog.pg_authid'::regclass
       and s.deptype in ('o', 'a', 'r')
       and not exists (
            select 1 from pg_catalog.pg_depend e
             where e.classid = s.classid and e.objid = s.objid and e.deptype = 'e')
    union all
    select s.setrole, 's'
      from pg_catalog.pg_db_role_setting s
           join pg_catalog.pg_database d on d.oid = s.setdatabase and d.datname = current_database()
     where s.setrole <> 0
    union all
    select 10, 'o'
     where exists (
        select 1 from pg_catalog.pg_namespace n
         where n.nspowner = 10 and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
           and n.oid >= 16384
        union all
        select 1
          from pg_catalog.pg_class c
               join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relowner = 10 and c.oid >= 16384 and n.nspname !~ '^pg_'
        union all
        select 1 from pg_catalog.pg_proc p where p.proowner = 10 and p.oid >= 16384)
)
select r.rolname::text, bool_or(u.how = 'o') as owns, bool_or(u.how = 'a') as is_granted,
       bool_or(u.how = 'r') as in_policy, bool_or(u.how = 's') as has_settings
  from used u
       join pg_catalog.pg_roles r on r.oid = u.role
 group by r.rolname
 order by r.rolname;
