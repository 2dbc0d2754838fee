"""Fixtures for tests of what holds for every call that is awaited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import calls
import pytest

from sysv_ipc import aio


@pytest.fixture(params=calls.AIO_WAITS)
def wait(request: pytest.FixtureRequest) -> calls.Wait:
    """Each call of asyncio's classes that can wait."""
    return calls.AIO_WAITS[request.param]


@pytest.fixture
def opened(wait: calls.Wait, target: Any) -> Iterator[Any]:
    """The object for asyncio on which that call would wait; target is its handle."""
    one = getattr(aio, wait.cls.__name__).from_id(target.id)
    yield one
    one.close()
