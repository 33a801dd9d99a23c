# bench.sh - what the benches with servers of their own begin with. Sourced by ci/lib/bench-*.sh.

. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
. "$ROOT/ci/lib/pgcluster.sh"

# sets runs, and quick to something or nothing
bench_options() { # NAME RUNS [ARGUMENT...]
    local name=$1
    runs=$2 quick=
    shift 2
    while [ $# -gt 0 ]; do
        case "$1" in
            --runs) runs=${2:?}; shift ;;
            --quick) runs=1 quick=yes ;;
            *) echo "usage: ci/bench --only $name [--runs N] [--quick]" >&2; exit 2 ;;
        esac
        shift
    done
}

# builds, unless the program is named already (variable WHICH), and starts the servers "source" and "target"; sets work, a folder that goes
# at the end, and bin, the servers' programs, which come first in PATH
bench_servers() { # WHICH [SETTING...]
    [ -n "${!1:-}" ] || { need_packages; build release; }
    shift
    work=$(mktemp -d) || exit 1
    trap 'rm -rf "$work"' EXIT
    local conf
    conf=$(printf '%s\n' 'shared_buffers = 512MB' 'checkpoint_timeout = 1h' 'autovacuum = off' "$@")
    pgc_init source 0 '' "$conf" && pgc_init target 0 '' "$conf" || exit 1
    bin=$(pgc_bin source)
    PATH=$bin:$PATH
}
