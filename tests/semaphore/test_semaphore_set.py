"""SemaphoreSet: creating, members, values, operations on several members at once."""

from __future__ import annotations

import errno
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import in_child, listed, run_in_thread, wait_until

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    IPC_NOWAIT,
    SEM_UNDO,
    SEMAPHORE_VALUE_MAX,
    ArgumentError,
    BusyError,
    ExistentialError,
    Semaphore,
    SemaphoreSet,
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def trio() -> Iterator[SemaphoreSet]:
    """A set of three members with the values 1, 2, 3, removed at the end."""
    handle = SemaphoreSet(None, 3, IPC_CREX, initial_values=[1, 2, 3])
    yield handle
    if not handle.removed:
        handle.remove()


# -------------------------------------------------------------------------- construction


def test_parameters_have_this_order_and_these_names(key: int) -> None:
    made = SemaphoreSet(key, 2, IPC_CREX, 0o640, (5, 6))
    same = SemaphoreSet(key=key, nsems=0, flags=0, mode=0o640, initial_values=None)
    assert (same, same.values, same.mode, same.nsems) == (made, (5, 6), 0o640, 2)
    made.remove()


def test_a_new_set_without_a_number_of_members_is_an_error_that_names_the_argument(
    key: int,
) -> None:
    text = f"there is no semaphore set with key {key} ({key:#x}) yet: pass nsems= to create it"
    with pytest.raises(ArgumentError) as caught:
        SemaphoreSet(key, flags=IPC_CREAT)
    assert caught.value.errno == errno.EINVAL
    assert text in str(caught.value)


@pytest.mark.parametrize("nsems", [1, 2, 500, 32_000])
def test_sets_of_all_sizes(key: int, nsems: int) -> None:
    made = SemaphoreSet(key, nsems, IPC_CREX)
    assert len(made) == made.nsems == int(listed("sem", made.id)["nsems"]) == nsems
    made.values = [number % 100 for number in range(nsems)]
    assert SemaphoreSet(key).values == tuple(number % 100 for number in range(nsems))
    assert made[-1].value == (nsems - 1) % 100
    made.remove()


def test_a_new_set_of_no_members_is_refused_after_one_that_exists(key: int) -> None:
    with pytest.raises(ArgumentError, match="a new set needs nsems or initial_values"):
        SemaphoreSet(key, 0, IPC_CREX)
    made = SemaphoreSet(key, 2, IPC_CREX)
    with pytest.raises(ExistentialError) as caught:
        SemaphoreSet(key, 0, IPC_CREX)
    assert (caught.value.errno, caught.value.key) == (17, key)
    assert len(made) == 2
    made.remove()


@pytest.mark.parametrize("index", [3, -4, 70000, 2**31, 2**40, 2**63, 2**70, -(2**70)])
def test_the_error_of_an_index_outside_the_set_names_its_size(
    trio: SemaphoreSet, index: int
) -> None:
    for call in (
        lambda: trio.op([(0, 1), (index, 1)]),
        lambda: trio.compile([(index, 1)]),
        lambda: trio.acquire(0, index),
        lambda: trio.release(index),
        lambda: trio.zero(index),
    ):
        with pytest.raises(ArgumentError) as caught:
            call()
        error = caught.value
        assert (error.errno, error.kind, error.id) == (27, "semaphore", trio.id)
        assert str(error).endswith(f": index {index} is outside a set of 3 members")
    assert trio.values == (1, 2, 3)


class Lying:
    """A sequence that reports an impossible length."""

    def __len__(self) -> int:
        return 10**12

    def __getitem__(self, index: int) -> int:
        if index > 2:
            raise IndexError
        return index


def test_the_reported_length_of_a_sequence_is_not_trusted(trio: SemaphoreSet) -> None:
    trio.values = Lying()  # type: ignore[assignment]
    assert trio.values == (0, 1, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda trio: setattr(trio, "values", itertools.repeat(0)),
        lambda trio: SemaphoreSet(None, 0, IPC_CREX, initial_values=itertools.repeat(0)),
        lambda trio: trio.op(itertools.repeat((0, 1))),
        lambda trio: trio.op([itertools.repeat(1)]),
        lambda trio: trio.compile(itertools.repeat((0, 1))),
    ],
)
def test_an_endless_iterable_is_refused(
    trio: SemaphoreSet, call: Callable[[SemaphoreSet], object]
) -> None:
    with pytest.raises(ArgumentError, match="more than 1000000 items") as caught:
        call(trio)
    assert caught.value.errno == 7
    assert trio.values == (1, 2, 3)


