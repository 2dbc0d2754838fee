#!/bin/sh
# Count references with a debug interpreter (configured with --with-pydebug):
# no public call, and none of its errors, may change the total.  Arguments select
# calls whose names contain them.
set -eu

if [ $# -lt 1 ]; then
    echo 'usage: tools/refcounts.sh PYTHON [WORD]...' >&2
    exit 2
fi
python=$1 venv=.venv-refcounts
shift
"$python" -c 'import sys; sys.gettotalrefcount()' 2>/dev/null || {
    echo "$python is not a debug interpreter: apt-get install python3-dbg" >&2
    exit 1
}

# Debian's headers of the debug interpreter are links to those of the normal one.
# gcc would resolve them before it looks for pyconfig.h beside them; the result
# would work, but not count references.
export CC=gcc
tools/setup.sh "$python" "$venv" build
tools/install.sh "$venv" -Dbuildtype=debug -Db_ndebug=false \
    -Dc_args=-fno-canonical-system-headers
exec "$venv/bin/python" tests/refcounts.py "$@"
