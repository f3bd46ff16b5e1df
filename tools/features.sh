#!/bin/sh
# features.sh CC: asks the compiler and pkg-config once what they offer, and prints it as make variables.
# Fails, with the command that helps, when a library is missing: a failed answer must not be cached.
set -eu

cc=$1
libs="yaml-0.1 jansson sqlite3 libcrypto"

command -v "$cc" >/dev/null 2>&1 || { echo "features: compiler '$cc' is not installed: run 'make deps'" >&2; exit 1; }
command -v pkg-config >/dev/null 2>&1 || { echo "features: pkg-config is not installed: run 'make deps'" >&2; exit 1; }
for lib in $libs libcurl; do
    pkg-config --exists "$lib" || { echo "features: library '$lib' is not installed: run 'make deps'" >&2; exit 1; }
done

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo 'int main(int argc, char **argv) { char b[64]; b[0] = argv[0][0]; return argc == (int)sizeof b + b[0]; }' >"$tmp/t.c"

# Compiles and links with -Werror, so that a flag that is only warned about does not count as known.
knows() {
    "$cc" -O2 -Werror "$@" -o "$tmp/t" "$tmp/t.c" >/dev/null 2>&1
}

hard=
if knows -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3; then
    fortify="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3"
elif knows -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2; then
    fortify="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"
else
    fortify=
fi
for flag in -fstack-protector-strong -fstack-clash-protection -fcf-protection -ftrivial-auto-var-init=zero; do
    if knows "$flag"; then hard="$hard $flag"; fi
done
link=
for flag in -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed; do
    if knows "$flag"; then link="$link $flag"; fi
done
pie=
if knows -fPIE -pie; then pie=-pie; fi

echo "FORTIFY := $fortify"
echo "HARDEN := $hard"
echo "HARDEN_LINK := $link"
echo "PIE := $pie"
# shellcheck disable=SC2086
echo "PKG_CFLAGS := $(pkg-config --cflags $libs libcurl)"
# shellcheck disable=SC2086
echo "PKG_LIBS := $(pkg-config --libs $libs)"
