#!/bin/sh
# The sample worker: no port; says that it lives by touching a file. SIGTERM ends it.
trap 'exit 0' TERM
while :; do
    touch "$TURNOUT_SHIM_DIR/alive"
    sleep 1 &
    wait $!
done
