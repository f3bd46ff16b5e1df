#!/bin/bash
# check.sh [SUITE...]: runs test suites, prints the time of each against its budget, and ends with exactly one line
# "N passed, N failed, N skipped". Without arguments it runs everything: the build, then the CPU lane and the
# engines lane at once.
#
# Fails when a test failed, a suite or the whole ran above its budget, or (CI=true) an end-to-end test was skipped.
# Each suite's output is in build/check/<suite>.log; its end is printed when the suite failed.
# T=pattern selects: programs whose path contains it, and pytest -k.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

# suite, budget in seconds, lane; a lane runs its suites in this order. "-" is not part of `make check`.
table="
build        240  first
unit         60   cpu
cli          300  cpu
corpus       120  cpu
asan-build   150  cpu
asan         600  cpu
tsan-build   120  cpu
tsan         300  cpu
valgrind     240  cpu
sim          240  cpu
e2e          1200 engines
e2e-docker   900  docker
crash        3600 -
soak         7200 -
"
whole_budget=1800

make=${MAKE:-make}
top=$PWD
export CHECK_OUT=${CHECK_OUT:-build/check}

budget_of() { awk -v s="$1" '$1 == s {print $2}' <<<"$table"; }
suites_of() { awk -v l="$1" '$3 == l {print $1}' <<<"$table"; }

# ---- the suites; each runs in a process of its own and writes its log to stdout --------------------------------

# Once the suite `build` has passed, the lanes do not build the same things again, let alone both at once.
build() {
    if [ "${CHECK_BUILT:-0}" = 1 ] && [[ $1 =~ ^build-(unit|test|sim)$ ]]; then return 0; fi
    "$make" --no-print-directory "$@"
}

