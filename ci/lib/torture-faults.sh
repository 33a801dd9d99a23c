#!/usr/bin/env bash
# torture-faults.sh - what a follow under load makes of servers, networks and disks that fail.
# Run it as: ci/torture faults [--only "NAME ..."] [--cut S] [--plugin P] [--keep]
#
# Each case has a pair of databases, pgbench that inserts, updates and deletes at some hundred
# transactions a second, and one `follow`. Where it is to go on by itself, it must be the same
# process at the end, reach an endpos with exit status 0, and ci/equal finds the same rows.
#
#   source    the source restarts: fast, then by a crash
#   target    the target restarts: fast, then by a crash
#   network   no packet passes between the follow and both servers for --cut seconds (default
#             60): it runs in a network namespace behind a router that stops forwarding
#   slot      max_slot_wal_keep_size takes the slot away under an open transaction: an error
#             within 60 s that says what is lost and what to do
#   disk      a work directory on 200 MB: changes pile up that are not applied yet, receiving
#             pauses, the source still restarts fast, and all goes on as apply makes room; then
#             something else takes all of the room at once, and gives it back
#   large     a transaction that is larger than the room: an error that names it, and once there
#             is more room it arrives
#
#   --only "NAME ..."  these cases
#   --cut S            seconds without a network
#   --plugin P         (default: pgoutput)
#   --keep             keep the work directories
#
# Cases that need namespaces or mounts are skipped aloud where these are not allowed.

set -uo pipefail
. "$(dirname "$0")/setup.sh"
. "$ROOT/ci/lib/pgcluster.sh"
. "$ROOT/ci/lib/processes.sh"

usage() { sed -n '3,28s/^# \{0,1\}//p' "$0" >&2; exit 2; }
all=("$@") cases="source target network slot disk large" cut=60 plugin=pgoutput keep=no
while [ $# -gt 0 ]; do
    case "$1" in
        --only) cases=${2:?}; shift ;;
        --cut) cut=${2:?}; shift ;;
        --plugin) plugin=${2:?}; shift ;;
        --keep) keep=yes ;;
        *) usage ;;
    esac
    shift
done
case "$plugin" in pgoutput|test_decoding|wal2json) ;; *) usage ;; esac
# mounts of our own go with us
if [ -z "${FAULTS_NAMESPACE:-}" ] && unshare --mount true 2>/dev/null; then
    FAULTS_NAMESPACE=1 exec unshare --mount "$0" "${all[@]}"
fi

END_LIMIT_MS=300000     # from the end of a fault until the endpos
ROOM=200m
ROOM_KB=204800

need_packages
build release
work=$(mktemp -d) || exit 1
net=pgf$$
end_network() {
    ip netns del "$net-c" 2>/dev/null
    ip netns del "$net-r" 2>/dev/null
}
# pgcluster.sh runs the trap that it finds
trap 'end_network; [ "$keep" = yes ] || { umount "$work"/*/ 2>/dev/null; rm -rf "$work"; }' EXIT
conf="max_wal_size = 2GB
max_slot_wal_keep_size = -1"
net_conf=
subnet=10.$((200 + $$ % 50)).$((RANDOM % 250))

# A client's namespace, a router's, and this one: packets that the router does not forward are lost in silence.
begin_network() {
    { ip netns add "$net-r" && ip netns add "$net-c" &&
        ip link add "$net" type veth peer name out netns "$net-r" &&
        ip -n "$net-r" link add in type veth peer name eth netns "$net-c" &&
        ip addr add "$subnet.1/30" dev "$net" && ip link set "$net" up &&
        ip -n "$net-r" addr add "$subnet.2/30" dev out && ip -n "$net-r" link set out up &&
        ip -n "$net-r" addr add "$subnet.5/30" dev in && ip -n "$net-r" link set in up &&
        ip -n "$net-c" addr add "$subnet.6/30" dev eth && ip -n "$net-c" link set eth up &&
        ip -n "$net-c" link set lo up && ip -n "$net-c" route add default via "$subnet.5" &&
        ip route add "$subnet.4/30" via "$subnet.2" && forward 1; } >"$work/net.log" 2>&1
}
forward() { ip netns exec "$net-r" sysctl -q -w net.ipv4.ip_forward="$1"; }

if [[ " $cases " = *" network "* ]]; then
    if begin_network; then
        net_conf="listen_addresses = '127.0.0.1,$subnet.1'"
    else
        say "skipped: network, as there are no network namespaces here: $(tail -n 1 "$work/net.log")"
        cases=${cases/network/}
    fi
fi
pgc_init source 0 '' "$conf
$net_conf" && pgc_init target 0 '' "$conf
$net_conf" || exit 1
if [ -n "$net_conf" ]; then
    for side in source target; do pgc_hba $side "host all,replication all $subnet.0/24 trust" || exit 1; done
