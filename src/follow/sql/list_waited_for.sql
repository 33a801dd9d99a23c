-- Transactions that the creation of a replication slot waits for: all that have written something. A standby knows
-- none of them: it waits until its primary writes down which ones are under way.
-- Parameters: none.
-- Columns: who text (ready to print).
-- Order: oldest first. Servers: 9.6 and later, the last line on 16 and later.
select format('process %s (%s, %s, transaction of %s)', a.pid, coalesce(a.usename, '?'),
              coalesce(a.application_name, ''), now() - a.xact_start) as who
  from pg_catalog.pg_stat_activity a
 where a.backend_xid is not null and a.pid <> pg_backend_pid()
union all
select format('prepared transaction "%s" of %s', p.gid, now() - p.prepared)
  from pg_catalog.pg_prepared_xacts p
 where not pg_catalog.pg_is_in_recovery()
union all
select 'those of the primary, of which this standby hears with its next checkpoint, or at once when this is run there: '
       'select pg_catalog.pg_log_standby_snapshot()'
 where pg_catalog.pg_is_in_recovery()
 limit 10;