# programs FOLDER COMMAND...: every unit program of FOLDER that still has its source, two at once, under COMMAND.
# Each writes its own log; they are joined in order.
programs() {
    local folder=$1 source program list=()
    shift
    while read -r source; do
        program=${source#tests/unit/}
        program=$folder/${program%.c}
        if [[ $program == *"${T:-}"* ]]; then list+=("$program"); fi
    done < <(find tests/unit -name 'test_*.c' 2>/dev/null | sort)
    if [ ${#list[@]} -eq 0 ]; then return 0; fi
    # shellcheck disable=SC2016
    printf '%s\n' "${list[@]}" | xargs -d '\n' -P 2 -I PROGRAM bash -c '
        program=$1
        shift
        mkdir -p "$CHECK_OUT/${program%/*}"
        exec >"$CHECK_OUT/$program.log" 2>&1 </dev/null
        echo "== $program"
        timeout -k 5 120 "$@" "$program"
        echo "== exit $?"
    ' sh PROGRAM "$@"
    # What failed comes last, where the end of the log shows it.
    for program in "${list[@]}"; do
        if tail -n 1 "$CHECK_OUT/$program.log" | grep -qx '== exit 0'; then cat "$CHECK_OUT/$program.log"; fi
    done
    for program in "${list[@]}"; do
        if ! tail -n 1 "$CHECK_OUT/$program.log" | grep -qx '== exit 0'; then cat "$CHECK_OUT/$program.log"; fi
    done
}

# transcripts TURNOUT FOLDER ARGS...: pytest, with the program under test in TURNOUT.
transcripts() {
    local turnout=$1 folder=$2 python=${PYTHON:-python3}
    shift 2
    if [ -z "$(find "$folder" -name 'test_*.py' 2>/dev/null | head -n 1)" ]; then return 0; fi
    # A python of one's own may come first in PATH and lack what apt installed.
    if ! "$python" -c 'import pytest' 2>/dev/null; then python=/usr/bin/python3; fi
    TURNOUT=$turnout "$python" -m pytest -q -rs -p no:cacheprovider --color=no ${T:+-k "$T"} "$@" "$folder" </dev/null
    local rc=$?
    # 5: none selected
    if [ $rc -eq 5 ]; then rc=0; fi
    return $rc
}

suite_build() { build build-test build-sim build/libcore.a; }
suite_unit() { build build-unit && programs build/tests/unit env; }
suite_cli() { build build-test && transcripts "$top/build/turnout-test" tests/cli; }
suite_asan-build() { build build-asan; }
suite_asan() { programs build/asan/tests/unit env && transcripts "$top/build/asan/turnout" tests/cli -m 'not release'; }
suite_tsan-build() { build build-tsan; }
suite_tsan() {
    # The thread sanitizer of gcc 12 refuses to start where the kernel randomises addresses widely.
    local fixed=env
    if setarch -R true 2>/dev/null; then fixed="setarch -R"; fi
    # shellcheck disable=SC2086
    programs build/tsan/tests/unit $fixed || return 1
    if [ "$fixed" = env ]; then
        transcripts "$top/build/tsan/turnout" tests/cli -m tsan
    else
        printf '#!/bin/sh\nexec setarch -R "%s" "$@"\n' "$top/build/tsan/turnout" >build/tsan/turnout-fixed
        chmod +x build/tsan/turnout-fixed
        transcripts "$top/build/tsan/turnout-fixed" tests/cli -m tsan
    fi
}
suite_valgrind() {
    build build-unit || return 1
    programs build/tests/unit valgrind -q --error-exitcode=99 --leak-check=full \
        --errors-for-leak-kinds=definite,indirect,possible --child-silent-after-fork=yes
}
suite_corpus() {
    build build-corpus || return 1
    local source name
    for source in tests/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        if [ ! -f "$source" ] || [[ $name != *"${T:-}"* ]]; then continue; fi
        local inputs=()
        if [ -d "tests/fuzz/corpus/${name#fuzz_}" ]; then inputs=("tests/fuzz/corpus/${name#fuzz_}"); fi
        echo "== $name"
        if timeout -k 5 60 "build/asan/tests/fuzz/$name" "${inputs[@]}" </dev/null; then
            echo "1 passed, 0 failed"
        else
            echo "0 passed, 1 failed"
        fi
        echo "== exit 0"
    done
}
suite_sim() {
    build build-sim || return 1
    local source program
    for source in tests/sim/*.c; do
        program=build/tests/sim/$(basename "$source" .c)
        if ! grep -q '^int main[^a-z_]' "$source" 2>/dev/null || [[ $program != *"${T:-}"* ]]; then continue; fi
        echo "== $program"
        "$program" </dev/null
        echo "== exit $?"
    done
}
# Docker beside the others: both wait more than they work.
suite_e2e() { build build-test && transcripts "$top/build/turnout" tests/e2e -m 'not soak and not sweep' --ignore-glob='*/test_docker_*'; }
suite_e2e-docker() { build build-test && transcripts "$top/build/turnout" tests/e2e -m 'not soak and not sweep' --ignore-glob='*/test_[!d]*'; }
suite_crash() { build build-test && transcripts "$top/build/turnout" tests/e2e -m 'crash or sweep'; }
suite_soak() { build build-test && transcripts "$top/build/turnout" tests/e2e -m soak; }

if [ "${1:-}" = --suite ]; then
    "suite_$2"
    exit
fi

# ---- counting ------------------------------------------------------------------------------------------------

# count LOG: "passed failed skipped", from cmocka's, pytest's and our own summary lines. A program that ended badly
# without a failed test of its own (a crash, a leak, a race) counts as one.
count() {
    awk '
    function close_block() { if (code != 0 && failed == before) failed++; code = 0; before = failed }
    /^== exit / { code = $3; close_block(); next }
    /^\[  PASSED  \] [0-9]+ test/ { passed += $4; next }
    /^\[  FAILED  \] [0-9]+ test/ { failed += $4; next }
    /^\[  SKIPPED \] [0-9]+ test/ { skipped += $4; next }
    /^[0-9]+ passed, [0-9]+ failed\.?$/ { passed += $1; failed += $3; next }
    /^[=]* ?[0-9]+ [a-z]+.* in [0-9.]+s/ {
        for (i = 2; i <= NF; i++) {
            word = $i; sub(/,$/, "", word)
            if (word == "passed" || word == "xfailed") passed += $(i - 1)
            else if (word ~ /^(failed|errors?|xpassed)$/) failed += $(i - 1)
            else if (word == "skipped") skipped += $(i - 1)
        }
    }
    END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# ---- running one suite and one lane ------------------------------------------------------------------------

run_suite() {
    local suite=$1 budget start rc passed failed skipped took note=
    local log=$CHECK_OUT/$suite.log
    budget=$(budget_of "$suite")
    start=$EPOCHREALTIME
    # Far above its budget a suite hangs; it is ended, with everything it started.
    timeout -k 10 $((budget + budget / 2)) bash tools/check.sh --suite "$suite" >"$log" 2>&1 &
    echo $! >"$CHECK_OUT/$suite.pid"
    wait $!
    rc=$?
    rm -f "$CHECK_OUT/$suite.pid"
    took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}')
    read -r passed failed skipped < <(count "$log")
    if [ $rc -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
    if [ $rc -eq 124 ] || [ $rc -eq 137 ]; then note="ended: it ran far above its budget"; fi
    if awk -v t="$took" -v b="$budget" 'BEGIN {exit !(t > b)}'; then
        note=${note:-above its budget}
        if [ "$failed" -eq 0 ]; then failed=1; fi
    fi
    case $suite in
    build | *-build) ;;
    *) if [ $((passed + failed + skipped)) -eq 0 ]; then note="nothing to run yet"; fi ;;
    esac
    if [ "${CI:-}" = true ] && [[ "$suite" == e2e* ]] && [ "$skipped" -gt 0 ]; then
        note="skipped, which CI does not allow"
        failed=$((failed + skipped))
        skipped=0
    fi
    echo "$passed $failed $skipped" >"$CHECK_OUT/$suite.count"
    {
        printf '%-11s %7d passed %4d failed %4d skipped %8s s of %4d s  %s\n' \
            "$suite" "$passed" "$failed" "$skipped" "$took" "$budget" "$note" | sed 's/ *$//'
        if [ "$skipped" -gt 0 ] || [[ $note == skipped* ]]; then grep '^SKIPPED' "$log" | sed 's/^/    /' | head -n 40; fi
        if [ "$failed" -gt 0 ]; then
            echo "---- end of $log"
            tail -n "${TAIL:-60}" "$log"
            echo "----"
        fi
    } >"$CHECK_OUT/$suite.report"
    cat "$CHECK_OUT/$suite.report"
    [ "$failed" -eq 0 ]
}

run_lane() {
    local suite
    for suite in "$@"; do run_suite "$suite"; done
    return 0
}

stop() {
    local suite
    for suite in "${suites[@]}"; do
        if [ -f "$CHECK_OUT/$suite.pid" ]; then kill "$(cat "$CHECK_OUT/$suite.pid")" 2>/dev/null; fi
    done
    exit 130
}

for suite in "$@"; do
    if [ -z "$(budget_of "$suite")" ]; then
        echo "check: unknown suite '$suite'" >&2
        exit 2
    fi
done

# The suites call make themselves: without the job slots of the make that called this script.
MAKEFLAGS=$(sed -E 's/(^| )-j[0-9]*|--jobserver-(auth|fds)=[^ ]*//g' <<<"${MAKEFLAGS:-}")
export MAKEFLAGS
unset MAKELEVEL MFLAGS
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-second_deadlock_stack=1}
export PYTHONDONTWRITEBYTECODE=1
# What the tests drive, beside TURNOUT: the released program, the one with the fake back-ends, the support programs.
export TURNOUT_RELEASE=$top/build/turnout TURNOUT_FAKE=$top/build/turnout-test TURNOUT_SUPPORT=$top/build/tests
export SIM_ROLLOUTS=${SIM_ROLLOUTS:-100000}

mkdir -p "$CHECK_OUT"
if [ $# -gt 0 ]; then suites=("$@"); else mapfile -t suites < <(suites_of first; suites_of cpu; suites_of engines; suites_of docker); fi
counts=("${suites[@]/%/.count}")
counts=("${counts[@]/#/$CHECK_OUT/}")
rm -f "${counts[@]}"
trap stop INT TERM
started=$SECONDS
late=0

if [ $# -gt 0 ]; then
    run_lane "$@"
elif run_suite build; then
    export CHECK_BUILT=1
    # shellcheck disable=SC2046
    run_lane $(suites_of engines) &
    engines=$!
    # shellcheck disable=SC2046
    run_lane $(suites_of docker) &
    docker=$!
    # shellcheck disable=SC2046
    run_lane $(suites_of cpu) &
    wait $! $engines $docker
    took=$((SECONDS - started))
    echo "whole       $took s of $whole_budget s"
    if [ $took -gt $whole_budget ]; then
        echo "the whole ran above its budget"
        late=1
    fi
fi

read -r passed failed skipped < <(cat "${counts[@]}" 2>/dev/null |
    awk -v late=$late '{p += $1; f += $2; s += $3} END {print p + 0, f + late, s + 0}')
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
