"""Semaphore: construction, operations, attributes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import in_child, listed, run_in_thread, wait_until

import sysv_ipc
from sysv_ipc import (
    IPC_CREAT,
    IPC_CREX,
    IPC_EXCL,
    IPC_PRIVATE,
    SEMAPHORE_VALUE_MAX,
    ArgumentError,
    BusyError,
    ExistentialError,
    Semaphore,
)

VALUE_TEXT = "The semaphore's value must remain between 0 and SEMVMX"


# -------------------------------------------------------------------------- construction


def test_parameters_have_the_order_and_the_names_of_1_2_0(key: int) -> None:
    semaphore = Semaphore(key, IPC_CREX, 0o640, 3)
    same = Semaphore(key=key, flags=0, mode=0o640, initial_value=5)
    assert (same.id, same.mode, same.value) == (semaphore.id, 0o640, 3)
    semaphore.remove()


def test_exclusive_creation_fails_if_the_semaphore_exists(semaphore: Semaphore) -> None:
    with pytest.raises(ExistentialError, match=r"^\[Errno 17\] File exists: semaphore with key"):
        Semaphore(semaphore.key, IPC_CREX)


def test_opening_fails_if_the_semaphore_does_not_exist(key: int) -> None:
    with pytest.raises(ExistentialError, match=r"^\[Errno 2\] No such file or directory"):
        Semaphore(key)


@pytest.mark.parametrize("flags", [0, IPC_CREAT])
def test_opening_never_changes_the_value(semaphore: Semaphore, flags: int) -> None:
    semaphore.value = 9
    before = listed("sem", semaphore.id)
    assert Semaphore(semaphore.key, flags, initial_value=5).value == 9
    assert listed("sem", semaphore.id) == before


@pytest.mark.parametrize("flags", [IPC_CREAT, IPC_CREX])
def test_initial_value_is_set_when_created(key: int, flags: int) -> None:
    semaphore = Semaphore(key, flags, initial_value=SEMAPHORE_VALUE_MAX)
    assert semaphore.value == SEMAPHORE_VALUE_MAX
    semaphore.remove()


@pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")
@pytest.mark.parametrize(
    ("mode", "wanted"),
    [(644, 0o204), (0o7777, 0o777), (-1, 0o777), (0o1600, 0o600), (0o666, 0o666), (0, 0)],
)
def test_mode_is_masked_and_never_acts_as_flags(key: int, mode: int, wanted: int) -> None:
    with pytest.raises(ExistentialError):
        Semaphore(key, 0, mode)
    semaphore = Semaphore(key, IPC_CREX, mode)
    assert int(listed("sem", semaphore.id)["perms"], 8) == wanted
    semaphore.remove()


@pytest.mark.filterwarnings("ignore::sysv_ipc.ArgumentWarning")
def test_permission_bits_of_flags_are_dropped(key: int) -> None:
    semaphore = Semaphore(key, IPC_CREAT | 0o666)
    assert semaphore.mode == 0o600
    assert Semaphore(key, 0o777).id == semaphore.id
    semaphore.remove()


@pytest.mark.parametrize("key_value", [42, None, IPC_PRIVATE])
def test_excl_alone_is_refused(key_value: int | None) -> None:
    with pytest.raises(ValueError, match=r"IPC_EXCL must be combined with IPC_CREAT$") as caught:
        Semaphore(key_value, IPC_EXCL)
    assert caught.value.errno == 22  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [-1, 32768, 2**31, 2**70, -(2**70)])
def test_initial_value_out_of_range_raises_the_text_of_1_2_0(key: int, value: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        Semaphore(key, IPC_CREX, initial_value=value)
    assert (str(caught.value), caught.value.errno) == (VALUE_TEXT, 34)
    assert not sysv_ipc.exists(key, Semaphore)


@pytest.mark.parametrize(
    "arguments",
    [
        {"flags": "0"},
        {"flags": None},
        {"flags": 1.5},
        {"mode": "600"},
        {"mode": None},
        {"initial_value": "1"},
        {"initial_value": 1.0},
        {"nonsense": 1},
    ],
)
def test_arguments_of_a_wrong_type_are_refused(key: int, arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Semaphore(key, **{"flags": IPC_CREX, **arguments})
    assert not sysv_ipc.exists(key, Semaphore)


@pytest.mark.parametrize("arguments", [{"flags": 2**40}, {"mode": 2**31}, {"mode": -(2**40)}])
def test_integers_too_wide_for_c_are_refused(key: int, arguments: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="must be from"):
        Semaphore(key, **{"flags": IPC_CREX, **arguments})
    assert not sysv_ipc.exists(key, Semaphore)


def test_init_again_opens_another(semaphore: Semaphore, key: int) -> None:
    other = Semaphore(key, IPC_CREX, initial_value=5)
    handle = Semaphore(semaphore.key)
    handle.__init__(key)  # type: ignore[misc]
    assert (handle, handle.value) == (other, 5)
    with pytest.raises(ExistentialError):
        handle.__init__(key + 1)  # type: ignore[misc]
    assert handle == other
    other.remove()


# ---------------------------------------------------------------------------- operations


@pytest.mark.parametrize("delta", [1, 3, -3, SEMAPHORE_VALUE_MAX, np.int8(5), True])
@pytest.mark.parametrize(("take", "give"), [("acquire", "release"), ("P", "V")])
def test_taking_and_giving_ignore_the_sign(take: str, give: str, delta: int) -> None:
    semaphore = Semaphore(None, IPC_CREX)
    assert getattr(semaphore, give)(delta) is None
    assert semaphore.value == abs(int(delta))
    assert getattr(semaphore, take)(delta=delta) is True
    assert semaphore.value == 0
    semaphore.remove()


@pytest.mark.parametrize("delta", [0, 32768, -32768, 65536, 65537, 2**32 + 1, 2**70])
@pytest.mark.parametrize("call", ["acquire", "release", "try_acquire", "P", "V"])
def test_impossible_deltas_are_refused(semaphore: Semaphore, call: str, delta: int) -> None:
    with pytest.raises(ArgumentError, match="delta must"):
        getattr(semaphore, call)(delta=delta)
    assert semaphore.value == 1


@pytest.mark.parametrize("delta", ["1", 1.0, None, []])
@pytest.mark.parametrize("call", ["acquire", "release", "try_acquire"])
def test_deltas_that_are_not_integers_are_refused(
    semaphore: Semaphore, call: str, delta: object
) -> None:
    with pytest.raises(TypeError):
        getattr(semaphore, call)(delta=delta)
    assert semaphore.value == 1


def test_releasing_past_the_maximum_is_refused(semaphore: Semaphore) -> None:
    with pytest.raises(ArgumentError) as caught:
        semaphore.release(SEMAPHORE_VALUE_MAX)
    assert (str(caught.value), caught.value.errno) == (VALUE_TEXT, 34)
    assert semaphore.value == 1


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("acquire", {"nonsense": 1}),
        ("release", {"timeout": 1}),
        ("Z", {"delta": 1}),
        ("try_acquire", {"timeout": 1}),
    ],
)
def test_unknown_keywords_are_refused(
    semaphore: Semaphore, call: str, arguments: dict[str, int]
) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        getattr(semaphore, call)(**arguments)


def test_too_many_and_doubled_arguments_are_refused(semaphore: Semaphore) -> None:
    acquire: Callable[..., object] = semaphore.acquire
    with pytest.raises(TypeError, match="at most 2 positional"):
        acquire(1, 1, 1)
    with pytest.raises(TypeError, match="multiple values"):
        acquire(1, timeout=1)
    assert semaphore.value == 1


def test_try_acquire_returns_true_if_it_acquired(semaphore: Semaphore) -> None:
    assert semaphore.try_acquire() is True
    assert semaphore.try_acquire() is False
    semaphore.release(2)
    assert semaphore.try_acquire(3) is False
    assert semaphore.try_acquire(2) is True


def test_z_returns_when_the_value_is_zero(semaphore: Semaphore) -> None:
    join = run_in_thread(semaphore.Z)
    wait_until(lambda: semaphore.waiting_for_zero == 1)
    semaphore.acquire()
    assert join() is True


def test_with_acquires_and_releases(semaphore: Semaphore) -> None:
    with semaphore as inside:
        assert inside is semaphore
        assert semaphore.value == 0
    assert semaphore.value == 1


def test_with_releases_and_never_hides_an_exception(semaphore: Semaphore) -> None:
    with pytest.raises(KeyError, match="inside"), semaphore:
        raise KeyError("inside")
    assert semaphore.value == 1


def test_an_exception_is_passed_on_if_the_semaphore_was_removed() -> None:
    semaphore = Semaphore(None, IPC_CREX, initial_value=1)

    def use() -> None:
        with semaphore:
            semaphore.remove()
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside") as caught:
        use()
    assert "no longer exists" in caught.value.__notes__[0]


def test_with_raises_if_the_semaphore_was_removed() -> None:
    semaphore = Semaphore(None, IPC_CREX, initial_value=1)
    with pytest.raises(ExistentialError), semaphore:
        semaphore.remove()


def test_block_false_never_waits(semaphore: Semaphore) -> None:
    semaphore.acquire()
    semaphore.block = False
    with pytest.raises(BusyError):
        semaphore.acquire()
    with pytest.raises(BusyError):
        semaphore.acquire(60)
    semaphore.release()
    with pytest.raises(BusyError):
        semaphore.Z(60)


def test_undo_gives_back_when_the_process_ends(semaphore: Semaphore) -> None:
    semaphore.value = 5

    def take() -> int:
        mine = Semaphore(semaphore.key)
        mine.undo = True
        mine.acquire(delta=2)
        mine.undo = False
        mine.acquire()
        return mine.value

    assert in_child(take) == 2
    assert semaphore.value == 4


@pytest.mark.parametrize("name", ["block", "undo"])
def test_flags_take_the_truth_of_anything(semaphore: Semaphore, name: str) -> None:
    class Untrue:
        def __bool__(self) -> bool:
            raise KeyError("no truth")

    for value in (True, False, 1, 0, "x", "", None, [1]):
        setattr(semaphore, name, value)
        assert getattr(semaphore, name) is bool(value)
    setattr(semaphore, name, True)
    with pytest.raises(KeyError):
        setattr(semaphore, name, Untrue())
    assert getattr(semaphore, name) is True


# ---------------------------------------------------------------------------- attributes


def test_attributes_agree_with_the_systems_list(semaphore: Semaphore) -> None:
    semaphore.acquire()
    record = listed("sem", semaphore.id)
    assert semaphore.key == int(record["key"])
    for name in ("uid", "gid", "cuid", "cgid"):
        assert getattr(semaphore, name) == int(record[name])
    assert semaphore.mode == int(record["perms"], 8)
    assert semaphore.o_time == semaphore.last_operation_time == int(record["otime"])
    assert semaphore.last_change_time == int(record["ctime"])
    assert semaphore.nsems == int(record["nsems"]) == 1
    assert semaphore.last_pid == os.getpid()


def test_o_time_is_that_of_the_last_operation(semaphore: Semaphore) -> None:
    semaphore.acquire()
    assert abs(semaphore.o_time - time.time()) < 60


def test_waiters_are_counted(semaphore: Semaphore) -> None:
    assert (semaphore.waiting_for_nonzero, semaphore.waiting_for_zero) == (0, 0)
    joins = [run_in_thread(lambda: semaphore.acquire(delta=2)) for _ in range(3)]
    wait_until(lambda: semaphore.waiting_for_nonzero == 3)
    semaphore.release(6)
    assert [join() for join in joins] == [True] * 3


@pytest.mark.parametrize("value", [0, 1, SEMAPHORE_VALUE_MAX, np.int64(7)])
def test_value_can_be_set(semaphore: Semaphore, value: int) -> None:
    semaphore.value = value
    assert Semaphore(semaphore.key).value == value


@pytest.mark.parametrize("value", [-1, 32768, 65536, 2**32, 2**64 + 1, -(2**70)])
def test_value_out_of_range_is_refused(semaphore: Semaphore, value: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        semaphore.value = value
    assert (str(caught.value), caught.value.errno) == (VALUE_TEXT, 34)
    assert semaphore.value == 1


def test_an_exception_that_refuses_notes_is_not_hidden() -> None:
    class OwnError(Exception):
        pass

    def fail_inside() -> None:
        with semaphore:
            semaphore.remove()
            raise error

    semaphore = Semaphore(None, IPC_CREX, initial_value=1)
    error = OwnError("inner")
    error.__notes__ = 5  # type: ignore[assignment]
    try:
        fail_inside()
    except OwnError as caught:
        assert caught is error  # noqa: PT017
