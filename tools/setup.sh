#!/bin/sh
# Create or update a virtual environment with one of the dependency groups of
# pyproject.toml, or with a requirements file, *.txt.  First check that the machine has everything that is needed;
# otherwise name the command that installs it.
set -eu

if [ $# -ne 3 ]; then
    echo 'usage: tools/setup.sh PYTHON VENV GROUP|FILE.txt' >&2
    exit 2
fi
python=$1 venv=$2 group=$3

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

runs() {
    "$1" -c '' 2>/dev/null
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

# If the interpreter is not on the PATH, or only as a shim that does not run, look
# for it among pyenv's versions.
if ! runs "$python"; then
    name=$python
    pyenv=$(command -v pyenv || true)
    for root in "${PYENV_ROOT:-}" "${pyenv%/bin/pyenv}" "${HOME:-}/.pyenv"; do
        for candidate in "$root"/versions/*/bin/"$name"; do
            runs "$candidate" || continue
            python=$candidate
            ! new_enough "$python" || break 2
        done
    done
fi
runs "$python" ||
    fail "no $python: apt-get install python3, or name an interpreter: make ... PYTHON=/path/to/python3.12"

new_enough "$python" ||
    fail "$("$python" -V) is too old, sysv_ipc needs 3.11 or newer: make ... PYTHON=/path/to/python3.12"

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail 'no venv module: apt-get install python3-venv'

compiler=${CC:-}
if [ -z "$compiler" ]; then
    for name in cc gcc clang; do
        if command -v "$name" >/dev/null; then
            compiler=$name
            break
        fi
    done
fi
[ -n "$compiler" ] || fail 'no C compiler: apt-get install gcc'
# CC may contain arguments, so the shell must split it.
echo 'int main(void) { return 0; }' | $compiler -x c -o /dev/null - 2>/dev/null ||
    fail "the C compiler ($compiler) cannot create a program: apt-get install gcc libc6-dev"
echo '#include <stdio.h>' | $compiler -x c -c -o /dev/null - 2>/dev/null ||
    fail 'no C library headers: apt-get install libc6-dev'

"$python" -c '
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
    fail 'no Python.h: apt-get install python3-dev'

# Replace an environment of another interpreter, or of one that was removed.
identity='import sys; print(sys.base_prefix, sys.version)'
if [ "$("$venv/bin/python" -c "$identity" 2>/dev/null)" != "$("$python" -c "$identity")" ]; then
    echo "creating $venv with $("$python" -V)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

# Groups need pip 25.1; older interpreters contain an older pip.  Prefer an older
# release with a wheel to the newest, which may need a compiler for another
# language.
echo "installing the packages of $group into $venv"
pip() {
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check \
        --prefer-binary "$@" ||
        fail "pip could not install the packages of $group: it needs a package index (PyPI)"
}
"$venv/bin/python" -c '
import importlib.metadata, sys
version = importlib.metadata.version("pip").split(".")
sys.exit((int(version[0]), int(version[1])) < (25, 1))' || pip --upgrade 'pip>=25.1'
case $group in
*.txt) pip --requirement "$group" ;;
*) pip --group "$group" ;;
esac
