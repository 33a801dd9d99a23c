-- Ends our own backends by pid and start time; run again until it returns no row.
-- Parameters: $1 int4[] pids; $2 text[] starts, epoch seconds as text, same order
-- Result: pid int4 not null: a backend that is still there
-- Order: none. Versions: 9.6 and newer.
select a.pid
  from unnest($1::int4[], $2::text[]) as w (pid, start)
  join pg_catalog.pg_stat_activity a
    on a.pid = w.pid and pg_catalog.date_part('epoch', a.backend_start)::text = w.start
 where a.usename = current_user
   and a.application_name like 'pgcopydb%'
   and a.pid <> pg_catalog.pg_backend_pid()
   and pg_catalog.pg_terminate_backend(a.pid) is not null
