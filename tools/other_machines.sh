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

# The tests that cannot pass there, for reasons outside of this project.  The
# name of a function also covers all functions whose names begin with it.
narrow=(
    # Their expected results were recorded on 64-bit machines.
    tests/compat/test_compat.py
    tests/project/test_benchmarks.py
)
qemu=(
    # qemu-user has no ptrace(2), which strace needs.
    tests/errors/test_man_pages.py
    tests/semaphore/test_creation.py
    tests/semaphore/test_creation_given_up.py
    tests/command_line/test_command_line_delivery.py::test_room_that_another_writer_takes_does_not_block_signals
    tests/errors/test_errors.py::test_each_errno_has_its_class
    tests/handles/test_keys.py::test_a_random_key_that_is_taken_is_tried_again
    tests/handles/test_listing_old_kernel.py::test_a_list_that_the_kernel_refuses_is_an_error_and_not_empty
    tests/handles/test_listing.py::test_info_is_the_lists_record_and_one_system_call
    tests/message_queue/test_messages.py::test_a_long_message_after_others_of_its_size_takes_one_system_call
    tests/message_queue/test_messages.py::test_room_for_large_messages_needs_no_other_system_call
    tests/semaphore/test_semaphore_set.py::test_a_creator_that_dies_leaves_the_initial_values_or_nothing
    tests/shared_memory/test_atomic.py::test_operations_make_no_system_call
    tests/shared_memory/test_shared_memory.py::test_a_constructor_that_fails_leaves_nothing_behind
    tests/waiting/test_wait_signal_changes.py::test_ctrl_c_ends_a_cancel_that_cannot_reach_its_wait
    # It has no seccomp(2), with which tests imitate an old kernel.
    tests/command_line/test_command_line_errors.py::test_objects_that_an_old_kernel_hides_are_not_reported_as_missing
    tests/command_line/test_command_line_errors.py::test_objects_that_an_old_kernel_shows_are_found_without_a_warning
    tests/handles/test_listing_old_kernel.py::test_a_warning_filter_makes_hidden_objects_an_error
    tests/handles/test_listing_old_kernel.py::test_an_old_kernel_lists_readable_objects_and_a_warning_counts_the_others
    tests/handles/test_listing_old_kernel.py::test_an_old_kernel_that_holds_nothing_has_empty_lists
    tests/handles/test_listing_old_kernel.py::test_on_an_old_kernel_root_sees_all_objects_without_a_warning
    tests/handles/test_listing_old_kernel.py::test_the_command_line_reports_hidden_objects_in_one_line
    tests/shared_memory/test_shared_memory.py::test_huge_pages_are_touched_on_kernels_without_a_call_for_it
    # It does not know SEM_STAT_ANY and related commands and reports EINVAL, like Linux 4.16.
    tests/command_line/test_command_line_errors.py::test_a_queue_that_may_only_be_written_to_is_sent_to
    tests/command_line/test_command_line.py::test_an_object_that_we_may_not_read_is_listed_and_shown
    tests/command_line/test_command_line.py::test_ls_filters
    'tests/compat/test_compat.py::test_calls_do_as_before_or_as_the_table_says[another user, mode 600]'
    tests/compat/test_compat.py::test_every_row_of_the_table_is_a_difference
    tests/errors/test_permissions.py::test_a_refused_use_changes_nothing
    tests/errors/test_permissions.py::test_a_removed_segment_is_reported_to_users_who_may_not_read_it
    tests/errors/test_permissions.py::test_a_call_needs_the_right_that_the_manual_page_names
    tests/errors/test_permissions.py::test_an_owner_changes_and_removes_an_object_given_to_it
    tests/errors/test_permissions.py::test_only_owner_and_creator_change_and_remove
    tests/errors/test_permissions.py::test_the_new_owner_owns_it_and_others_do_not
    tests/handles/test_listing_old_kernel.py::test_a_kernel_that_lists_unreadable_objects_gives_no_warning
    tests/handles/test_listing.py::test_an_unprivileged_user_sees_the_same
    tests/handles/test_listing.py::test_the_list_is_complete_if_all_attachments_are_seen
    tests/handles/test_listing.py::test_limits_and_their_use_agree_with_ipcs_and_sysctl
    tests/handles/test_listing.py::test_the_members_of_an_unreadable_set_are_none
    # Signals 63 and 64 cannot be sent, and are neither in a mask nor in SigCgt.
    tests/command_line/test_command_line_delivery.py::test_no_signal_loses_the_message_that_is_being_written'[64]'
    tests/waiting/test_wait_signal.py::test_a_thread_in_sigwait_for_all_signals_does_not_receive_those_of_waits
    tests/waiting/test_wait_signal.py::test_no_signal_is_taken_before_the_first_wait
    # vfork(2) is fork(2): children have their own attachments until they execute another program.
    tests/handles/test_listing.py::test_a_process_that_lives_in_its_parents_memory_is_not_counted_twice
    tests/peers/test_peers_tools.py::test_ipcs_shows_the_pids_of_a_segment
    # It does not apply a process's own memory limit.
    tests/errors/test_limits_and_memory.py::test_no_memory_for_an_attachment_is_out_of_memory
    tests/message_queue/test_kept.py::test_a_message_is_kept_although_there_is_no_memory_for_a_copy
    # Its shmat(2) refuses huge pages with EINVAL.
    tests/shared_memory/test_shared_memory.py::test_unavailable_huge_pages_raise_out_of_memory_error
    # /proc/self/task contains a thread of qemu.
    tests/waiting/test_wait_signal.py::test_no_thread_is_started_by_a_wait
    # /proc/PID/maps and the memory in use are those of qemu.
    tests/waiting/test_wait_ends.py
    tests/handles/test_lifetime.py
    tests/shared_memory/test_mapping.py
    tests/shared_memory/test_attach.py
    tests/shared_memory/test_shared_bytes.py::test_indexing_does_not_use_up_address_space
    tests/handles/test_listing.py::test_processes_that_cannot_be_inspected_make_the_list_incomplete
)
qemu_64=(
    # On 64-bit machines it writes msg_lspid with 64 bits, over msg_lrpid, which reads as 0.
    tests/command_line/test_command_line.py::test_show_names_the_processes_that_sent_and_received
    tests/command_line/test_command_line_terminal.py::test_the_session_in_the_docs_is_the_output_on_a_terminal
    tests/command_line/test_command_line_users.py::test_a_process_that_proc_hides_has_not_ended
    'tests/command_line/test_command_line_users.py::test_a_queue_whose_last_process_lives_remains[receive]'
    'tests/compat/test_compat.py::test_calls_do_as_before_or_as_the_table_says[message queue]'
    tests/message_queue/test_message_queue.py::test_attributes_agree_with_the_systems_list
    tests/message_queue/test_messages.py::test_peek_leaves_everything_queued
    tests/peers/test_peers_message_queue.py::test_last_receive_pid_is_that_of_the_peer
    tests/peers/test_peers_message_queue.py::test_peer_sees_the_same_attributes_of_a_queue
    # It writes 16 of the 32 bits of a mode; peers see the previous contents of the others.
    tests/peers/test_peers_semaphore.py::test_peer_sees_the_mode_that_we_set
    tests/peers/test_peers_semaphore.py::test_peer_sees_the_same_attributes_of_a_semaphore
    tests/peers/test_peers_semaphore_set.py::test_both_see_the_same_attributes
    tests/peers/test_peers_shared_memory.py::test_peer_sees_the_same_attributes_of_a_segment
)
qemu_s390x=(
    # Those are the upper 16 bits; the library reads them there, peers do not.
    tests/peers/test_peers_message_queue.py::test_mode_and_size_that_a_peer_sets_are_seen
    tests/peers/test_peers_semaphore.py::test_mode_that_a_peer_changes_is_seen
    # msg_lspid is the upper half of those 64 bits, so the sender is unknown.
    tests/command_line/test_command_line.py::test_ls_shows_all_kinds_in_one_table
    'tests/command_line/test_command_line_terminal.py::test_an_object_that_took_the_id_during_the_question_is_not_removed[words2]'
    tests/command_line/test_command_line_users.py::test_a_queue_remains_if_the_caller_may_not_inspect_other_processes
    tests/command_line/test_command_line_users.py::test_a_queue_with_a_waiter_remains
    'tests/command_line/test_command_line_users.py::test_a_queue_whose_last_process_lives_remains[send]'
    tests/command_line/test_command_line_users.py::test_a_waiter_is_seen_if_only_its_thread_is_in_the_namespace
    tests/command_line/test_command_line_users.py::test_hundreds_are_removed_at_once
    'tests/command_line/test_command_line_users.py::test_objects_that_a_user_has_left_are_marked_and_removed[queue]'
    'tests/command_line/test_command_line_users.py::test_objects_of_another_pid_namespace_are_not_known_to_be_unused[queue]'
    tests/handles/test_listing.py::test_the_lists_agree_with_proc
    tests/peers/test_peers_message_queue.py::test_last_send_pid_is_that_of_the_peer
)
binfmt= under_qemu=1 c_tests=
case $architecture in
i386)
    under_qemu=
    # A 64-bit kernel reports at most 31 bits of its shmmax to 32-bit programs.
    excluded=("${narrow[@]}"
        tests/handles/test_listing.py::test_limits_and_their_use_agree_with_ipcs_and_sysctl)
    ;;
