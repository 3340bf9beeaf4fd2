"""An ONNX operator of a domain of its own, run by NumPy and lowered to arithmetic on tiles.

``example.ops::HardShrink(x, lambd)`` is x where |x| > lambd, else 0. As it says how it becomes a
kernel, it fuses with its neighbours, and C++, Triton and Ascend C print it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import SSAValue

from aicc.frontends.onnx.context import NodeContext
from aicc.frontends.onnx.table import onnx_op
from aicc.ir.dtypes import DType
from aicc.ir.graph.common import PURE, TENSOR, operand_def, result_def
from aicc.ir.op import GraphOp, graph_op
from aicc.ir.params import param
from aicc.ir.values import SymbolicValues
from aicc.plugins import register_op


@graph_op
class HardShrink(GraphOp):
    """x where |x| > lambd, else 0. example.ops HardShrink."""

    name = "graph.hard_shrink"
    ROLE: ClassVar[str | None] = "POINTWISE"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    lambd: float = param(float, default=0.5)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        return [self.input.type]  # type: ignore[list-item]


def evaluate(op: HardShrink, x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) > op.lambd, x, np.zeros((), x.dtype))


def tiles(s: Any, op: HardShrink, args: list[SSAValue], dtype: DType) -> SSAValue:
    x = args[0]
    large = s.compare("ogt", s.op("math.absf", x), s.full(op.lambd, x))
    return s.select(large, x, s.full(0, x))


register_op(HardShrink, evaluate, tiles)


@onnx_op("HardShrink", domain="example.ops")
def import_hard_shrink(c: NodeContext) -> SSAValue:
    return c.b.emit(HardShrink, c[0], lambd=c.attr("lambd", 0.5))
