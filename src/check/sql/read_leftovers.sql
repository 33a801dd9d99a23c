-- Lists the publications that an earlier run of the same slot name has left in this database, and the subscriptions
-- that a copy would take along.
-- Parameters: $1 text[] names that publications of ours would have
-- Result: kind text not null ('publication', 'subscription'), name text not null (quoted)
-- Order: kind, name. Versions: 10 and newer.
select 'publication' as kind, format('%I', p.pubname) as name
  from pg_catalog.pg_publication p
 where p.pubname = any ($1)
union all
select 'subscription', format('%I', s.subname)
  from pg_catalog.pg_subscription s
  join pg_catalog.pg_database d on d.oid = s.subdbid
 where d.datname = pg_catalog.current_database()
 order by 1, 2
