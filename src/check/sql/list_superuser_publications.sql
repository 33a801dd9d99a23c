-- Lists the publications that only a superuser can create: of all tables, of schemas.
-- Parameters: none
-- Result: name text not null (quoted). Order: name. Versions: 10 and newer.
select format('%I', p.pubname) as name
  from pg_catalog.pg_publication p
 where p.puballtables
    or exists (select 1
                 from pg_catalog.pg_depend d
                where d.classid = pg_catalog.to_regclass('pg_catalog.pg_publication_namespace')
                  and d.refclassid = 'pg_catalog.pg_publication'::pg_catalog.regclass
                  and d.refobjid = p.oid)
 order by 1
