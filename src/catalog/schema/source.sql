-- The ledger of a run: schema/source.db. Rows of s_* tables describe the source, the rest is the run.
-- Names are raw (nspname, relname, ...) and, beside them, ready for SQL (qname, quoted by format('%I')).
-- Times are Unix epoch milliseconds, durations milliseconds, sizes bytes; booleans are 0 or 1.

create table setup (
    id                integer primary key check (id = 1),
    uuid              text not null,             -- of this work directory; names our rows on the target
    source_uri        text not null,             -- without secrets
    target_uri        text not null,
    source_identity   text not null,             -- system_identifier/database oid; empty: not known yet
    target_identity   text not null,
    source_version    integer not null,          -- server_version_num
    target_version    integer not null,
    split_bytes       integer not null,          -- 0: never split; -1: no command has said yet
    split_max_parts   integer not null,          -- 0: no limit
    options           text not null,             -- JSON: options that a resumed run must repeat
    filters           text not null default ''   -- the rules in one spelling, one a line; empty: none
);

create table command_log (id integer primary key, started_at integer not null, cmdline text not null);

create table run (
    id            integer primary key,           -- 1, 2, ...: one for each start
    command       text not null,
    pid           integer not null,              -- of the supervisor
    started_at    integer not null,
    finished_at   integer,
    consistent    integer not null,
    snapshot      text,                          -- null: not consistent, or not taken yet
    outcome       text                           -- null while running; done, failed, stopped
);

-- A step of the run, as the STEP lines and the summary show it.
create table step (
    name          text primary key,              -- catalog, dump, pre-data, data, copy, index, constraint,
                                                 -- vacuum, sequence, blob, post-data, total
    started_at    integer,
    finished_at   integer,                       -- null: not finished
    duration_ms   integer not null default 0,    -- cumulative over workers where several work
    bytes         integer not null default 0
);

create table s_namespace (oid integer primary key, nspname text not null, owner text);

create table s_table (
    oid           integer primary key,
    nspname       text not null,
    relname       text not null,
    qname         text not null,                 -- quoted, schema-qualified
    owner         text,                          -- raw, null: a role that is gone
    relkind       text not null,                 -- r
    amname        text not null,                 -- heap, or another table access method
    persistence   text not null,                 -- p, u (unlogged)
    filenode      integer not null,              -- pg_relation_filenode when fetched; 0 when unknown
    relpages      integer not null,              -- current main fork size / block size, not pg_class
    bytes         integer not null,              -- main fork + toast
    main_bytes    integer not null,              -- main fork alone
    reltuples     integer not null,              -- -1: never analyzed
    exclude_data  integer not null default 0,
    is_extension  integer not null default 0,    -- configuration table of an extension: not copied by step 4
    route_oid     integer,                       -- hash-partitioned ancestor to load through, null: itself
    route_qname   text,
    part_key      text,                          -- quoted column for key splitting, null: none
    part_key_type text,                          -- int2, int4, int8
    part_key_notnull integer not null default 0
);

create table s_attr (
    table_oid     integer not null,
    attnum        integer not null,
    attname       text not null,                 -- quoted
    type_oid      integer not null,
    typmod        integer not null,
    generated     integer not null,              -- 1: stored or virtual generated column, not copied
    primary key (table_oid, attnum)
) without rowid;

-- Slices of tables that are copied by several workers; a table without rows here is copied whole.
create table s_part (
    table_oid     integer not null,
    plan          integer not null,              -- a new plan voids the parts of the old one
    part          integer not null,              -- 1 ..
    kind          text not null check (kind in ('ctid', 'range')),
    low           integer,                       -- first page / lowest key, inclusive; null: open
    high          integer,                       -- page / key after the last one, exclusive; null: open
    with_null     integer not null default 0,    -- range part that also takes the rows with a null key
    primary key (table_oid, plan, part)
) without rowid;

create table s_index (
    oid           integer primary key,
    table_oid     integer not null,
    nspname       text not null,
    relname       text not null,
    qname         text not null,
    amname        text not null,                 -- btree, gin, ...
    is_primary    integer not null,
    is_unique     integer not null,
    is_valid      integer not null,
    bytes         integer not null,              -- size on the source: long builds first
    definition    text not null,                 -- pg_get_indexdef with an empty search_path
    tablespace    text,                          -- quoted name, null: the database's default
    con_oid       integer                        -- constraint that it backs, null: none
);

create table s_constraint (
    oid           integer primary key,
    table_oid     integer not null,
    index_oid     integer,
    conname       text not null,                 -- quoted
    contype       text not null,                 -- p, u, x
    is_deferrable integer not null,
    is_deferred   integer not null,
    is_temporal   integer not null default 0,    -- PostgreSQL 18 WITHOUT OVERLAPS
    definition    text not null
);

