-- Prepared transactions of this database.
-- Parameters: none.
-- Columns: who text (ready to print).
-- Order: oldest first. Servers: 9.6 and later.
select format('prepared transaction "%s" of %s, since %s', p.gid, p.owner, date_trunc('second', p.prepared)) as who
  from pg_catalog.pg_prepared_xacts p
 where p.database = current_database()
 order by p.prepared, p.gid
 limit 100;
