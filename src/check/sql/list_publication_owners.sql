-- Lists who owns publications.
-- Parameters: none
-- Result: rolname text not null (raw). Order: rolname. Versions: 10 and newer.
select distinct r.rolname::text
  from pg_catalog.pg_publication p
  join pg_catalog.pg_roles r on r.oid = p.pubowner
 order by 1
