"""Types from other packages.

This module does not exist at run time.  Programs such as PyInstaller add every module that
_core.pyi imports, and that must not be NumPy.
"""

from numpy.typing import DTypeLike as DTypeLike
from numpy.typing import NDArray as NDArray
from typing_extensions import Buffer as Buffer
from typing_extensions import disjoint_base as disjoint_base
