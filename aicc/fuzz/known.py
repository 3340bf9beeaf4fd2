"""Where another implementation is known to give something else, and why that is no bug of aicc."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from aicc.ir import graph
from aicc.ir.dtypes import bf16, f64
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type, shape_of

Rule = tuple[tuple[type[GraphOp], ...], Callable[[Any], bool], str]


def _is_finite(x: np.ndarray) -> bool:
    return x.dtype.kind not in "fc" or bool(np.isfinite(x).all())


def _any(op: Any) -> bool:
    return True


RULES: dict[str, tuple[Rule, ...]] = {
    "onnx": (
        (
            (graph.Sigmoid, graph.Silu, graph.Gelu, graph.Tanh, graph.Erf),
            _any,
            "ONNX Runtime's polynomials for it are good to some 5e-6",
        ),
        (
            (graph.BatchNorm, graph.LayerNorm, graph.RMSNorm, graph.GroupNorm),
            lambda op: element_type(op.operands[0]) == f64,
            "epsilon is a float32 in ONNX",
        ),
        (
            (graph.MatMul,),
            lambda op: shape_of(op.lhs)[-1] == 0,
            "ONNX Runtime writes nothing for integer products over no terms",
        ),
        (
            (graph.Expm1, graph.Log1p),
            _any,
            "ONNX has none that is exact near 0",
        ),
    ),
    "triton": (
        (
            (graph.MatMul, graph.Conv, graph.ConvTranspose, graph.Attention),
            lambda op: element_type(op.operands[0]) == bf16,
            "Triton's interpreter multiplies the bits of bfloat16 numbers",
        ),
    ),
}
"""By target: ops, when it holds for one of them, and the reason."""

REFUSALS: dict[str, tuple[str, ...]] = {
    "onnx": ("only support", "not support", "NOT_IMPLEMENTED", "'Cubic' mode only"),
    "triton": (
        "the triton target has no",
        "Triton has no",
        "torch has no",
        "not implemented for",
        "torch can't",
    ),
}
"""What a target, or what runs it, says of what it lacks."""


def refuses(target: str, error: Exception) -> bool:
    """Whether an error says that the target lacks something."""
    text = str(error)
    named = type(error).__name__ in ("Unsupported", "Unprintable")
    return named or any(r in text for r in REFUSALS.get(target, ()))


def explained(module: ModuleOp, inputs: Sequence[np.ndarray], target: str) -> str | None:
    """Why a module's results differ on a target, if an op of it is known to."""
    constants = [op.value.array for op in module.walk() if isinstance(op, graph.Constant)]
    if target == "onnx" and not all(map(_is_finite, [*inputs, *constants])):
        return "ONNX Runtime's kernels lose NaN and infinities now and then"
    for op in module.walk():
        for classes, holds, reason in RULES.get(target, ()):
            if isinstance(op, classes) and holds(op):
                return f"{op.name}: {reason}"
    return None