fi
bin=$(pgc_bin source)
cat >"$work/schema.sql" <<'SQL'
create table account (id int primary key, balance numeric not null default 0, note text);
insert into account (id, note) select i, repeat('n', 100) from generate_series(1, 2000) i;
create table entry (id bigserial primary key, account int not null, amount numeric, body text);
create table keyless (a int, b text);
alter table keyless replica identity full;
SQL
cat >"$work/load.sql" <<'SQL'
\set id random(1, 2000)
begin;
update account set balance = balance + 1 where id = :id;
insert into entry (account, amount, body) values (:id, 1, repeat('b', 200)), (:id, null, 'x');
commit;
insert into keyless values (:id % 20, 'k');
delete from entry where id = (select min(id) from entry where id > (select max(id) / 2 from entry));
SQL

say_bad() { problem=$*; }

# DIRECTORY: databases of that case, set up -> source, target, dir, stream
fresh() { # NAME
    db=$1
    pgc_createdb source "$db" "$work/schema.sql" && pgc_createdb target "$db" "$work/schema.sql" || return 1
    source=$(pgc_uri source "$db") target=$(pgc_uri target "$db")
    dir=$work/$db/run
    mkdir -p "$work/$db"
    near_source=$source
    run=()
}
setup() {
    stream=(--dir "$dir" --source "$source" --target "$target")
    "$PGCOPYDB_BIN" stream setup "${stream[@]}" --plugin "$plugin" --slot-name "faults_$db" --origin "faults_$db" \
        >"$work/$db.setup" 2>&1 || { say_bad "setup: $(tail -n 3 "$work/$db.setup")"; return 1; }
}
apply_from_now() { "$PGCOPYDB_BIN" stream sentinel set apply --dir "$dir" >>"$work/$db.setup" 2>&1; }
follow() {
    "${run[@]}" "$PGCOPYDB_BIN" follow "${stream[@]}" --slot-name "faults_$db" --origin "faults_$db" --resume \
        >>"$work/$db.log" 2>&1 &
    top=$!
}
begin_load() { # SECONDS [RATE]
    # it goes on beside servers that restart
    ( end=$(($(now_ms) + $1 * 1000))
      while left=$(((end - $(now_ms)) / 1000)) && [ "$left" -gt 0 ]; do
          "$bin/pgbench" -n -c 3 -j 1 -R "${2:-200}" -T "$left" -f "$work/load.sql" "$near_source" >/dev/null 2>&1 || sleep 0.3
      done ) &
    load=$!
}
rows() { pgc_psql "$1" "$db" -At -c 'select count(*) from entry'; }
applied() { pgc_psql target "$db" -At -c "select coalesce(pg_replication_origin_progress('faults_$db', false), '0/0')"; }
at_source() { pgc_psql source "$db" -At -c 'select pg_current_wal_flush_lsn()'; }
said() { grep -q "$1" "$work/$db.log"; }
wait_said() { # TEXT SECONDS
    local until=$(($(now_ms) + $2 * 1000))
    until said "$1"; do
        process_lives "$top" || { say_bad "follow ended: $(tail -n 4 "$work/$db.log")"; return 1; }
        [ "$(now_ms)" -lt "$until" ] || { say_bad "it never said \"$1\""; return 1; }
        sleep 0.2
    done
}
# all that is committed now is applied: how long did it take?
caught_up() { # SECONDS -> story
    local t0 want
    t0=$(now_ms)
    # a change of our own: where nothing happens, a follow that has not even connected is at the end
    pgc_psql source "$db" -qc "update account set balance = balance where id = 1"
    want=$(at_source)
    until [ "$(pgc_psql target "$db" -At -c "select '$(applied)'::pg_lsn >= '$want'")" = t ]; do
        process_lives "$top" || { say_bad "follow ended: $(tail -n 4 "$work/$db.log")"; return 1; }
        [ $(($(now_ms) - t0)) -lt $(($1 * 1000)) ] || { say_bad "not caught up after $1 s"; return 1; }
        sleep 0.1
    done
    took=$(seconds_since "$t0")
}
stop_load() {
    # shellcheck disable=SC2086
    kill $load $(cat "/proc/$load/task/$load/children" 2>/dev/null) 2>/dev/null
    wait $load 2>/dev/null
}
to_the_end() {
    wait $load
    "$PGCOPYDB_BIN" stream sentinel set endpos --current --dir "$dir" --source "$near_source" >"$work/$db.endpos" 2>&1 ||
        { say_bad "no endpos: $(tail -n 2 "$work/$db.endpos")"; return; }
    local end=$(($(now_ms) + END_LIMIT_MS)) rc
    while process_lives "$top"; do
        [ "$(now_ms)" -lt "$end" ] || { say_bad "the endpos was not reached: $(tail -n 3 "$work/$db.log")"; kill -9 "$top"; return; }
        sleep 0.1
    done
    wait "$top"
    rc=$?
    [ "$rc" = 0 ] || { say_bad "exit $rc: $(tail -n 4 "$work/$db.log")"; return; }
    "$PGCOPYDB_BIN" stream cleanup "${stream[@]}" >"$work/$db.cleanup" 2>&1 || { say_bad "cleanup: $(tail -n 2 "$work/$db.cleanup")"; return; }
    same_rows "$near_source" "$(pgc_uri target "$db")" >"$work/$db.equal" ||
        { say_bad "ci/equal: $(head -n 5 "$work/$db.equal")"; return; }
    story+=", $(rows target) rows of entry are equal"
}

