-- Reads what there is to know about a server, the current database and the current role.
-- Parameters: none.
-- Columns: version int4, datname text, database_oid oid, server_encoding text, datcollate text,
--   datctype text, locale_provider text (null before 15), icu_locale text (null: none),
--   in_recovery bool, rolname text, is_superuser bool, can_create bool, can_create_db bool,
--   can_read_identity bool, integer_datetimes bool, block_size int4, max_connections int4,
--   reserved_connections int4, used_connections int8, max_worker_processes int4,
--   max_locks_per_transaction int4, max_prepared_transactions int4,
--   own_ways text[] (extensions that keep tables in ways of their own).
-- One row. Servers: 9.6 and later. Encoding and collation are those of the database.
select current_setting('server_version_num')::int4 as version,
       d.datname::text, d.oid as database_oid,
       pg_catalog.pg_encoding_to_char(d.encoding)::text as server_encoding,
       d.datcollate::text, d.datctype::text,
       j.db ->> 'datlocprovider' as locale_provider,
       coalesce(j.db ->> 'datlocale', j.db ->> 'daticulocale') as icu_locale,
       pg_catalog.pg_is_in_recovery() as in_recovery,
       r.rolname::text, r.rolsuper as is_superuser,
       has_database_privilege(d.oid, 'create') as can_create,
       r.rolcreatedb or r.rolsuper as can_create_db,
       has_function_privilege('pg_catalog.pg_control_system()', 'execute') as can_read_identity,
       current_setting('integer_datetimes') = 'on' as integer_datetimes,
       current_setting('block_size')::int4 as block_size,
       current_setting('max_connections')::int4 as max_connections,
       case when r.rolsuper then 0
            else current_setting('superuser_reserved_connections')::int4
                 + coalesce(current_setting('reserved_connections', true), '0')::int4
       end as reserved_connections,
       (select coalesce(sum(numbackends), 0)::int8 from pg_catalog.pg_stat_database) as used_connections,
       current_setting('max_worker_processes')::int4 as max_worker_processes,
       current_setting('max_locks_per_transaction')::int4 as max_locks_per_transaction,
       current_setting('max_prepared_transactions')::int4 as max_prepared_transactions,
       array(select e.extname::text from pg_catalog.pg_extension e
              where e.extname in ('timescaledb', 'citus') order by 1) as own_ways
  from pg_catalog.pg_database d
       cross join lateral (select to_jsonb(d) as db) j
       join pg_catalog.pg_roles r on r.rolname = current_user
 where d.datname = current_database();
