#!/usr/bin/env bash
# torture-pgcopy.sh - kills copies of rows, resumes or restores them, until all must be as it was.
# Run it as: ci/torture pgcopy [--runs N] [--seed X] [--keep]
#
# A run: some rows of the target are made old; `pgcopy copy` in a session of its own, either as
# a role that owns the tables and is no superuser (mode drop) or as a superuser (mode replica),
# with tables in parts of a size that is drawn, or none; at a random moment kill -9 of one random
# process of its tree or of all of them. Then, in turn: `copy --resume` until it ends with 0;
# or `restore-constraints`, which must end with 0 and the schema as before, or with 10 and
# only named keys not valid, and then `copy --restart`. Each of these is killed, too, with a
# chance of 1/3. At the end the schema is identical, and ci/equal finds the rows equal.

set -uo pipefail
. "$(dirname "$0")/setup.sh"
. "$ROOT/ci/lib/pgcluster.sh"
. "$ROOT/ci/lib/processes.sh"

all=("$@") runs=12 seed=$RANDOM keep=no
while [ $# -gt 0 ]; do
    case "$1" in
        --runs) runs=${2:?}; shift ;;
        --seed) seed=${2:?}; shift ;;
        --keep) keep=yes ;;
        *) echo "usage: ci/torture pgcopy [--runs N] [--seed X] [--keep]" >&2; exit 2 ;;
    esac
    shift
done
if [ -z "${TORTURE_NAMESPACE:-}" ] && unshare --ipc true 2>/dev/null; then
    TORTURE_NAMESPACE=1 exec unshare --ipc "$0" "${all[@]}"
fi

GONE_LIMIT_MS=12000
RUN_LIMIT_MS=90000
MOST_TRIES=12
[ -n "${PGCOPY_BIN:-}" ] || { need_packages; build release; }
[ -n "${PGCOPY_BIN:-}" ] || PGCOPY_BIN=$(dirname "$PGCOPYDB_BIN")/pgcopy
work=$(mktemp -d) || exit 1
[ "$keep" = yes ] || trap 'rm -rf "$work"' EXIT
pgc_init source 0 && pgc_init target 0 || exit 1
for side in source target; do
    pgc_psql $side postgres -c 'create role app login' -c 'create database db owner app'
    { echo 'set role app;'; cat "$ROOT/tests/data/datacopy.sql"; } >"$work/schema.sql"
    pgc_psql $side db -f "$work/schema.sql" || exit 1
done
pgc_psql source db -f "$ROOT/tests/data/datacopy-rows.sql" >/dev/null || exit 1
owner_source=$(pgc_uri source db app) owner_target=$(pgc_uri target db app)
super_source=$(pgc_uri source db) super_target=$(pgc_uri target db)

draw() { # MODE SIZE: how this run copies; small sizes make some tables come in parts
    mode=$1 size=$2
    case $mode in
        drop) source=$owner_source target=$owner_target ;;
        replica) source=$super_source target=$super_target ;;
    esac
    copy=(copy --source "$source" --yes --constraints "$mode" --split-tables-larger-than "$size")
}
modes=(drop drop replica) sizes=(100kB 100kB 30kB 0)
draw drop 100kB

schema_now() {
    pg_dump -s -d "$(pgc_uri target db)" | grep -v 'restrict '
    pgc_psql target db -At -c "select c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid), c.convalidated, c.conislocal,
        c.coninhcount, p.conname, obj_description(c.oid) from pg_constraint c left join pg_constraint p on p.oid = c.conparentid
        where c.contype = 'f' and (p.oid is null or p.confrelid = c.confrelid) order by 1, 2" \
        -c "select tgrelid::regclass, tgname, tgenabled from pg_trigger where not tgisinternal order by 1, 2"
}
spoil() { # the target's rows are other ones before each run
    pgc_psql target db -c "set session_replication_role = replica; truncate audit.plain_20; update audit.plain_24 set t = 'old';
        delete from only shop.same1; insert into audit.plain_1 values (1000 + (random() * 1e6)::int, 'extra')" >/dev/null
}

start() { # LOG ARGUMENTS... -> top
    local log=$1
    shift
    token=torture-$$-$((++started))
    TORTURE_TOKEN=$token setsid "$PGCOPY_BIN" "$@" --target "$target" --dir "$dir" >"$log" 2>&1 </dev/null &
    top=$!
}
started=0
alive() { tree_of "$top" "TORTURE_TOKEN=$token"; }

wait_top() { # -> rc
    local until=$(($(now_ms) + RUN_LIMIT_MS))
    while process_lives "$top"; do
        if [ "$(now_ms)" -gt "$until" ]; then
            problem="did not end within $((RUN_LIMIT_MS / 1000)) s"
            # shellcheck disable=SC2046
            kill -9 $(alive) 2>/dev/null
            break
        fi
        sleep 0.02
    done
    wait "$top"
    rc=$?
    until=$(($(now_ms) + GONE_LIMIT_MS))
    while left=$(alive) && [ -n "$left" ]; do
        if [ "$(now_ms)" -gt "$until" ]; then
            problem="processes left: $(for p in $left; do title_of "$p"; printf ', '; done)"
            # shellcheck disable=SC2086
            kill -9 $left 2>/dev/null
            return
        fi
        sleep 0.05
    done
} 2>/dev/null

