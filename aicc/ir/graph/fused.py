"""Fused kernels: ops that run as one, with only the results going back to memory."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Operation
from xdsl.irdl import region_def, traits_def, var_operand_def, var_result_def
from xdsl.traits import IsolatedFromAbove, Pure

from aicc.ir.graph.common import TENSOR, GraphOp, require
from aicc.ir.graph.control import Yield, terminator
from aicc.ir.op import graph_op
from aicc.ir.params import param
from aicc.ir.symbols import Dim
from aicc.ir.types import compatible

ROLES = ("pointwise", "reduction", "contraction")


@graph_op
class Fused(GraphOp):
    """One kernel: the ops of `body` on its arguments; what it yields are the results.

    The body is isolated from above and holds pure graph ops without regions. `role` says what the
    kernel is built around: nothing but elements (pointwise), reductions over the same rows, or one
    product or convolution (contraction). Symbolic dims mean what they mean outside.
    """

    name = "graph.fused"
    traits = traits_def(IsolatedFromAbove(), Pure())
    inputs = var_operand_def(TENSOR)
    outputs = var_result_def(TENSOR)
    body = region_def("single_block")
    role: str = param(str, choices=ROLES)
    label: str = param(str, default="")

    def verify_(self) -> None:
        block = self.body.block
        require(
            self,
            len(block.args) == len(self.inputs),
            f"{len(self.inputs)} operands, but the body takes {len(block.args)}",
        )
        for i, (arg, value) in enumerate(zip(block.args, self.inputs, strict=True)):
            require(
                self, arg.type == value.type, f"operand {i} is {value.type}, the body's {arg.type}"
            )
        end = terminator(self, block)
        require(
            self,
            len(end.inputs) == len(self.outputs),
            f"{len(self.outputs)} results, but the body yields {len(end.inputs)}",
        )
        for i, (got, want) in enumerate(zip(end.inputs, self.outputs, strict=True)):
            require(
                self,
                compatible(got.type, want.type),
                f"result {i} is {want.type}, the body yields {got.type}",
            )
        for op in self.ops():
            require(
                self,
                isinstance(op, GraphOp) and op.has_trait(Pure) and not op.regions,
                f"its body holds {op.name}: only pure graph ops without regions can be fused",
            )

    def ops(self) -> Iterator[Operation]:
        """The fused ops, the terminator left out."""
        return (op for op in self.body.block.ops if not isinstance(op, Yield))

    def yielded(self) -> Yield:
        return terminator(self, self.body.block)

    def flops(self) -> Dim:
        return 0  # counted op by op, in the body
