-- Names what filters leave out as the facts of the sides do, and what kept objects say otherwise for it.
-- Parameters: $1 oid[] catalogs, $2 oid[] objects, of the same length; $3 oid[] relations without rows.
-- Columns: class text, name text[] (raw, outermost first), detail text, fact text (null: the object itself;
--   'rows': its rows; 'valid': a foreign key that may stay NOT VALID).
-- Order: none. Servers: 9.6 and later.
with recursive gone as (
    select * from unnest($1::oid[], $2::oid[]) as o (classid, objid)
), relation as (
    select c.oid, c.relkind, c.reltype, n.nspname::text as nspname, c.relname::text as relname,
           case c.relkind when 'r' then 'table' when 'p' then 'table' when 'v' then 'view'
                when 'm' then 'materialized view' when 'f' then 'foreign table' when 'S' then 'sequence'
                when 'i' then 'index' when 'I' then 'index' else 'type' end as class,
           exists (select from gone g where g.classid = 'pg_catalog.pg_class'::regclass and g.objid = c.oid) as is_gone
      from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
), of_table as (
    select g.classid, g.objid, r.nspname, r.relname
      from gone g
           join pg_catalog.pg_constraint k on g.classid = 'pg_catalog.pg_constraint'::regclass and g.objid = k.oid
           join relation r on r.oid = k.conrelid
), gone_trigger as (
    select g.objid from gone g where g.classid = 'pg_catalog.pg_trigger'::regclass
    union
    select t.oid
      from gone_trigger g
           join pg_catalog.pg_trigger t on (to_jsonb(t) ->> 'tgparentid')::oid = g.objid
)
select r.class, array[r.nspname, r.relname] as name, '' as detail, null::text as fact
  from relation r
 where r.is_gone
union all
-- what an extension keeps as its configuration goes with it
select 'table', array[r.nspname, r.relname], '', null
  from gone g
       join pg_catalog.pg_extension e on g.classid = 'pg_catalog.pg_extension'::regclass and g.objid = e.oid
       join relation r on r.oid = any (e.extconfig)
union all
select 'constraint', array[t.nspname, t.relname, k.conname::text], '', null
  from of_table t join pg_catalog.pg_constraint k on k.oid = t.objid
union all
select case t.typtype when 'd' then 'domain' else 'type' end, array[n.nspname::text, t.typname::text], '', null
  from gone g
       join pg_catalog.pg_type t on g.classid = 'pg_catalog.pg_type'::regclass and g.objid = t.oid
       join pg_catalog.pg_namespace n on n.oid = t.typnamespace
 where t.typtype in ('e', 'd', 'r', 'b')
union all
select c.class, array[n.nspname::text, p.proname::text],
       '(' || pg_catalog.oidvectortypes(p.proargtypes) || ')', null
  from gone g
       join pg_catalog.pg_proc p on g.classid = 'pg_catalog.pg_proc'::regclass and g.objid = p.oid
       join pg_catalog.pg_namespace n on n.oid = p.pronamespace
       cross join (values ('function'), ('procedure'), ('aggregate')) c (class)
union all
select 'default privileges', array[pg_catalog.pg_get_userbyid(d.defaclrole)::text, coalesce(n.nspname::text, '')],
       'of type ' || d.defaclobjtype::text, null
  from gone g
       join pg_catalog.pg_default_acl d on g.classid = 'pg_catalog.pg_default_acl'::regclass and g.objid = d.oid
       left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
union all
select case a.type when 'default value' then 'column' when 'statistics object' then 'statistics' else a.type end,
       a.object_names, '', case a.type when 'default value' then 'default' end
  from gone g
       cross join lateral pg_catalog.pg_identify_object_as_address(g.classid, g.objid, 0) a
 where a.type in ('schema', 'extension', 'trigger', 'rule', 'policy', 'default value', 'publication',
                  'statistics object')
