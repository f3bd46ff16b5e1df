#!/bin/bash
# fuzz.sh: runs every fuzz target (T=pattern selects) for FUZZ_TIME seconds. New inputs go to build/fuzz/corpus;
# the corpus in tests/fuzz/corpus/<name>/ is only read. An input that crashes is left in build/fuzz/found.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

bad=0
mkdir -p build/fuzz/found
for target in build/fuzz/tests/fuzz/bin/fuzz_*; do
    name=$(basename "$target")
    if [ ! -f "tests/fuzz/$name.c" ] || [[ $name != *"${T:-}"* ]]; then continue; fi
    new=build/fuzz/corpus/${name#fuzz_}
    mkdir -p "$new"
    folders=("$new")
    if [ -d "tests/fuzz/corpus/${name#fuzz_}" ]; then folders+=("tests/fuzz/corpus/${name#fuzz_}"); fi
    echo "== $name, ${FUZZ_TIME:-60} s"
    "$target" -max_total_time="${FUZZ_TIME:-60}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="build/fuzz/found/$name-" "${folders[@]}" || bad=$((bad + 1))
done
if [ $bad -gt 0 ]; then echo "fuzz: $bad target(s) failed, the inputs are in build/fuzz/found" >&2; fi
[ $bad -eq 0 ]
