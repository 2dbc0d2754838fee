#!/bin/bash
# Build and test for another machine: Debian of that architecture is put
# into a folder of ~/.cache once, and the checkout is seen in there at its own
# path.  i386 runs on an x86_64 kernel as it is; armhf, arm64 and s390x (big
# endian) run under qemu-user, which binfmt_misc has to know.  Arguments go to
# pytest.  Part of no CI: the suite takes ten minutes on i386, hours under qemu.
#
# NumPy and the like come from Debian, as they have no wheels for most of these.
# What builds the package and runs the tests is newer than Debian's, and is
# Python alone: it is fetched by this machine's pip.  It needs root, for
# chroot(2) and mounts.
set -euo pipefail

if [ $# -lt 1 ]; then
    echo 'usage: tools/other_machines.sh i386|armhf|arm64|s390x [PYTEST ARGUMENT]...' >&2
    exit 2
fi
architecture=$1
shift

. "${0%/*}/debian_root.sh"

# Which tests cannot pass there, whatever our code does, and why.  Names of
# functions and of parameters stand for all that begin with them.
narrow=(
    # Recorded, and measured with sizes, on machines of 64 bits.
    tests/compat/test_compat.py
    tests/project/test_benchmarks.py
)
qemu=(
    # There is no ptrace(2), so strace sees nothing; nor seccomp(2).
    tests/errors/test_man_pages.py
    tests/semaphore/test_creation.py
    tests/semaphore/test_creation_given_up.py
    tests/semaphore/test_semaphore_set.py::test_a_creator_that_dies_leaves_the_initial_values_or_nothing
    tests/shared_memory/test_shared_memory.py::test_a_constructor_that_fails_leaves_nothing_behind
    tests/handles/test_keys.py::test_a_random_key_that_is_taken_is_tried_again
    tests/shared_memory/test_atomic.py::test_operations_make_no_system_call
    tests/handles/test_listing.py::test_info_is_the_lists_record_and_one_system_call
    tests/handles/test_listing.py::test_a_list_that_the_kernel_refuses_is_an_error_and_not_empty
    tests/message_queue/test_messages.py::test_room_for_large_messages_asks_the_kernel_for_nothing_else
    tests/message_queue/test_messages.py::test_a_long_message_after_others_of_its_size_takes_one_system_call
    tests/waiting/test_wait_signal.py::test_ctrl_c_ends_a_cancel_that_cannot_reach_its_wait
    # It keeps signals 63 and 64 to itself; 63 is what the library takes elsewhere.
    tests/waiting/test_wait_signal.py::test_no_signal_is_taken_before_the_first_wait
    tests/waiting/test_wait_signal.py::test_a_signal_that_the_program_takes_later_is_said_and_waits_poll
    tests/waiting/test_wait_signal.py::test_a_warning_that_raises_ends_the_wait_before_it_begins
    tests/waiting/test_wait_signal.py::test_a_program_with_handlers_for_all_realtime_signals_is_left_alone
    tests/waiting/test_wait_signal.py::test_a_thread_that_waits_for_all_signals_hears_only_its_own
    tests/waiting/test_wait_signal.py::test_a_signal_that_the_program_blocks_stays_its_own
    # The limit of memory that a process sets itself does not hold for it.
    tests/message_queue/test_kept.py::test_a_message_is_kept_although_there_is_no_memory_for_a_copy
    # Its shmat(2) refuses huge pages with EINVAL.
    tests/shared_memory/test_shared_memory.py::test_huge_pages_that_are_not_there_are_out_of_memory
    # A thread of its own is among those in /proc/self/task.
    tests/waiting/test_wait_signal.py::test_no_thread_is_started_by_a_wait
    # On machines of 64 bits it gives no msg_lrpid.
    tests/message_queue/test_message_queue.py::test_attributes_agree_with_the_systems_list
    tests/message_queue/test_messages.py::test_peek_leaves_everything_queued
    # /proc/PID/syscall and maps are those of qemu itself, and so is its memory.
    tests/waiting/test_wait_ends.py
    tests/handles/test_lifetime.py
    tests/shared_memory/test_mapping.py
    tests/test_hostile.py
    tests/handles/test_listing.py::test_processes_that_cannot_be_looked_into_make_it_incomplete
    # SEM_STAT_ANY and its sisters are EINVAL: to it they are as new as to Linux 4.16.
    tests/handles/test_listing.py::test_an_unprivileged_user_sees_the_same
    tests/handles/test_listing.py::test_members_that_may_not_be_read_are_none
    tests/handles/test_listing.py::test_a_kernel_that_lists_what_may_not_be_read_gives_no_warning
    tests/handles/test_listing.py::test_limits_and_their_use_agree_with_ipcs_and_sysctl
)
binfmt= under_qemu=1 c_tests=
case $architecture in
i386)
    under_qemu=
    # A kernel of 64 bits cuts its shmmax to 31 for programs of 32.
    excluded=("${narrow[@]}"
        tests/handles/test_listing.py::test_limits_and_their_use_agree_with_ipcs_and_sysctl)
    ;;
