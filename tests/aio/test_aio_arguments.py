"""``sysv_ipc.aio``: bad arguments are refused at once, and as the library refuses them."""

from __future__ import annotations

import array
import asyncio
import itertools
import pickle
from collections.abc import Coroutine
from functools import partial
from typing import Any

import calls
import pytest
from helpers import begun, cancel, fill, in_loop

from sysv_ipc import IPC_CREX, BusyError, ExistentialError, aio


class Own:
    def __index__(self) -> int:
        raise TypeError("an error of its own")


#: Calls on a queue q, a semaphore s and a set z, of asyncio's classes and of the library itself.
NONSENSE = """
q.send(5); q.send([1, 2]); q.send(None); q.send(memoryview(b'abcd')[::2])
q.send('x', True, 0); q.send('x', True, -1); q.send('x', True, 2**63); q.send('x', True, 1.5)
q.send('', type='x'); q.send('x' * 2049); q.send(array.array('I', range(513)))
q.send('x', timeout=-1)
q.receive(type='x'); q.receive(type=[]); q.receive(type=Own()); q.receive(True, 2**70)
q.receive(timeout=float('nan'))
s.acquire(None, 0); s.acquire(None, 'x'); s.acquire(float('nan')); s.acquire(delta=Own())
z.acquire(); z.acquire(7); z.acquire([0]); z.acquire(0, None); z.zero('x')
z.op([]); z.op([(0,)]); z.op([(0, 'x')]); z.op([(0, 1, 1.5)]); z.op([0]); z.op(0)
z.op(itertools.repeat((0, -1))); z.op([itertools.count()]); z.op([range(10**12)])
"""


@pytest.mark.parametrize("waiting", [False, True], ids=["no task waits", "others wait"])
@pytest.mark.parametrize("call", NONSENSE.strip().replace("\n", "; ").split("; "))
@in_loop
async def test_nonsense_is_refused_at_once_as_by_the_library_and_the_next_call_waits(
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    call: str,
    waiting: bool,
) -> None:
    def make(q: object, s: object, z: object) -> Any:
        names = {"Own": Own, "array": array, "itertools": itertools}
        return eval(call, {"q": q, "s": s, "z": z, **names})

    tasks: list[asyncio.Task[Any]] = []
    if waiting:
        fill(messages.handle)
        permits.handle.acquire()
        waits = messages.send(b"x" * 2048), permits.acquire(), members.acquire(0)
        tasks += [asyncio.create_task(wait) for wait in waits]
        await begun(*tasks)
    before = messages.handle.current_messages
    with pytest.raises((TypeError, ValueError, OSError, BufferError)) as expected:
        make(messages.handle, permits.handle, members.handle)
    with pytest.raises(type(expected.value)) as caught:
        # It must not wait: its first step raises.
        make(messages, permits, members).send(None)
    assert not isinstance(caught.value, BusyError)
    assert str(caught.value) == str(expected.value)
    assert messages.handle.current_messages == before
    for wait in (
        messages.receive(type=9, timeout=0.001),
        permits.acquire(0.001, 5),
        members.acquire(0, timeout=0.001),
    ):
        with pytest.raises(BusyError):
            await wait
    await cancel(*tasks)


#: Calls that time out, on the same objects: all of them would wait.
TIMEOUTS = """
q.receive(timeout=0.01); q.receive(type=3, timeout=0.01); q.receive(type=-3, timeout=0.01)
q.receive(type=3, except_type=True, timeout=0.01); f.send('x' * 2048, timeout=0.01)
s.acquire(0.01); s.acquire(0.01, 2); z.acquire(0, timeout=0.01); z.op([(0, -1)], 0.01)
"""


@pytest.mark.parametrize("waiting", [False, True], ids=["no task waits", "others wait"])
@pytest.mark.parametrize("call", TIMEOUTS.strip().replace("\n", "; ").split("; "))
@in_loop
async def test_a_timeout_has_the_text_of_the_library(
    messages: aio.MessageQueue,
    permits: aio.Semaphore,
    members: aio.SemaphoreSet,
    call: str,
    waiting: bool,
) -> None:
    full = aio.MessageQueue(None, IPC_CREX)
    fill(full.handle)
    permits.handle.acquire()
    objects: dict[str, Any] = {"q": messages, "f": full, "s": permits, "z": members}
    others: list[asyncio.Task[Any]] = []
    try:
        if waiting:
            wait = eval(call.replace("0.01", "None"), objects.copy())
            others.append(asyncio.create_task(wait))
            await begun(*others)
        with pytest.raises(BusyError) as expected:
            eval(call, {name: one.handle for name, one in objects.items()})
        with pytest.raises(BusyError, match=r": timed out after 0\.01 s: ") as caught:
            await eval(call, objects.copy())
        assert str(caught.value) == str(expected.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(expected.value)
        await cancel(*others)
    finally:
        full.close()
        full.remove()


@in_loop
async def test_a_wait_for_zero_that_times_out_has_the_text_of_the_library(
    permits: aio.Semaphore, members: aio.SemaphoreSet
) -> None:
    members.release(0)
    pairs: list[tuple[partial[bool], Coroutine[Any, Any, bool]]] = [
        (partial(permits.handle.Z, 0.01), permits.zero(0.01)),
        (partial(members.handle.zero, 0, timeout=0.01), members.zero(0, timeout=0.01)),
    ]
    for call, wait in pairs:
        with pytest.raises(BusyError, match=r"timed out after 0\.01 s: ") as expected:
            call()
        with pytest.raises(BusyError) as caught:
            await wait
        assert str(caught.value) == str(expected.value)


@in_loop
async def test_a_call_that_may_not_wait_does_not_say_that_it_timed_out(
    messages: aio.MessageQueue, permits: aio.Semaphore
) -> None:
    permits.handle.acquire()
    permits.handle.block = False
    for call in (messages.receive(timeout=0), messages.receive(False), permits.acquire(5)):
        with pytest.raises(BusyError) as caught:
            await call
        assert "timed out" not in str(caught.value)


@pytest.mark.parametrize("timeout", ["abc", [], -1, float("nan"), -float("inf")])
@pytest.mark.parametrize("name", ["acquire", "zero"])
def test_a_semaphore_that_does_not_block_refuses_bad_timeouts(
    permits: aio.Semaphore, name: str, timeout: Any
) -> None:
    permits.handle.block = False
    with pytest.raises((TypeError, ValueError)) as expected:
        {"acquire": permits.handle.acquire, "zero": permits.handle.Z}[name](timeout)
    with pytest.raises(type(expected.value)):
        asyncio.run(getattr(permits, name)(timeout))
    assert permits.handle.value == 1


@pytest.mark.parametrize("kind", calls.AIO)
def test_an_object_that_was_never_initialised_says_so(kind: Any) -> None:
    class Forgetful(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    for one in (Forgetful(), kind.__new__(kind)):
        assert "never initialised" in repr(one)
        for use in calls.uses(kind):
            if use.empty:
                continue
            with pytest.raises(ExistentialError, match="was never initialised"):
                # A coroutine raises it in its first step.
                use.call(one).send(None)  # type: ignore[attr-defined]
        one.close()
