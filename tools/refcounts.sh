#!/bin/sh
# Count references with a debug interpreter, one that was configured with
# --with-pydebug: every public call and its error paths are to leave the total
# as it was.  Arguments are words that the names of the calls must hold.
set -eu

if [ $# -lt 1 ]; then
    echo 'usage: tools/refcounts.sh PYTHON [WORD]...' >&2
    exit 2
fi
python=$1 venv=.venv-refcounts
shift
"$python" -c 'import sys; sys.gettotalrefcount()' 2>/dev/null || {
    echo "$python is no debug interpreter: apt-get install python3-dbg" >&2
    exit 1
}

# Debian's headers of the debug interpreter are links to those of the other, and
# gcc would follow them before it looks for pyconfig.h beside them: what is built
# so works, but does not count.
export CC=gcc
tools/setup.sh "$python" "$venv" build
tools/install.sh "$venv" -Dbuildtype=debug -Db_ndebug=false \
    -Dc_args=-fno-canonical-system-headers
exec "$venv/bin/python" tests/refcounts.py "$@"
