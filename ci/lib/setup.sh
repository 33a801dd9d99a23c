# setup.sh - what every script in ci/ needs before it can start.  Source it.
#
#   ROOT                   the project's folder
#   say TEXT...            one line to the reader
#   need_packages [WORD..] makes sure that a C compiler, OpenSSL's headers and a
#                          PostgreSQL server with its client tools and contrib
#                          are there; WORDs add more (mandoc).  Installs with
#                          apt-get as root or through sudo, and says so; if it may
#                          not, it names the packages and exits 1
#   need_rust              cargo, or a line on where it comes from and exit 1
#   build PROFILE          builds both programs, sets PGCOPYDB_BIN and PGCOPY_BIN;
#                          a PGCOPYDB_BIN that is set already is left alone
#   same_rows SOURCE TARGET  ci/equal for tables alone: no sequences, which a follow does not
#                          move, and no schema; prints what differs
#   now_ms, seconds_since MS   milliseconds since 1970; seconds since then

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*"; }

now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s\n' "${t%???}"; }

# packages that are missing here, one word each
missing_packages() {
    local d found=no word
    command -v cc >/dev/null && [ -e /usr/include/stdio.h ] || echo gcc libc6-dev
    command -v pkg-config >/dev/null || echo pkg-config
    { command -v pkg-config >/dev/null && pkg-config --exists openssl; } ||
        [ -e /usr/include/openssl/ssl.h ] || echo libssl-dev
    for d in /usr/lib/postgresql/*; do
        [ -x "$d/bin/initdb" ] && [ -x "$d/bin/pg_dump" ] && found=${d##*/}
    done
    [ "$found" != no ] || echo postgresql postgresql-contrib
    for word in "$@"; do command -v "$word" >/dev/null || echo "$word"; done
}

need_packages() {
    local list how=
    list=$(missing_packages "$@" | tr '\n' ' ')
    [ -n "${list// /}" ] || return 0
    if [ "$(id -u)" -eq 0 ]; then how=env
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then how=sudo
    else
        say "missing here: $list"
        say "install with: apt-get install --no-install-recommends $list"
        exit 1
    fi
    say "installing: $list"
    # shellcheck disable=SC2086
    { $how apt-get update -qq &&
        $how env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $list; } \
        >"${TMPDIR:-/tmp}/packages.$$.log" 2>&1 || {
        tail -n 20 "${TMPDIR:-/tmp}/packages.$$.log"
        say "could not install: $list"
        exit 1
    }
    rm -f "${TMPDIR:-/tmp}/packages.$$.log"
}

need_rust() {
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || {
        say "cargo is missing: install Rust, see https://rustup.rs"
        exit 1
    }
}

build() {
    local dir=${CARGO_TARGET_DIR:-$ROOT/target} flag=
    [ -z "${PGCOPYDB_BIN:-}" ] || return 0
    need_rust
    [ "$1" != release ] || flag=--release
    ( cd "$ROOT" && cargo build --quiet --locked $flag --bins ) || { say "the build failed"; exit 1; }
    PGCOPYDB_BIN=$dir/$1/pgcopydb
    PGCOPY_BIN=$dir/$1/pgcopy
    export PGCOPYDB_BIN PGCOPY_BIN
}

same_rows() {
    local said rc
    said=$("$ROOT/ci/equal" --data-only "$1" "$2" 2>&1)
    rc=$?
    [ "$rc" -ne 0 ] || return 0
    said=$(grep -v '^[<>] sequence ' <<<"$said")
    # nothing but its heading
    [ "$rc" = 10 ] && ! grep -q '^[<>]' <<<"$said" && return 0
    printf '%s\n' "$said"
    return 1
}

seconds_since() { local ms=$(($(now_ms) - $1)); printf '%d.%d\n' $((ms / 1000)) $((ms % 1000 / 100)); }