case_source() { case_server source; }
case_target() { case_server target; }
case_server() { # SIDE
    local how
    setup && apply_from_now || return
    follow
    begin_load 20
    caught_up 60 || return
    for how in fast immediate; do
        local t0
        t0=$(now_ms)
        # the keeper of the load comes again by itself
        pgc_stop "$1" $how >/dev/null 2>&1 || { say_bad "the server did not stop"; return; }
        story+="$how stop after $(seconds_since "$t0") s, "
        sleep 2
        pgc_start "$1" >/dev/null 2>&1 || { say_bad "the server did not start"; return; }
        caught_up 90 || return
        story+="caught up $took s after the start, "
    done
    to_the_end
}

case_network() {
    local t0 behind
    # through the router
    source=${source/127.0.0.1/$subnet.1} target=${target/127.0.0.1/$subnet.1}
    run=(ip netns exec "$net-c")
    # each command of ours must come from there, as endpoints are compared
    setup && apply_from_now || return
    follow
    begin_load $((cut + 30))
    caught_up 60 || return
    forward 0
    t0=$(now_ms)
    sleep 3
    behind=$(rows target)
    sleep $((cut - 3))
    [ "$(rows target)" = "$behind" ] || { say_bad "the network was not cut"; forward 1; return; }
    forward 1
    story+="nothing passed for $(seconds_since "$t0") s, "
    caught_up 180 || return
    story+="caught up $took s later"
    to_the_end
}

case_slot() {
    local t0 holder rc
    setup && apply_from_now || return
    follow
    begin_load 8
    caught_up 60 || return
    pgc_conf source "max_slot_wal_keep_size = '2MB'"
    pgc_conf source "max_wal_size = '32MB'"
    # its changes must be decoded from their beginning on
    pgc_psql source "$db" -qc 'begin' -c 'insert into account values (-1, 0)' -c 'select pg_sleep(60)' >/dev/null 2>&1 &
    holder=$!
    wait $load
    t0=
    for _ in 1 2 3 4 5 6 7 8; do
        pgc_psql source "$db" -qc "insert into entry (account, body) select 1, repeat('w', 500) from generate_series(1, 20000)" \
            -c 'select pg_switch_wal()' -c checkpoint >/dev/null 2>&1
        if [ "$(pgc_psql source "$db" -At -c "select wal_status from pg_replication_slots where slot_name = 'faults_$db'")" = lost ]; then
            t0=$(now_ms)
            break
        fi
    done
    pgc_psql source postgres -qc "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()" >/dev/null
    wait $holder
    [ -n "$t0" ] || { say_bad "the slot was not invalidated"; kill -TERM "$top"; return; }
    while process_lives "$top"; do
        [ $(($(now_ms) - t0)) -lt 60000 ] || { say_bad "no error within 60 s"; kill -9 "$top"; return; }
        sleep 0.1
    done
    wait "$top"
    rc=$?
    [ "$rc" = 6 ] || { say_bad "exit $rc: $(tail -n 4 "$work/$db.log")"; return; }
    said 'are lost' && said 'new migration' || { say_bad "not said what is lost and what to do: $(tail -n 4 "$work/$db.log")"; return; }
    story="exit 6 after $(seconds_since "$t0") s: $(grep -m 1 -A 2 '^[^ ]* [^ ]* [0-9]* FATAL' "$work/$db.log" | sed "s/.*FATAL *//" | tr "\n" " ")"
    pgc_conf source "max_slot_wal_keep_size = -1"
    pgc_conf source "max_wal_size = '2GB'"
    "$PGCOPYDB_BIN" stream cleanup "${stream[@]}" >"$work/$db.cleanup" 2>&1 || say_bad "cleanup: $(tail -n 2 "$work/$db.cleanup")"
}

free_kb() { df --output=avail -k "$work/$db" | tail -n 1; }
small_disk() {
    mount -t tmpfs -o "size=$1,mode=0700" none "$work/$db" 2>"$work/mount.log" && return
    story="skipped: mounts are not allowed here: $(tail -n 1 "$work/mount.log")"
    return 1
}

