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

. "${0%/*}/debian_root.sh"
with_private_mounts "$version" "$@"
debian_root debian-unstable unstable
show_inside ${SHARE:-}

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
