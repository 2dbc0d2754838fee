"""Restore the signal that interrupts waits after every test of waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sysv_ipc


@pytest.fixture(autouse=True)
def same_signal_afterwards() -> Iterator[None]:
    """Restore the signal that interrupts waits."""
    before = sysv_ipc.set_wait_signal(None)
    sysv_ipc.set_wait_signal(before)
    yield
    sysv_ipc.set_wait_signal(before)
