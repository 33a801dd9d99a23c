-- Makes the table in which units leave their record in the transaction of their rows; several
-- statements, there already is fine.
-- Parameters: none. Result: none. Versions: 12 and newer (target).
create schema if not exists pgcopydb;
create table if not exists pgcopydb.progress (
    work   text not null,
    kind   text not null,
    object bigint not null,
    part   bigint not null,
    plan   bigint not null,
    rows   bigint not null,
    primary key (work, kind, object, part, plan)
);
