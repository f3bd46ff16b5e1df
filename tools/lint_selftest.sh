#!/bin/bash
# lint_selftest.sh: shows that each of our own checks can fail, and for the reason meant: each gets a bad sample
# in a folder of its own, must fail and must say the given words; the good sample must pass all of them.
set -uo pipefail
export LC_ALL=C.UTF-8 LANGUAGE=C

tools=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
clang=${CLANG:-clang-14}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

fresh() {
    rm -rf "$tmp/t"
    mkdir -p "$tmp/t"/{include/turnout,cli,tools,lib/base,lib/strategy,lib/diff,lib/state,lib/rollout} \
        "$tmp/t"/lib/provider/{docker,process}
    cd "$tmp/t" || exit 2
    cp "$tools"/lint_one.sh "$tools"/../.clang-tidy "$tools"/../.clang-format . && mv lint_one.sh tools/
    printf '#ifndef A\n#define A\n#include <stddef.h>\nsize_t tn_a(size_t n);\n#endif\n' >include/turnout/pure.h
    printf '#include <stdio.h>\n' >include/turnout/impure.h
    printf '#include "turnout/impure.h"\n' >include/turnout/outer.h
    printf 'struct tn_base;\n' >lib/base/base.h
    printf '#include "lib/base/base.h"\n' >lib/rollout/rollout.h
    printf 'struct tn_docker;\n' >lib/provider/docker/docker.h
    printf '#include "turnout/pure.h"\n#include <string.h>\n\nsize_t tn_a(size_t n)\n{\n    return n ? n : 1;\n}\n' \
        >lib/strategy/strategy.c
    printf '#include "cli/cli.h"\n#include "turnout/pure.h"\n/* system("x"), #include "lib/base/base.h" */\n' >cli/main.c
    printf 'struct cli;\n' >cli/cli.h
}

# passes NAME COMMAND...
passes() {
    local name=$1
    shift
    if ! "$@" >"$tmp/out" 2>&1; then
        echo "selftest: $name: the good sample does not pass:"
        cat "$tmp/out"
        bad=1
    fi
}

# fails NAME WORDS COMMAND...
fails() {
    local name=$1 words=$2
    shift 2
    if "$@" >"$tmp/out" 2>&1; then
        echo "selftest: $name: the bad sample passes"
        bad=1
    elif ! grep -qF -- "$words" "$tmp/out"; then
        echo "selftest: $name: fails, but not with '$words':"
        cat "$tmp/out"
        bad=1
    fi
    fresh
}

layers=("$python" "$tools/lint_layers.py" .)
size=("$python" "$tools/lint_size.py" .)
banned=("$python" "$tools/lint_banned.py" .)

# core FLAGS...: the purity check on the archive of lib/strategy
core() {
    gcc -O2 -fPIC -Iinclude -c -o core.o lib/strategy/strategy.c && ar rcs core.a core.o &&
        bash "$tools/lint_purity.sh" core.a
}
compile() { LINT_FLAGS="-std=c11 -Iinclude -I. -Wall -Wextra" CLANG=$clang bash tools/lint_one.sh "$@"; }
repeat() { for _ in $(seq "$1"); do printf '%b' "$2"; done; }

fresh
passes layers "${layers[@]}"
passes size "${size[@]}"
passes banned "${banned[@]}"
passes purity core
passes headers compile gcc include/turnout/pure.h
passes tidy compile tidy lib/strategy/strategy.c

echo '#include "lib/rollout/rollout.h"' >lib/base/base.h
fails layers-up 'lib/rollout stands above lib/base' "${layers[@]}"
echo '#include "lib/base/base.h"' >cli/cli.h
fails layers-cli 'the program includes public headers' "${layers[@]}"
echo '#include "lib/base/base.h"' >include/turnout/pure.h
fails layers-public 'a public header includes public headers only' "${layers[@]}"
echo '#include "lib/provider/docker/docker.h"' >lib/provider/process/process.c
fails layers-siblings 'provider process must not know provider docker' "${layers[@]}"
echo '#include <stdlib.h>' >>lib/strategy/strategy.c
fails layers-core-system 'the core includes nothing beyond' "${layers[@]}"
echo '#include <turnout/outer.h>' >>lib/strategy/strategy.c
fails layers-core-impure 'include/turnout/impure.h:1 includes stdio.h' "${layers[@]}"
echo '#include "lib/base/base.h"' >lib/diff/diff.c
fails layers-core-base 'the core includes pure headers only' "${layers[@]}"
mkdir lib/extra && echo 'int a;' >lib/extra/a.c
fails layers-unknown 'not in a layer' "${layers[@]}"
echo '#include "../base/base.h"' >lib/state/state.c
fails layers-dots 'paths start at the root' "${layers[@]}"

