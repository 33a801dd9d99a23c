-- Lists what domains, composite types and ranges of users are made of, looked through to the last of them: a
-- value that fits may be rounded by the same name with another base type, or land in another attribute.
-- To be run with an empty search_path, so that types of users are qualified.
-- Parameters: $1 oid[]: types.
-- Columns: type_oid oid (as given), made_of text[] (sorted, none null).
-- Order: type_oid. Servers: 9.6 and later.
with recursive used (root, oid) as (
    select o, o from pg_catalog.unnest($1::oid[]) o where o >= 16384
    union
    select u.root, m.oid
      from used u
           join pg_catalog.pg_type t on t.oid = u.oid
           cross join lateral (
               select t.typelem
               union all select t.typbasetype
               union all select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid
               union all select a.atttypid from pg_catalog.pg_attribute a
                          where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
           ) m (oid)
     where m.oid >= 16384
)
select u.root as type_oid, array_agg(d.is_made order by d.is_made collate "C") as made_of
  from used u
       join pg_catalog.pg_type t on t.oid = u.oid
       cross join lateral (
           select pg_catalog.format_type(t.oid, null) || ' is ' || pg_catalog.format_type(t.typbasetype, t.typtypmod)
            where t.typtype = 'd'
           union all
           select pg_catalog.format_type(t.oid, null) || ' is a range of ' || pg_catalog.format_type(r.rngsubtype, null)
             from pg_catalog.pg_range r where r.rngtypid = t.oid
           union all
           select pg_catalog.format_type(t.oid, null) || ' is (' ||
                  string_agg(format('%I %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum) || ')'
             from pg_catalog.pg_attribute a
            where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
           having count(*) > 0
       ) d (is_made)
 group by u.root
 order by u.root;
