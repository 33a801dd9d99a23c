-- Counts the large objects of the database.
-- Parameters: none.
-- Columns: count int8. One row. Servers: 9.6 and later.
select count(*) from pg_catalog.pg_largeobject_metadata;