def test_initial_values_determine_the_number_of_members(key: int) -> None:
    made = SemaphoreSet(key, flags=IPC_CREAT, initial_values=range(5))
    assert made.values == (0, 1, 2, 3, 4)
    made.remove()


@pytest.mark.parametrize("flags", [0, IPC_CREAT])
def test_opening_never_changes_the_values(trio: SemaphoreSet, flags: int) -> None:
    assert SemaphoreSet(trio.key, 0, flags, initial_values=[7, 8, 9]).values == (1, 2, 3)
    assert SemaphoreSet(trio.key, 2, flags).values == (1, 2, 3)


def test_opening_a_set_that_is_too_small_names_both_sizes(trio: SemaphoreSet) -> None:
    for flags in (0, IPC_CREAT):
        with pytest.raises(ArgumentError, match="3 members, not 4"):
            SemaphoreSet(trio.key, 4, flags)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ArgumentError),
        ({"nsems": 0}, ArgumentError),
        ({"nsems": -1}, ArgumentError),
        ({"nsems": 32_001}, ArgumentError),
        ({"nsems": 2**40}, ArgumentError),
        ({"nsems": "3"}, TypeError),
        ({"initial_values": []}, ArgumentError),
        ({"initial_values": [1, -1]}, ArgumentError),
        ({"initial_values": [1, SEMAPHORE_VALUE_MAX + 1]}, ArgumentError),
        ({"initial_values": [1, "2"]}, TypeError),
        ({"initial_values": 5}, TypeError),
        ({"nsems": 2, "initial_values": [1, 2, 3]}, ArgumentError),
    ],
)
def test_impossible_arguments_are_refused_and_nothing_is_made(
    key: int, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        SemaphoreSet(key, flags=IPC_CREX, **arguments)
    assert not sysv_ipc.exists(key, SemaphoreSet)


def test_values_that_change_while_they_are_read_do_no_harm(key: int) -> None:
    values: list[Any] = []

    class Number:
        def __index__(self) -> int:
            values.clear()
            return 5

    values += [Number()] * 1000
    made = SemaphoreSet(key, flags=IPC_CREX, initial_values=values)
    assert made.values == (5,) * 1000
    made.remove()


def test_a_creator_that_dies_leaves_the_initial_values_or_nothing(key: int) -> None:
    code = f"import sysv_ipc; sysv_ipc.SemaphoreSet({key}, 0, sysv_ipc.IPC_CREAT, 0o640, [4, 5])"
    for when, wanted in ((1, (6, 7)), (2, (4, 5)), (3, (4, 5))):
        command = ["strace", "-f", "-o", "/dev/null", "-e"]
        command += [f"inject=semctl:signal=SIGKILL:when={when}", sys.executable, "-c", code]
        subprocess.run(command, timeout=60)
        made = SemaphoreSet(key, flags=IPC_CREAT, initial_values=[6, 7])
        assert made.values == wanted
        made.remove()


# ------------------------------------------------------------------------------- members


def test_members_are_semaphores(trio: SemaphoreSet) -> None:
    assert [member.value for member in trio] == [1, 2, 3]
    assert [member.index for member in trio] == [0, 1, 2]
    assert (trio[-1].index, trio[-3].value) == (2, 1)
    member = trio[1]
    assert type(member) is Semaphore
    assert (member.id, member.key, member.set, member.nsems) == (trio.id, trio.key, trio, 3)
    member.acquire()
    member.release(5)
    assert trio.values == (1, 6, 3)
    assert member.last_pid != 0
    assert trio[0] == Semaphore(trio.key)


@pytest.mark.parametrize("index", [3, -4, 2**40, -(2**70)])
def test_an_index_outside_is_an_index_error(trio: SemaphoreSet, index: int) -> None:
    with pytest.raises(IndexError):
        trio[index]


@pytest.mark.parametrize("index", [slice(0, 2), "0", 1.0, None])
def test_an_index_of_a_wrong_type_is_refused(trio: SemaphoreSet, index: Any) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        trio[index]


def test_sets_and_members_equal_only_handles_of_the_same_one(trio: SemaphoreSet) -> None:
    things = [trio, trio[0], trio[1], trio[2]]
    for number, thing in enumerate(things):
        for other_number, other in enumerate([SemaphoreSet(trio.key), *SemaphoreSet(trio.key)]):
            assert (thing == other) == (number == other_number)
            assert (hash(thing) == hash(other)) == (number == other_number)
        copy = pickle.loads(pickle.dumps(thing))
        assert (copy, type(copy)) == (thing, type(thing))


def test_from_id_opens_a_set_and_a_member(trio: SemaphoreSet) -> None:
    assert SemaphoreSet.from_id(trio.id).values == (1, 2, 3)
    assert Semaphore.from_id(trio.id, 2).value == 3
    assert Semaphore.from_id(trio.id, index=1) == trio[1]
    with pytest.raises(ArgumentError, match="past the end of a set of 3 members"):
        Semaphore.from_id(trio.id, 3)
    with pytest.raises(ExistentialError):
        SemaphoreSet.from_id(2**30)


def test_init_again_makes_a_member_member_0(trio: SemaphoreSet) -> None:
    member = trio[2]
    member.__init__(trio.key)  # type: ignore[misc]
    assert (member.index, member.value) == (0, 1)


# -------------------------------------------------------------------------------- values


def test_values_are_read_and_written_at_once(trio: SemaphoreSet) -> None:
    trio.values = [7, 8, SEMAPHORE_VALUE_MAX]
    assert trio.values == (7, 8, SEMAPHORE_VALUE_MAX)


@pytest.mark.parametrize(
    "values", [(), (1, 2), (1, 2, 3, 4), (1, 2, -1), (1, 2, 32768), ("1", 2, 3), 5, None, "123"]
)
def test_impossible_values_change_nothing(trio: SemaphoreSet, values: Any) -> None:
    with pytest.raises((ArgumentError, TypeError)):
        trio.values = values
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del trio.values
    assert trio.values == (1, 2, 3)


# ----------------------------------------------------------------------------- operations


def test_op_does_all_or_nothing(trio: SemaphoreSet) -> None:
    assert trio.op([(0, -1), (1, 5), (2, -3), (2, 0)]) is True
    assert trio.values == (0, 7, 0)
    with pytest.raises(BusyError):
        trio.op([(1, -1), (0, -1)], timeout=0)
    with pytest.raises(BusyError):
        trio.op([(1, -1), (0, -1)], timeout=0.01)
    with pytest.raises(BusyError):
        trio.op([(1, -1), (0, -1, IPC_NOWAIT)])
    assert trio.values == (0, 7, 0)


def test_operations_are_done_in_order(trio: SemaphoreSet) -> None:
    trio.op([(0, -1), (0, 0), (0, 4), (0, -2)])
    assert trio[0].value == 2


def test_negative_indexes_count_from_the_end(trio: SemaphoreSet) -> None:
    trio.op([(-1, 1), (-3, 1)])
    assert trio.values == (2, 2, 4)


def test_a_wait_for_several_members_ends_when_all_are_available(trio: SemaphoreSet) -> None:
    trio.values = (0, 0, 0)
    join = run_in_thread(lambda: trio.op([(0, -1), (1, -2)]))
    wait_until(lambda: trio[0].waiting_for_nonzero == 1)
    trio.op([(0, 1)])
    wait_until(lambda: trio[1].waiting_for_nonzero == 1)
    assert trio.values == (1, 0, 0)
    trio.op([(1, 2)])
    assert join() is True
    assert trio.values == (0, 0, 0)


def test_undo_applies_to_the_operation_with_the_flag(trio: SemaphoreSet) -> None:
    assert in_child(lambda: trio.op([(0, -1, SEM_UNDO), (1, -1), (2, 4, SEM_UNDO)]))
    assert trio.values == (1, 1, 3)


def test_five_hundred_operations_fit(trio: SemaphoreSet) -> None:
    trio.op([(0, 1)] * 500)
    assert trio[0].value == 501
    with pytest.raises(ArgumentError, match=r"^\[Errno 7\].*501 operations.*SEMOPM.*now 500"):
        trio.op([(0, 1)] * 501)
    with pytest.raises(ArgumentError, match=r"^\[Errno 7\]"):
        trio.op([(0, 1)] * 100_000)
    assert trio[0].value == 501


def test_any_iterable_of_operations_is_accepted(trio: SemaphoreSet) -> None:
    trio.op([number, 1] for number in range(3))
    assert trio.values == (2, 3, 4)


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ([], ArgumentError),
        ([(3, 1)], ArgumentError),
        ([(-4, 1)], ArgumentError),
        ([(65536, 1)], ArgumentError),
        ([(0, 32768)], ArgumentError),
        ([(0, -32768)], ArgumentError),
        ([(0, 2**40)], ArgumentError),
        ([(0, 1, 1)], ArgumentError),
        ([(0, 1, -1)], ArgumentError),
        ([(0, 1, 2**40)], ArgumentError),
        ([(0,)], TypeError),
        ([(0, 1, 0, 0)], TypeError),
        ([("0", 1)], TypeError),
        ([(0, 1.0)], TypeError),
        ([5], TypeError),
        (5, TypeError),
        (None, TypeError),
        ("ab", TypeError),
    ],
)
@pytest.mark.parametrize("call", ["op", "compile"])
def test_impossible_operations_are_refused(
    trio: SemaphoreSet, call: str, operations: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        getattr(trio, call)(operations)()
    assert trio.values == (1, 2, 3)


def test_a_value_that_would_go_out_of_range_is_refused(trio: SemaphoreSet) -> None:
    with pytest.raises(ArgumentError, match="between 0 and SEMVMX") as caught:
        trio.op([(0, 5), (1, SEMAPHORE_VALUE_MAX)])
    assert caught.value.errno == 34
    assert trio.values == (1, 2, 3)


def test_operations_that_change_while_they_are_read_do_no_harm(trio: SemaphoreSet) -> None:
    operations: list[Any] = []

    class Number:
        def __index__(self) -> int:
            operations.clear()
            return 1

    operations += [[Number(), Number()] for _ in range(100)]
    operations[0].append(0)
    inner = operations[0]

    class Clearing:
        def __index__(self) -> int:
            inner.clear()
            return 0

    inner[0] = Clearing()
    trio.op(operations)
    assert trio.values == (2, 101, 3)


def test_acquire_release_and_zero_take_several_members(trio: SemaphoreSet) -> None:
    assert trio.acquire(0, 1) is True
    assert trio.values == (0, 1, 3)
    with pytest.raises(BusyError):
        trio.acquire(2, 0, timeout=0)
    assert trio.acquire(1, timeout=1) is True
    assert trio.zero(0, 1) is True
    with pytest.raises(BusyError):
        trio.zero(0, 2, timeout=0.01)
    assert trio.release(0, 0, -1) is None  # type: ignore[func-returns-value]
    assert trio.values == (2, 0, 4)


@pytest.mark.parametrize("call", ["acquire", "release", "zero"])
def test_impossible_members_are_refused(trio: SemaphoreSet, call: str) -> None:
    for indexes in ((), (3,), (0, -4)):
        with pytest.raises(ArgumentError):
            getattr(trio, call)(*indexes)
    for bad in ("0", 1.0, None):
        with pytest.raises(TypeError):
            getattr(trio, call)(bad)
    with pytest.raises(TypeError):
        getattr(trio, call)(0, nonsense=1)
    assert trio.values == (1, 2, 3)


def test_compiled_operations_can_be_called_repeatedly(trio: SemaphoreSet) -> None:
    move = trio.compile([(2, -1), (0, 1)])
    assert [move(), move(), move(timeout=5)] == [True] * 3
    assert trio.values == (4, 2, 0)
    with pytest.raises(BusyError):
        move(0)
    with pytest.raises(BusyError):
        move(timeout=0.01)
    with pytest.raises(ValueError, match="The timeout must be"):
        move(-1)
    assert move.set is trio
    assert "2 on <sysv_ipc.SemaphoreSet" in repr(move)
    with pytest.raises(TypeError):
        type(move)()


def test_a_set_has_no_context_manager_but_its_members_have(trio: SemaphoreSet) -> None:
    assert not hasattr(trio, "__enter__")
    with trio[0]:
        assert trio.values == (0, 2, 3)


def test_attributes_and_info_have_the_same_words(trio: SemaphoreSet) -> None:
    trio.op([(0, 1)])
    info = trio.info()
    for name in info.__match_args__:
        assert getattr(info, name) == getattr(trio, name) == getattr(trio[0], name), name
    assert trio.o_time == info.last_operation_time > 0


# --------------------------------------------------- ids that name another set now


def reused(number: int, members: int) -> SemaphoreSet:
    """Make a set that gets this id."""
    Path("/proc/sys/kernel/sem_next_id").write_text(str(number))
    made = SemaphoreSet(sysv_ipc.IPC_PRIVATE, members)
    assert made.id == number
    return made


@pytest.mark.parametrize(("members", "now"), [(1000, 1), (1, 1000), (3, 2), (2, 3), (1, 32000)])
def test_values_are_never_those_of_a_set_of_another_size(members: int, now: int) -> None:
    """Reading would return uninitialised memory, and writing would copy it into the set."""
    stale = SemaphoreSet(sysv_ipc.IPC_PRIVATE, members)
    stale.remove()
    other = reused(stale.id, now)
    other.values = [5] * now
    for _ in range(3):
        with pytest.raises(ExistentialError):
            _ = stale.values
        with pytest.raises(ExistentialError):
            stale.values = [1] * members
    assert other.values == (5,) * now
    other.remove()


@pytest.fixture
def large_sets() -> Iterator[None]:
    """Allow sets with more members than semop(2) can name."""
    path = Path("/proc/sys/kernel/sem")
    before = path.read_text()
    path.write_text("100000 10000000 500 32000")
    yield
    path.write_text(before)


def test_values_of_a_very_large_set_that_has_the_id_are_refused(large_sets: None) -> None:
    stale = SemaphoreSet(sysv_ipc.IPC_PRIVATE, 1)
    stale.remove()
    other = reused(stale.id, 99000)
    for _ in range(20):
        with pytest.raises(ExistentialError):
            _ = stale.values
    with pytest.raises(ExistentialError):
        stale.values = [1]
    other.remove()


def test_members_that_semop_cannot_name_are_refused(large_sets: None) -> None:
    many = SemaphoreSet(None, 70000, IPC_CREX)
    many[65535].release()
    assert many.values[65535] == 1
    assert len(many.values) == 70000
    for use in (
        lambda: many[65536],
        lambda: many[-1],
        lambda: many.op([(65536, 1)]),
        lambda: many.acquire(69999, timeout=0),
        lambda: many.release(-1),
        lambda: many.zero(65536, timeout=0),
        lambda: many.compile([(65536, 1)]),
        lambda: Semaphore.from_id(many.id, 65536),
    ):
        with pytest.raises(ArgumentError) as caught:
            use()
        assert caught.value.errno in (errno.EFBIG, errno.EINVAL)
    assert many.values[0] == 0
    assert sum(many.values) == 1
    many.remove()


def test_a_tuple_that_is_not_filled_is_not_reachable(run_python: Run) -> None:
    """The collector runs in the middle, and gc.callbacks can run any code."""
    code = """
import gc, sysv_ipc
many = sysv_ipc.SemaphoreSet(None, 5, sysv_ipc.IPC_CREX)
compiled = many.compile([(i % 5, 1) for i in range(300)])
def look(*_):
    for one in gc.get_objects():
        if type(one) is tuple and len(one) == 300:
            repr(one)
gc.callbacks.append(look)
gc.set_threshold(1)
for _ in range(20):
    assert len(compiled.operations) == 300
print("alive")
many.remove()
"""
    done = run_python(code)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_a_member_of_a_removed_set_raises_an_error(trio: SemaphoreSet) -> None:
    member = trio[0]
    trio.remove()
    for use in (lambda: member.set, lambda: trio[0].value):
        with pytest.raises(ExistentialError, match="no longer exists"):
            use()
