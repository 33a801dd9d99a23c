-- Lists the collations that the database, or an object of users in it, names; the default collation, which
-- every database has, is not listed.
-- Parameters: none.
-- Columns: oid oid, nspname text, collname text, qname text (quoted), object text (which names it, as the
--   server describes objects). One row for each object and collation.
-- Order: collname, object. Servers: 9.6 and later. The database's own collation has no oid of its own, and is
-- the one of that name in pg_catalog, where there is one.
with used as (
    select a.attcollation as coll_oid,
           pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, a.attrelid, a.attnum) as object,
           c.relnamespace as nsp_oid, 'pg_catalog.pg_class'::pg_catalog.regclass as class_oid, c.oid as object_oid
      from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
     where a.attnum > 0 and not a.attisdropped and a.attcollation <> 0
       and c.relkind in ('r', 'p', 'm', 'v', 'f', 'c') and c.relpersistence <> 't'
    union all
    select k.coll_oid, pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, 0),
           c.relnamespace, 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid
      from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
           cross join lateral pg_catalog.unnest(i.indcollation::pg_catalog.oid[]) as k(coll_oid)
     where k.coll_oid <> 0 and c.relpersistence <> 't'
    union all
    select y.typcollation, pg_catalog.pg_describe_object('pg_catalog.pg_type'::pg_catalog.regclass, y.oid, 0),
           y.typnamespace, 'pg_catalog.pg_type'::pg_catalog.regclass, y.oid
      from pg_catalog.pg_type y where y.typtype = 'd' and y.typcollation <> 0
), named as (
    select u.coll_oid, u.object
      from used u join pg_catalog.pg_namespace n on n.oid = u.nsp_oid
     where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> 'pgcopydb'
       and not exists (select 1 from pg_catalog.pg_depend d
                        where d.classid = u.class_oid and d.objid = u.object_oid and d.objsubid = 0
                          and d.deptype = 'e')
    union all
    select k.oid, pg_catalog.format('database %I', d.datname)
      from pg_catalog.pg_database d
           join pg_catalog.pg_collation k
             on k.collname = d.datcollate
            and k.collnamespace = 'pg_catalog'::pg_catalog.regnamespace
            and k.collencoding in (-1, d.encoding)
     where d.datname = pg_catalog.current_database()
)
select distinct k.oid, n.nspname::text, k.collname::text,
       pg_catalog.format('%I.%I', n.nspname, k.collname) as qname, named.object
  from named join pg_catalog.pg_collation k on k.oid = named.coll_oid
       join pg_catalog.pg_namespace n on n.oid = k.collnamespace
 where not (n.nspname = 'pg_catalog' and k.collname = 'default')
 order by k.collname::text, named.object;
