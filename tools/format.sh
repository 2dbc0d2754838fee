#!/bin/sh
# Lay out all C and Python as lint wants it; with --check, only tell what is
# not so.
set -eu

if [ $# -lt 1 ]; then
    echo 'usage: tools/format.sh VENV [--check]' >&2
    exit 2
fi
bin=$1/bin check=${2:-}

c_files() {
    find src tests examples benchmarks -name '*.[ch]' -print0 2>/dev/null
}

if [ -n "$check" ]; then
    "$bin/ruff" format --quiet --diff .
    c_files | xargs -0 "$bin/clang-format" --dry-run --Werror
else
    "$bin/ruff" check --quiet --fix-only .
    "$bin/ruff" format --quiet .
    c_files | xargs -0 "$bin/clang-format" -i
fi
