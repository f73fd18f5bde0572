# What the faults share: who is who, as the sidecar's status says. To be sourced by a POSIX shell.
#
#   GRIPFAST_ADMIN   host:port of the sidecar's admin port (default 127.0.0.1:9380, that of `gripfast dev`)
#
# Needs curl and redis-cli. A server's process is found by its own word (INFO server), so it has to run on this machine.
set -eu
# dash runs an EXIT trap, which undoes the fault, only where the shell itself ends.
trap 'exit 130' INT
trap 'exit 143' HUP TERM

ADMIN=${GRIPFAST_ADMIN:-127.0.0.1:9380}
PRIMARY_NAME=${GRIPFAST_PRIMARY_NAME:-mymaster}

say() { echo "chaos: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

status() {
    curl --fail --silent --show-error --max-time 5 "http://$ADMIN/status" ||
        fail "no sidecar answers at $ADMIN: start one (gripfast dev), or set GRIPFAST_ADMIN"
}

# Addresses in a part of the status ("primary", "replicas", "sentinels"), one a line.
addresses() {
    status | awk -v part="\"$1\":" '
        index($0, part) { inside = 1; match($0, /^ */); indent = RLENGTH; next }
        inside { match($0, /^ */); if (RLENGTH <= indent) { inside = 0 } }
        inside && /"address":/ { gsub(/.*: "|",?$/, ""); print }'
}

primary() {
    found=$(addresses primary | head -n 1)
    [ -n "$found" ] || fail "the sidecar knows no primary"
    echo "$found"
}

# Asks the server at host:port.
ask() {
    address=$1
    shift
    redis-cli -h "${address%:*}" -p "${address##*:}" "$@"
}

pid_of() {
    ask "$1" info server | tr -d '\r' | sed -n 's/^process_id://p'
}

# The network namespace that a process lives in; nothing where that is ours.
namespace_of() {
    ip netns identify "$1"
}

# The hosts of replicas and Sentinels, but for the primary's own at host:port.
peers_of() {
    (addresses replicas; addresses sentinels) | sed 's/:[0-9]*$//' | sort -u | grep -vxF "${1%:*}"
}

# Cuts a network namespace off from hosts, without a word to either side; who else reached it still does.
cut_off() {
    from=$1
    shift
    for peer in "$@"; do ip netns exec "$from" ip route add blackhole "$peer/32"; done
}

reconnect() {
    from=$1
    shift
    for peer in "$@"; do ip netns exec "$from" ip route del blackhole "$peer/32" 2>/dev/null || true; done
}
