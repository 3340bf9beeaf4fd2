"""Triton's interpreter with bfloat16 mended.

It keeps a bfloat16 as the 16 bits of a uint16: products then multiply bit patterns, and f32 is
truncated on the way there. Here operands of a dot are widened first, and f32 is rounded to nearest
even.
"""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def mend() -> None:
    """Change the interpreter, once a process."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    create_dot, create_trunc = InterpreterBuilder.create_dot, InterpreterBuilder.create_fp_trunc

    def widened(x: TensorHandle) -> TensorHandle:
        if x.dtype.scalar != tl.bfloat16:
            return x
        bits = x.data.view(np.uint16).astype(np.uint32) << 16
        return TensorHandle(bits.view(np.float32), tl.float32)

    def dot(self, a, b, *rest):
        return create_dot(self, widened(a), widened(b), *rest)

    def trunc(self, src, dst_type):
        if dst_type.scalar != tl.bfloat16 or src.dtype.scalar != tl.float32:
            return create_trunc(self, src, dst_type)
        bits = src.data.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        data = np.where(np.isnan(src.data), 0x7FC0, rounded).astype(np.uint16)
        return TensorHandle(data, tl.bfloat16)

    setattr(InterpreterBuilder, "create_dot", dot)  # noqa: B010
    setattr(InterpreterBuilder, "create_fp_trunc", trunc)  # noqa: B010
