-- Probes the way to a server: its clock, and what the check of this machine needs of it.
-- Parameters: none.
-- Columns: now_ms int8 (milliseconds since 1970), is_here bool (the server is on the
--   machine that asks).
-- One row. Servers: 9.6 and later.
select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::int8 as now_ms,
       coalesce(pg_catalog.inet_client_addr() = pg_catalog.inet_server_addr(), true) as is_here;
