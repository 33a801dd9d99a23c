-- Transactions of this database that have written something and are not over.
-- Parameters: none.
-- Columns: xid text, pid int4, who text (ready to print).
-- Order: oldest transaction first. Servers: 9.6 and later. Locks are shown to every role, transaction ids of others are not.
select l.transactionid::text as xid, l.pid,
       format('process %s (%s, %s%s)', l.pid, coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), 'no name'),
              ', for ' || date_trunc('second', clock_timestamp() - a.xact_start)::text) as who
  from pg_catalog.pg_locks l
       join pg_catalog.pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'transactionid'
   and l.mode = 'ExclusiveLock'
   and l.granted
   and a.datname = current_database()
   and l.pid <> pg_catalog.pg_backend_pid()
 order by a.xact_start nulls last, l.pid
 limit 1000;