-- Foreign keys between plain tables; the others stay with pg_restore.
create table s_fkey (
    oid           integer primary key,
    table_oid     integer not null,              -- referencing
    ref_oid       integer not null,              -- referenced
    conname       text not null,                 -- quoted
    is_validated  integer not null,
    is_enforced   integer not null default 1,
    is_plain      integer not null,              -- 1: both sides are ordinary tables, conparentid = 0
    bytes         integer not null default 0,    -- size of the referencing table
    definition    text not null
);
create index s_fkey_table on s_fkey (table_oid);
create index s_fkey_ref on s_fkey (ref_oid);

create table s_seq (
    oid           integer primary key,
    nspname       text not null,
    relname       text not null,
    qname         text not null,
    target_qname  text,                          -- quoted; null: the same
    last_value    integer,
    is_called     integer,
    is_unlogged   integer not null default 0
);

create table s_extension (
    oid           integer primary key,
    extname       text not null,                 -- raw
    nspname       text not null,                 -- raw
    version       text not null
);

create table s_extension_config (
    ext_oid       integer not null,
    position      integer not null,              -- order to copy in: referenced tables first
    oid           integer not null,
    qname         text not null,
    relkind       text not null,                 -- r or S
    condition     text not null,                 -- WHERE clause or empty
    primary key (ext_oid, oid)
);

-- Tables that citus spreads over other servers; their own files are empty.
create table s_spread (
    oid           integer primary key,
    qname         text not null,
    kind          text not null,                 -- distributed, reference
    column_name   text,                          -- raw; null: of none
    colocation    integer not null,              -- tables of one number have their shards at the same places
    shards        integer not null,
    is_partition  integer not null,              -- 1: is spread with its parent
    bytes         integer not null               -- of all shards; 0: not known
);

create table s_database_property (
    rolname       text,                          -- null: of the database itself
    setconfig     text not null                  -- name=value as in pg_db_role_setting
);

-- Comment, privileges and labels of the database: head, the database's name, tail make a statement.
create table s_database_statement (
    topic         text not null,                 -- comment, acl, label
    head          text not null,
    tail          text not null
);

-- Partitioned tables and materialized views: nothing to copy, but to be analyzed at the end.
create table s_analyze (
    oid           integer primary key,
    qname         text not null,
    relkind       text not null,                 -- p, m
    depth         integer not null default 0     -- of the partition tree, 0: root
);

-- What filters leave out, closed over dependencies; empty without filters.
create table s_filter (
    catalog_oid   integer not null,
    object_oid    integer not null,
    what          text not null,                 -- object: left out; part: left out with its whole; rows: made
                                                 -- without rows; kept: stays in spite of a rule
    kind          text not null,                 -- for people, as of pg_identify_object; empty for parts
    name          text not null,
    reason        text not null,
    is_hanging    integer not null,              -- 1: left out because something else is
    of_nspname    text,                          -- the relation that it hangs on, raw
    of_relname    text,
    primary key (catalog_oid, object_oid)
) without rowid;

-- How a table is written on the target, looked up there once its pre-data is restored.
create table s_copy (
    table_oid     integer primary key,
    columns       text not null,                 -- quoted, comma-separated; empty: no column to copy
    select_list   text,                          -- what the source is asked for; null: columns
    format        text not null,                 -- text, binary
    target_kind   text not null,                 -- relkind on the target
    emptying      text not null default 'new'    -- new: made by this run; spread: the same, on other
                                                 -- servers; own: with its rows; before: by a
                                                 -- statement in emptying; delete: like own, with DELETE
);

-- One unit of work: claimed by one worker, done again after a crash. state: waiting (for other units of
-- its table), todo, running, done, failed (given up), skipped (nothing to do, reason in error).
-- Order within a table: truncate, copy, index, constraint, vacuum, fkey (of both tables), validate.
create table unit (
    id            integer primary key,
    kind          text not null,                 -- truncate, copy, index, constraint, fkey, validate,
                                                 -- vacuum, blob, extension
    state         text not null default 'waiting',
    table_oid     integer not null default 0,    -- 0: not of a table
    object        integer not null default 0,    -- part number, index oid, foreign key oid, first blob oid, ...
    object_end    integer not null default 0,    -- blob: last oid of the batch
    plan          integer not null default 0,    -- copy: split plan
    rank          integer not null default 0,    -- higher first
    attempts      integer not null default 0,
    claims        integer not null default 0,    -- in this run; the first one may find an empty new table
    run_id        integer,
    worker        integer,                       -- worker number within its role
    started_at    integer,
    finished_at   integer,
    duration_ms   integer not null default 0,
    bytes         integer not null default 0,
    rows          integer not null default 0,
    snapshot      text,                          -- copy: what it was read with
    sql           text,                          -- index, constraint, foreign key: statements, JSON array
    error         text                           -- JSON of the last error, or why it was skipped
);
create index unit_claim on unit (kind, state, rank desc);
create index unit_table on unit (table_oid, kind, state);
create unique index unit_identity on unit (kind, table_oid, object, plan);

