-- Lists the subscriptions of the current database.
-- Parameters: none
-- Result: name text not null (quoted). Order: name. Versions: 10 and newer.
select format('%I', s.subname) as name
  from pg_catalog.pg_subscription s
  join pg_catalog.pg_database d on d.oid = s.subdbid
 where d.datname = pg_catalog.current_database()
 order by 1
