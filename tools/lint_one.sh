#!/bin/bash
# lint_one.sh CHECK FILE: one compiler-based check on one file, skipped when the same text passed it before.
# LINT_FLAGS are the project's compiler flags. The memory is build/lint/passed/, by hash of the preprocessed text
# (comments included: NOLINT stands in them), the settings and this script.
set -uo pipefail

check=$1 file=$2
clang=${CLANG:-clang-14}
tidy=${clang/clang/clang-tidy}
read -r -a flags <<<"$LINT_FLAGS"
flags+=(-DTN_FAKE '-DTN_VERSION="lint"')
case $file in tests/fuzz/*) flags+=(-Wno-missing-prototypes) ;; esac

# A header is compiled alone, and twice, so that it must include what it needs and guard itself.
input=("$file")
if [[ $file == *.h ]]; then
    stub=build/lint/stub/$file.c
    mkdir -p "$(dirname "$stub")"
    printf '#include "%s"\n#include "%s"\n' "$file" "$file" >"$stub"
    input=("$stub")
fi

preprocessed=$("$clang" "${flags[@]}" -w -E -C "${input[@]}" 2>/dev/null | sha256sum) || preprocessed=
key=$({ echo "$check" "$preprocessed"; cat .clang-tidy tools/lint_one.sh; printf '%s\n' "${flags[@]}"; } | sha256sum)
memory=build/lint/passed/${key%% *}
if [ -n "$preprocessed" ] && [ -e "$memory" ]; then exit 0; fi

case $check in
gcc)
    gcc "${flags[@]}" -O2 -Werror -c -o /dev/null "${input[@]}"
    ;;
clang)
    "$clang" "${flags[@]}" -O2 -Werror -fsyntax-only "${input[@]}"
    ;;
analyzer)
    # Without the checkers that, in gcc 12, do not understand cleanup attributes and ownership in structs.
    timeout 120 gcc "${flags[@]}" -O0 -fanalyzer -Werror -Wno-analyzer-malloc-leak -Wno-analyzer-file-leak \
        -Wno-analyzer-use-of-uninitialized-value -c -o /dev/null "${input[@]}"
    ;;
tidy)
    "$tidy" --quiet "${input[@]}" -- "${flags[@]}" 2>&1 | grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header-filter' |
        sed '/^$/d'
    [ "${PIPESTATUS[0]}" -eq 0 ]
    ;;
*)
    echo "lint_one: unknown check '$check'" >&2
    exit 2
    ;;
esac || { echo "$check: $file failed"; exit 1; }
mkdir -p build/lint/passed
: >"$memory"
