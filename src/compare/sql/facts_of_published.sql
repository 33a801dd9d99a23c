-- What there is to say about what publications publish of tables, and about the schemas that they publish.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 15 and later.
select 'publication' as class, array[p.pubname::text] as name, '' as detail,
       f.fact || pg_catalog.format('%I.%I', n.nspname, c.relname) as fact, f.value, false as same_major
  from pg_catalog.pg_publication_rel r
       join pg_catalog.pg_publication p on p.oid = r.prpubid
       join pg_catalog.pg_class c on c.oid = r.prrelid
       join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       cross join lateral (values
         ('row filter of ', pg_catalog.pg_get_expr(r.prqual, r.prrelid)),
         ('columns of ', (select string_agg(a.attname::text, ', ' order by a.attname::text collate "C")
                            from pg_catalog.pg_attribute a
                           where a.attrelid = r.prrelid and a.attnum = any (r.prattrs::int2[])))
       ) f(fact, value)
union all
select 'publication', array[p.pubname::text], '', pg_catalog.format('tables in schema %I', n.nspname),
       'published', false
  from pg_catalog.pg_publication_namespace s
       join pg_catalog.pg_publication p on p.oid = s.pnpubid
       join pg_catalog.pg_namespace n on n.oid = s.pnnspid;