printf '#include <stdlib.h>\nvoid *tn_a(void)\n{\n    return malloc(1);\n}\n' >lib/strategy/strategy.c
fails purity-malloc 'needs malloc' core
printf 'int tn_a(void)\n{\n    static int n;\n    return ++n;\n}\n' >lib/strategy/strategy.c
fails purity-variable 'has the variable' core
printf 'int tn_table[] = {1};\n' >lib/strategy/strategy.c
fails purity-data 'has the variable tn_table' core

{ printf 'int f(int a)\n{\n'; repeat 80 '    a++;\n'; printf '    return a;\n}\n'; } >lib/base/a.c
fails size-function 'f: 84 lines' "${size[@]}"
{ printf 'int f(int a)\n{\n'; repeat 15 '    if (a) a++;\n'; printf '    return a;\n}\n'; } >lib/base/a.c
fails size-if 'f: complexity 16' "${size[@]}"
{ printf 'int f(int a)\n{\n    return a'; repeat 8 ' && a || a'; printf ';\n}\n'; } >lib/base/a.c
fails size-and-or 'f: complexity 17' "${size[@]}"
{
    printf 'int f(int a) __attribute__((cold))\n{\n    switch (a) {\n'
    for i in $(seq 16); do printf '    case %d:\n        return a ? 1 : 2; /* if */\n' "$i"; done
    printf '    }\n    return a;\n}\n'
} >lib/base/a.c
fails size-case 'f: complexity 33' "${size[@]}"
repeat 601 '/* a */\n' >lib/base/a.c
fails size-file '601 lines' "${size[@]}"
echo 'lib/base/gone.c:f it is long' >tools/lint_exceptions.txt
fails size-stale 'stale: lib/base/gone.c:f' "${size[@]}"
repeat 601 '/* a */\n' >lib/base/a.c
echo 'lib/base/a.c' >tools/lint_exceptions.txt
fails size-no-reason 'gives no reason' "${size[@]}"
repeat 601 '/* a */\n' >lib/base/a.c
echo 'lib/base/a.c a table' >tools/lint_exceptions.txt
passes size-exception "${size[@]}"
fresh

for call in strcpy strcat sprintf gets strtok atoi system popen pthread_cancel sleep usleep; do
    printf 'void f(void)\n{\n    %s(0);\n}\n' $call >lib/base/a.c
    fails "banned-$call" "lib/base/a.c:3: $call" "${banned[@]}"
done
printf 'void f(struct s *ops)\n{\n    ops->system(0);\n    my_system(0);\n    puts("system(0)");\n}\n' >cli/a.c
passes banned-member "${banned[@]}"
fresh
echo 'lib/base/base.h:sleep() waits' >tools/lint_exceptions.txt
fails banned-stale 'stale: lib/base/base.h:sleep()' "${banned[@]}"

echo 'size_t tn_b(void);' >include/turnout/alone.h
fails headers-alone-gcc "unknown type name" compile gcc include/turnout/alone.h
echo 'size_t tn_b(void);' >include/turnout/alone.h
fails headers-alone-clang "unknown type name" compile clang include/turnout/alone.h
echo 'struct tn_b { int a; };' >include/turnout/twice.h
fails headers-guard redefinition compile gcc include/turnout/twice.h
printf 'int tn_b(void);\nint tn_b(void)\n{\n    int unused;\n    return 1;\n}\n' >lib/base/a.c
fails warnings-gcc 'unused variable' compile gcc lib/base/a.c
printf 'int tn_b(void);\nint tn_b(void)\n{\n    int unused;\n    return 1;\n}\n' >lib/base/a.c
fails warnings-clang 'unused variable' compile clang lib/base/a.c
printf '#include <stdlib.h>\nint tn_b(void);\nint tn_b(void)\n{\n    char *a = malloc(1);\n    free(a);\n    free(a);\n    return 1;\n}\n' >lib/base/a.c
fails analyzer double compile analyzer lib/base/a.c
printf '#include <stdlib.h>\nint tn_b(void);\nint tn_b(void)\n{\n    char *a = malloc(1);\n    free(a);\n    free(a);\n    return 1;\n}\n' >lib/base/a.c
fails tidy clang-analyzer compile tidy lib/base/a.c
printf 'int  a ;\n' >lib/base/a.c
fails format Wclang-format "${clang/clang/clang-format}" --dry-run -Werror lib/base/a.c

exit $bad
