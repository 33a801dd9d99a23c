-- Lists the objects of users that only a superuser can create; members of extensions do not count.
-- Parameters: none
-- Result: kind text not null (words for people), name text not null (quoted, schema-qualified), classid oid,
--   objid oid
-- Order: kind, name. Versions: 9.6 and newer.
with member as (
    select d.classid, d.objid from pg_catalog.pg_depend d where d.deptype = 'e'
)
select x.kind, x.name, x.classid::oid as classid, x.oid as objid
  from (select 'event trigger' as kind, format('%I', e.evtname) as name,
               'pg_catalog.pg_event_trigger'::pg_catalog.regclass as classid, e.oid
          from pg_catalog.pg_event_trigger e
        union all
        select 'foreign data wrapper', format('%I', w.fdwname),
               'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid
          from pg_catalog.pg_foreign_data_wrapper w
        union all
        select 'untrusted language', format('%I', l.lanname),
               'pg_catalog.pg_language'::pg_catalog.regclass, l.oid
          from pg_catalog.pg_language l
         where l.lanispl and not l.lanpltrusted
        union all
        select case when p.proleakproof then 'leakproof function'
                    else 'function in an untrusted language' end,
               format('%I.%I(%s)', n.nspname, p.proname,
                      pg_catalog.pg_get_function_identity_arguments(p.oid)),
               'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
          from pg_catalog.pg_proc p
          join pg_catalog.pg_language l on l.oid = p.prolang
          join pg_catalog.pg_namespace n on n.oid = p.pronamespace
         where p.proleakproof or not l.lanpltrusted and l.lanname <> 'sql'
        union all
        select 'base type', format('%I.%I', n.nspname, t.typname),
               'pg_catalog.pg_type'::pg_catalog.regclass, t.oid
          from pg_catalog.pg_type t
          join pg_catalog.pg_namespace n on n.oid = t.typnamespace
         where t.typtype = 'b' and t.typelem = 0
        union all
        select 'operator class', format('%I.%I', n.nspname, o.opcname),
               'pg_catalog.pg_opclass'::pg_catalog.regclass, o.oid
          from pg_catalog.pg_opclass o
          join pg_catalog.pg_namespace n on n.oid = o.opcnamespace
        union all
        select 'operator family', format('%I.%I', n.nspname, o.opfname),
               'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.oid
          from pg_catalog.pg_opfamily o
          join pg_catalog.pg_namespace n on n.oid = o.opfnamespace
        union all
        select 'access method', format('%I', a.amname),
               'pg_catalog.pg_am'::pg_catalog.regclass, a.oid
          from pg_catalog.pg_am a
        union all
        select 'text search parser', format('%I.%I', n.nspname, p.prsname),
               'pg_catalog.pg_ts_parser'::pg_catalog.regclass, p.oid
          from pg_catalog.pg_ts_parser p
          join pg_catalog.pg_namespace n on n.oid = p.prsnamespace
        union all
        select 'text search template', format('%I.%I', n.nspname, t.tmplname),
               'pg_catalog.pg_ts_template'::pg_catalog.regclass, t.oid
          from pg_catalog.pg_ts_template t
          join pg_catalog.pg_namespace n on n.oid = t.tmplnamespace
        union all
        select 'cast without a function',
               format('(%s as %s)', c.castsource::pg_catalog.regtype, c.casttarget::pg_catalog.regtype),
               'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid
          from pg_catalog.pg_cast c
         where c.castmethod = 'b') x
 where x.oid >= 16384
   and not exists (select 1 from member m where m.classid = x.classid and m.objid = x.oid)
 order by 1, 2
