-- Lists what users made with its owner, and for which roles default privileges are set.
-- Parameters: none
-- Result: nspname text (raw; null: a schema itself, something without a schema, or default privileges),
--   owner text not null (raw), schema_owner text (raw; of that schema), sample text not null (the object,
--   as people write it), is_default bool not null (default privileges), classid oid, objid oid
-- Order: nspname, owner, sample. Versions: 9.6 and newer. Members of extensions do not count; the large objects of
-- one owner are one row.
with member as (
    select d.classid, d.objid from pg_catalog.pg_depend d where d.deptype = 'e'
), thing as (
    select 'pg_catalog.pg_class'::pg_catalog.regclass as classid, c.oid, c.relnamespace as nsp,
           c.relowner as owner, c.relname::text as name
      from pg_catalog.pg_class c
     where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relpersistence in ('p', 'u')
    union all
    select 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.pronamespace, p.proowner, p.proname::text
      from pg_catalog.pg_proc p
    union all
    select 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typnamespace, t.typowner, t.typname::text
      from pg_catalog.pg_type t
      left join pg_catalog.pg_class c on c.oid = t.typrelid
     where t.typtype in ('d', 'e', 'r') or c.relkind = 'c'
    union all
    select 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, null::oid, n.nspowner,
           'schema ' || n.nspname
      from pg_catalog.pg_namespace n
     where n.nspname <> 'public'
    union all
    select 'pg_catalog.pg_largeobject'::pg_catalog.regclass, max(l.oid), null, l.lomowner,
           'large object ' || max(l.oid)
      from pg_catalog.pg_largeobject_metadata l
     group by l.lomowner
    union all
    select s.classid::pg_catalog.regclass, s.objid, null, s.refobjid,
           pg_catalog.pg_describe_object(s.classid, s.objid, 0)
      from pg_catalog.pg_shdepend s
      join pg_catalog.pg_database d on d.oid = s.dbid and d.datname = pg_catalog.current_database()
     where s.deptype = 'o' and s.objsubid = 0
       and s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
       and s.classid not in ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
                             'pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_namespace'::pg_catalog.regclass,
                             'pg_catalog.pg_largeobject'::pg_catalog.regclass,
                             'pg_catalog.pg_default_acl'::pg_catalog.regclass)
)
select n.nspname::text, o.rolname::text as owner, no.rolname::text as schema_owner,
       coalesce(n.nspname || '.', '') || t.name as sample, false as is_default,
       t.classid::oid as classid, t.oid as objid
  from thing t
  left join pg_catalog.pg_namespace n on n.oid = t.nsp
  left join pg_catalog.pg_roles no on no.oid = n.nspowner
  join pg_catalog.pg_roles o on o.oid = t.owner
 where (t.oid >= 16384 or t.classid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass)
   and (n.nspname is null or n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb'))
   and t.name !~ '^schema (pg_|pgcopydb$)'
   and not exists (select 1 from member m where m.classid = t.classid and m.objid = t.oid)
union all
select distinct null, r.rolname::text, null, 'default privileges for role ' || r.rolname, true,
       'pg_catalog.pg_default_acl'::pg_catalog.regclass::oid, 0::oid
  from pg_catalog.pg_default_acl d
  join pg_catalog.pg_roles r on r.oid = d.defaclrole
 order by 1, 2, 4
