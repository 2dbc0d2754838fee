#!/bin/bash
# Build and test for another machine: install a Debian of that architecture in a
# folder of ~/.cache, once, in which the checkout is visible at its own path.
# i386 runs directly on an x86_64 kernel; armhf, arm64 and s390x (big endian) run
# under qemu-user, with binfmt_misc.  Arguments go to pytest.  This is not part
# of CI: the tests take ten minutes on i386, hours under qemu.
#
# NumPy and similar packages come from Debian, because they have no wheels for
# most of these machines.  The tools that build the package and run the tests
# must be newer than Debian's; they are pure Python, and this machine's pip
# downloads them.  The script needs root, for chroot(2) and mounts.
set -euo pipefail

if [ $# -lt 1 ]; then
    echo 'usage: tools/other_machines.sh i386|armhf|arm64|s390x [PYTEST ARGUMENT]...' >&2
    exit 2
fi
architecture=$1
shift

. "${0%/*}/debian_root.sh"

# The tests that cannot pass there, for reasons outside of this project.
narrow=(
    # Their expected results were recorded on 64-bit machines.
    --ignore=tests/compat/test_compat.py --ignore=tests/project/test_benchmarks.py
)
qemu=(
    # qemu-user has neither ptrace(2), which strace needs, nor seccomp(2).
    --ignore=tests/errors/test_man_pages.py --ignore=tests/semaphore/test_creation.py
    --ignore=tests/semaphore/test_creation_given_up.py
    --deselect=tests/semaphore/test_semaphore_set.py::test_a_creator_that_dies_leaves_the_initial_values_or_nothing
    --deselect=tests/shared_memory/test_shared_memory.py::test_a_constructor_that_fails_leaves_nothing_behind
    --deselect=tests/handles/test_keys.py::test_a_random_key_that_is_taken_is_tried_again
    --deselect=tests/shared_memory/test_atomic.py::test_operations_make_no_system_call
    --deselect=tests/handles/test_listing.py::test_info_is_the_lists_record_and_one_system_call
    --deselect=tests/handles/test_listing_old_kernel.py::test_a_list_that_the_kernel_refuses_is_an_error_and_not_empty
    --deselect=tests/message_queue/test_messages.py::test_room_for_large_messages_asks_the_kernel_for_nothing_else
    --deselect=tests/message_queue/test_messages.py::test_a_long_message_after_others_of_its_size_takes_one_system_call
    --deselect=tests/waiting/test_wait_signal_changes.py::test_ctrl_c_ends_a_cancel_that_cannot_reach_its_wait
    # It reserves signals 63 and 64; elsewhere the library uses 63.
    --deselect=tests/waiting/test_wait_signal.py::test_no_signal_is_taken_before_the_first_wait
    --deselect=tests/waiting/test_wait_signal.py::test_a_signal_that_the_program_takes_later_is_said_and_waits_poll
    --deselect=tests/waiting/test_wait_signal.py::test_a_warning_that_raises_ends_the_wait_before_it_begins
    --deselect=tests/waiting/test_wait_signal.py::test_a_program_with_handlers_for_all_realtime_signals_is_left_alone
    --deselect=tests/waiting/test_wait_signal.py::test_a_thread_that_waits_for_all_signals_hears_only_its_own
    --deselect=tests/waiting/test_wait_signal_changes.py::test_a_signal_that_the_program_blocks_stays_its_own
    # It does not apply a process's own memory limit.
    --deselect=tests/message_queue/test_kept.py::test_a_message_is_kept_although_there_is_no_memory_for_a_copy
    # Its shmat(2) refuses huge pages with EINVAL.
    --deselect=tests/shared_memory/test_shared_memory.py::test_huge_pages_that_are_not_there_are_out_of_memory
    # /proc/self/task contains a thread of qemu.
    --deselect=tests/waiting/test_wait_signal.py::test_no_thread_is_started_by_a_wait
    # On 64-bit machines it does not set msg_lrpid.
    --deselect=tests/message_queue/test_message_queue.py::test_attributes_agree_with_the_systems_list
    --deselect=tests/message_queue/test_messages.py::test_peek_leaves_everything_queued
    # /proc/PID/syscall, /proc/PID/maps and the memory in use are those of qemu.
    --ignore=tests/waiting/test_wait_ends.py --ignore=tests/handles/test_lifetime.py --ignore=tests/shared_memory/test_mapping.py
    --ignore=tests/shared_memory/test_attach.py
    --deselect=tests/shared_memory/test_shared_bytes.py::test_indexing_does_not_use_up_address_space
    --deselect=tests/handles/test_listing.py::test_processes_that_cannot_be_looked_into_make_it_incomplete
    # It does not know SEM_STAT_ANY and related commands and reports EINVAL, like Linux 4.16.
    --deselect=tests/handles/test_listing.py::test_an_unprivileged_user_sees_the_same
    --deselect=tests/handles/test_listing.py::test_members_that_may_not_be_read_are_none
    --deselect=tests/handles/test_listing_old_kernel.py::test_a_kernel_that_lists_what_may_not_be_read_gives_no_warning
    --deselect=tests/handles/test_listing.py::test_limits_and_their_use_agree_with_ipcs_and_sysctl
)
binfmt= under_qemu=1 c_tests=
case $architecture in
i386)
    under_qemu=
    # A 64-bit kernel reports at most 31 bits of its shmmax to 32-bit programs.
    without=("${narrow[@]}"
        --deselect=tests/handles/test_listing.py::test_limits_and_their_use_agree_with_ipcs_and_sysctl)
    ;;
