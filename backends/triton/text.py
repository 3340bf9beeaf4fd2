"""Pieces of Triton source: expressions, names and numbers."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import SSAValue

from aicc.backends.triton.spellings import ATOM, HELPERS
from aicc.ir import tile
from aicc.ir.dtypes import DType
from aicc.ir.symbols import Call, Dim
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.types import tile_element

INDENT = "    "


class Unprintable(Exception):
    """An op or type that Triton has no words for."""


@dataclass
class Text:
    """An expression, how tightly it binds, and the shape that it really has.

    Triton broadcasts, so a `tile.broadcast` is written only where the shape matters.
    """

    text: str
    binds: int = ATOM
    shape: tuple[Dim, ...] = ()

    def inside(self, binds: int, right: bool = False) -> str:
        """The text as an operand of something that binds so tightly."""
        loose = self.binds > binds or (right and self.binds == binds)
        return f"({self.text})" if loose else self.text


TYPES: dict[str, tuple[str, str]] = {
    "i1": ("tl.int1", "i1"),
    "i8": ("tl.int8", "i8"),
    "i16": ("tl.int16", "i16"),
    "i32": ("tl.int32", "i32"),
    "i64": ("tl.int64", "i64"),
    "ui8": ("tl.uint8", "u8"),
    "ui16": ("tl.uint16", "u16"),
    "ui32": ("tl.uint32", "u32"),
    "ui64": ("tl.uint64", "u64"),
    "f16": ("tl.float16", "fp16"),
    "bf16": ("tl.bfloat16", "bf16"),
    "f32": ("tl.float32", "fp32"),
    "f64": ("tl.float64", "fp64"),
    "f8E4M3FN": ("tl.float8e4nv", "fp8e4nv"),
    "f8E5M2": ("tl.float8e5", "fp8e5"),
}
"""In source and in signatures, by the names of `aicc.ir.dtypes`."""


RESERVED = {"call", "tl", "triton", "torch", "range", "float", "int", "min", "max", *HELPERS}


def type_name(dtype: DType) -> str:
    """The dtype in Triton source."""
    return _names_of(dtype)[0]


def pointer_name(dtype: DType) -> str:
    """A pointer to the dtype in a kernel's signature."""
    return f"*{_names_of(dtype)[1]}"


def _names_of(dtype: DType) -> tuple[str, str]:
    if dtype.name not in TYPES:
        raise Unprintable(f"Triton has no {dtype}")
    return TYPES[dtype.name]


def kernel_name(kernel: tile.Kernel) -> str:
    """The kernel's name in Python, where some are taken."""
    name = kernel.sym_name
    return f"{name}_kernel" if name in RESERVED or keyword.iskeyword(name) else name


def short(hint: str | None) -> str | None:
    """The end of a long name: kernels serve many layers."""
    if hint is None or len(hint) <= 16:
        return hint
    return "_".join(re.split(r"[._]+", hint)[-2:])


def is_wide(kernel: tile.Kernel) -> bool:
    """Whether positions in the kernel's buffers may need 64 bits."""
    for arg in kernel.body.block.args:
        assert isinstance(arg.type, tile.BufferType)
        size = product_of([d for d in arg.type.shape if d is not None])
        if not isinstance(size, int) or size >= 2**31:
            return True
    return False


def dim_text(d: Dim, cdiv: str) -> str:
    """A size as Python source; ``(a - 1) // b + 1`` is written as a call of `cdiv`."""
    if isinstance(d, int):
        return str(d)
    (monomial, coefficient), *others = d.terms
    if not others and coefficient == 1 and len(monomial) == 1 and d.constant == 1:
        (atom,) = monomial
        if isinstance(atom, Call) and atom.function == "floordiv":
            a, b = atom.args
            return f"{cdiv}({dim_text(a + 1, cdiv)}, {dim_text(b, cdiv)})"
    return d.python(python_name)


def python_name(symbol: str) -> str:
    """A size's name in Python."""
    name = re.sub(r"\W", "_", symbol)
    return f"{name}_" if keyword.iskeyword(name) or name in RESERVED else name


def product_text(dims: Sequence[Dim], cdiv: str) -> str:
    """A product of sizes, factor by factor."""
    known = product_of([d for d in dims if isinstance(d, int)])
    factors = [dim_text(d, cdiv) for d in dims if not isinstance(d, int)]
    factors = [f if _is_plain(f) else f"({f})" for f in factors]
    if known != 1 or not factors:
        factors.insert(0, str(known))
    return " * ".join(factors)


def _is_plain(text: str) -> bool:
    """A name, a number, or one call."""
    return (
        text.isidentifier()
        or text.isdigit()
        or (text.startswith(("tl.", "triton.")) and text.endswith(")"))
    )


LAUNCH_OPTIONS = ("num_warps", "num_stages")
"""Schedule parameters that are Triton's own options of a launch."""


def full_of(value: SSAValue) -> tile.Full | None:
    """The constant that a value is, broadcast or not; None if it is none."""
    owner = value.owner
    while isinstance(owner, tile.Broadcast):
        owner = owner.input.owner
    return owner if isinstance(owner, tile.Full) else None


def literal(value: SSAValue) -> bool:
    return full_of(value) is not None


def number(op: tile.Full) -> str:
    """A constant as Triton source."""
    value = op.value
    if isinstance(tile_element(op.result.type), IntegerType):
        width = tile_element(op.result.type).width.data  # type: ignore[union-attr]
        if width == 1:
            return "True" if value else "False"
        if value >= 1 << (width - 1):  # an unsigned number: Triton's integers here have signs
            return repr(value - (1 << width))
    if isinstance(value, float):
        if math.isnan(value):
            return 'float("nan")'
        if math.isinf(value):
            return 'float("inf")' if value > 0 else 'float("-inf")'
    return repr(value)


def bracketed(text: str) -> str:
    return text if _is_plain(text) and " * " not in text else f"({text})"


def torch_name(dtype: DType) -> str:
    """The dtype in torch; raises Unprintable where torch has none."""
    if dtype.torch is None:
        raise Unprintable(f"torch has no {dtype}")
    return f"torch.{dtype.torch}"