union all
select 'publication', a.object_args, '', f.fact
  from gone g
       cross join lateral pg_catalog.pg_identify_object_as_address(g.classid, g.objid, 0) a
       cross join lateral (select pg_catalog.format('%I.%I', a.object_names[1], a.object_names[2]) as name) t
       cross join lateral (values ('tables'), ('row filter of ' || t.name), ('columns of ' || t.name)) f (fact)
 where a.type = 'publication relation'
union all
select 'publication', array[p.pubname::text], '', pg_catalog.format('tables in schema %I', n.nspname)
  from gone g
       join pg_catalog.pg_namespace n on g.classid = 'pg_catalog.pg_namespace'::regclass and g.objid = n.oid
       cross join pg_catalog.pg_publication p
union all
-- a table is its index's no longer
select r.class, array[r.nspname, r.relname], '', 'replica identity'
  from pg_catalog.pg_index x
       join relation i on i.oid = x.indexrelid
       join relation r on r.oid = x.indrelid and not r.is_gone
 where x.indisreplident
   and (i.is_gone
        or exists (select from gone g
                          join pg_catalog.pg_constraint k
                            on g.classid = 'pg_catalog.pg_constraint'::regclass and g.objid = k.oid
                    where k.conindid = x.indexrelid and k.contype in ('p', 'u', 'x')))
union all
select i.type, array[i.identity], '', null
  from gone g
       cross join lateral pg_catalog.pg_identify_object(g.classid, g.objid, 0) i
 where i.type in ('cast', 'collation', 'conversion', 'operator', 'operator class', 'operator family',
                  'text search configuration', 'text search dictionary', 'text search parser',
                  'text search template', 'language', 'foreign-data wrapper', 'server', 'event trigger',
                  'access method')
union all
select r.class, array[r.nspname, r.relname], '', f.fact
  from relation r
       cross join (values ('rows'), ('populated')) f (fact)
 where r.oid = any ($3::oid[])
union all
select 'constraint', array[r.nspname, r.relname, k.conname::text], '', 'valid'
  from pg_catalog.pg_constraint k
       join relation r on r.oid = k.conrelid
 where k.contype = 'f' and (k.confrelid = any ($3::oid[]) or k.conrelid = any ($3::oid[]))
union all
-- a partition or an index that is kept without its parent
select r.class, array[r.nspname, r.relname], '', f.fact
  from pg_catalog.pg_inherits h
       join relation p on p.oid = h.inhparent and p.is_gone
       join relation r on r.oid = h.inhrelid and not r.is_gone
       cross join (values ('parents'), ('partition bound'), ('parent')) f (fact)
union all
select 'column', array[r.nspname, r.relname, a.attname::text], '', 'inherited only'
  from pg_catalog.pg_inherits h
       join relation p on p.oid = h.inhparent and p.is_gone
       join relation r on r.oid = h.inhrelid and not r.is_gone and r.relkind in ('r', 'p', 'f')
       join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
union all
select 'constraint', array[r.nspname, r.relname, k.conname::text], '', 'inherited only'
  from pg_catalog.pg_inherits h
       join relation p on p.oid = h.inhparent and p.is_gone
       join relation r on r.oid = h.inhrelid and not r.is_gone and r.relkind in ('r', 'p', 'f')
       join pg_catalog.pg_constraint k on k.conrelid = r.oid
union all
-- what a partition has of the triggers of its parent
select 'trigger', array[r.nspname, r.relname, t.tgname::text], '', null
  from gone_trigger g
       join pg_catalog.pg_trigger t on t.oid = g.objid
       join relation r on r.oid = t.tgrelid and not r.is_gone
union all
select 'sequence', array[r.nspname, r.relname], '', 'owned by'
  from pg_catalog.pg_depend d
       join relation t on t.oid = d.refobjid and t.is_gone
       join relation r on r.oid = d.objid and r.relkind = 'S' and not r.is_gone
 where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
   and d.deptype in ('a', 'i');
