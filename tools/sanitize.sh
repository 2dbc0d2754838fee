#!/bin/sh
# Run the tests with the extension built with AddressSanitizer and
# UndefinedBehaviorSanitizer; then the C tests of the system layer with these
# two, and with ThreadSanitizer.
set -eu

if [ $# -lt 1 ]; then
    echo 'usage: tools/sanitize.sh PYTHON [PYTEST ARGUMENT]...' >&2
    exit 2
fi
python=$1 venv=.venv-sanitize
shift
command -v gcc >/dev/null || {
    echo 'no gcc: apt-get install gcc' >&2
    exit 1
}
# The runtime that is preloaded below belongs to gcc.
export CC=gcc

tools/setup.sh "$python" "$venv" build
tools/setup.sh "$python" "$venv" test
tools/install.sh "$venv" -Dbuildtype=debugoptimized -Db_lundef=false \
    -Db_sanitize=address,undefined

# Leaks are not detected, because an interpreter does not free everything at its
# end.  malloc() must return NULL if it fails, for the tests of MemoryError.
# After a report the process aborts, and faulthandler prints the traceback.
# ASan's reports go into files, because a test may not check the end of a child.
# UBSan's runtime can only write to standard error, which pytest must not capture
# at the level of file descriptors: it would be lost with the process.
report=$PWD/$venv/report
rm -f "$report".*
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:abort_on_error=1:log_path='$report'"
export UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1:print_stacktrace=1"

# pytest's watchdog, a thread that starts with each test, is disabled: a child
# that is forked at that moment inherits a locked allocator of ASan.
#
# libstdc++ is preloaded too, because ASan looks up its symbols once, at the
# start, and an extension in C++, such as NumPy's, would load it too late.  Tests
# are slower here and get more time.
rc=0
env LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so.6)" \
    PYTHONMALLOC=malloc PYTEST_TIMEOUT=600 \
    "$venv/bin/python" -m pytest --capture=sys -o faulthandler_timeout=0 "$@" || rc=$?
env LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so.6)" \
    PYTHONMALLOC=malloc "$venv/bin/python" tools/stress_memory.py || rc=$?
for file in "$report".*; do
    if grep -q 'ERROR: ' "$file" 2>/dev/null; then
        cat "$file" >&2
        rc=1
    fi
done
[ "$rc" -eq 0 ] || exit "$rc"

# ThreadSanitizer needs a part of the address space, which address space
# randomisation may use.
unset ASAN_OPTIONS
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
for sanitizer in address,undefined thread; do
    folder=$venv/c-tests-$sanitizer
    [ -f "$folder/build.ninja" ] ||
        PATH="$PWD/$venv/bin:$PATH" meson setup "$folder" -Dos_tests=true \
            -Dbuildtype=debugoptimized -Db_lundef=false -Db_sanitize="$sanitizer"
    PATH="$PWD/$venv/bin:$PATH" meson test -C "$folder" --suite os --print-errorlogs \
        --wrapper 'setarch -R'
done
