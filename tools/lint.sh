#!/bin/bash
# Run every check that does not run the tests.  All of them run; the end names
# those that failed.
set -uo pipefail

if [ $# -ne 1 ]; then
    echo 'usage: tools/lint.sh VENV' >&2
    exit 2
fi
venv=$1 bin=$1/bin
export PATH="$PWD/$bin:$PATH"

for compiler in gcc clang; do
    command -v "$compiler" >/dev/null || {
        echo "no $compiler: apt-get install $compiler" >&2
        exit 1
    }
done

failed=()
check() { # NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        printf 'ok      %s (%d s)\n' "$name" $((SECONDS - start))
    else
        printf 'FAILED  %s\n' "$name"
        failed+=("$name")
    fi
}

# Compile everything, C tests included, with warnings as errors.
build() { # FOLDER COMPILER [MESON ARGUMENT]...
    local folder=$venv/$1 compiler=$2 log
    shift 2
    [ -f "$folder/build.ninja" ] ||
        log=$(CC=$compiler meson setup "$folder" --werror -Dos_tests=true "$@") || {
        printf '%s\n' "$log"
        return 1
    }
    ninja -C "$folder" --quiet -k 0
}

tidy() {
    find src tests \( -path 'src/*' -o -path 'tests/os/*' \) -name '*.c' -print0 |
        xargs -0 -P 2 -n 1 clang-tidy --quiet -p "$venv/lint-clang" 2>&1 |
        { ! grep -v 'warnings generated'; }
}

# Tests pass arguments that the types forbid, to see that they are rejected.
# Therefore only the annotated functions of the tests are checked.
types() {
    local folder folders=()
    for folder in src examples benchmarks tools; do
        [ -n "$(find "$folder" -name '*.py' 2>/dev/null)" ] && folders+=("$folder")
    done
    mypy "${folders[@]}" &&
        mypy --allow-untyped-defs --allow-untyped-calls --allow-incomplete-defs \
            --allow-untyped-decorators --no-check-untyped-defs tests
}

# The stub has the methods of the buffer protocol, which do not exist before
# 3.12.  The modules _types and _linux do not exist at run time.
stubs() {
    python -m mypy.stubtest sysv_ipc --concise --ignore-unused-allowlist \
        --allowlist <(printf '%s\n' \
            'sysv_ipc\._core\.SharedMemory\.__(release_)?buffer__' 'sysv_ipc\._(types|linux)')
}

check 'format' tools/format.sh "$venv" --check
check 'ruff' ruff check --quiet .
check 'rules for C' python tools/check_c.py
check 'workflows' zizmor --offline --quiet --persona=auditor .github
check 'plain English' python tools/check_words.py
check 'completions and man page' python tools/shell_files.py --check
check 'gcc warnings' build lint-gcc gcc
check 'clang warnings' build lint-clang clang
check 'clang-tidy' tidy
check 'gcc -fanalyzer' build lint-analyzer gcc -Dc_args=-fanalyzer
check 'symbols' python tools/check_symbols.py
check 'warnings for other machines' python tools/check_targets.py
check 'mypy --strict' types
check 'stubs match the code' stubs
# The stub may be longer than other files: most of it is generated text, and
# type checkers, editors and freezers expect one stub for one extension.
check 'docstrings of the stubs' python tools/stub_docs.py --check
check 'editors' python -m pytest --quiet tests/editors/check_hover.py \
    tests/editors/check_stub_docs.py tests/editors/check_types.py

if [ ${#failed[@]} -ne 0 ]; then
    printf 'lint failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
    exit 1
fi
