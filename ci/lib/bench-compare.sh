#!/usr/bin/env bash
# bench-compare.sh - what does `compare data` cost beside reading both tables once?
# Run it as: ci/bench --only compare [--runs N] [--quick]
#
# One table of 5,000,000 rows on both sides. "read" is COPY to nowhere of both tables at once,
# over as many connections a side as `compare data --table-jobs` has, each with its share of
# the pages. Each way with 1 and with 4 jobs, interleaved, medians; the ratio is to "read" with
# as many jobs. The two tables are equal, or one byte of one row is changed, which a
# comparison must find: exit status 10, that table named. A way that ends otherwise is shown as
# failed. At most LIMIT times one read is allowed.
# Prints a Markdown table; writes bench-results/DATE-compare.md. Exit status 1: failed, or too slow.

set -uo pipefail
. "$(dirname "$0")/bench.sh"
LIMIT=1.5
part=1
bench_options compare 5 "$@"
[ -z "$quick" ] || { part=20; LIMIT=20; }
bench_servers PGCOPYDB_BIN 'max_wal_size = 4GB'
n=$((5000000 / part))

say "loading $n rows on both sides" >&2
for side in source target; do
    pgc_createdb $side db || exit 1
    pgc_psql $side db -v n="$n" <<'SQL' || exit 1
create table t (id bigint primary key, name text, n numeric(12,2), made timestamptz, x float8, note text);
insert into t select i, 'name ' || i, i / 7.0, timestamptz '2024-01-01 00:00+00' + i * interval '1 s', sqrt(i),
                     repeat(md5(i::text), 2) from generate_series(1, :n) i;
vacuum analyze;
SQL
done
source=$(pgc_uri source db) target=$(pgc_uri target db)
pages=$(pgc_psql source db -At -c "select pg_relation_size('t') / current_setting('block_size')::bigint")
bytes=$(pgc_psql source db -At -c "select pg_size_pretty(pg_relation_size('t'))")

read_both() { # JOBS
    local uri i from to pids=() rc=0
    for uri in "$source" "$target"; do
        for ((i = 0; i < $1; i++)); do
            from=$((pages * i / $1)) to=$((pages * (i + 1) / $1))
            [ "$i" -lt $(($1 - 1)) ] || to=4294967295
            psql -X -q -d "$uri" -c "copy (select * from t where ctid >= '($from,0)' and ctid < '($to,0)') to stdout" >/dev/null &
            pids+=($!)
        done
    done
    for i in "${pids[@]}"; do wait "$i" || rc=1; done
    return $rc
}

compare() { # JOBS EXPECTED
    setsid -w "$PGCOPYDB_BIN" compare data --source "$source" --target "$target" --table-jobs "$1" >"$work/out" 2>"$work/log"
    [ $? = "$2" ] || return 1
    [ "$2" = 0 ] || grep -q 'public\.t | ! |' "$work/out"
}

measure() { # WAY JOBS -> milliseconds, or "failed"
    local t0 rc
    t0=$(now_ms)
    case "$1" in
        read) read_both "$2" 2>"$work/log" ;;
        equal) compare "$2" 0 ;;
        changed) compare "$2" 10 ;;
    esac
    rc=$?
    if [ "$rc" = 0 ]; then echo $(($(now_ms) - t0)); else tail -n 5 "$work/log" >&2; echo failed; fi
}

# the byte in the middle of one row
set_byte() { pgc_psql target db -c "update t set note = overlay(note placing $1 from 40) where id = $((n / 3))"; }

# both in memory as far as they fit, before anything is measured
read_both 1 || exit 1
for ((i = 1; i <= runs; i++)); do
    for jobs in 1 4; do
        for way in read equal changed; do
            [ $way != changed ] || set_byte "'!'" || exit 1
            ms=$(measure "$way" "$jobs")
            [ $way != changed ] || set_byte "substr(repeat(md5(id::text), 2), 40, 1)" || exit 1
            printf 'run %d of %d, %s, %d jobs: %s ms\n' "$i" "$runs" "$way" "$jobs" "$ms" >&2
            echo "$ms" >>"$work/$way.$jobs"
        done
    done
done

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }
mkdir -p "$ROOT/bench-results"
stamp=$(date -u +%Y%m%dT%H%M%SZ)
table=$ROOT/bench-results/$stamp-compare.md
bad=no
{
    printf '%s cores, PostgreSQL %s, %s rows, %s a side, %s runs each, medians; ratio to one read of both tables\n\n' \
        "$(nproc)" "$(pgc_psql source postgres -At -c 'show server_version')" "$n" "$bytes" "$runs"
    printf '| way | jobs | seconds | ratio |\n|---|---:|---:|---:|\n'
    for jobs in 1 4; do
        base=
        for way in read equal changed; do
            if grep -q failed "$work/$way.$jobs"; then
                printf '| %s | %s | failed | |\n' "$way" "$jobs"
                bad=yes
                continue
            fi
            ms=$(median <"$work/$way.$jobs")
            base=${base:-$ms}
            awk -v w="$way" -v j="$jobs" -v a="$ms" -v b="$base" \
                'BEGIN { printf "| %s | %s | %.2f | %.2f |\n", w, j, a / 1000, a / b }'
            awk -v a="$ms" -v b="$base" -v l=$LIMIT 'BEGIN { exit !(a > b * l) }' && bad=yes
        done
    done
} >"$table"
cat "$table"
say "written: bench-results/$stamp-compare.md"
[ $bad = no ]
