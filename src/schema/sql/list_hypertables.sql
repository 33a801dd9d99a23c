-- Lists the hypertables of timescaledb and their chunks, as its own catalog names them.
-- Parameters: none.
-- Columns: hypertable_id int8, is_chunk bool, qname text (quoted), oid oid (null: there is no such relation),
--   relkind text (null), amname text (null).
-- Order: is_chunk, qname. Servers: 12 and later, with timescaledb 2.
select t.hypertable_id, t.is_chunk, format('%I.%I', t.nspname, t.relname) as qname, c.oid, c.relkind::text,
       am.amname::text
  from (select h.id::int8, false, h.schema_name::text, h.table_name::text
          from _timescaledb_catalog.hypertable h
         union all
        -- chunks that were dropped stay on record where a continuous aggregate needs them
        select k.hypertable_id::int8, true, k.schema_name::text, k.table_name::text
          from _timescaledb_catalog.chunk k
         where not coalesce((pg_catalog.to_jsonb(k) ->> 'dropped')::bool, false)
       ) as t (hypertable_id, is_chunk, nspname, relname)
       left join pg_catalog.pg_namespace n on n.nspname::text = t.nspname
       left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname::text = t.relname
       left join pg_catalog.pg_am am on am.oid = c.relam
 order by t.is_chunk, qname
