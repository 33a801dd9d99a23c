-- Reads the size of a large object.
-- Parameters: $1 oid.
-- Columns: size int8, bytes.
-- One row. Servers: 9.6 and later. Inside a transaction, whose end closes the object.
select pg_catalog.lo_lseek64(pg_catalog.lo_open($1, 262144), 0, 2) as size;
