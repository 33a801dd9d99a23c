-- Finds the server process that holds the lock of a follow's progress.
-- Parameters: $1 text: name of the progress.
-- Columns: pid int4.
-- One row, or none where nobody holds it. Servers: 12 and later (target).
select l.pid
  from pg_catalog.pg_locks l
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1
   and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
   and (l.classid::int8 << 32) | l.objid::int8 = pg_catalog.hashtextextended('pgcopydb.cdc_applied ' || $1, 0)
 limit 1;
