#!/bin/sh
# A stand-in for the client of a secret store: one value on stdout, nothing else.
echo "not-a-real-token"
