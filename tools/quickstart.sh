#!/bin/bash
# The first five minutes with turnout: a sample service as local processes behind an HAProxy that turnout manages; v1 is
# deployed, then v2 under load, and every request is counted. Everything is under build/quickstart/.
#
#   tools/quickstart.sh        set up and show
#   tools/quickstart.sh down   stop and remove it
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD/build/quickstart
turnout=$PWD/build/turnout
export TURNOUT_STATE=$root/state
unset TURNOUT_YES TURNOUT_OUTPUT TURNOUT_PROGRESS 2>/dev/null || true

bold= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '$ %s\n' "$*" | sed "s|$turnout|turnout|"; "$@"; }

down() {
    [ -d "$root" ] || return 0
    if [ -f "$root/turnout.yaml" ]; then
        (cd "$root" && "$turnout" destroy --yes --progress quiet) || {
            echo "quickstart: could not stop everything; see: cd build/quickstart && ../turnout status" >&2
            return 1
        }
    fi
    rm -rf "$root"
}

free_port() {
    local port
    for port in $(seq 18080 18180); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    echo "quickstart: no free port between 18080 and 18180" >&2
    return 1
}

if [ "${1:-}" = down ]; then
    down
    echo "quickstart is stopped and removed"
    exit 0
fi

down
mkdir -p "$root"
port=$(free_port)
cp build/tests/testserver "$root/server"
cat >"$root/turnout.yaml" <<PLAN
turnout: 1
name: hello
vars: { tag: v1 }
clusters:
  local: { process: { dir: ./run } }                 # programs on this host
balancers:
  edge: { haproxy: { managed: local, listen: "127.0.0.1:$port" } }
services:
  web:
    command: [./server]
    files: [./server]                                # its contents are part of the revision
    clusters: [local]
    replicas: 3
    env: { VERSION: "\${tag}" }
    ports: [{ name: http }]                          # a free port, handed in as PORT
    health: { http: /healthz, port: http, interval: 200ms, timeout: 1s }
    stop: { grace: 5s }
    expose: [{ balancer: edge, port: http, drain: 10s }]
rollout: { strategy: rolling, max_surge: 1, max_unavailable: 0, min_healthy_time: 1s, healthy_deadline: 15s, progress_deadline: 1m }
PLAN
cd "$root"

say "1. What would a first deployment do?"
run "$turnout" diff

say "2. Deploy v1"
run "$turnout" deploy --yes
printf '$ curl http://127.0.0.1:%s/\n' "$port"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /?size=20 HTTP/1.0\r\n\r\n' >&3
sed -n '/^\r*$/,$p' <&3 | tail -n +2
exec 3>&-
echo

say "3. Deploy v2 while 400 requests a second come in"
../tests/load --url "http://127.0.0.1:$port" --until-file stop --max-duration 60s --rate 400 --keepalive 64 --fresh 16 \
    --retry-idle --ready-file ready --json load.json --quiet &
load=$!
trap 'kill $load 2>/dev/null || true' EXIT
until [ -e ready ] || ! kill -0 $load 2>/dev/null; do read -r -t 0.05 <> <(:) || true; done
run "$turnout" deploy --yes --var tag=v2
touch stop
wait $load
trap - EXIT
number() { sed -n "s/^.*\"$1\": *\([0-9]*\).*\$/\1/p" load.json | head -1; }
sent=$(number sent) lost=$(number lost)
say "$sent requests were sent while v2 replaced v1; lost: $lost"

say "4. What happened so far"
run "$turnout" history
cat <<NEXT

It runs on. Try, from this folder:
    export PATH=\$PWD/build:\$PATH TURNOUT_STATE=$TURNOUT_STATE; cd build/quickstart
    turnout status
    turnout rollback --yes
    turnout deploy --yes --var tag=v3 --set services.web.env.CRASH_AT_START=1     # a bad version: it is rolled back
Stop and remove it: make quickstart-down
NEXT
[ "$lost" = 0 ]
