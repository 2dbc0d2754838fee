"""System V IPC: semaphores, shared memory and message queues.

The objects live in the kernel until a process removes them.  Unrelated processes, in any language,
open them by key:

- Semaphore and SemaphoreSet: counters on which processes wait, such as locks and pools.
- SharedMemory: bytes that several processes see, with views, NumPy arrays and atomic numbers.
- MessageQueue: messages with a type, each of which is received once.
- sysv_ipc.aio: the same for asyncio.

Errors are subclasses of Error, which is an OSError, and their notes say what to do.  The
documentation is at https://sysv-ipc.readthedocs.io/.
"""

import sys

try:
    from sysv_ipc._core import *
    from sysv_ipc._core import __author__ as __author__
    from sysv_ipc._core import __copyright__ as __copyright__
    from sysv_ipc._core import __license__ as __license__
    from sysv_ipc._core import __version__ as __version__
except ModuleNotFoundError:
    from sysv_ipc._extension import raise_missing

    raise_missing()

# Type checkers read the first branch.  At run time the first use of aio imports it (PEP 562),
# because it imports asyncio, which takes a hundred times as long as this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from sysv_ipc import aio as aio
else:

    def __getattr__(name):
        """Import aio."""
        if name == "aio":
            import sysv_ipc.aio

            return sysv_ipc.aio
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__]
        )

    def __dir__():
        """List aio before it is imported."""
        return sorted({*globals(), "aio"})


__all__ = [
    "IPC_CREAT",
    "IPC_CREX",
    "IPC_EXCL",
    "IPC_NOWAIT",
    "IPC_PRIVATE",
    "KEY_MAX",
    "KEY_MIN",
    "PAGE_SIZE",
    "SEMAPHORE_TIMEOUT_SUPPORTED",
    "SEMAPHORE_VALUE_MAX",
    "SEM_UNDO",
    "SHM_RDONLY",
    "SHM_RND",
    "VERSION",
    "ArgumentError",
    "ArgumentWarning",
    "Atomic",
    "BusyError",
    "CancelledError",
    "Error",
    "ExistentialError",
    "InternalError",
    "KeyTypeError",
    "LimitError",
    "Limits",
    "MessageQueue",
    "MessageQueueInfo",
    "NotAttachedError",
    "OutOfMemoryError",
    "PermissionsError",
    "ReadOnlyError",
    "Semaphore",
    "SemaphoreInfo",
    "SemaphoreMemberInfo",
    "SemaphoreOperations",
    "SemaphoreSet",
    "SharedMemory",
    "SharedMemoryInfo",
    "attach",
    "exists",
    "ftok",
    "key_from_name",
    "limits",
    "message_queues",
    "remove_message_queue",
    "remove_semaphore",
    "remove_shared_memory",
    "semaphores",
    "set_wait_signal",
    "shared_memories",
]
if sys.platform == "linux":
    __all__ += [
        "SHM_EXEC",
        "SHM_HUGETLB",
        "SHM_HUGE_1GB",
        "SHM_HUGE_1MB",
        "SHM_HUGE_2GB",
        "SHM_HUGE_2MB",
        "SHM_HUGE_8MB",
        "SHM_HUGE_16GB",
        "SHM_HUGE_16MB",
        "SHM_HUGE_32MB",
        "SHM_HUGE_64KB",
        "SHM_HUGE_256MB",
        "SHM_HUGE_512KB",
        "SHM_HUGE_512MB",
        "SHM_NORESERVE",
        "SHM_REMAP",
    ]
