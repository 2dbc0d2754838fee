"""Every test of waits leaves the signal that ends them as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sysv_ipc


@pytest.fixture(autouse=True)
def same_signal_afterwards() -> Iterator[None]:
    """Bring back the signal that ends waits."""
    before = sysv_ipc.set_wait_signal(None)
    sysv_ipc.set_wait_signal(before)
    yield
    sysv_ipc.set_wait_signal(before)
