#!/bin/bash
# lint_purity.sh ARCHIVE: the core needs nothing from outside but functions on memory, and has no variables.
set -euo pipefail

archive=$1
allowed='memcpy|memmove|memset|memcmp|memchr|strlen|strnlen|strcmp|strncmp|strchr|strrchr|qsort|bsearch'
allowed="$allowed|__(memcpy|memmove|memset)_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_"

needed=$(nm -A --undefined-only "$archive" 2>/dev/null | sed -E 's/^[^:]*:([^:]*):.* ([^ ]+)$/\2 \1/' | sort -u)
defined=$(nm --defined-only --extern-only "$archive" 2>/dev/null | awk 'NF == 3 {print $3}' | sort -u)
bad=$(awk -v allowed="^($allowed)\$" 'NR == FNR {own[$1]; next} NF && !($1 in own) && $1 !~ allowed {
    print $2 ": needs " $1}' <(printf '%s\n' "$defined") <(printf '%s\n' "$needed"))
# Constant tables with pointers in them are relocated once and then read-only: .data.rel.ro is no variable.
variables=$(objdump -t "$archive" | awk '
    /file format/ {split($1, name, ":"); object = name[1]}
    / O / {
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^\.(data|bss|tdata|tbss)/ && $i !~ /^\.data\.rel\.ro/ || $i == "*COM*") {
                print object ": has the variable " $NF
            }
        }
    }')
printf '%s\n' "$bad" "$variables" | sed '/^$/d'
if [ -n "$bad$variables" ]; then
    echo "purity: the core must not do that" >&2
    exit 1
fi
