#!/usr/bin/env bash
# The main job, start to end: a server, listeners parked with curl, messages sent with curl and with `rplx send`,
# a replay from a cursor, who is online, who came and went. Needs curl and an installed rplx (RPLX=path of the command).
set -euo pipefail

RPLX=${RPLX:-$(dirname "$0")/../.venv/bin/rplx}
command -v "$RPLX" >/dev/null || { echo "$RPLX is not there: type 'make run' first, or set RPLX" >&2; exit 1; }
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap finish EXIT

show() { printf '\n$ %s\n' "$*"; }
address() { # the address that the server logs for a line
    for _ in $(seq 100); do
        found=$(sed -n "s/.*$1: listening //p" "$work/log")
        [ -n "$found" ] && echo "$found" && return
        sleep 0.1
    done
    cat "$work/log" >&2
    return 1
}

waits() { # until a channel has its listener
    until "$RPLX" online --in "$in_line" | grep -q "^$1 $2"; do sleep 0.1; done
}

show "rplx serve"
PYTHONUNBUFFERED=1 "$RPLX" serve --wait 127.0.0.1:0 --in 127.0.0.1:0 >"$work/log" 2>&1 &
pids+=($!)
wait_line=$(address WAIT)
in_line=$(address IN)
cat "$work/log"

show "rplx watch &            # tells who comes and goes"
"$RPLX" watch --in "$in_line" >"$work/watch" &
pids+=($!)
sleep 1

show "curl 'http://$wait_line/?identifier=alpha,beta' &"
curl -sN "http://$wait_line/?identifier=alpha,beta" >"$work/first" &
first=$!
waits alpha 1
show "curl 'http://$wait_line/?identifier=beta' &"
curl -sN "http://$wait_line/?identifier=beta" >"$work/second" &
second=$!
waits beta 2

show "rplx online"
"$RPLX" online --in "$in_line"

show "curl -H 'X-Realplexor: identifier=beta' --data '{\"text\": \"hello, beta\"}' http://$in_line/"
receipt=$(curl -s -H 'X-Realplexor: identifier=beta' --data '{"text": "hello, beta"}' "http://$in_line/")
echo "$receipt"
wait "$first" "$second"

show "# what the first listener heard"
cat "$work/first"
echo
show "# and the second"
cat "$work/second"
echo

show "rplx send alpha,beta '\"for both\"'"
"$RPLX" send alpha,beta '"for both"' --in "$in_line"

cursor=${receipt#beta }
show "curl 'http://$wait_line/?identifier=$cursor:beta'    # what came after that cursor"
curl -sN "http://$wait_line/?identifier=$cursor:beta"
echo

show "rplx stats"
"$RPLX" stats --in "$in_line"

show "# what rplx watch printed"
until grep -q beta "$work/watch"; do sleep 0.1; done
cat "$work/watch"
