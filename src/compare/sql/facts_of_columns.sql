-- What there is to say about columns; their order does not count.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
with member as (
    select objid from pg_catalog.pg_depend
     where deptype = 'e' and classid = 'pg_catalog.pg_class'::regclass and objsubid = 0
)
select 'column' as class, array[n.nspname::text, c.relname::text, a.attname::text] as name, '' as detail,
       f.fact, f.value, f.same_major
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       join pg_catalog.pg_type t on t.oid = a.atttypid
       cross join lateral (select to_jsonb(a) as doc) j
       left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
       left join pg_catalog.pg_collation co on co.oid = a.attcollation and a.attcollation <> t.typcollation
       left join pg_catalog.pg_namespace cn on cn.oid = co.collnamespace
       cross join lateral (values
         ('type', pg_catalog.format_type(a.atttypid, a.atttypmod), false),
         ('not null', a.attnotnull::text, false),
         ('default', pg_catalog.pg_get_expr(d.adbin, d.adrelid), false),
         ('generated', nullif(j.doc ->> 'attgenerated', ''), false),
         ('identity', nullif(j.doc ->> 'attidentity', ''), false),
         ('collation', cn.nspname::text || '.' || co.collname::text, false),
         ('storage', case when c.relkind in ('r', 'p', 'm', 'f') then a.attstorage::text end, false),
         ('compression', nullif(j.doc ->> 'attcompression', ''), true),
         ('statistics target', nullif(j.doc ->> 'attstattarget', '-1'), false),
         ('inherited only', case when c.relkind in ('r', 'p', 'f') then (not a.attislocal)::text end, false),
         ('options', (select string_agg(o, ', ' order by o collate "C") from unnest(a.attoptions) o
                       where o !~ '^pg_attver='), false),
         ('foreign options', (select string_agg(o, ', ' order by o collate "C") from unnest(a.attfdwoptions) o), false),
         ('privileges', case when a.attacl is not null then (select string_agg(pg_catalog.pg_get_userbyid(x.grantee) || '=' || x.privilege_type
                               || case when x.is_grantable then '*' else '' end, ', '
                               order by x.grantee = 0, pg_catalog.pg_get_userbyid(x.grantee)::text collate "C", x.privilege_type collate "C")
            from pg_catalog.aclexplode(coalesce(a.attacl, pg_catalog.acldefault('c', c.relowner))) x
           where not (x.grantee = c.relowner and x.privilege_type = 'MAINTAIN')) end, false),
         ('comment', pg_catalog.col_description(c.oid, a.attnum), false)
       ) f(fact, value, same_major)
 where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and c.relpersistence <> 't'
   and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select from member m where m.objid = c.oid);
