"""Run each test in several threads at once (``pytest --parallel-threads=4``), with exceptions.

pytest-run-parallel calls a test in all threads with the same fixtures.  Here each thread gets
objects of its own instead, so that the tests need no changes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

Make = Callable[[], contextlib.AbstractContextManager[object]]

#: Whole files: their subject belongs to the process, not to a thread.
FILES = {
    "test_aio_cancel.py": "counts its threads",
    "test_aio_interrupted.py": "sets signal handlers, and profiles",
    "test_aio_threads.py": "counts its threads",
    "test_argument_warning.py": "warning filters belong to the process",
    "test_benchmarks.py": "starts programs",
    "test_command_line.py": "starts programs, and replaces standard output",
    "test_command_line_data.py": "starts programs",
    "test_command_line_errors.py": "starts programs, and replaces standard output",
    "test_command_line_delivery.py": "starts programs",
    "test_command_line_terminal.py": "starts programs on terminals of their own",
    "test_command_line_screens.py": "starts programs on terminals of their own",
    "test_command_line_shells.py": "starts shells on terminals of their own",
    "test_command_line_tables.py": "starts programs on terminals of their own",
    "test_command_line_usage.py": "starts programs",
    "test_command_line_watch.py": "starts programs on terminals of their own",
    "test_command_line_users.py": "starts programs and counts all objects of the namespace",
    "test_compat.py": "starts programs",
    "test_creation.py": "holds the lock of the namespace, forks and kills",
    "test_creation_given_up.py": "sets the id of the next object, and starts programs",
    "test_demo.py": "starts programs",
    "test_docs.py": "runs code blocks, which print",
    "test_greenlets.py": "starts programs",
    "test_identity.py": "sets the id of the next object, and forks",
    "test_interpreters.py": "loads the module repeatedly",
    "test_kept.py": "replaces the allocators of the process",
    "test_lifetime.py": "measures the memory of the process",
    "test_listing.py": "counts all objects of the namespace",
    "test_listing_old_kernel.py": "counts all objects of the namespace",
    "test_man_pages.py": "starts programs under strace",
    "test_permissions.py": "forks children that become other users",
    "test_persistence.py": "starts programs",
    "test_peers_tools.py": "counts all objects of the namespace",
    "test_reach.py": "starts programs",
    "test_tools.py": "starts programs",
    "test_trio_anyio.py": "counts its threads",
    "test_wait.py": "sets signal handlers",
    "test_camera.py": "its threads would publish into one segment",
    "test_gunicorn.py": "starts programs",
    "test_languages.py": "starts programs",
    "test_locks_and_workers.py": "starts programs",
    "test_migration.py": "starts programs",
    "test_operation.py": "starts programs",
    "test_recipes.py": "starts programs",
    "test_services.py": "starts programs",
    "test_cancel_later.py": "sets signal handlers, and starts programs",
    "test_wait_ends.py": "starts programs that signals end",
    "test_wait_finish.py": "starts programs",
    "test_wait_signal.py": "signal handlers belong to the process",
    "test_wait_signal_changes.py": "signal handlers belong to the process",
    "test_wait_subinterpreters.py": "loads the module repeatedly",
}
#: Single tests.
TESTS = {
    "test_the_example_in_the_docstring_of_a_class_works": "doctest replaces standard output",
    "test_no_neighbouring_mapping_is_replaced_with_huge_pages_of_any_size": "compiles a library",
    "test_a_ghost_is_not_given_to_a_segment_that_gets_its_id": "sets the id of the next object",
    "test_a_hole_is_never_taken_for_an_attachment": "compiles a library",
    "test_values_are_never_those_of_a_set_of_another_size": "sets the id of the next object",
    "test_values_of_a_very_large_set_that_has_the_id_are_refused": "changes the limits",
    "test_members_that_semop_cannot_name_are_refused": "changes the limits",
    "test_a_message_is_cut_only_at_the_callers_limit_even_if_msgmax_changes": "changes the limits",
    "test_an_exception_inside_str_of_an_error_is_passed_on": "replaces the allocators",
    "test_a_reader_never_sees_half_a_number": "forks",
    "test_a_signal_handler_may_cancel_the_wait_that_it_interrupts": "sets a signal handler",
    "test_a_handler_may_fork_in_the_middle_of_a_wait": "sets a signal handler",
    "test_no_memory_for_an_attachment_is_out_of_memory": "limits the memory of the process",
    "test_lack_of_memory_at_any_point_kills_nothing": "starts programs",
    "test_a_huge_limit_takes_no_memory": "changes the limits",
    "test_a_wait_is_cancelled": "changes the limits",
    "test_a_key_keeps_its_low_32_bits": "uses fixed keys",
    "test_random_keys_leave_c_s_generator_alone": "seeds a generator that the process shares",
    "test_a_forked_child_shares_the_attachment_and_detaches_its_own": "forks",
    "test_a_message_longer_than_the_kernel_takes_names_the_limit": "changes the limits",
    "test_huge_pages_are_touched_on_kernels_without_a_call_for_it": "forks",
    "test_attach_at_an_address": "another thread may map that place first",
    "test_exists_attaches_nothing": "counts the mappings of the process",
    "test_attaching_repeatedly_uses_no_more_address_space": "counts the mappings of the process",
    "test_a_shape_is_a_length_or_a_sequence_of_lengths": "its shapes can be used once",
    "test_signals_do_not_prolong_a_timeout": "sets a signal handler",
    "test_an_error_that_a_signal_handler_raises_keeps_its_text": "sets a signal handler",
    "test_receive_many_loses_nothing_if_memory_is_lacking": "makes allocations of all threads fail",
    "test_timeouts_need_few_timers": "counts the timers of the process",
    "test_a_wait_that_has_succeeded_is_a_success_despite_signals": "sets a signal handler",
}
#: Fixtures that threads may share.
SHARED = {"leak_guard", "process_guard", "long_messages", "peer", "request", "run_python", "way"}


def _parameters(item: pytest.Function) -> set[str]:
    return set(item.callspec.params) if hasattr(item, "callspec") else set()


def _why_not(item: pytest.Function, fresh: Mapping[str, Make]) -> str | None:
    if reason := FILES.get(item.path.name) or TESTS.get(item.originalname):
        return reason
    for name in set(item.fixturenames) - fresh.keys() - SHARED - _parameters(item):
        return f"its threads would share {name}"
    return None


def prepare(item: pytest.Function, fresh: Mapping[str, Make]) -> None:
    """Give each thread its own objects from these fixtures, or run the test in one thread."""
    if reason := _why_not(item, fresh):
        item.add_marker(pytest.mark.thread_unsafe(reason=reason))
        return
    function, names = item.obj, fresh.keys() - _parameters(item)

    @functools.wraps(function)
    def with_its_own(*args: Any, **given: Any) -> object:
        with contextlib.ExitStack() as stack:
            for name in names & given.keys():
                given[name] = stack.enter_context(fresh[name]())
            return function(*args, **given)

    item.obj = with_its_own
