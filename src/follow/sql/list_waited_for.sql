-- Transactions that the creation of a replication slot waits for: all that have written something.
-- Parameters: none.
-- Columns: who text (ready to print).
-- Order: oldest first. Servers: 9.6 and later.
select format('process %s (%s, %s, transaction of %s)', a.pid, coalesce(a.usename, '?'),
              coalesce(a.application_name, ''), now() - a.xact_start) as who
  from pg_catalog.pg_stat_activity a
 where a.backend_xid is not null and a.pid <> pg_backend_pid()
union all
select format('prepared transaction "%s" of %s', p.gid, now() - p.prepared)
  from pg_catalog.pg_prepared_xacts p
 limit 10;
