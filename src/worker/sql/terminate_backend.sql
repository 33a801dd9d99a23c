-- Ends our own backends by pid and start time; run again until it returns no row.
-- Parameters: $1 int4[] pids; $2 text[] starts, epoch seconds as text, same order
-- Result: pid int4 not null: a backend that is still there; terminated bool
-- Order: none. Versions: 9.6 and newer.
-- The OFFSET keeps the planner from calling pg_terminate_backend() on rows that the join leaves out.
select w.pid, pg_catalog.pg_terminate_backend(w.pid)
  from (select a.pid
          from unnest($1::int4[], $2::text[]) as w (pid, start)
          join pg_catalog.pg_stat_activity a
            on a.pid = w.pid and pg_catalog.date_part('epoch', a.backend_start)::text = w.start
         where a.usename = session_user
           and a.application_name like 'pgcopydb%'
           and a.pid <> pg_catalog.pg_backend_pid()
        offset 0) w
