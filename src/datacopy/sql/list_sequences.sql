-- Lists the sequences of users, with the columns that use them.
-- Parameters: none.
-- Columns: oid oid, nspname text, relname text, table_oid oid (0: no column uses it), nsptable text, reltable text,
--   attname text (all '' without a column), can_read bool, can_set bool. A sequence has a row for each column that
--   owns it or has it in its default.
-- Order: oid, table_oid, attname. Servers: 9.6 and later.
with used as (
    select d.objid as seq, d.refobjid as tab, d.refobjsubid as attnum
      from pg_catalog.pg_depend d
     where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
       and d.deptype in ('a', 'i') and d.refobjsubid > 0
    union
    select d.refobjid, f.adrelid, f.adnum
      from pg_catalog.pg_depend d
           join pg_catalog.pg_attrdef f on f.oid = d.objid
     where d.classid = 'pg_catalog.pg_attrdef'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
)
select s.oid, n.nspname::text, s.relname::text, coalesce(t.oid, 0) as table_oid,
       coalesce(tn.nspname::text, '') as nsptable, coalesce(t.relname::text, '') as reltable,
       coalesce(a.attname::text, '') as attname,
       has_sequence_privilege(s.oid, 'select') and has_schema_privilege(n.oid, 'usage') as can_read,
       has_sequence_privilege(s.oid, 'update') and has_schema_privilege(n.oid, 'usage') as can_set
  from pg_catalog.pg_class s
       join pg_catalog.pg_namespace n on n.oid = s.relnamespace
       left join used u on u.seq = s.oid
       left join pg_catalog.pg_class t on t.oid = u.tab and t.relkind in ('r', 'p')
       left join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
       left join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = u.attnum
 where s.relkind = 'S'
   and s.relpersistence in ('p', 'u')
   and n.nspname !~ '^pg_'
   and n.nspname <> 'information_schema'
   and n.nspname <> 'pgcopydb'
   and not exists (
        select 1 from pg_catalog.pg_depend d
         where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = s.oid
           and d.objsubid = 0 and d.deptype = 'e')
 order by s.oid, 4, 7;
