#!/bin/bash
# deps.sh build|quickstart|check: installs what is missing of a group by apt package name, as root or through
# sudo, and says what it installs. When everything is there it says nothing and does nothing.
# Each group contains those before it. DRY_RUN=1 only says what it would do.
set -euo pipefail

# package, then how to see that its content is there, from whatever source:
#   cmd:NAME a program, pc:NAME a library known to pkg-config, file:GLOB a file, py:MODULE a Python module
build="
gcc                    cmd:gcc
libc6-dev              file:/usr/include/stdio.h
make                   cmd:make
pkg-config             cmd:pkg-config
libcurl4-openssl-dev   pc:libcurl
libyaml-dev            pc:yaml-0.1
libjansson-dev         pc:jansson
libsqlite3-dev         pc:sqlite3
libssl-dev             pc:libcrypto
"
quickstart="$build
haproxy                cmd:haproxy
"
check="$quickstart
libcmocka-dev          file:/usr/include/cmocka.h
nginx                  cmd:nginx
docker.io              cmd:dockerd
docker-registry        cmd:docker-registry
clang-14               cmd:clang-14
clang-tidy-14          cmd:clang-tidy-14
clang-format-14        cmd:clang-format-14
libclang-rt-14-dev     file:/usr/lib/llvm-14/lib/clang/14*/lib/linux/libclang_rt.fuzzer-*.a
cppcheck               cmd:cppcheck
valgrind               cmd:valgrind
python3-pytest         py:pytest
busybox-static         file:/usr/share/doc/busybox-static
hyperfine              cmd:hyperfine
iproute2               cmd:ip
tmux                   cmd:tmux
git                    cmd:git
zsh                    cmd:zsh
fish                   cmd:fish
"

group=${1:-check}
case $group in
build) table=$build ;;
quickstart) table=$quickstart ;;
check) table=$check ;;
*)
    echo "deps: unknown group '$group': build, quickstart or check" >&2
    exit 2
    ;;
esac

# Daemons live in sbin, which is not in everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

present() {
    case $1 in
    cmd:*) command -v "${1#cmd:}" >/dev/null ;;
    pc:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pc:}" ;;
    file:*) compgen -G "${1#file:}" >/dev/null ;;
    py:*)
        "${PYTHON:-python3}" -c "import ${1#py:}" 2>/dev/null ||
            /usr/bin/python3 -c "import ${1#py:}" 2>/dev/null
        ;;
    esac
}

missing=()
while read -r package probe; do
    if [ -n "$package" ] && ! present "$probe"; then missing+=("$package"); fi
done <<<"$table"
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "deps: installing with apt: ${missing[*]}"
if [ "${DRY_RUN:-0}" = 1 ]; then exit 0; fi
if ! command -v apt-get >/dev/null; then
    echo "deps: no apt-get here: install what corresponds to these Debian packages by your own means" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: neither root nor sudo: run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# Packages with a daemon start it when they are installed. Nobody asked for one (the tests start their own), and
# without an init system the attempt fails; so the standard policy file says no, only while apt runs.
policy=/usr/sbin/policy-rc.d
own_policy=0
undo() {
    if [ $own_policy = 1 ]; then "${as_root[@]}" rm -f "$policy"; fi
}
trap undo EXIT
trap 'exit 130' INT TERM
if [ ! -e $policy ]; then
    own_policy=1
    # shellcheck disable=SC2016
    "${as_root[@]}" sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
fi

log=$(mktemp)
run_apt() {
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -y -q -o DPkg::Lock::Timeout=120 \
        "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "deps: 'apt-get $*' failed" >&2
        rm -f "$log"
        exit 1
    fi
}
# An update that half fails may still be enough; the install says so if not.
"${as_root[@]}" apt-get -q update >"$log" 2>&1 || echo "deps: apt-get update failed, trying with the old lists" >&2
run_apt install --no-install-recommends "${missing[@]}"
rm -f "$log"
echo "deps: installed; daemons that came along were not started"
