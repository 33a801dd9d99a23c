-- What there is to say about sequences, but for their values.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
-- Servers: 10 and later.
with member as (
    select objid from pg_catalog.pg_depend
     where deptype = 'e' and classid = 'pg_catalog.pg_class'::regclass and objsubid = 0
)
select 'sequence' as class, array[n.nspname::text, c.relname::text] as name, '' as detail,
       f.fact, f.value, f.same_major
  from pg_catalog.pg_sequence s
       join pg_catalog.pg_class c on c.oid = s.seqrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       cross join lateral (values
         ('type', s.seqtypid::regtype::text, false),
         ('start', s.seqstart::text, false),
         ('increment', s.seqincrement::text, false),
         ('minimum', s.seqmin::text, false),
         ('maximum', s.seqmax::text, false),
         ('cache', s.seqcache::text, false),
         ('cycle', s.seqcycle::text, false),
         ('owned by', (select d.refobjid::regclass::text || '.' || a.attname::text
                         from pg_catalog.pg_depend d
                              join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                        where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
                          and d.refclassid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i')
                        limit 1), false)
       ) f(fact, value, same_major)
 where c.relpersistence <> 't'
   and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'pgcopydb')
   and not exists (select from member m where m.objid = c.oid);
