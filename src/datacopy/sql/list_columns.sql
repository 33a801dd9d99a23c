-- Lists the columns of tables. To be run with an empty search_path, so that types of users are qualified.
-- Parameters: $1 oid[]: the tables.
-- Columns: table_oid oid, name text (raw), type text (with its modifier), type_oid oid, typmod int4,
--   not_null bool, generated text ('' no, s stored, v virtual), identity text ('' no, a always, d by default), collation text (null: none),
--   default_value text (null: none), can_select bool.
-- Order: table, attnum. Servers: 9.6 and later; attidentity came in 10, attgenerated in 12.
select a.attrelid as table_oid, a.attname::text as name,
       pg_catalog.format_type(a.atttypid, a.atttypmod) as type, a.atttypid as type_oid, a.atttypmod as typmod, a.attnotnull as not_null,
       coalesce(j.att ->> 'attgenerated', '') as generated, coalesce(j.att ->> 'attidentity', '') as identity,
       case when l.oid is not null then format('%I.%I', ln.nspname, l.collname) end as collation,
       case when coalesce(j.att ->> 'attgenerated', '') = ''
            then pg_catalog.pg_get_expr(f.adbin, f.adrelid) end as default_value,
       has_column_privilege(a.attrelid, a.attnum, 'select') as can_select
  from pg_catalog.pg_attribute a
       cross join lateral (select to_jsonb(a) as att offset 0) j
       left join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
       left join pg_catalog.pg_collation l on l.oid = a.attcollation
       left join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace
 where a.attrelid = any ($1::oid[])
   and a.attnum > 0
   and not a.attisdropped
 order by a.attrelid, a.attnum;
