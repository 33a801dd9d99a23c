-- Lists the large objects, and tells those that one lo_get cannot be asked for.
-- Parameters: $1 int8: the size in bytes from which on an object is read in slices.
-- Columns: oid oid, is_large bool.
-- Order: oid. Servers: 9.6 and later. Inside the transaction of the snapshot; the role must be allowed to read
--   each object.
select m.oid, length(pg_catalog.lo_get(m.oid, $1, 1)) > 0 as is_large
  from pg_catalog.pg_largeobject_metadata m
 order by m.oid;
