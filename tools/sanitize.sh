#!/bin/sh
# The whole test suite with the core built under AddressSanitizer and
# UndefinedBehaviorSanitizer; then the C tests of the system layer under these
# two and under ThreadSanitizer.
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
# The runtime that is preloaded below is gcc's.
export CC=gcc

tools/setup.sh "$python" "$venv" build
tools/setup.sh "$python" "$venv" test
tools/install.sh "$venv" -Dbuildtype=debugoptimized -Db_lundef=false \
    -Db_sanitize=address,undefined

# Leaks are not looked for: an interpreter leaves much behind on purpose.  A
# failing malloc is to return NULL, as it does outside, for the tests of
# MemoryError.  A report ends in abort(), on which faulthandler shows where
# Python was.  ASan's reports go into files, because one of a child whose end no
# test looks at counts too.  UBSan's runtime can only write to standard error,
# which pytest therefore has to leave alone: it would lose it with the process.
report=$PWD/$venv/report
rm -f "$report".*
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:abort_on_error=1:log_path='$report'"
export UBSAN_OPTIONS="halt_on_error=1:abort_on_error=1:print_stacktrace=1"

# pytest's watchdog is a thread that starts with each test: a process forked at
# that moment inherits the lock of ASan's allocator, held by nobody.
#
# libstdc++ comes with it, because ASan looks for its symbols only once, at the
# start, and an extension in C++ (of NumPy, say) would bring it too late.  All
# is slower here, so tests may take longer.
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

# ThreadSanitizer needs its part of the address space free, which address
# randomisation may put something into.
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
