#!/bin/sh
# The README's real deployment: `gripfast run -c config.yaml` as it stands, a primary and three Sentinels on the usual ports,
# an application at 127.0.0.1:6380. Runs in a network namespace of its own, where those ports are free; tests/deployment.rs
# starts it. Arguments: the gripfast binary, a directory for what the servers write.
set -eux
GRIPFAST=$1
DIR=$2
REDIS=${REDIS_SERVER:-redis-server}

ip link set lo up
# By number: to some shells a subshell has no jobs.
STARTED=
trap 'kill $STARTED 2>/dev/null || true' EXIT

wait_for() { # wait_for WHAT COMMAND…: until the command succeeds, half a minute at most
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "gave up waiting for $what" >&2; cat "$DIR"/*.log >&2; exit 1; }
        sleep 0.1
    done
}
answers() { [ "$(redis-cli -p "$1" ping)" = PONG ]; }
is_counted() { curl -fsS http://127.0.0.1:9380/metrics | grep -q '^gripfast_upstream_up 1'; }
is_ready() { curl -fsS http://127.0.0.1:9380/readyz; }

"$REDIS" --port 6379 --save '' --dir "$DIR" >"$DIR/primary.log" 2>&1 &
STARTED="$STARTED $!"
for port in 26379 26380 26381; do
    printf 'port %s\nsentinel monitor mymaster 127.0.0.1 6379 2\n' "$port" >"$DIR/$port.conf"
    "$REDIS" "$DIR/$port.conf" --sentinel >"$DIR/$port.log" 2>&1 &
    STARTED="$STARTED $!"
done
for port in 6379 26379 26380 26381; do wait_for "port $port" answers "$port"; done

"$GRIPFAST" check -c config.yaml >"$DIR/check.log"
"$GRIPFAST" run -c config.yaml >"$DIR/gripfast.log" 2>&1 &
SIDECAR=$!
STARTED="$STARTED $SIDECAR"
wait_for "the sidecar to be ready" is_ready

[ "$(redis-cli -p 6380 set session:1 hello ex 60)" = OK ]
[ "$(redis-cli -p 6380 get session:1)" = hello ]
[ "$(redis-cli -p 6379 get session:1)" = hello ]
curl -fsS http://127.0.0.1:9380/status | grep -q '"mymaster"\|127.0.0.1:6379'
wait_for "the metrics, which are published ten times a second" is_counted

kill -TERM "$SIDECAR"
wait "$SIDECAR"
echo "deployed, served, drained"
