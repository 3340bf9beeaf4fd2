"""What targets that print kernels of the tile dialect have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from aicc.ir import graph
from aicc.ir.dtypes import f64
from aicc.ir.graph.attention import Scores
from aicc.ir.interfaces import Evaluator
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type

COMPOSITES = (
    graph.Softmax,
    graph.LogSoftmax,
    graph.LayerNorm,
    graph.RMSNorm,
    Scores,
    graph.ReduceMean,
    graph.Relu,
    graph.Sigmoid,
    graph.Silu,
    graph.Gelu,
    graph.Quantize,
    graph.Dequantize,
    graph.Loop,
)
"""Ops that get a kernel of their own, are taken apart only there, or are run by the host."""

TO_TILES = (
    "raise-composites,gather-log-softmax,scatter-to-select,simplify-masks,canonicalize,cse,dce,"
    "lower-quantization,merge-matmuls,sink-norm,canonicalize,cse,dce,fuse,dce,lower-to-tile,dce"
)
"""Passes from graph IR to kernels that have no schedule of their target yet."""


def keeps(op: GraphOp) -> bool:
    """Whether the op is lowered to tiles as it stands."""
    if isinstance(op, Scores) and element_type(op.operands[0]) == f64:
        return False
    return isinstance(op, COMPOSITES)


Launcher = Callable[
    [Sequence[np.ndarray], Sequence[np.ndarray], Mapping[str, int]], Sequence[np.ndarray]
]
"""Runs a kernel on inputs and outputs of given sizes; gives the outputs, written in place."""


class Evaluated:
    """The part of a target that evaluates ops and modules: another target does it."""

    evaluator: Evaluator

    def prepare(self) -> None:
        """Nothing, for targets where all depends on the model."""

    def evaluate(self, op: Operation, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        return self.evaluator.evaluate(op, operands)

    def run(
        self, module: ModuleOp, inputs: Sequence[np.ndarray], function: str = "main"
    ) -> list[np.ndarray]:
        return self.evaluator.run(module, inputs, function)
