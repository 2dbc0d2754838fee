"""Hypothesis: a set and a queue behave like a small model of the kernel."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from helpers import LONG_MAX
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sysv_ipc import (
    IPC_CREX,
    IPC_NOWAIT,
    SEMAPHORE_VALUE_MAX,
    ArgumentError,
    BusyError,
    Error,
    MessageQueue,
    SemaphoreSet,
)

#: conftest.py sets what refers to it apart from the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:It looks like .register_random. was passed")

MEMBERS = 4
CAPACITY = 60
LIMIT = 12

members = st.integers(-MEMBERS, MEMBERS - 1)
deltas = st.integers(-6, 6) | st.sampled_from([SEMAPHORE_VALUE_MAX, -SEMAPHORE_VALUE_MAX])
operations = st.lists(
    st.tuples(members, deltas) | st.tuples(members, deltas, st.sampled_from([0, IPC_NOWAIT])),
    min_size=1,
    max_size=6,
)
types = st.integers(1, 5) | st.sampled_from([2**31 - 1, LONG_MAX])
wanted_types = st.integers(-6, 6) | st.sampled_from([-LONG_MAX - 1, LONG_MAX])
texts = st.binary(max_size=LIMIT + 4)


class Kernel:
    """A model of semop(2), msgsnd(2) and msgrcv(2) without waiting."""

    def __init__(self) -> None:
        self.values = [0] * MEMBERS
        self.messages: list[tuple[bytes, int]] = []

    def op(self, todo: list[Any]) -> int:
        """Do all operations or none; return 0 or an errno."""
        values = list(self.values)
        for index, delta, *_ in todo:
            if delta == 0:
                if values[index] != 0:
                    return errno.EAGAIN
            elif values[index] + delta < 0:
                return errno.EAGAIN
            elif values[index] + delta > SEMAPHORE_VALUE_MAX:
                return errno.ERANGE
            else:
                values[index] += delta
        self.values = values
        return 0

    def fits(self, text: bytes) -> bool:
        """Return True if the queue has room: for the bytes, and for as many messages as bytes."""
        used = sum(len(message) for message, _ in self.messages)
        return used + len(text) <= CAPACITY and len(self.messages) + 1 <= CAPACITY

    def find(self, kind: int, except_type: bool) -> int | None:
        """Return the index of the message that msgrcv(2) takes."""
        places = range(len(self.messages))
        if kind == 0:
            return next(iter(places), None)
        if kind > 0:
            return next((p for p in places if (self.messages[p][1] == kind) != except_type), None)
        at_most = min(-kind, LONG_MAX)
        fitting = [p for p in places if self.messages[p][1] <= at_most]
        return min(fitting, key=lambda p: (self.messages[p][1], p), default=None)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.semaphores = SemaphoreSet(None, MEMBERS, IPC_CREX)
        self.queue = MessageQueue(None, IPC_CREX, max_message_size=LIMIT)
        self.queue.max_size = CAPACITY

    def teardown(self) -> None:
        self.semaphores.remove()
        self.queue.remove()

    # ------------------------------------------------------------------------------- sets

    @rule(todo=operations, compiled=st.booleans())
    def op(self, todo: list[Any], compiled: bool) -> None:
        wanted = self.kernel.op(todo)
        got = 0
        try:
            if compiled:
                self.semaphores.compile(todo)(timeout=0)
            else:
                self.semaphores.op(todo, 0)
        except Error as error:
            got = error.errno or -1
        assert got == wanted

    @rule(values=st.lists(st.integers(0, 9), min_size=MEMBERS, max_size=MEMBERS))
    def set_values(self, values: list[int]) -> None:
        self.semaphores.values = values
        self.kernel.values = values

    @rule(index=members, value=st.integers(0, SEMAPHORE_VALUE_MAX))
    def set_value(self, index: int, value: int) -> None:
        self.semaphores[index].value = value
        self.kernel.values[index] = value

    @rule(index=members, delta=st.integers(1, 8))
    def try_acquire(self, index: int, delta: int) -> None:
        wanted = self.kernel.op([(index, -delta)]) == 0
        assert self.semaphores[index].try_acquire(delta) is wanted

    @rule(indexes=st.lists(members, min_size=1, max_size=4))
    def acquire_several(self, indexes: list[int]) -> None:
        wanted = self.kernel.op([(index, -1) for index in indexes])
        try:
            got = self.semaphores.acquire(*indexes, timeout=0)
        except BusyError:
            got = False
        assert got == (wanted == 0)

    # ----------------------------------------------------------------------------- queues

    @rule(text=texts, kind=types)
    def send(self, text: bytes, kind: int) -> None:
        if len(text) > LIMIT:
            try:
                self.queue.try_send(text, kind)
            except ArgumentError:
                return
            raise AssertionError("a message longer than max_message_size was sent")
        fits = self.kernel.fits(text)
        assert self.queue.try_send(text, kind) is fits
        if fits:
            self.kernel.messages.append((text, kind))

    @rule(many=st.lists(st.binary(max_size=LIMIT), max_size=8), kind=types)
    def send_many(self, many: list[bytes], kind: int) -> None:
        wanted = 0
        for text in many:
            if not self.kernel.fits(text):
                break
            self.kernel.messages.append((text, kind))
            wanted += 1
        assert self.queue.send_many(many, kind, block=False) == wanted

    @rule(
        kind=wanted_types,
        except_type=st.booleans(),
        truncate=st.booleans(),
        limit=st.integers(0, LIMIT),
        into=st.booleans(),
    )
    def receive(self, kind: int, except_type: bool, truncate: bool, limit: int, into: bool) -> None:
        except_type = except_type and kind > 0
        place = self.kernel.find(kind, except_type)
        flags = {"except_type": except_type, "truncate": truncate}
        handle = MessageQueue.from_id(self.queue.id, max_message_size=limit)
        buffer = bytearray(limit)
        got: Any
        try:
            if into:
                count, got_type = handle.receive_into(buffer, False, kind, **flags)
                got = bytes(buffer[:count]), got_type
            else:
                got = handle.receive(False, kind, **flags)
        except Error as error:
            got = error.errno
        if place is None:
            assert got == errno.ENOMSG
        elif len(self.kernel.messages[place][0]) > limit and not truncate:
            assert got == errno.E2BIG
        else:
            text, kind = self.kernel.messages.pop(place)
            assert got == (text[:limit], kind)

    @rule(kind=wanted_types, limit=st.integers(1, 6))
    def receive_many(self, kind: int, limit: int) -> None:
        wanted: list[tuple[bytes, int]] = []
        while len(wanted) < limit and (place := self.kernel.find(kind, False)) is not None:
            wanted.append(self.kernel.messages.pop(place))
        assert self.queue.receive_many(limit, False, kind) == wanted

    @rule(index=st.integers(0, 12))
    def peek(self, index: int) -> None:
        messages = self.kernel.messages
        assert self.queue.peek(index) == (messages[index] if index < len(messages) else None)

    @precondition(lambda self: self.kernel.messages)
    @rule()
    def receive_first(self) -> None:
        assert self.queue.try_receive() == self.kernel.messages.pop(0)

    # ------------------------------------------------------------------------- what holds

    @invariant()
    def counts_agree(self) -> None:
        assert self.semaphores.values == tuple(self.kernel.values)
        info = self.queue.info()
        assert info.current_messages == len(self.kernel.messages)
        assert info.current_bytes == sum(len(text) for text, _ in self.kernel.messages)


TestMachine = pytest.mark.timeout(600)(Machine.TestCase)
TestMachine.settings = settings(
    max_examples=200 if not os.environ.get("SYSV_IPC_TESTS_UNDER_QEMU") else 20,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
