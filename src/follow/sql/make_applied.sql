-- Makes the table in which applying keeps its progress: a row for each follow into this database, which each
-- transaction of changes moves on; several statements, there already is fine. Room on the page keeps updates there.
-- Parameters: none. Result: none. Servers: 12 and later (target).
create schema if not exists pgcopydb;
create table if not exists pgcopydb.cdc_applied (
    name         text primary key,
    owner        text not null,
    end_lsn      pg_lsn not null,
    committed_at timestamptz
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000);
