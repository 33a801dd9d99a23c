-- Finds functions of an extension that a restore calls, and its version.
-- Parameters: $1 text name of the extension, raw; $2 text[] names of functions, raw
-- Columns: version text, proname text (null: none of the functions is there), qname text (quoted),
--   may_execute bool.
-- Order: members of the extension first. No row: the extension is not there. Servers: 9.6 and later.
select e.extversion as version, p.proname, p.qname, p.may_execute
  from pg_catalog.pg_extension e
       left join lateral (
            select f.proname::text, format('%I.%I', n.nspname, f.proname) as qname,
                   pg_catalog.has_function_privilege(f.oid, 'execute') as may_execute,
                   exists (select 1 from pg_catalog.pg_depend d
                            where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = f.oid
                              and d.refclassid = 'pg_catalog.pg_extension'::regclass
                              and d.refobjid = e.oid and d.deptype = 'e') as is_member
              from pg_catalog.pg_proc f
                   join pg_catalog.pg_namespace n on n.oid = f.pronamespace
             where f.proname::text = any ($2::text[])
       ) p on p.is_member
 where e.extname::text = $1::text
 order by p.proname, p.qname