disturb() { # -> victim
    local moment=$(((RANDOM * 32768 + RANDOM) % undisturbed)) pick=$RANDOM at end list pid
    at=$(($(now_ms) + moment)) victim=nobody
    while end=$(now_ms) && [ "$end" -lt "$at" ]; do
        process_lives "$top" || return 0
        sleep "$(printf '0.%03d' $((at - end > 20 ? 20 : at - end)))"
    done
    mapfile -t list < <(alive)
    [ ${#list[@]} -gt 0 ] || return 0
    if [ $((pick % 2)) = 0 ]; then
        victim="all at $moment ms"
        kill -9 "$top" "${list[@]}"
    else
        pid=${list[pick % ${#list[@]}]}
        victim="$(title_of "$pid") at $moment ms"
        kill -9 "$pid"
    fi
    return 0
} 2>/dev/null

perhaps_disturb() {
    [ $((RANDOM % 3)) = 0 ] || return 0
    disturb
    story+=" (killed $victim)"
}

copy_until_done() { # ARGUMENTS
    local tries=0 how=("$@")
    while :; do
        [ $((++tries)) -le $MOST_TRIES ] || { problem="not done after $MOST_TRIES tries"; return; }
        story+="; copy ${how[*]}"
        start "$dir.$started.log" "${copy[@]}" "${how[@]}"
        perhaps_disturb
        wait_top
        story+=", exit $rc"
        [ -z "$problem" ] || return
        [ "$rc" != 0 ] || return 0
        if grep -q 'nothing to resume' "$dir.$((started - 1)).log"; then how=(); else how=(--resume); fi
    done
}

one_run() {
    local tries=0
    dir=$work/$1 story= problem=
    draw "${modes[RANDOM % ${#modes[@]}]}" "${sizes[RANDOM % ${#sizes[@]}]}"
    spoil
    start "$dir.$started.log" "${copy[@]}"
    disturb
    wait_top
    story="$mode, parts of $size; killed $victim, exit $rc"
    [ -z "$problem" ] || return
    if [ $(($1 % 2)) = 0 ]; then
        [ "$rc" = 0 ] || copy_until_done --resume
    else
        while :; do
            [ $((++tries)) -le $MOST_TRIES ] || { problem="not restored after $MOST_TRIES tries"; return; }
            start "$dir.$started.log" restore-constraints
            perhaps_disturb
            wait_top
            story+="; restore, exit $rc"
            [ -z "$problem" ] || return
            case $rc in 0 | 10) break ;; esac
        done
        if [ "$rc" = 0 ]; then
            schema_now | cmp -s - "$work/before" || { problem="schema differs after restore: $(schema_now | diff "$work/before" - | head -5)"; return; }
        fi
        copy_until_done --restart
    fi
    [ -z "$problem" ] || return
    schema_now >"$work/after"
    cmp -s "$work/before" "$work/after" || { problem="schema differs: $(diff "$work/before" "$work/after" | head -8)"; return; }
    [ ! -e "$dir/restore-constraints.sql" ] || { problem="the script for psql is still there"; return; }
    "$ROOT/ci/equal" --data-only "$(pgc_uri source db)" "$(pgc_uri target db)" >"$dir.equal" 2>&1 ||
        problem="ci/equal: $(head -n 8 "$dir.equal")"
}

schema_now >"$work/before"
say "torture pgcopy, seed $seed, $("$PGCOPY_BIN" --version)"
dir=$work/undisturbed problem=
t0=$(now_ms)
start "$dir.log" "${copy[@]}"
wait_top
undisturbed=$(($(now_ms) - t0))
if [ "$rc" != 0 ]; then
    tail -n 20 "$dir.log"
    say "0 passed, 1 failed"
    exit 1
fi
say "undisturbed: $undisturbed ms"
RANDOM=$seed
passed=0 failed=0
for ((n = 1; n <= runs; n++)); do
    t0=$(now_ms)
    one_run "$n"
    if [ -z "$problem" ]; then
        passed=$((passed + 1))
        say "ok      run $n, $(seconds_since "$t0") s: $story"
        rm -rf "${dir:?}" "$dir".*
    else
        failed=$((failed + 1))
        tail -n 15 "$(find "$work" -maxdepth 1 -name "$n.*.log" | sort -V | tail -n 1)" 2>/dev/null
        say "FAILED  run $n, $(seconds_since "$t0") s: $story: $problem"
    fi
done
[ "$keep" = no ] || say "kept in $work"
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
