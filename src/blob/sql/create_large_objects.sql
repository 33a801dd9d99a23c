-- Makes large objects, or empties those that are there, and writes their first bytes.
-- Parameters: $1 oid[] oids, $2 bytea[] first bytes, same order
-- Result: one row for each: oid oid not null, and values without meaning
-- Order: none. Versions: 9.6 and newer. The flag 131072 opens for writing.
select w.oid,
       case when m.oid is null
            then pg_catalog.lo_from_bytea(w.oid, w.start)
            else (pg_catalog.lo_truncate(pg_catalog.lo_open(w.oid, 131072), 0)::oid) end,
       case when m.oid is null then null
            else pg_catalog.lo_put(w.oid, 0, w.start)::text end
  from unnest($1::oid[], $2::bytea[]) as w (oid, start)
  left join pg_catalog.pg_largeobject_metadata m on m.oid = w.oid
