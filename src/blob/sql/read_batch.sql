-- Reads the metadata and the first bytes of a batch of large objects.
-- Parameters: $1 oid first, $2 oid last; $3 int4 number of bytes to read of each
-- Result: oid oid not null, owner text not null, acl text null (default privileges),
--   comment text null, start bytea not null
-- Order: oid. Versions: 9.6 and newer.
select m.oid,
       pg_catalog.pg_get_userbyid(m.lomowner)::text,
       m.lomacl::text,
       pg_catalog.obj_description(m.oid, 'pg_largeobject'),
       pg_catalog.lo_get(m.oid, 0, $3::int4)
  from pg_catalog.pg_largeobject_metadata m
 where m.oid between $1::oid and $2::oid
 order by m.oid
