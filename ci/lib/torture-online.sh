#!/usr/bin/env bash
# torture-online.sh - kills clones that follow in the middle of their base copy, under load.
# Run it as: ci/torture online [--runs N] [--seed S] [--plugin P] [--seconds T] [--keep]
#
# A run: a new pair of databases, several sessions that insert, update and delete without
# end; `clone --follow`, and at a random moment of its base copy kill -9 of the whole
# tree. Then `clone --follow --resume`, with a chance of 1/3 killed again, until changes are
# applied. Tables are truncated then, too. The load ends, an endpos is set, and the run must
# end with exit status 0.
# ci/equal judges: every row, and the schema with its validated foreign keys.
#
#   --runs N      so many runs (default 12)
#   --seed S      the same moments as another time (default: random)
#   --plugin P    this output plugin alone (default: pgoutput and test_decoding in turn)
#   --seconds T   begin no new run after T seconds
#   --keep        keep work directories and logs of the failed runs

set -uo pipefail
. "$(dirname "$0")/setup.sh"
. "$ROOT/ci/lib/pgcluster.sh"
. "$ROOT/ci/lib/processes.sh"

usage() { sed -n '3,17s/^# \{0,1\}//p' "$0" >&2; exit 2; }
all=("$@") runs=12 seed=$RANDOM plugin= limit= keep=no
while [ $# -gt 0 ]; do
    case "$1" in
        --runs) runs=${2:?}; shift ;;
        --seed) seed=${2:?}; shift ;;
        --plugin) plugin=${2:?}; shift ;;
        --seconds) limit=${2:?}; shift ;;
        --keep) keep=yes ;;
        *) usage ;;
    esac
    shift
done
case "$plugin" in ''|pgoutput|test_decoding|wal2json) ;; *) usage ;; esac
if [ -z "${TORTURE_NAMESPACE:-}" ] && unshare --ipc true 2>/dev/null; then
    TORTURE_NAMESPACE=1 exec unshare --ipc "$0" "${all[@]}" --seed "$seed"
fi

RUN_LIMIT_MS=180000     # anything that still works
MOST_RESUMES=10

need_packages
build release
work=$(mktemp -d) || exit 1
[ "$keep" = yes ] || trap 'rm -rf "$work"' EXIT
pgc_init source 0 && pgc_init target 0 || exit 1
source= target= load= top= token=

cat >"$work/schema.sql" <<'SQL'
create table parent (id bigint primary key, v text, n int default 0);
insert into parent select i, repeat(md5(i::text), 4) from generate_series(1, 30000) i;
create table child (id bigserial primary key, parent_id bigint not null references parent, v text);
insert into child (parent_id, v) select 1 + i % 20000, repeat('c', 80) from generate_series(1, 60000) i;
create table wide (id bigint primary key, a text, b text, c numeric, d timestamptz default now());
insert into wide select i, repeat('a', 300), repeat('b', 300), i / 7.0 from generate_series(1, 20000) i;
create table pages (id bigint, at int, v text, primary key (id, at)) partition by range (at);
create table pages_1 partition of pages for values from (0) to (10);
create table pages_2 partition of pages for values from (10) to (20);
insert into pages select i, i % 20, repeat('p', 100) from generate_series(1, 20000) i;
create table emptied (id bigserial primary key, v text);
create table keyless (a int, b text);
alter table keyless replica identity full;
create index on child (parent_id);
create index on wide (c);
SQL
cat >"$work/load.sql" <<'SQL'
\set id random(1, 20000)
\set new random(100000, 100000000)
\set at random(0, 19)
begin;
insert into parent values (:new, 'new') on conflict do nothing;
insert into child (parent_id, v) values (:new, 'new'), (:id, 'old parent');
update parent set n = n + 1 where id = :id;
commit;
begin;
update wide set a = a || 'x', c = c + 1 where id = :id;
update pages set at = :at where id = :id;
insert into emptied (v) values ('row');
insert into keyless values (:id % 50, 'k');
commit;
delete from child where id = :id;
delete from wide where id = :id;
insert into wide (id, a) values (:id, 'again') on conflict do nothing;
delete from keyless where a = :at;
SQL
cat >"$work/truncate.sql" <<'SQL'
begin; truncate emptied; insert into emptied (v) values ('first'); commit;
\sleep 300 ms
truncate pages_2;
\sleep 500 ms
SQL

start() { # LOG ARGUMENTS...
    local log=$1
    shift
    token=torture-online-$$-$((++started))
    TORTURE_TOKEN=$token setsid "$PGCOPYDB_BIN" "$@" --source "$source" --target "$target" \
        --dir "$dir" >"$log" 2>&1 </dev/null &
    top=$!
}
started=0

kill_tree() {
    local pid
    kill -9 "$top" 2>/dev/null
    for pid in $(tree_of "$top" "TORTURE_TOKEN=$token"); do kill -9 "$pid" 2>/dev/null; done
    wait "$top" 2>/dev/null
} 2>/dev/null

applies() { [ "$("$PGCOPYDB_BIN" stream sentinel get --apply --dir "$dir" 2>/dev/null)" = enabled ]; }

