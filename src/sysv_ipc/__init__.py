"""System V IPC: semaphores, shared memory and message queues.

Unrelated processes, in any language, open the objects by key.  The objects exist in the kernel
until a process removes them.
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

# The extension imports these modules.  Programs such as PyInstaller find them here.
from sysv_ipc import cures, listing  # noqa: F401

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
