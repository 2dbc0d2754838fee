"""The other process of questions that need two."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from .harness import Contestant


class Partner:
    """A forked process that makes one side's calls while this process makes the other's."""

    def __init__(self, sides: Mapping[str, Contestant]) -> None:
        self._names = list(sides)
        commands, self._commands = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._commands)
                with os.fdopen(commands) as lines:
                    for line in lines:
                        name, _, count = line.rpartition(" ")
                        sides[name](int(count))
                status = 0
            finally:
                # What it raised has been written, and must not run the caller's code again.
                os._exit(status)
        os.close(commands)

    def beside(self, name: str, side: Contestant) -> Contestant:
        """Return the contestant that makes this side's calls while the partner makes its own."""

        def run(count: int) -> float:
            os.write(self._commands, f"{name} {count}\n".encode())
            return side(count)

        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._commands)
        if error is not None:
            # It may wait for what never comes.
            os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def per(calls: int, contestant: Contestant) -> Contestant:
    """Return a contestant that counts what one call does as so many calls."""

    def run(count: int) -> float:
        return contestant(-(-count // calls)) / calls

    return run
