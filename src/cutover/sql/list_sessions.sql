-- Sessions of others in this database that could write: no replication, no workers of the server, none of ours.
-- Parameters: none.
-- Columns: pid int4, who text (ready to print).
-- Order: pid. Servers: 9.6 and later; before 10 sessions have no kind.
select a.pid, format('process %s (%s, %s)', a.pid, coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), 'no name')) as who
  from pg_catalog.pg_stat_activity a
 where a.datname = current_database()
   and a.pid <> pg_catalog.pg_backend_pid()
   and coalesce(to_jsonb(a) ->> 'backend_type', 'client backend') = 'client backend'
   and not exists (select 1 from pg_catalog.pg_stat_replication r where r.pid = a.pid)
   and a.application_name not like 'pgcopydb%'
 order by a.pid;