armhf) binfmt=qemu-arm without=("${narrow[@]}" "${qemu[@]}") ;;
arm64) binfmt=qemu-aarch64 without=("${qemu[@]}") ;;
s390x)
    # Debian 12's NumPy is too old for the tests of arrays.
    binfmt=qemu-s390x without=("${qemu[@]}" --ignore=tests/shared_memory/test_ndarray.py)
    # qemu-user writes msg_lspid with 64 bits there, so it reads as 0.
    c_tests='test_sem test_shm test_system test_futex test_wait'
    ;;
*) fail "unknown architecture: $architecture" ;;
esac
# The recipes need packages and languages that are not installed there.
without+=(--ignore=tests/how_to)

[ -z "$binfmt" ] || [ -e "/proc/sys/fs/binfmt_misc/$binfmt" ] ||
    fail "no /proc/sys/fs/binfmt_misc/$binfmt: apt-get install qemu-user-static binfmt-support," \
        'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc, update-binfmts --enable'

with_private_mounts "$architecture" "$@"
# Mirrors of Debian 13 for s390x lack packages, such as libc6.
release=trixie
[ "$architecture" != s390x ] || release=bookworm
debian_root "debian-$release-$architecture" "$release" --arch="$architecture"

# qemu-user makes the system calls of this machine: /proc shows its numbers.
calls=
[ -z "$under_qemu" ] || calls=$(python3 tests/system_calls.py)

inside() {
    # PATH of this machine names folders that do not exist there.
    env -i HOME=/root TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive ${calls:+"SYSV_IPC_TESTS_SYSTEM_CALLS=$calls"} chroot "$root" "$@"
}

# Accept a mirror that is a snapshot, whose date has passed.
if [ ! -e "$root/installed" ]; then
    echo 'installing packages to build and test with'
    apt=(inside apt-get -qq -o Acquire::Check-Valid-Until=false)
    { "${apt[@]}" update && "${apt[@]}" -y --no-install-recommends install \
        python3 python3-dev python3-venv python3-pip gcc libc6-dev make git perl strace util-linux \
        util-linux-extra procps tmux xxd binutils ninja-build python3-hypothesis python3-numpy python3-rich python3-trio \
        python3-anyio python3-uvloop; } >>"$log" 2>&1 || fail "the installation failed: see $log"
    touch "$root/installed"
fi

venv=.venv-$architecture
wheels=$venv/wheels
mkdir -p "$wheels"
python3 -m pip --quiet --disable-pip-version-check wheel --wheel-dir "$wheels" \
    'meson-python>=0.18' 'meson>=1.2.3' 'pytest>=8' pytest-timeout pytest-xdist ||
    fail 'pip could not fetch them: it needs a package index (PyPI)'

inside /bin/sh -euc '
cd "$1"
venv=$2
c_tests=$3
shift 3
python3 -VV
[ -x "$venv/bin/python" ] || python3 -m venv --system-site-packages "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --upgrade --no-index \
    --find-links "$venv/wheels" meson-python meson pytest pytest-timeout pytest-xdist
PATH="$PWD/$venv/bin:$PATH"
folder=$venv/lint-gcc
[ -f "$folder/build.ninja" ] || CC=gcc meson setup "$folder" --werror -Dos_tests=true >/dev/null
ninja -C "$folder" --quiet
echo "no warnings"
status=0
meson test -C "$folder" --no-rebuild --print-errorlogs $c_tests || status=1
tools/install.sh "$venv"
"$venv/bin/python" -m pytest "$@" || status=1
exit $status
' sh "$PWD" "$venv" "$c_tests" "${without[@]}" "$@"
