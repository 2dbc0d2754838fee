"""System V IPC: semaphores, shared memory and message queues for unrelated processes.

Objects are named by keys, live in the kernel until they are removed, and are shared with
programs in any language.
"""

import sys

from ._core import (
    IPC_CREAT,
    IPC_CREX,
    IPC_EXCL,
    IPC_NOWAIT,
    IPC_PRIVATE,
    KEY_MAX,
    KEY_MIN,
    PAGE_SIZE,
    SEM_UNDO,
    SEMAPHORE_TIMEOUT_SUPPORTED,
    SEMAPHORE_VALUE_MAX,
    SHM_RDONLY,
    SHM_RND,
    VERSION,
    MessageQueue,
    Semaphore,
    SharedMemory,
    attach,
    exists,
    ftok,
    key_from_name,
    remove_message_queue,
    remove_semaphore,
    remove_shared_memory,
)
from .errors import (
    ArgumentError,
    BusyError,
    CancelledError,
    Error,
    ExistentialError,
    InternalError,
    KeyTypeError,
    LimitError,
    NotAttachedError,
    OutOfMemoryError,
    PermissionsError,
    ReadOnlyError,
)

if sys.platform == "linux":
    from ._core import (
        SHM_EXEC,
        SHM_HUGE_1GB,
        SHM_HUGE_1MB,
        SHM_HUGE_2GB,
        SHM_HUGE_2MB,
        SHM_HUGE_8MB,
        SHM_HUGE_16GB,
        SHM_HUGE_16MB,
        SHM_HUGE_32MB,
        SHM_HUGE_64KB,
        SHM_HUGE_256MB,
        SHM_HUGE_512KB,
        SHM_HUGE_512MB,
        SHM_HUGETLB,
        SHM_NORESERVE,
        SHM_REMAP,
    )

del sys

__version__ = VERSION
__author__ = "the sysv_ipc contributors"
__copyright__ = "Copyright the sysv_ipc contributors"
__license__ = "MIT"

__all__ = [name for name in dir() if name.isupper() or name[0] != "_"]
