-- Tells whether the database has large objects.
-- Parameters: none.
-- Columns: found bool. One row. Servers: 9.6 and later.
select exists (select 1 from pg_catalog.pg_largeobject_metadata) as found;
