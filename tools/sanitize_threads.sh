#!/bin/bash
# Run the tests that use threads, and the stress tests, under ThreadSanitizer, on
# a free-threaded CPython that is itself built with it: no GIL hides a race, and
# TSan sees the interpreter's locks.  Fail if a report names this library's code.
# Both interpreters are built once, which takes minutes.
#
#     tools/sanitize_threads.sh [PYTEST ARGUMENT]...
set -euo pipefail

plain=$(tools/free_threaded.sh)
python=$(tools/free_threaded.sh --thread-sanitizer)
venv=.venv-3.13t folder=$PWD/.venv-3.13t/tsan
export CC=gcc PATH="$PWD/$venv/bin:$PATH"

# Packages that are installed for the plain interpreter work with the other one,
# with which pip would take very long.
tools/setup.sh "$plain" "$venv" build
tools/setup.sh "$plain" "$venv" test
[ -f "$folder/build.ninja" ] ||
    meson setup "$folder" -Dbuildtype=debugoptimized -Db_lundef=false -Db_sanitize=thread >/dev/null
ninja -C "$folder" --quiet
rm -rf "$folder/path"
mkdir "$folder/path"
cp -r src/sysv_ipc "$folder/path"
cp "$folder"/_core*.so "$folder/path/sysv_ipc"
export PYTHONPATH="$folder/path:$(echo "$PWD/$venv"/lib/python3.*/site-packages)"
export PYTHON_GIL=0 PYTHONDONTWRITEBYTECODE=1

# The interpreter has races of its own, and NumPy is built without TSan: reports
# go into files, and only those that name this library are shown.  TSan needs a
# part of the address space, which address space randomisation may use.
report=$folder/report
rm -f "$report".*
export TSAN_OPTIONS="exitcode=0:halt_on_error=0:history_size=4:log_path='$report':suppressions='$PWD/tools/tsan.supp'"
rc=0
run() { setarch -R "$python" "$@" || rc=1; }

if [ $# -eq 0 ]; then
    # Tests that fork or start programs find no more races, and take long.
    set -- tests/shared_memory/test_atomic.py tests/shared_memory/test_atomic_wait.py \
        tests/waiting/test_cancel.py tests/waiting/test_timeout.py tests/handles/test_threads.py \
        -k 'not fork and not child and not program and not handler'
fi
PYTEST_TIMEOUT=900 run -m pytest -o faulthandler_timeout=0 -p no:cacheprovider "$@"
run tools/stress.py
run tools/stress_memory.py

# A report is the text between two lines of equals signs.
: >"$folder/named"
for file in "$report".*; do
    [ ! -e "$file" ] ||
        awk -v RS='==================\n' '/ThreadSanitizer/ && /src\/(core|os)|_core\./' "$file" \
            >>"$folder/named"
done
printf '%d reports of ThreadSanitizer, %d of them name this library\n' \
    "$(cat "$report".* 2>/dev/null | grep -c '^WARNING: ThreadSanitizer')" \
    "$(grep -c '^WARNING: ThreadSanitizer' "$folder/named")"
if [ -s "$folder/named" ]; then
    cat "$folder/named"
    rc=1
fi
exit "$rc"
