#!/usr/bin/env bash
# bench-bulk.sh - large transactions and large inserts: how much memory, how many rows a second?
# Run it as: ci/bench --only bulk [--quick] [--runs N]
#
# large   one transaction of 2 GB of rows is followed. Several times a second the memory of all
#         processes of the follow is added up: anonymous memory (what is theirs alone and would be
#         swapped; of smaps_rollup), and Pss, which has their part of the program's pages, too.
#         More than 200 MB of anonymous memory is a failure.
# many    a backlog of 2,000,000 rows in inserts of 1,000 rows each, written while nobody follows.
#         Time runs from the start of the follow until the last row is on the target, and so takes
#         in decoding, receiving and transforming.
# The tables must be equal at the end. Prints a Markdown table; writes bench-results/DATE-bulk.md.

set -uo pipefail
. "$(dirname "$0")/bench.sh"
. "$ROOT/ci/lib/processes.sh"
MEMORY_MAX_KB=204800
LIMIT_MS=1800000
megabytes=2048 inserts=2000
bench_options bulk 1 "$@"
[ -z "$quick" ] || { megabytes=64; inserts=100; }
bench_servers PGCOPYDB_BIN 'max_wal_size = 8GB'
for side in source target; do
    pgc_psql $side postgres -qc 'create database db' || exit 1
    pgc_psql $side db -qc 'create table large (id int primary key, v text)' \
        -c 'create table many (id int primary key, a int, b timestamptz, v text)' || exit 1
done
source=$(pgc_uri source db) target=$(pgc_uri target db)
stream=(--dir "$work/run" --source "$source" --target "$target")
{ "$PGCOPYDB_BIN" stream setup "${stream[@]}" --slot-name bulk --origin bulk --plugin pgoutput &&
    "$PGCOPYDB_BIN" stream sentinel set apply --dir "$work/run"; } >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; exit 1; }

begin() {
    "$PGCOPYDB_BIN" follow "${stream[@]}" --slot-name bulk --origin bulk --resume >"$work/log" 2>&1 &
    top=$!
}
end() {
    kill -TERM "$top"
    wait "$top" || { tail -n 5 "$work/log" >&2; return 1; }
}
memory() { # -> anonymous kB, Pss kB
    local pid
    for pid in $top $(cat "/proc/$top/task/$top/children" 2>/dev/null); do
        cat "/proc/$pid/smaps_rollup" 2>/dev/null
    done | awk '/^Anonymous:/ { a += $2 } /^Pss:/ { p += $2 } END { print a + 0, p + 0 }'
}
wait_for() { # TABLE ROWS; notes memory
    local limit=$(($(now_ms) + LIMIT_MS)) n=0 there=0
    while [ "$there" != t ]; do
        process_lives "$top" || { tail -n 5 "$work/log" >&2; return 1; }
        [ "$(now_ms)" -lt "$limit" ] || { tail -n 5 "$work/log" >&2; return 1; }
        memory >>"$work/memory.$1"
        # the last row is looked for by its key: nothing is counted while it is measured
        [ $((n++ % 3)) -ne 0 ] || there=$(pgc_psql target db -At -c "select exists (select from $1 where id = $2)")
        sleep 0.1
    done
}
most() { sort -n -k "$2,$2" "$1" | tail -n 1 | cut -d ' ' -f "$2"; }
sums() { pgc_psql "$1" db -At -c "select count(*), sum(hashtext(t::text)::bigint) from $2 t"; }
good=1
table=$work/table
printf '| case | rows | seconds | rows a second | anonymous memory, kB at most | Pss, kB at most |\n|---|---:|---:|---:|---:|---:|\n' >"$table"
row() { # CASE ROWS MS FILE
    awk -v c="$1" -v n="$2" -v ms="$3" -v a="$(most "$4" 1)" -v p="$(most "$4" 2)" \
        'BEGIN { printf "| %s | %d | %.1f | %d | %d | %d |\n", c, n, ms / 1000, n * 1000 / ms, a, p }' >>"$table"
    [ "$(most "$4" 1)" -le $MEMORY_MAX_KB ] || { echo "$1: more than $MEMORY_MAX_KB kB of memory" >&2; good=0; }
}

for ((i = 1; i <= runs; i++)); do
    from=$(((i - 1) * inserts * 1000))
    for ((n = 0; n < inserts; n++)); do
        printf "insert into many select i, i %% 1000, now(), 'value ' || i from generate_series(%d, %d) i;\n" \
            $((from + n * 1000 + 1)) $((from + (n + 1) * 1000))
    done | pgc_psql source db -q >/dev/null || exit 1
    pgc_psql target db -qc checkpoint
    t0=$(now_ms)
    begin
    wait_for many $((from + inserts * 1000)) || exit 1
    row "inserts of 1,000 rows" $((inserts * 1000)) $(($(now_ms) - t0)) "$work/memory.many"
    end || exit 1
    "$PGCOPYDB_BIN" stream prune --dir "$work/run" >/dev/null 2>&1
done
begin
t0=$(now_ms)
count=$((megabytes * 1024))
pgc_psql source db -qc "insert into large select i, repeat(md5(i::text), 32) from generate_series(1, $count) i" || exit 1
wait_for large $count || exit 1
row "one transaction of $megabytes MB" $count $(($(now_ms) - t0)) "$work/memory.large"
end || exit 1
for name in many large; do
    [ "$(sums source $name)" = "$(sums target $name)" ] || { echo "rows of $name differ" >&2; good=0; }
done
"$PGCOPYDB_BIN" stream cleanup "${stream[@]}" >/dev/null 2>&1
mkdir -p "$ROOT/bench-results"
result=$ROOT/bench-results/$(date -u +%Y%m%dT%H%M%SZ)-bulk.md
{
    printf '%s cores, PostgreSQL %s\n\n' "$(nproc)" "$(pgc_psql source postgres -At -c 'show server_version')"
    cat "$table"
} >"$result"
cat "$result"
[ "$good" = 1 ]
