#!/bin/bash
# Build and test under a CPython that the machine's own release does not have
# yet: Debian's unstable suite is put into a folder of ~/.cache once, and the
# checkout is seen in there at its own path.  There the core is compiled with
# all warnings as errors and the suite runs; arguments go to pytest.
#
# It needs root, for chroot(2) and mounts, which end with the script.  SHARE
# names what else of this machine is to be seen in there at its own path, such
# as the configuration of pip and the folders that it names.
set -euo pipefail

if [ $# -lt 1 ]; then
    echo 'usage: [SHARE="PATH..."] tools/newer_python.sh VERSION [PYTEST ARGUMENT]...' >&2
    exit 2
fi
version=$1
shift

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || fail 'not root: chroot(2) and mount(2) need it'
command -v debootstrap >/dev/null || fail 'no debootstrap: apt-get install debootstrap'

# Everything below is seen by this script and its children only.
if [ -z "${SYSV_IPC_PRIVATE_MOUNTS:-}" ]; then
    SYSV_IPC_PRIVATE_MOUNTS=1 exec unshare --mount --propagation private "$0" "$version" "$@"
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/sysv_ipc
root=$cache/debian-unstable
mirror=$(sed -En 's,^(URIs:|deb) +(https?://[^ ]*/debian)/?( .*)?$,\2,p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | sed -n 1p) || true
if [ ! -e "$root/complete" ]; then
    echo "putting Debian unstable into $root"
    rm -rf "$root"
    mkdir -p "$cache"
    debootstrap --variant=minbase --include=ca-certificates unstable "$root" \
        "${mirror:-http://deb.debian.org/debian}" >"$cache/debian-unstable.log" 2>&1 ||
        fail "it could not be made: see $cache/debian-unstable.log"
    touch "$root/complete"
fi

for file in /etc/resolv.conf /etc/hosts; do
    cat "$file" >"$root$file"
done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
for path in "$PWD" ${SHARE:-}; do
    if [ -d "$path" ]; then
        mkdir -p "$root$path"
    else
        mkdir -p "$root${path%/*}"
        touch "$root$path"
    fi
    mount --bind "$path" "$root$path"
done

inside() {
    # The path of this machine's shell holds folders that are not in there.
    PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root" "$@"
}

# The date of a mirror that is a snapshot has passed.
apt=(inside apt-get -qq -o Acquire::Check-Valid-Until=false)
"${apt[@]}" update
python=python$version
inside apt-cache show "$python" >/dev/null 2>&1 || fail "Debian unstable has no $python"
"${apt[@]}" -y --no-install-recommends install "$python" "$python-dev" "$python-venv" \
    gcc libc6-dev make git perl strace util-linux util-linux-extra procps tmux xxd >/dev/null

inside /bin/sh -euc '
cd "$1"
python=$2
venv=.venv-${python#python}
shift 2
"$python" -VV
for group in build test; do
    tools/setup.sh "$python" "$venv" "$group"
done
PATH="$PWD/$venv/bin:$PATH"
folder=$venv/lint-gcc
[ -f "$folder/build.ninja" ] || CC=gcc meson setup "$folder" --werror -Dos_tests=true >/dev/null
ninja -C "$folder" --quiet
echo "no warnings"
make test "PYTHON=$python" "ARGS=$*"
' sh "$PWD" "$python" "$@"
