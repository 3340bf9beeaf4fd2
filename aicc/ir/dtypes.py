"""Element types: one row each, with the MLIR type, the NumPy dtype and the names used elsewhere.

Signed integers are signless in MLIR (``i8``), unsigned ones carry the sign (``ui8``), booleans are
``i1``. Types that NumPy lacks (bfloat16, the 8-bit and narrower floats, 4- and 2-bit integers)
come from ``ml_dtypes``, one element a byte for the sub-byte ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np
from xdsl.dialects import builtin
from xdsl.dialects.builtin import ComplexType, IntegerType, Signedness
from xdsl.ir import Attribute

_UNSIGNED = Signedness.UNSIGNED


@dataclass(frozen=True)
class DType:
    """One element type.

    `name` is the MLIR spelling, `np` the NumPy dtype that holds a value, `onnx` the name in ONNX's
    ``TensorProto.DataType``, `torch` the attribute of the ``torch`` module (None where torch has
    none), `bits` the width of one element in memory on a device.
    """

    name: str
    ir: Attribute
    np: np.dtype
    onnx: str
    torch: str | None
    bits: int
    kind: str  # "bool", "int", "uint", "float" or "complex"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_low_precision_float(self) -> bool:
        """Whether arithmetic on the type is done in float32 and rounded back."""
        return self.kind == "float" and self.bits < 32

    @property
    def integer_range(self) -> tuple[int, int]:
        """The least and the greatest value of an integer type."""
        if self.kind == "uint":
            return 0, 2**self.bits - 1
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1

    @property
    def largest(self) -> float:
        """The largest finite number of a float type."""
        return float(ml_dtypes.finfo(self.np).max)

    def __str__(self) -> str:
        return self.name


def _row(name: str, ir: Attribute, np_type: type, onnx: str, torch: str | None, kind: str, bits=0):
    dtype = np.dtype(np_type)
    return DType(name, ir, dtype, onnx, torch, bits or dtype.itemsize * 8, kind)


_INT = IntegerType
DTYPES: tuple[DType, ...] = (
    _row("i1", _INT(1), np.bool_, "BOOL", "bool", "bool", 8),
    _row("i8", _INT(8), np.int8, "INT8", "int8", "int"),
    _row("i16", _INT(16), np.int16, "INT16", "int16", "int"),
    _row("i32", _INT(32), np.int32, "INT32", "int32", "int"),
    _row("i64", _INT(64), np.int64, "INT64", "int64", "int"),
    _row("ui8", _INT(8, _UNSIGNED), np.uint8, "UINT8", "uint8", "uint"),
    _row("ui16", _INT(16, _UNSIGNED), np.uint16, "UINT16", "uint16", "uint"),
    _row("ui32", _INT(32, _UNSIGNED), np.uint32, "UINT32", "uint32", "uint"),
    _row("ui64", _INT(64, _UNSIGNED), np.uint64, "UINT64", "uint64", "uint"),
    _row("i4", _INT(4), ml_dtypes.int4, "INT4", None, "int", 4),
    _row("ui4", _INT(4, _UNSIGNED), ml_dtypes.uint4, "UINT4", None, "uint", 4),
    _row("i2", _INT(2), ml_dtypes.int2, "INT2", None, "int", 2),
    _row("ui2", _INT(2, _UNSIGNED), ml_dtypes.uint2, "UINT2", None, "uint", 2),
    _row("f16", builtin.f16, np.float16, "FLOAT16", "float16", "float"),
    _row("bf16", builtin.bf16, ml_dtypes.bfloat16, "BFLOAT16", "bfloat16", "float"),
    _row("f32", builtin.f32, np.float32, "FLOAT", "float32", "float"),
    _row("f64", builtin.f64, np.float64, "DOUBLE", "float64", "float"),
    _row(
        "f8E4M3FN",
        builtin.Float8E4M3FNType(),
        ml_dtypes.float8_e4m3fn,
        "FLOAT8E4M3FN",
        "float8_e4m3fn",
        "float",
    ),
    _row(
        "f8E4M3FNUZ",
        builtin.Float8E4M3FNUZType(),
        ml_dtypes.float8_e4m3fnuz,
        "FLOAT8E4M3FNUZ",
        "float8_e4m3fnuz",
        "float",
    ),
    _row(
        "f8E5M2",
        builtin.Float8E5M2Type(),
        ml_dtypes.float8_e5m2,
        "FLOAT8E5M2",
        "float8_e5m2",
        "float",
    ),
    _row(
        "f8E5M2FNUZ",
        builtin.Float8E5M2FNUZType(),
        ml_dtypes.float8_e5m2fnuz,
        "FLOAT8E5M2FNUZ",
        "float8_e5m2fnuz",
        "float",
    ),
    _row(
        "f8E8M0FNU",
        builtin.Float8E8M0FNUType(),
        ml_dtypes.float8_e8m0fnu,
        "FLOAT8E8M0",
        "float8_e8m0fnu",
        "float",
    ),
    _row(
        "f4E2M1FN",
        builtin.Float4E2M1FNType(),
        ml_dtypes.float4_e2m1fn,
        "FLOAT4E2M1",
        None,
        "float",
        4,
    ),
    _row(
        "complex<f32>", ComplexType(builtin.f32), np.complex64, "COMPLEX64", "complex64", "complex"
    ),
    _row(
        "complex<f64>",
        ComplexType(builtin.f64),
        np.complex128,
        "COMPLEX128",
        "complex128",
        "complex",
    ),
)

_BY_NAME = {d.name: d for d in DTYPES}
_BY_IR = {d.ir: d for d in DTYPES}
_BY_NP = {d.np: d for d in DTYPES}
_BY_ONNX = {d.onnx: d for d in DTYPES}
_BY_TORCH = {d.torch: d for d in DTYPES if d.torch}

i1, i8, i16, i32, i64 = (_BY_NAME[n] for n in ("i1", "i8", "i16", "i32", "i64"))
ui8, ui16, ui32, ui64 = (_BY_NAME[n] for n in ("ui8", "ui16", "ui32", "ui64"))
f16, bf16, f32, f64 = (_BY_NAME[n] for n in ("f16", "bf16", "f32", "f64"))


@cache
def dtype_of(key: object) -> DType:
    """The row for a MLIR name, an element type attribute, a NumPy dtype or an existing `DType`.

    Raises TypeError for anything that is no element type of the graph dialect.
    """
    if isinstance(key, DType):
        return key
    if isinstance(key, str) and key in _BY_NAME:
        return _BY_NAME[key]
    if isinstance(key, Attribute) and key in _BY_IR:
        return _BY_IR[key]
    if not isinstance(key, (str, Attribute)):
        try:
            return _BY_NP[np.dtype(key)]  # type: ignore[arg-type]
        except (TypeError, KeyError):
            pass
    raise TypeError(f"{key} is not an element type of the graph dialect")


def dtype_from_onnx(name: str) -> DType | None:
    """The row for a name of ONNX's ``TensorProto.DataType``, or None (strings, undefined)."""
    return _BY_ONNX.get(name)


def dtype_from_torch(name: str) -> DType | None:
    """The row for a torch dtype's name without the ``torch.`` prefix, or None."""
    return _BY_TORCH.get(name)