-- Archive entries that our workers make themselves, so that pg_restore leaves them out.
create table taken (catalog_oid integer not null, object_oid integer not null, unit_kind text not null,
                    primary key (catalog_oid, object_oid)) without rowid;

-- Written before anything on the target is destroyed.
create table journal (
    id            integer primary key,
    at            integer not null,
    run_id        integer not null,
    action        text not null,                 -- truncate
    table_oid     integer not null,
    plan          integer not null,
    unique (action, table_oid, plan)
);

-- Transactions of the target that bring a part, written down before their COMMIT is sent: whether one without an
-- answer took place is asked by this number.
create table part_commit (
    unit_id       integer primary key,
    txid          integer not null,              -- txid_current()
    rows          integer not null
);

-- What each process does now; readers of progress look here. One row for each role and worker number.
create table process (
    role          text not null,
    worker        integer not null,
    pid           integer not null,
    run_id        integer not null,
    title         text not null,
    unit_id       integer,
    bytes         integer not null default 0,    -- of the unit in progress
    source_pid    integer,                       -- backends, so that a successor can end them
    source_start  text,
    target_pid    integer,
    target_start  text,
    primary key (role, worker)
);

-- A unit that is given back keeps the highest figure it had, so that progress never runs backwards; once it
-- is done, its bytes are those of the try that counts.
create trigger process_keeps_highest before update of unit_id on process
    when old.unit_id is not null and old.bytes > 0
begin
    update unit set bytes = max(bytes, old.bytes) where id = old.unit_id and state <> 'done';
end;
create trigger process_leaves_highest before delete on process
    when old.unit_id is not null and old.bytes > 0
begin
    update unit set bytes = max(bytes, old.bytes) where id = old.unit_id and state <> 'done';
end;

-- Marks of steps that are not made of units: dumped, pre-data, post-data, sequences, ...
create table mark (name text primary key, run_id integer not null, at integer not null, detail text);

-- What a person must be told at the end: skipped objects, tolerated errors, foreign keys left not valid.
create table notice (id integer primary key, run_id integer not null, at integer not null, topic text not null, line text not null);

-- What a copy of rows alone takes away from the target and puts back. The truth is the target's catalog; what
-- stands here is what was there before. An entry is open until it is proven to be back (closed).
create table constraint_journal (
    id            integer primary key,
    run_id        integer not null,
    kind          text not null,                 -- key, trigger
    target        text not null,                 -- system_identifier/database oid/name
    oid           integer not null,              -- when it was read; order of putting back
    name          text not null,                 -- raw, as all names here
    child_oid     integer not null,
    child_schema  text not null,
    child_name    text not null,
    child_parted  integer not null,              -- 1: a partitioned table
    parent_schema text not null,                 -- '' for triggers
    parent_name   text not null,
    parent_parted integer not null,
    above         integer not null,              -- entry of the key of the partitioned table above, 0: none
    definition    text not null,                 -- with an empty search_path
    comment       text,
    is_valid      integer not null,
    is_enforced   integer not null,
    trigger_state text not null,                 -- O, A, R; '' for keys
    state         text not null default 'kept',  -- kept, removed, added, valid, failed, closed; a hint
    sqlstate      text,                          -- of the last failure
    problem       text,                          -- for people
    offending_rows integer,                      -- that break a key, counted up to a limit
    query         text                           -- that finds them
);
create unique index constraint_journal_name on constraint_journal (kind, child_schema, child_name, name);

-- Tables that are emptied before their rows arrive, in transactions of their own.
create table emptying (
    id            integer primary key,
    sql           text not null,
    tables        text not null,                 -- JSON: oids on the source
    state         text not null default 'todo'   -- todo, begun, done
);

-- Tables that must be complete before a table is copied, as keys check its rows on arrival.
create table copy_after (table_oid integer not null, parent_oid integer not null,
                         primary key (table_oid, parent_oid)) without rowid;
create index copy_after_parent on copy_after (parent_oid);

-- Events that --output json has printed, for each invocation of the program.
create table event_sent (stream text not null, what text not null, primary key (stream, what)) without rowid;

-- The plan of a copy of rows alone, as it was shown; one row.
create table data_plan (id integer primary key check (id = 1), run_id integer not null, document text not null);
