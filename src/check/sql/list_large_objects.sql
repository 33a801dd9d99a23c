-- Lists the large objects of either side.
-- Parameters: none
-- Result: oid oid not null
-- Order: oid. Versions: 9.6 and newer.
select m.oid from pg_catalog.pg_largeobject_metadata m order by m.oid
