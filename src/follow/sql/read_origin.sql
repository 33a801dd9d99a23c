-- A replication origin of the target, and how far it is.
-- Parameters: $1 text: its name.
-- Columns: roident int8 (null: no such origin), progress text (null: nothing applied yet).
-- Servers: 9.6 and later.
select o.roident::int8 as roident,
       case when o.roident is null then null
            else pg_catalog.pg_replication_origin_progress($1, true)::text end as progress
  from (select pg_catalog.pg_replication_origin_oid($1) as roident) o;
