"""The constants of _core that only Linux has.

This module does not exist at run time.  Editors show the text below a constant only if the constant
is not inside an if statement.
"""

from typing import Final

SHM_EXEC: Final[int]
"""A flag of attach(): allow code in the segment to be executed.  See shmop(2)."""
SHM_HUGETLB: Final[int]
"""A flag of SharedMemory: allocate the segment in huge pages.  See shmget(2)."""
SHM_HUGE_16GB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 16 GiB."""
SHM_HUGE_16MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 16 MiB."""
SHM_HUGE_1GB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 1 GiB."""
SHM_HUGE_1MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 1 MiB."""
SHM_HUGE_256MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 256 MiB."""
SHM_HUGE_2GB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 2 GiB."""
SHM_HUGE_2MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 2 MiB."""
SHM_HUGE_32MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 32 MiB."""
SHM_HUGE_512KB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 512 KiB."""
SHM_HUGE_512MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 512 MiB."""
SHM_HUGE_64KB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 64 KiB."""
SHM_HUGE_8MB: Final[int]
"""A flag of SharedMemory, with SHM_HUGETLB: use huge pages of 8 MiB."""
SHM_NORESERVE: Final[int]
"""A flag of SharedMemory: reserve no swap space for the segment.  See shmget(2)."""
SHM_REMAP: Final[int]
"""A flag of attach(): replace the attachment at its own address.  See shmop(2)."""
