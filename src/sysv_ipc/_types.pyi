"""Types from elsewhere.

There is no such module when a program runs.  Freezers put what _core.pyi imports into every
program, and that must not be NumPy.
"""

from numpy.typing import DTypeLike as DTypeLike
from numpy.typing import NDArray as NDArray
from typing_extensions import Buffer as Buffer
from typing_extensions import disjoint_base as disjoint_base