armhf) binfmt=qemu-arm excluded=("${narrow[@]}" "${qemu[@]}") ;;
arm64) binfmt=qemu-aarch64 excluded=("${qemu[@]}" "${qemu_64[@]}") ;;
s390x)
    # Debian 12's NumPy is too old for the tests of arrays.
    binfmt=qemu-s390x excluded=("${qemu[@]}" "${qemu_64[@]}" "${qemu_s390x[@]}" tests/shared_memory/test_ndarray.py)
    # qemu-user writes msg_lspid with 64 bits there, so it reads as 0.
    c_tests='test_sem test_shm test_system test_futex test_wait'
    ;;
*) fail "unknown architecture: $architecture" ;;
esac
# The recipes need packages and languages that are not installed there.
without+=(--ignore=tests/how_to)

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
packages='python3 python3-dev python3-venv python3-pip gcc libc6-dev make git perl strace util-linux
    util-linux-extra procps tmux xxd binutils ninja-build zsh fish less man-db mandoc ruby php-cli
    python3-greenlet python3-hypothesis python3-numpy python3-uvloop'
if [ "$(cat "$root/installed" 2>/dev/null)" != "$packages" ]; then
    echo 'installing packages to build and test with'
    apt=(inside apt-get -qq -o Acquire::Check-Valid-Until=false)
    # shellcheck disable=SC2086  # Names of packages, one word each.
    { "${apt[@]}" update && "${apt[@]}" -y --no-install-recommends install $packages; } >>"$log" 2>&1 ||
        fail "the installation failed: see $log"
    echo "$packages" >"$root/installed"
fi

pure=('meson-python>=0.18' 'meson>=1.2.3' 'pytest>=8' pytest-timeout pytest-xdist 'trio>=0.23' 'anyio>=4.1'
    pyte shtab)
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
