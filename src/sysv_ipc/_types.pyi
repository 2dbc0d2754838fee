"""Types from other packages, and the names of formats and of NumPy's types.

This module does not exist at run time.  Programs such as PyInstaller add every module that
_core.pyi imports, and that must not be NumPy.
"""

from typing import Literal, TypeAlias

from numpy import bool_ as bool_
from numpy import dtype as dtype
from numpy import float32 as float32
from numpy import float64 as float64
from numpy import generic as generic
from numpy import int32 as int32
from numpy import int64 as int64
from numpy import int_ as int_
from numpy import uint8 as uint8
from numpy import uint32 as uint32
from numpy import uint64 as uint64
from numpy.typing import DTypeLike as DTypeLike
from numpy.typing import NDArray as NDArray
from typing_extensions import Buffer as Buffer
from typing_extensions import disjoint_base as disjoint_base

# Formats of view(), by the items of the memoryview.
IntegerFormat: TypeAlias = Literal["b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "n", "N", "P"]
FloatFormat: TypeAlias = Literal["f", "d"]
BytesFormat: TypeAlias = Literal["c"]
BoolFormat: TypeAlias = Literal["?"]

# Types of the items of ndarray(), by their names.
BoolName: TypeAlias = Literal["bool", "b1", "?"]
UInt8Name: TypeAlias = Literal["uint8", "u1"]
Int32Name: TypeAlias = Literal["int32", "i4", "<i4", "=i4", ">i4"]
UInt32Name: TypeAlias = Literal["uint32", "u4", "<u4", "=u4", ">u4"]
Int64Name: TypeAlias = Literal["int64", "i8", "<i8", "=i8", ">i8"]
UInt64Name: TypeAlias = Literal["uint64", "u8", "<u8", "=u8", ">u8"]
Float32Name: TypeAlias = Literal["float32", "f4", "<f4", "=f4", ">f4"]
Float64Name: TypeAlias = Literal["float64", "f8", "<f8", "=f8", ">f8"]
