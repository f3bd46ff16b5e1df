#!/bin/bash
# lint.sh [STEP...]: every static check, or the steps named; lint.sh --format rewrites the sources instead.
set -uo pipefail
export LC_ALL=C.UTF-8 LANGUAGE=C
cd "$(dirname "$0")/.." || exit 2

all="selftest format layers size banned purity gcc clang headers analyzer tidy cppcheck"
clang=${CLANG:-clang-14}
export CLANG=$clang
format=${clang/clang/clang-format}
tidy=${clang/clang/clang-tidy}
python=${PYTHON:-python3}
jobs=${JOBS:-$(nproc)}
make=${MAKE:-make}
export PYTHONDONTWRITEBYTECODE=1

files() { # files EXTENSION FOLDER...
    local extension=$1 folder
    shift
    for folder in "$@"; do
        if [ -d "$folder" ]; then find "$folder" -name "*.$extension" -not -path '*/corpus/*'; fi
    done | sort
}
c_files() { files c lib cli tests tools; }
h_files() { files h include lib cli tests; }

if [ "${1:-}" = --format ]; then
    { c_files; h_files; } | xargs -r "$format" -i
    exit
fi

for tool in gcc "$clang" "$format" "$tidy" cppcheck nm objdump "$python"; do
    if ! command -v "$tool" >/dev/null; then
        echo "lint: '$tool' is not installed: run 'make deps'" >&2
        exit 1
    fi
done

# each CHECK: the files on stdin, in parallel
each() { xargs -r -P "$jobs" -n 1 tools/lint_one.sh "$1"; }

step_selftest() { bash tools/lint_selftest.sh; }
step_format() { { c_files; h_files; } | xargs -r -P "$jobs" -n 16 "$format" --dry-run -Werror; }
step_layers() { "$python" tools/lint_layers.py; }
step_size() { "$python" tools/lint_size.py; }
step_banned() { "$python" tools/lint_banned.py; }
step_purity() { "$make" --no-print-directory build/libcore.a >/dev/null && bash tools/lint_purity.sh build/libcore.a; }
step_gcc() { c_files | each gcc; }
step_clang() { c_files | each clang; }
step_headers() { h_files | each gcc && h_files | each clang; }
step_analyzer() { files c lib cli | each analyzer; }
step_tidy() { c_files | each tidy; }
step_cppcheck() {
    mkdir -p build/lint/cppcheck
    c_files | grep -v '^tests/' | cppcheck --quiet --enable=warning,performance,portability --std=c11 -j "$jobs" \
        --inline-suppr --error-exitcode=1 --cppcheck-build-dir=build/lint/cppcheck -Iinclude -I. -D_GNU_SOURCE= \
        -DTN_FAKE -DTN_VERSION='"lint"' --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
        --file-list=-
}

MAKEFLAGS=$(sed -E 's/(^| )-j[0-9]*|--jobserver-(auth|fds)=[^ ]*//g' <<<"${MAKEFLAGS:-}")
export MAKEFLAGS
unset MAKELEVEL MFLAGS
LINT_FLAGS=$("$make" --no-print-directory -s flags) || exit 1
export LINT_FLAGS
mkdir -p build/lint

failed=
# shellcheck disable=SC2086
for step in "${@:-$all}"; do for step in $step; do
    if ! declare -F "step_$step" >/dev/null; then
        echo "lint: unknown step '$step': $all" >&2
        exit 2
    fi
    start=$EPOCHREALTIME
    if "step_$step" >"build/lint/$step.log" 2>&1; then verdict=ok; else
        verdict=FAILED
        failed="$failed $step"
    fi
    printf 'lint %-9s %-6s %6.1f s\n' "$step" "$verdict" "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {print b - a}')"
    if [ $verdict = FAILED ]; then head -n "${HEAD:-200}" "build/lint/$step.log"; fi
done; done
if [ -n "$failed" ]; then
    echo "lint: failed:$failed" >&2
    exit 1
fi
