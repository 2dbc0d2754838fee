#!/bin/bash
# Build and test with a CPython that is newer than this machine's: install
# Debian unstable in a folder of ~/.cache, once, in which the checkout is visible
# at its own path.  Compile the extension with warnings as errors and run the
# tests there; arguments go to pytest.
#
# This needs root, for chroot(2) and mounts, which end with the script.  SHARE
# names other paths that must be visible there, such as the configuration of pip
# and the folders that it names.
set -euo pipefail

if [ $# -lt 1 ]; then
    echo 'usage: [SHARE="PATH..."] tools/newer_python.sh VERSION [PYTEST ARGUMENT]...' >&2
    exit 2
fi
version=$1
shift

. "${0%/*}/debian_root.sh"
with_private_mounts "$version" "$@"
debian_root debian-unstable unstable
show_inside ${SHARE:-}

inside() {
    # PATH of this machine names folders that do not exist there.
    PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root" "$@"
}

# Accept a mirror that is a snapshot, whose date has passed.
apt=(inside apt-get -qq -o Acquire::Check-Valid-Until=false)
"${apt[@]}" update
python=python$version
inside apt-cache show "$python" >/dev/null 2>&1 || fail "Debian unstable has no $python"
"${apt[@]}" -y --no-install-recommends install "$python" "$python-dev" "$python-venv" \
    gcc libc6-dev make git perl strace util-linux util-linux-extra procps tmux xxd \
    zsh fish less man-db mandoc ruby php-cli >/dev/null

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
# The recipes need languages that are not installed there.
make test "PYTHON=$python" "ARGS=--ignore=tests/how_to $*"
' sh "$PWD" "$python" "$@"