wait_applying() { # false: it ended
    local until=$(($(now_ms) + RUN_LIMIT_MS))
    while ! applies; do
        process_lives "$top" || return 1
        [ "$(now_ms)" -lt "$until" ] || { problem="changes were not applied in time"; return 1; }
        sleep 0.1
    done
}

begin_load() {
    local bin
    bin=$(pgc_bin source)
    "$bin/pgbench" -n -c 3 -R 150 -T 600 -f "$work/load.sql" "$source" >/dev/null 2>&1 &
    load=$!
}
end_load() {
    # shellcheck disable=SC2086
    kill $load 2>/dev/null
    # shellcheck disable=SC2086
    wait $load 2>/dev/null
    load=
}

fresh_pair() { # N
    local name=run$1
    pgc_createdb source "$name" "$work/schema.sql" && pgc_createdb target "$name" || return 1
    source=$(pgc_uri source "$name") target=$(pgc_uri target "$name")
}

one_run() { # N -> problem, story
    local tries=0 moment plug=$plugin end
    problem= story=
    dir=$work/$1
    if [ -z "$plug" ]; then plug=$([ $(($1 % 2)) = 1 ] && echo pgoutput || echo test_decoding); fi
    local follow=(clone --follow --plugin "$plug" --slot-name "online$1" --origin "online$1"
        --split-tables-larger-than 1MB)
    fresh_pair "$1" || { problem="no databases"; return; }
    begin_load
    start "$dir.0.log" "${follow[@]}"
    story=$plug
    while :; do
        if [ "$tries" = 0 ] || [ $((RANDOM % 3)) = 0 ]; then
            moment=$((RANDOM % base_copy))
            end=$(($(now_ms) + moment))
            while [ "$(now_ms)" -lt "$end" ] && process_lives "$top"; do sleep 0.01; done
            applies && story+=", killed after the copy"
            kill_tree
            story+=", killed at $moment ms"
        elif wait_applying; then
            break
        elif [ -n "$problem" ]; then
            return
        else
            wait "$top"
            problem="resume ended with exit $?"
            return
        fi
        [ $((++tries)) -le $MOST_RESUMES ] || { problem="not done after $MOST_RESUMES resumes"; return; }
        if [ -s "$dir/schema/source.db" ]; then
            start "$dir.$tries.log" "${follow[@]}" --resume
        else
            start "$dir.$tries.log" "${follow[@]}"
        fi
        story+=", resume"
    done
    # A table that is truncated before its turn to be copied is refused by name.
    "$(pgc_bin source)/pgbench" -n -c 1 -T 3 -f "$work/truncate.sql" "$source" >/dev/null 2>&1
    end_load
    "$PGCOPYDB_BIN" stream sentinel set endpos --current --dir "$dir" --source "$source" >"$dir.endpos" 2>&1 ||
        { problem="no endpos: $(tail -n 2 "$dir.endpos")"; return; }
    end=$(($(now_ms) + RUN_LIMIT_MS))
    while process_lives "$top"; do
        [ "$(now_ms)" -lt "$end" ] || { problem="the endpos was not reached"; return; }
        sleep 0.05
    done
    wait "$top" || { problem="exit $? at the endpos"; return; }
    "$PGCOPYDB_BIN" stream cleanup --dir "$dir" --source "$source" --target "$target" >"$dir.cleanup" 2>&1 ||
        { problem="cleanup: $(tail -n 2 "$dir.cleanup")"; return; }
    "$ROOT/ci/equal" "$source" "$target" >"$dir.equal" 2>&1 || problem="ci/equal: $(head -n 12 "$dir.equal")"
}

# the length of a base copy that nobody disturbs
dir=$work/undisturbed
fresh_pair 0 || exit 1
began=$(now_ms)
start "$dir.log" clone --follow --slot-name online0 --origin online0 --split-tables-larger-than 1MB
problem=
wait_applying || { tail -n 20 "$dir.log"; say "0 passed, 1 failed"; exit 1; }
base_copy=$(($(now_ms) - began))
kill_tree
"$PGCOPYDB_BIN" stream cleanup --dir "$dir" --source "$source" --target "$target" >/dev/null 2>&1
say "torture online, seed $seed; a base copy takes $base_copy ms"

RANDOM=$seed
passed=0 failed=0 begun=$(now_ms)
for ((n = 1; n <= runs; n++)); do
    [ -z "$limit" ] || [ $(($(now_ms) - begun)) -lt $((limit * 1000)) ] || break
    t0=$(now_ms)
    one_run "$n"
    [ -z "$load" ] || end_load
    process_lives "$top" && kill_tree
    if [ -z "$problem" ]; then
        passed=$((passed + 1))
        say "ok      run $n, $(seconds_since "$t0") s: $story"
        rm -rf "${dir:?}" "$dir".*
    else
        failed=$((failed + 1))
        tail -n 15 "$(find "$work" -maxdepth 1 -name "$n.*.log" | sort -V | tail -n 1)" 2>/dev/null
        say "FAILED  run $n, $(seconds_since "$t0") s: $story: $problem"
        [ "$keep" = yes ] || rm -rf "${dir:?}" "$dir".*
    fi
done
[ "$keep" = no ] || say "kept in $work"
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
