-- Lists who keeps everybody else from looking at tables: who has locked them for itself alone, and who waits to.
-- Parameters: none.
-- Columns: pid int4, application text, role text, granted bool, names text (tables, the first ten).
-- Order: those that have a lock first, then pid. Servers: 9.6 and later.
select l.pid, coalesce(a.application_name, '') as application, coalesce(a.usename::text, '') as role, l.granted,
       array_to_string((array_agg(l.relation::regclass::text order by l.relation))[1:10], ', ') as names
  from pg_catalog.pg_locks l
       join pg_catalog.pg_class c on c.oid = l.relation and c.relkind not in ('i', 'I', 't')
       left join pg_catalog.pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and l.pid <> pg_catalog.pg_backend_pid()
   and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
 group by l.pid, a.application_name, a.usename, l.granted
 order by l.granted desc, l.pid;
