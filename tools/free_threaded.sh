#!/bin/bash
# Build a free-threaded CPython from the source package of Debian's stable
# release, once, and print the path of its interpreter.  The result stays in
# ~/.cache/sysv_ipc.  With --thread-sanitizer the interpreter itself is built
# with TSan, so that TSan sees races between C code and the interpreter.
set -euo pipefail

options=(--disable-gil) name=python3.13t
case ${1:-} in
'') ;;
--thread-sanitizer)
    # gcc's TSan does not support fences, and CPython does not use any.
    options+=(--with-thread-sanitizer) name=python3.13t-tsan
    ;;
*)
    echo 'usage: tools/free_threaded.sh [--thread-sanitizer]' >&2
    exit 2
    ;;
esac

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/sysv_ipc
prefix=$cache/$name
python=$prefix/bin/python3.13t
if [ -x "$prefix/complete" ] && "$python" -c ''; then
    echo "$python"
    exit
fi

command -v apt-get >/dev/null || fail 'no apt-get: the source comes from a Debian mirror'
for header in ffi.h openssl/ssl.h zlib.h; do
    echo "#include <$header>" | gcc -x c -fsyntax-only - 2>/dev/null ||
        fail "no <$header>: apt-get install libffi-dev libssl-dev zlib1g-dev"
done

# Use lists of its own instead of apt's, so that this needs no root.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/build"
mirror=$(sed -En 's,^(URIs:|deb) +(https?://[^ ]*/debian)/?( .*)?$,\2,p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -n 1p) || true
echo "deb-src ${mirror:-http://deb.debian.org/debian} stable main" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
log=$cache/$name.log
mkdir -p "$cache"
exec 3>&1 4>&2 >"$log" 2>&1
trap 'echo "the build failed: see $log" >&4' ERR
"${apt[@]}" update
cd "$work"
"${apt[@]}" source --download-only python3.13
tar -xf python3.13_*.orig.tar.xz --strip-components 1 -C build
cd build
rm -rf "$prefix"
./configure --quiet --prefix="$prefix" --with-ensurepip=install "${options[@]}"
make --quiet -j "$(nproc)"
# --help prevents the compilation of all modules, which would take longer than
# everything else under TSan.
make --quiet install COMPILEALL_OPTS=--help
"$python" -c 'import ctypes, ssl, sysconfig, zlib; assert sysconfig.get_config_var("Py_GIL_DISABLED")'
install -m 755 /dev/null "$prefix/complete"
echo "$python" >&3
