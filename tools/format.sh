#!/bin/sh
# Format all C and Python files; with --check, only print the differences.
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