case_disk() {
    local least=$ROOM_KB free t0 n
    small_disk $ROOM || return
    setup || return
    follow
    # half a gigabyte of changes, nothing of it applied yet
    begin_load 20 100
    for n in 1 2 3 4 5 6 7 8 9 10; do
        pgc_psql source "$db" -qc "insert into entry (account, body) select $n, repeat('d', 500) from generate_series(1, 40000)" || return
    done
    wait_said 'pauses for want of room' 300 || return
    story+="paused with $(free_kb) kB free, "
    t0=$(now_ms)
    pgc_restart source fast >/dev/null 2>&1 || { say_bad "the source did not restart"; return; }
    story+="the source restarted in $(seconds_since "$t0") s, "
    process_lives "$top" || { say_bad "follow ended: $(tail -n 4 "$work/$db.log")"; return; }
    apply_from_now || { say_bad "sentinel: $(tail -n 2 "$work/$db.setup")"; return; }
    wait_said 'There is room again' 120 || return
    t0=$(now_ms)
    while ! caught_up 2 && process_lives "$top" && [ $(($(now_ms) - t0)) -lt 240000 ]; do
        problem=
        free=$(free_kb)
        [ "$free" -ge "$least" ] || least=$free
    done
    [ -z "$problem" ] || return
    story+="all applied $(seconds_since "$t0") s later, never less than $least kB free, "
    # Somebody else takes all there is.
    # On a busy machine the load alone makes it pause, and it need not say so twice.
    n=$(grep -c 'pauses for want of room' "$work/$db.log")
    begin_load 15 300
    sleep 2
    dd if=/dev/zero of="$work/$db/ballast" bs=64k >/dev/null 2>&1
    wait_said_again 'pauses for want of room' 60 "$n" || return
    sleep 5
    dd if=/dev/zero of="$work/$db/ballast2" bs=1k >/dev/null 2>&1
    sleep 5
    process_lives "$top" || { say_bad "follow ended on a full disk: $(tail -n 6 "$work/$db.log")"; return; }
    story+="full with $(free_kb) kB free, "
    rm -f "$work/$db"/ballast*
    caught_up 90 || return
    story+="caught up $took s after there was room"
    to_the_end
}
wait_said_again() { # TEXT SECONDS TIMES: more often than so
    local until=$(($(now_ms) + $2 * 1000))
    while [ "$(grep -c "$1" "$work/$db.log")" -le "$3" ]; do
        process_lives "$top" || { say_bad "follow ended: $(tail -n 6 "$work/$db.log")"; return 1; }
        [ "$(now_ms)" -lt "$until" ] || { say_bad "it did not say \"$1\" again"; return 1; }
        sleep 0.2
    done
}

case_large() {
    local rc xid
    small_disk 60m || return
    setup && apply_from_now || return
    follow
    begin_load 3
    wait $load
    xid=$(pgc_psql source "$db" -At -c "begin" -c "select txid_current()" \
        -c "insert into entry (account, body) select 1, repeat('l', 1000) from generate_series(1, 100000)" -c commit)
    local end=$(($(now_ms) + 180000))
    while process_lives "$top"; do
        [ "$(now_ms)" -lt "$end" ] || { say_bad "no error within 180 s: $(tail -n 4 "$work/$db.log")"; kill -9 "$top"; return; }
        sleep 0.2
    done
    wait "$top"
    rc=$?
    [ "$rc" = 3 ] && said "transaction $xid is larger than the room" ||
        { say_bad "exit $rc: $(tail -n 4 "$work/$db.log")"; return; }
    story="exit 3: $(grep -m 1 'is larger than the room' "$work/$db.log" | cut -c 1-120), "
    mount -o "remount,size=2g" "$work/$db" || { say_bad "no more room"; return; }
    follow
    caught_up 120 || return
    story+="with more room it went on"
    to_the_end
}

passed=0 failed=0
say "torture faults, $plugin"
for name in $cases; do
    problem= story= top= load=
    t0=$(now_ms)
    fresh "$name" && "case_$name" || [ -n "$problem$story" ] || problem="no databases"
    if [ -n "$problem" ]; then
        [ -z "$load" ] || stop_load
        [ -z "$top" ] || { kill -9 "$top" $(cat "/proc/$top/task/$top/children" 2>/dev/null); wait "$top"; } 2>/dev/null
        failed=$((failed + 1))
        say "FAILED  $name, $(seconds_since "$t0") s: $story: $problem"
    elif [[ $story = skipped* ]]; then
        say "skipped: $name: ${story#skipped: }"
    else
        passed=$((passed + 1))
        say "ok      $name, $(seconds_since "$t0") s: $story"
    fi
done
[ "$keep" = no ] || say "kept in $work"
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
