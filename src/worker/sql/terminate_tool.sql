-- Ends sessions of the tools of an earlier try by their name; run again until it returns no row.
-- Parameters: $1 text tag that names the work directory
-- Result: pid int4 not null: a backend that is still there; terminated bool
-- Order: none. Versions: 9.6 and newer.
-- The OFFSET keeps the planner from calling pg_terminate_backend() on rows that the filter leaves out.
select w.pid, pg_catalog.pg_terminate_backend(w.pid)
  from (select a.pid
          from pg_catalog.pg_stat_activity a
         where a.usename = session_user
           and a.application_name ~ '^pgcopydb\[[0-9]+\] tool '
           and pg_catalog.right(a.application_name, pg_catalog.length($1::text)) = $1::text
           and a.pid <> pg_catalog.pg_backend_pid()
        offset 0) w
