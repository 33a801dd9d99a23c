-- Lists which partitions, children and indexes of partitions hang on which table or index.
-- Parameters: none.
-- Columns: child oid, parent oid.
-- Order: none. Servers: 9.6 and later.
select i.inhrelid as child, i.inhparent as parent from pg_catalog.pg_inherits i;
