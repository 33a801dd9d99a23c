#!/usr/bin/env bash
# bench-follow.sh - how fast is a backlog of small transactions applied?
# Run it as: ci/bench --only follow [--runs N] [--quick]
#
# pgbench writes its transactions (TPC-B-like, and simple-update) on the source while nobody
# follows; then a subscription of PostgreSQL itself and `pgcopydb follow` bring the same
# backlog into a database each of the same target server, one after the other, the first of
# them by turns. Time runs from the start until the last row of pgbench_history is there, and
# so takes in decoding and receiving. All tables must be equal at the end.
# Prints a Markdown table; writes bench-results/DATE-follow.md.

set -uo pipefail
. "$(dirname "$0")/bench.sh"
count=15000
bench_options follow 3 "$@"
[ -z "$quick" ] || count=1000
bench_servers PGCOPYDB_BIN 'max_wal_size = 4GB' 'wal_retrieve_retry_interval = 100ms'
source=$(pgc_uri source db) ours=$(pgc_uri target ours)

pgc_psql source postgres -qc 'create database db' || exit 1
pgbench -i -q -s 10 "$source" >/dev/null 2>&1 || exit 1
pgc_psql source db -qc 'alter table pgbench_history add column id bigserial primary key' || exit 1
for db in native ours; do
    pgc_psql target postgres -qc "create database $db" || exit 1
    pg_dump -Fc "$source" | pg_restore -d "$(pgc_uri target $db)" || exit 1
done
pgc_psql source db -qc 'create publication native for all tables' || exit 1
pgc_psql target native -qc "create subscription native connection '$(pgc_uri source db)' publication native
    with (copy_data = false, enabled = false)" || exit 1
stream=(--dir "$work/run" --source "$source" --target "$ours" --slot-name ours --origin ours)
"$PGCOPYDB_BIN" stream setup "${stream[@]}" --plugin pgoutput >"$work/log" 2>&1 &&
    "$PGCOPYDB_BIN" stream sentinel set apply --dir "$work/run" >>"$work/log" 2>&1 ||
    { tail -n 5 "$work/log" >&2; exit 1; }

rows() { pgc_psql "$1" "$2" -At -c 'select count(*) from pgbench_history'; }

wait_for() { # DATABASE ROWS
    local limit=$(($(now_ms) + 600000))
    while [ "$(rows target "$1")" -lt "$2" ]; do
        [ "$(now_ms)" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

drain() { # WAY ROWS -> milliseconds, or "failed"
    local t0 t1 pid
    pgc_psql target postgres -qc checkpoint
    t0=$(now_ms)
    if [ "$1" = native ]; then
        pgc_psql target native -qc 'alter subscription native enable'
        wait_for native "$2" || { echo failed; return; }
        t1=$(now_ms)
        pgc_psql target native -qc 'alter subscription native disable'
    else
        "$PGCOPYDB_BIN" follow "${stream[@]}" --resume >"$work/log" 2>&1 &
        pid=$!
        wait_for ours "$2" || { tail -n 5 "$work/log" >&2; echo failed; kill -TERM $pid; return; }
        t1=$(now_ms)
        kill -TERM $pid
        wait $pid || { tail -n 5 "$work/log" >&2; echo failed; return; }
    fi
    echo $((t1 - t0))
}

sums() { # SIDE DATABASE
    pgc_psql "$1" "$2" -At -c "select sum(hashtext(t::text)::bigint) from pgbench_accounts t
        union all select sum(hashtext(t::text)::bigint) from pgbench_tellers t
        union all select sum(hashtext(t::text)::bigint) from pgbench_branches t
        union all select sum(hashtext(t::text)::bigint) from pgbench_history t"
}

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }

for ((i = 1; i <= runs; i++)); do
    for script in tpcb-like simple-update; do
        pgbench -n -c 4 -j 2 -t "$count" -b "$script" "$source" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }
        want=$(rows source db)
        order=(native ours)
        [ $((i % 2)) -eq 1 ] || order=(ours native)
        for way in "${order[@]}"; do
            ms=$(drain "$way" "$want")
            printf 'run %d of %d, %s, %s: %s ms\n' "$i" "$runs" "$script" "$way" "$ms" >&2
            echo "$ms" >>"$work/$script.$way"
        done
    done
done
good=1
for db in native ours; do
    [ "$(sums source db)" = "$(sums target $db)" ] || { echo "rows differ in $db" >&2; good=0; }
done
pgc_psql target native -qc 'drop subscription native' 2>/dev/null
"$PGCOPYDB_BIN" stream cleanup "${stream[@]}" >/dev/null 2>&1
mkdir -p "$ROOT/bench-results"
table=$ROOT/bench-results/$(date -u +%Y%m%dT%H%M%SZ)-follow.md
{
    printf '%s cores, PostgreSQL %s, backlogs of %s transactions of 4 clients, %s runs each, medians\n\n' \
        "$(nproc)" "$(pgc_psql source postgres -At -c 'show server_version')" $((4 * count)) "$runs"
    printf '| transactions | way | seconds | a second | ratio of rates |\n|---|---|---:|---:|---:|\n'
    for script in tpcb-like simple-update; do
        base=$(median <"$work/$script.native")
        for way in native ours; do
            if grep -q failed "$work/$script.$way"; then
                printf '| %s | %s | failed | | |\n' "$script" "$way"
                continue
            fi
            ms=$(median <"$work/$script.$way")
            awk -v s="$script" -v w="$way" -v a="$ms" -v b="$base" -v n=$((4 * count)) \
                'BEGIN { printf "| %s | %s | %.2f | %d | %.2f |\n", s, w, a / 1000, n * 1000 / a, b / a }'
        done
    done
} >"$table"
cat "$table"
[ "$good" = 1 ] && ! grep -q failed "$table"