armhf) binfmt=qemu-arm excluded=("${narrow[@]}" "${qemu[@]}") ;;
arm64) binfmt=qemu-aarch64 excluded=("${qemu[@]}") ;;
s390x)
    # Debian 12's NumPy is older than what the tests of arrays need.
    binfmt=qemu-s390x excluded=("${qemu[@]}" tests/shared_memory/test_ndarray.py)
    # qemu-user writes msg_lspid as 64 bits there, so that it reads as 0.
    c_tests='test_sem test_shm test_system test_futex test_wait'
    ;;
*) fail "no such architecture here: $architecture" ;;
esac

without=()
for test in "${excluded[@]}"; do
    case $test in
    *::*) without+=(--deselect="$test") ;;
    *) without+=(--ignore="$test") ;;
    esac
done

[ -z "$binfmt" ] || [ -e "/proc/sys/fs/binfmt_misc/$binfmt" ] ||
    fail "no /proc/sys/fs/binfmt_misc/$binfmt: apt-get install qemu-user-static binfmt-support," \
        'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc, update-binfmts --enable'

with_private_mounts "$architecture" "$@"
# Of Debian 13 for s390x mirrors lack packages, libc6 among them.
release=trixie
[ "$architecture" != s390x ] || release=bookworm
debian_root "debian-$release-$architecture" "$release" --arch="$architecture"

inside() {
    # The path of this machine's shell holds folders that are not in there.
    env -i HOME=/root TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive ${under_qemu:+SYSV_IPC_TESTS_UNDER_QEMU=1} chroot "$root" "$@"
}

# The date of a mirror that is a snapshot has passed.
packages='python3 python3-dev python3-venv python3-pip gcc libc6-dev make git perl strace util-linux
    util-linux-extra procps tmux xxd binutils ninja-build
    python3-greenlet python3-hypothesis python3-numpy python3-rich python3-uvloop'
if [ "$(cat "$root/installed" 2>/dev/null)" != "$packages" ]; then
    echo 'installing what builds and tests'
    apt=(inside apt-get -qq -o Acquire::Check-Valid-Until=false)
    # shellcheck disable=SC2086  # Names of packages, one word each.
    { "${apt[@]}" update && "${apt[@]}" -y --no-install-recommends install $packages; } >>"$log" 2>&1 ||
        fail "that failed: see $log"
    echo "$packages" >"$root/installed"
fi

pure=('meson-python>=0.18' 'meson>=1.2.3' 'pytest>=8' pytest-timeout pytest-xdist 'trio>=0.23' 'anyio>=4.1')
venv=.venv-$architecture
wheels=$venv/wheels
mkdir -p "$wheels"
python3 -m pip --quiet --disable-pip-version-check wheel --wheel-dir "$wheels" "${pure[@]}" ||
    fail 'pip could not fetch them: it needs a package index (PyPI)'

inside /bin/sh -euc '
cd "$1"
venv=$2
pure=$3
c_tests=$4
shift 4
python3 -VV
[ -x "$venv/bin/python" ] || python3 -m venv --system-site-packages "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-compile --upgrade --no-index \
    --find-links "$venv/wheels" $pure
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
' sh "$PWD" "$venv" "${pure[*]}" "$c_tests" "${without[@]}" "$@"
