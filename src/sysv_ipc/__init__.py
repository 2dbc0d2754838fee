"""System V IPC: semaphores, shared memory and message queues for unrelated processes.

Objects are named by keys, live in the kernel until they are removed, and are shared with
programs in any language.
"""

from ._core import *  # noqa: F403
from ._core import VERSION

__version__ = VERSION
__author__ = "the sysv_ipc contributors"
__copyright__ = "Copyright the sysv_ipc contributors"
__license__ = "MIT"

# Modules that are imported later are none of these.
__all__ = [name for name in dir() if name[0] != "_"]
