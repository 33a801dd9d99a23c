#!/usr/bin/env bash
# bench-datacopy.sh - how fast are rows alone copied into tables that are there?
# Run it as: ci/bench --only datacopy [--runs N] [--quick]
#
# 10 tables of 500,000 rows with primary keys and 20 foreign keys. `pgcopy copy` as an owner
# who is no superuser (mode drop, keys validated) and as a superuser (mode replica), with and
# without ANALYZE, and with --insert, against `pg_dump -a -Fd -j2` and `pg_restore -a -j2
# --disable-triggers` as a superuser. Interleaved, medians; the target's tables are empty
# before each run. A way that fails, or after which rows are missing, is shown as failed.
# Prints a Markdown table; writes bench-results/DATE-datacopy.md.

set -uo pipefail
. "$(dirname "$0")/bench.sh"
part=1
bench_options datacopy 5 "$@"
[ -z "$quick" ] || part=20
bench_servers PGCOPY_BIN 'max_wal_size = 4GB'
n=$((500000 / part))

cat >"$work/tables.sql" <<'SQL'
set role app;
create table t1 (id integer primary key, name text, made timestamptz, cents bigint);
create table t2 (id integer primary key, a integer references t1, name text, amount numeric(12,2));
create table t3 (id integer primary key, a integer references t1, b integer references t2, seen timestamp);
create table t4 (id integer primary key, a integer references t2, b integer references t3, what text);
create table t5 (id integer primary key, a integer references t3, b integer references t1, x float8);
create table t6 (id bigint primary key, a integer references t4, b integer references t5, what text);
create table t7 (id bigint primary key, a integer references t4, b integer references t2, made date);
create table t8 (id bigint primary key, a bigint references t6, b bigint references t7, c integer references t1);
create table t9 (id bigint primary key, a bigint references t6, b integer references t5, what varchar(40));
create table t10 (id bigint primary key, a bigint references t8, b bigint references t9, up bigint references t10, what text);
SQL
cat >"$work/rows.sql" <<'SQL'
set session_replication_role = replica;
insert into t1 select i, md5(i::text), '2024-01-01 00:00+00'::timestamptz + i * interval '1 s', i * 7 from generate_series(1, :n) i;
insert into t2 select i, 1 + i % :n, 'name ' || i, i / 7.0 from generate_series(1, :n) i;
insert into t3 select i, 1 + i * 3 % :n, 1 + i * 7 % :n, '2024-01-01'::timestamp + i * interval '1 min' from generate_series(1, :n) i;
insert into t4 select i, 1 + i % :n, 1 + i % 1000, md5(i::text) from generate_series(1, :n) i;
insert into t5 select i, 1 + i % :n, 1 + i % 999, sqrt(i) from generate_series(1, :n) i;
insert into t6 select i, 1 + i % :n, 1 + i % 77, md5(i::text) from generate_series(1, :n) i;
insert into t7 select i, 1 + i % :n, 1 + i * 11 % :n, '2020-01-01'::date + i % 999 from generate_series(1, :n) i;
insert into t8 select i, 1 + i % :n, 1 + i % 4444, 1 + i % :n from generate_series(1, :n) i;
insert into t9 select i, 1 + i % :n, 1 + i % 55, 'what ' || i % 99 from generate_series(1, :n) i;
insert into t10 select i, 1 + i % :n, 1 + i % 12345, nullif(i / 2, 0), md5(i::text) from generate_series(1, :n) i;
vacuum analyze;
SQL
for side in source target; do
    pgc_psql $side postgres -c 'create role app login' -c 'create database db owner app' || exit 1
    pgc_psql $side db -f "$work/tables.sql" >/dev/null || exit 1
done
say "loading 10 tables of $n rows" >&2
pgc_psql source db -v n="$n" -f "$work/rows.sql" >/dev/null || exit 1
source=$(pgc_uri source db) target=$(pgc_uri target db)
owner_source=$(pgc_uri source db app) owner_target=$(pgc_uri target db app)

ours() { # SOURCE TARGET MORE...
    local from=$1 to=$2
    shift 2
    setsid -w "$PGCOPY_BIN" copy --source "$from" --target "$to" --dir "$work/run" --yes "$@"
}

copy() { # WAY
    case "$1" in
        dump-restore)
            pg_dump -a -Fd -j2 -f "$work/dump" -d "$source" &&
                pg_restore -a -j2 --disable-triggers --exit-on-error -d "$target" "$work/dump" ;;
        owner) ours "$owner_source" "$owner_target" ;;
        owner-skip-analyze) ours "$owner_source" "$owner_target" --skip-analyze ;;
        superuser) ours "$source" "$target" ;;
        superuser-skip-analyze) ours "$source" "$target" --skip-analyze ;;
        superuser-insert) ours "$source" "$target" --insert --skip-analyze ;;
    esac
}

measure() { # WAY -> milliseconds, or "failed"
    local t0 t1 rc count
    rm -rf "$work/dump" "$work/run"
    pgc_psql target db -c 'truncate t1, t2, t3, t4, t5, t6, t7, t8, t9, t10' -c checkpoint || return 1
    pgc_psql source db -c checkpoint
    t0=$(now_ms)
    copy "$1" >"$work/log" 2>&1
    rc=$?
    t1=$(now_ms)
    count=$(pgc_psql target db -At -c 'select count(*) from (select 1 from t1 union all select 1 from t2 union all
        select 1 from t3 union all select 1 from t4 union all select 1 from t5 union all select 1 from t6 union all
        select 1 from t7 union all select 1 from t8 union all select 1 from t9 union all select 1 from t10) s')
    if [ "$rc" != 0 ] || [ "$count" != $((n * 10)) ]; then
        tail -n 5 "$work/log" >&2
        echo failed
    else
        echo $((t1 - t0))
    fi
}

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }

ways=(dump-restore owner owner-skip-analyze superuser superuser-skip-analyze superuser-insert)
for ((i = 1; i <= runs; i++)); do
    for way in "${ways[@]}"; do
        ms=$(measure "$way")
        printf 'run %d of %d, %s: %s ms\n' "$i" "$runs" "$way" "$ms" >&2
        echo "$ms" >>"$work/$way"
    done
done
mkdir -p "$ROOT/bench-results"
stamp=$(date -u +%Y%m%dT%H%M%SZ)
table=$ROOT/bench-results/$stamp-datacopy.md
{
    printf '%s cores, PostgreSQL %s, 10 tables of %s rows, 20 foreign keys, %s runs each, medians\n\n' \
        "$(nproc)" "$(pgc_psql source postgres -At -c 'show server_version')" "$n" "$runs"
    printf '| way | seconds | ratio | rows/s |\n|---|---:|---:|---:|\n'
    base=
    for way in "${ways[@]}"; do
        if grep -q failed "$work/$way"; then
            printf '| %s | failed | | |\n' "$way"
            continue
        fi
        ms=$(median <"$work/$way")
        base=${base:-$ms}
        awk -v w="$way" -v a="$ms" -v b="$base" -v n="$n" \
            'BEGIN { printf "| %s | %.2f | %.2f | %d |\n", w, a / 1000, a / b, n * 10000 / a }'
    done
} >"$table"
cat "$table"
! grep -q failed "$table"
