#!/bin/sh
# Build the package and install it into a virtual environment.  The build
# folder stays in the environment, so that only changed files are compiled again.
set -eu

if [ $# -lt 1 ]; then
    echo 'usage: tools/install.sh VENV [MESON SETUP ARGUMENT]...' >&2
    exit 2
fi
venv=$1
shift

for argument; do
    shift
    set -- "$@" "--config-settings=setup-args=$argument"
done

echo "building into $venv"
# Use the environment's meson and ninja.
PATH="$PWD/$venv/bin:$PATH" "$venv/bin/python" -m pip install --quiet --quiet \
    --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall \
    --config-settings="build-dir=$venv/build" "$@" .
