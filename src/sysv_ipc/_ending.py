"""Where the library's last function is registered: it ends the waits of daemon threads.

The extension imports this.  Children of multiprocessing end without what atexit has, in versions
before 3.13 all of it; they call finalizers of multiprocessing instead.
"""

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def register(finish: "Callable[[], object]") -> None:
    """Call it when the interpreter ends, and when a child of multiprocessing does."""
    atexit.register(finish)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        # The child of a fork server, which imports us on its own.
        _finalize(finish)
    os.register_at_fork(after_in_child=lambda: _after_fork(finish))


def _after_fork(finish: "Callable[[], object]") -> None:
    """Let multiprocessing call us once more, when it has forgotten the parent's finalizers."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(finish, _finalize)


def _finalize(finish: "Callable[[], object]") -> None:
    # After all of the program's own, which have priorities of 0 and more.
    sys.modules["multiprocessing.util"].Finalize(None, finish, exitpriority=-1000)
