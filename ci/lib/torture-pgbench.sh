#!/usr/bin/env bash
# torture-pgbench.sh - clones and follows a source that pgbench writes to as fast as it can.
# Run it as: ci/torture pgbench [--clients "N ..."] [--seconds T] [--scale S] [--plugin P] [--quick]
#
# For each number of clients: pgbench's tables, then pgbench (TPC-B-like, unthrottled) for T
# seconds, and beside it `clone --follow` into an empty database. When the load has ended,
# `cutover --compare` must end with exit status 0, and so must the clone. Then rows of
# pgbench_history are counted and ci/equal judges everything.
#
#   --clients "N ..."   (default: 4 16)
#   --seconds T         (default: 60)
#   --scale S           of pgbench (default: 10)
#   --plugin P          (default: pgoutput)
#   --quick             4 clients, 5 s, scale 1: does the script work?

set -uo pipefail
. "$(dirname "$0")/setup.sh"
. "$ROOT/ci/lib/pgcluster.sh"
. "$ROOT/ci/lib/processes.sh"

usage() { sed -n '3,15s/^# \{0,1\}//p' "$0" >&2; exit 2; }
clients="4 16" seconds=60 scale=10 plugin=pgoutput
while [ $# -gt 0 ]; do
    case "$1" in
        --clients) clients=${2:?}; shift ;;
        --seconds) seconds=${2:?}; shift ;;
        --scale) scale=${2:?}; shift ;;
        --plugin) plugin=${2:?}; shift ;;
        --quick) clients=4 seconds=5 scale=1 ;;
        *) usage ;;
    esac
    shift
done
case "$plugin" in pgoutput|test_decoding|wal2json) ;; *) usage ;; esac

DRAIN_LIMIT_MS=900000   # the whole backlog, and the comparison

need_packages
build release
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
conf="shared_buffers = 256MB
max_wal_size = 4GB"
pgc_init source 0 '' "$conf" && pgc_init target 0 '' "$conf" || exit 1
bin=$(pgc_bin source)

rows() { pgc_psql "$1" "$2" -At -c 'select count(*) from pgbench_history'; }
fail() { # LOG TEXT...
    tail -n 15 "$1"
    shift
    problem=$*
}

one_run() { # CLIENTS -> problem, story
    local n=$1 db=bench$1 dir=$work/$1 load top t0 end applied=
    problem= story=
    pgc_createdb source "$db" && pgc_createdb target "$db" || { problem="no databases"; return; }
    local source target
    source=$(pgc_uri source "$db") target=$(pgc_uri target "$db")
    # rows of the history are told apart by a key
    { "$bin/pgbench" -i -q -s "$scale" "$source" &&
        pgc_psql source "$db" -qc 'alter table pgbench_history add column id bigserial primary key'; } \
        >"$dir.load" 2>&1 || { fail "$dir.load" "pgbench could not make its tables"; return; }
    "$bin/pgbench" -n -b tpcb-like -c "$n" -j 2 -T "$seconds" "$source" >"$dir.load" 2>&1 &
    load=$!
    "$PGCOPYDB_BIN" clone --follow --plugin "$plugin" --slot-name "$db" --origin "$db" \
        --source "$source" --target "$target" --dir "$dir" >"$dir.log" 2>&1 &
    top=$!
    wait "$load" || { fail "$dir.load" "pgbench failed"; kill -TERM "$top"; wait "$top"; return; }
    t0=$(now_ms)
    end=$((t0 + DRAIN_LIMIT_MS))
    # a cutover needs somebody who applies
    until [ "$applied" = enabled ]; do
        process_lives "$top" || { wait "$top"; fail "$dir.log" "the clone ended with exit $?"; return; }
        [ "$(now_ms)" -lt "$end" ] || { kill -TERM "$top"; problem="the base copy did not end"; return; }
        applied=$("$PGCOPYDB_BIN" stream sentinel get --apply --dir "$dir" 2>/dev/null)
        sleep 0.2
    done
    story="$(grep -o 'tps = [0-9]*' "$dir.load"), $(rows target "$db") of $(rows source "$db") rows at the end of the load"
    timeout $((DRAIN_LIMIT_MS / 1000)) "$PGCOPYDB_BIN" cutover --compare --source "$source" --target "$target" \
        --dir "$dir" >"$dir.cutover" 2>&1 || { fail "$dir.cutover" "cutover ended with exit $?"; kill -TERM "$top"; wait "$top"; return; }
    wait "$top" || { fail "$dir.log" "the clone ended with exit $?"; return; }
    story+=", cutover and comparison took $(seconds_since "$t0") s"
    [ "$(rows source "$db")" = "$(rows target "$db")" ] ||
        { problem="$(rows source "$db") rows of history, $(rows target "$db") on the target"; return; }
    story+=", $(rows target "$db") rows each"
    "$PGCOPYDB_BIN" stream cleanup --dir "$dir" --source "$source" --target "$target" >"$dir.cleanup" 2>&1 ||
        { fail "$dir.cleanup" "cleanup ended with exit $?"; return; }
    "$ROOT/ci/equal" "$source" "$target" >"$dir.equal" 2>&1 || fail "$dir.equal" "ci/equal finds differences"
}

passed=0 failed=0
say "torture pgbench, $plugin, $seconds s, scale $scale"
for n in $clients; do
    one_run "$n"
    if [ -z "$problem" ]; then
        passed=$((passed + 1))
        say "ok      $n clients: $story"
    else
        failed=$((failed + 1))
        say "FAILED  $n clients: $story: $problem"
    fi
done
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
