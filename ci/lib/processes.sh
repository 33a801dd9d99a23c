# processes.sh - looks at process trees through /proc alone. Source it.
#
#   process_lives PID        is it there and no zombie?
#   tree_of PID MARK         pids of the session PID leads, of its descendants, and
#                            of whoever has MARK (NAME=value) in its environment:
#                            orphans and processes that left the session, too
#   title_of PID             its title, at most 60 characters
#   sysv_objects             our System V queues and semaphore sets, one a line

process_lives() {
    local line state
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    line=${line##*) }
    state=${line%% *}
    [ "$state" != Z ] && [ "$state" != X ]
}

tree_of() {
    local f line pid rest state ppid session want=" $1 " grown=1
    local -a stats=()
    for f in /proc/[0-9]*/stat; do
        { read -r line <"$f"; } 2>/dev/null || continue
        pid=${line%% *}
        # shellcheck disable=SC2034
        read -r state ppid rest session line <<<"${line##*) }"
        case "$state" in Z | X) continue ;; esac
        stats+=("$pid $ppid $session")
        [ "$session" != "$1" ] || want+="$pid "
    done
    for f in $(grep -lszF "$2" /proc/[0-9]*/environ 2>/dev/null); do
        f=${f#/proc/}
        want+="${f%/environ} "
    done
    while [ "$grown" = 1 ]; do
        grown=0
        for line in "${stats[@]}"; do
            read -r pid ppid session <<<"$line"
            case "$want" in
                *" $pid "*) ;;
                *" $ppid "*) want+="$pid " grown=1 ;;
            esac
        done
    done
    for line in "${stats[@]}"; do
        pid=${line%% *}
        case "$want" in *" $pid "*) printf '%s\n' "$pid" ;; esac
    done
}

title_of() {
    local t
    { t=$(tr '\0' ' ' <"/proc/$1/cmdline"); } 2>/dev/null || return 0
    t=${t##*/bin/}
    [ -n "$t" ] || return 0
    printf '"%s"' "${t:0:60}"
}

sysv_objects() {
    local uid
    uid=$(id -u)
    awk -v u="$uid" 'FNR > 1 && $8 == u { print "queue " $2 }' /proc/sysvipc/msg 2>/dev/null
    awk -v u="$uid" 'FNR > 1 && $5 == u { print "semaphores " $2 }' /proc/sysvipc/sem 2>/dev/null
}
