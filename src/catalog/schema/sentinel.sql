-- The sentinel of a follow: one row each. LSNs are text as the server prints them, 0/0 is unset.
-- Made by stream setup in any ledger; whoever only reads finds no table before that.

create table if not exists sentinel (
    id            integer primary key check (id = 1),
    startpos      text not null default '0/0',   -- consistent point of the slot
    endpos        text not null default '0/0',   -- where to stop
    apply         integer not null default 0,    -- 1: changes may be applied
    write_lsn     text not null default '0/0',   -- received
    flush_lsn     text not null default '0/0',   -- received and on disk, confirmed
    replay_lsn    text not null default '0/0'    -- applied and durable on the target
);

create table if not exists cdc_status (
    id               integer primary key check (id = 1),
    transform_lsn    text not null default '0/0',
    received_through text not null default '0/0',  -- everything that ends up to here is in the JSON files
    drained_endpos   text not null default '0/0',  -- everything up to this endpos has been applied
    pruned_through   text not null default '0/0',  -- files up to here may have been removed
    mode             text not null default '',     -- prefetch, catchup, replay
    receive_backend  integer not null default 0,   -- backend pid of the last stream
    apply_backend    integer not null default 0,   -- backend pid of the last apply session
    last_error       text,
    updated_at       integer not null default 0    -- epoch milliseconds
);

-- What a follow was set up with, by name: system_id, database_oid, publications (fingerprints),
-- own_publications (names), roident, slot_intent, ...
create table if not exists cdc_setup (name text primary key, value text not null) without rowid;

-- Where the source is, as receive has seen it last: one row.
create table if not exists cdc_source (
    id            integer primary key check (id = 1),
    seen_at       integer not null,              -- epoch milliseconds
    lsn           text not null,                 -- written and flushed there
    restart_lsn   text not null default '0/0',   -- WAL from here on is kept for the slot
    wal_status    text,                          -- reserved, extended, unreserved, lost; null: the server does not tell
    safe_wal_size integer                        -- bytes that may be written before the slot is lost; null: no limit
);

-- The same over time, for rates and for how long ago the source was where the target is now.
create table if not exists cdc_sample (
    at            integer primary key,           -- epoch milliseconds
    source_lsn    text not null,
    received_lsn  text not null,
    applied_lsn   text not null
);

-- Runs that copied with a snapshot of their own, later than that of the slot: what it shows ends there.
create table if not exists cdc_start (
    run_id        integer primary key,
    lsn           text not null
);
