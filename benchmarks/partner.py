"""The other process of questions that need two."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from .harness import Contestant


class Partner:
    """A forked process that makes one side's calls while this process makes the other's."""

    def __init__(self, sides: Mapping[str, Contestant]) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                # The reader never sees the end of the pipe while this process has it open.
                os.close(self._commands)
                with os.fdopen(commands) as lines:
                    for line in lines:
                        name, _, count = line.rpartition(" ")
                        sides[name](int(count))
                        os.write(answers, b".")
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                # The caller's code must not run a second time.
                os._exit(status)
        os.close(commands)
        os.close(answers)

    def start(self, name: str, count: int) -> None:
        """Let the partner make its calls."""
        os.write(self._commands, f"{name} {count}\n".encode())

    def finish(self) -> None:
        """Wait until the partner has made its calls."""
        if not os.read(self._answers, 1):
            raise RuntimeError("the other process has failed")

    def beside(self, name: str, side: Contestant) -> Contestant:
        """Return the contestant that makes this side's calls while the partner makes its own."""

        def run(count: int) -> float:
            self.start(name, count)
            one = side(count)
            self.finish()
            return one

        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        cls: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        os.close(self._commands)
        os.close(self._answers)
        if error is not None:
            # The partner may wait forever.
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def per(calls: int, contestant: Contestant) -> Contestant:
    """Return a contestant whose one call counts as several calls."""

    def run(count: int) -> float:
        return contestant(-(-count // calls)) / calls

    return run
