-- What there is to say about publications and extended statistics.
-- Parameters: none.
-- Columns: class text, name text[] (raw, outermost first), detail text (arguments and the like), fact text,
--   value text (null: none), same_major bool (the text depends on the server's version: compared between equal
--   majors only).
-- Order: none. Servers: 9.6 and later. Members of extensions are left out.
-- Servers: 10 and later.
select 'publication' as class, array[p.pubname::text] as name, '' as detail, f.fact, f.value, false as same_major
  from pg_catalog.pg_publication p
       cross join lateral (select to_jsonb(p) as doc) j
       cross join lateral (values
         ('owner', pg_catalog.pg_get_userbyid(p.pubowner)::text),
         ('all tables', p.puballtables::text),
         ('publishes', concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
                                 case when p.pubdelete then 'delete' end, case when j.doc ->> 'pubtruncate' = 'true' then 'truncate' end,
                                 case when j.doc ->> 'pubviaroot' = 'true' then 'as the root' end)),
         ('generated columns', nullif(j.doc ->> 'pubgencols', 'n')),
         ('tables', (select string_agg(r.prrelid::regclass::text, ', ' order by r.prrelid::regclass::text collate "C")
                       from pg_catalog.pg_publication_rel r where r.prpubid = p.oid)),
         ('comment', pg_catalog.obj_description(p.oid, 'pg_publication'))
       ) f(fact, value)
union all
select 'statistics', array[n.nspname::text, s.stxname::text], '', f.fact, f.value, false
  from pg_catalog.pg_statistic_ext s
       join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
       cross join lateral (values
         ('owner', pg_catalog.pg_get_userbyid(s.stxowner)::text),
         ('definition', pg_catalog.pg_get_statisticsobjdef(s.oid)),
         ('target', nullif(to_jsonb(s) ->> 'stxstattarget', '-1')),
         ('comment', pg_catalog.obj_description(s.oid, 'pg_statistic_ext'))
       ) f(fact, value)
 where n.nspname !~ '^pg_' and n.nspname <> 'information_schema';
