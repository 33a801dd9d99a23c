-- Lists relations, functions and schemas with privileges that another role than the owner has granted.
-- Parameters: none
-- Result: name text not null (quoted). Order: name. Versions: 9.6 and newer. Extensions do not count.
with thing as (
    select 'pg_catalog.pg_class'::pg_catalog.regclass as classid, c.oid, c.relacl as acl, c.relowner as owner,
           format('%I.%I', n.nspname, c.relname) as name
      from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    union all
    select 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proacl, p.proowner,
           format('%I.%I', n.nspname, p.proname)
      from pg_catalog.pg_proc p
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    union all
    select 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, n.nspacl, n.nspowner, format('%I', n.nspname)
      from pg_catalog.pg_namespace n
     where n.nspname !~ '^pg_'
)
select t.name
  from thing t
 where t.oid >= 16384
   and t.acl is not null
   and exists (select 1 from pg_catalog.aclexplode(t.acl) a where a.grantor <> t.owner)
   and not exists (select 1 from pg_catalog.pg_depend d
                    where d.classid = t.classid and d.objid = t.oid and d.deptype = 'e')
 order by 1
