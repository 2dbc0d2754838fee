"""Register the function that ends the waits of daemon threads when the interpreter shuts down.

The extension imports this.  In CPython before 3.13 children of multiprocessing run no function of
atexit, and later versions not all of them; they run the finalizers of multiprocessing instead.
"""

import atexit
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def register(finish: "Callable[[], object]") -> None:
    """Register finish for the end of the interpreter and of children of multiprocessing."""
    atexit.register(finish)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        # This is the child of a fork server and imports the library itself.
        _finalize(finish)
    os.register_at_fork(after_in_child=lambda: _after_fork(finish))


def _after_fork(finish: "Callable[[], object]") -> None:
    """Register finish again after multiprocessing has cleared the parent's finalizers."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(finish, _finalize)


def _finalize(finish: "Callable[[], object]") -> None:
    # The priority is below 0, so that it runs after the program's own finalizers.
    sys.modules["multiprocessing.util"].Finalize(None, finish, exitpriority=-1000)
