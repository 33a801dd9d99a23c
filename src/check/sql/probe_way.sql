-- Probes the way to a server: its clock, and what the check of this machine needs of it.
-- Parameters: none.
-- Columns: now_ms int8 (milliseconds since 1970), is_here bool (the server is on the
--   machine that asks), data_directory text (null: not for this role to see),
--   database_bytes int8 (of this database; null: not for this role to see).
-- One row. Servers: 9.6 and later.
select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::int8 as now_ms,
       coalesce(pg_catalog.inet_client_addr() = pg_catalog.inet_server_addr(), true) as is_here,
       (select s.setting from pg_catalog.pg_settings s where s.name = 'data_directory') as data_directory,
       case when pg_catalog.has_database_privilege(pg_catalog.current_database(), 'connect')
            then pg_catalog.pg_database_size(pg_catalog.current_database()) end as database_bytes;
