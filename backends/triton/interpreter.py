"""Triton's interpreter, which runs kernels where there is no GPU, with narrow floats mended.

It keeps a bfloat16 as the 16 bits of a uint16: products then multiply bit patterns, and f32 is
truncated on the way there. Here operands of a dot are widened first, and f32 is rounded to nearest
even. 8-bit floats are uint8 there, and casts to them lose digits: here they round to nearest even.
"""

from __future__ import annotations

from functools import cache

import ml_dtypes
import numpy as np


@cache
def mend() -> None:
    """Change the interpreter, once a process."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    create_dot, create_trunc = InterpreterBuilder.create_dot, InterpreterBuilder.create_fp_trunc
    create_fp_to_fp = InterpreterBuilder.create_fp_to_fp

    narrow = {tl.float8e4nv: ml_dtypes.float8_e4m3fn, tl.float8e5: ml_dtypes.float8_e5m2}

    def widened(x: TensorHandle) -> TensorHandle:
        if x.dtype.scalar in narrow:
            return TensorHandle(x.data.view(narrow[x.dtype.scalar]).astype(np.float32), tl.float32)
        if x.dtype.scalar != tl.bfloat16:
            return x
        bits = x.data.view(np.uint16).astype(np.uint32) << 16
        return TensorHandle(bits.view(np.float32), tl.float32)

    def dot(self, a, b, *rest):
        return create_dot(self, widened(a), widened(b), *rest)

    def fp_to_fp(self, src, dst_type, rounding_mode):
        old, new = src.dtype.scalar, dst_type.scalar
        if new in narrow and old == tl.float32:
            return TensorHandle(src.data.astype(narrow[new]).view(np.uint8), new)
        if old in narrow and new == tl.float32:
            return TensorHandle(src.data.view(narrow[old]).astype(np.float32), new)
        return create_fp_to_fp(self, src, dst_type, rounding_mode)

    def trunc(self, src, dst_type):
        if dst_type.scalar != tl.bfloat16 or src.dtype.scalar != tl.float32:
            return create_trunc(self, src, dst_type)
        bits = src.data.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        data = np.where(np.isnan(src.data), 0x7FC0, rounded).astype(np.uint16)
        return TensorHandle(data, tl.bfloat16)

    setattr(InterpreterBuilder, "create_dot", dot)  # noqa: B010
    setattr(InterpreterBuilder, "create_fp_trunc", trunc)  # noqa: B010
    setattr(InterpreterBuilder, "create_fp_to_fp", fp_to_fp)  # noqa: B010
