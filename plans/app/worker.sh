#!/bin/sh
# The sample worker: no port, prints a line a minute. SIGTERM ends it.
trap 'exit 0' TERM
while :; do
    echo "worker $VERSION is at work"
    sleep 60 &
    wait $!
done
