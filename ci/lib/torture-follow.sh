#!/usr/bin/env bash
# torture-follow.sh - the standing oracle of change data capture.
# Run it as: ci/torture follow [--mode M] [--runs N] [--seed S] [--plugin P] [--seconds T]
#
# A run: a random schema, several sessions with random transactions woven into each other,
# the changes received and applied meanwhile, whatever runs killed with kill -9 at random
# moments and started again; then an endpos. After exit status 0 every table must be the
# same on both sides. See tests/follow_random, which does all of this.
#
#   --mode M      how it is followed (default: each in turn)
#                   steps    receive, transform, apply and catchup as single commands
#                   follow   one `follow` beside the load
#                   clone    one `clone --follow` into an empty database
#                 one seed of four lets these listen (--host ::1) and sets the endpos that way
#   --runs N      so many runs of each (default 20)
#   --seed S      the first run's seed, the next one has S+1 (default: random). A run is
#                 known by its seed: `--mode M --runs 1 --seed S` does it again
#   --plugin P    this output plugin alone (default: by seed, all that are installed)
#   --seconds T   begin no new run after T seconds
#   --at-once N   so many runs side by side (default 4: they wait for most of their time)
#
# Of a run that failed, statements and work directory are kept in target/tmp/follow-SEED.

set -uo pipefail
. "$(dirname "$0")/setup.sh"

usage() { sed -n '3,24s/^# \{0,1\}//p' "$0" >&2; exit 2; }
all=("$@") runs=20 seed=$RANDOM mode= plugin= limit= at_once=4
while [ $# -gt 0 ]; do
    case "$1" in
        --mode) mode=${2:?}; shift ;;
        --runs) runs=${2:?}; shift ;;
        --seed) seed=${2:?}; shift ;;
        --plugin) plugin=${2:?}; shift ;;
        --seconds) limit=${2:?}; shift ;;
        --at-once) at_once=${2:?}; shift ;;
        *) usage ;;
    esac
    shift
done
case "$mode" in ''|steps|follow|clone) ;; *) usage ;; esac
case "$plugin" in ''|pgoutput|test_decoding|wal2json) ;; *) usage ;; esac

# with an IPC namespace of our own, whatever is left there is ours
if [ -z "${TORTURE_NAMESPACE:-}" ] && unshare --ipc true 2>/dev/null; then
    TORTURE_NAMESPACE=1 exec unshare --ipc "$0" "${all[@]}" --seed "$seed"
fi
need_packages
build release
cd "$ROOT" || exit 1
say "seed $seed"
export PGCOPYDB_FOLLOW_MODE=$mode PGCOPYDB_FOLLOW_RUNS=$runs PGCOPYDB_FOLLOW_SEED=$seed
export PGCOPYDB_FOLLOW_PLUGIN=$plugin PGCOPYDB_FOLLOW_SECONDS=$limit PGCOPYDB_FOLLOW_AT_ONCE=$at_once
cargo test --locked --test main follow_random:: -- --nocapture --test-threads 1
