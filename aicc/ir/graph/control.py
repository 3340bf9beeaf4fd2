"""Control flow and calls out.

Regions have one block that ends in ``graph.yield``. They may use values from outside.
"""

from __future__ import annotations

from xdsl.ir import Block
from xdsl.irdl import (
    opt_operand_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from aicc.ir.dtypes import i1, i64
from aicc.ir.graph.common import SEGMENTS, TENSOR, GraphOp, operand_def, require
from aicc.ir.op import graph_op
from aicc.ir.params import param
from aicc.ir.types import compatible, element_type, rank_of


@graph_op
class Yield(GraphOp):
    """Ends a region and gives its results."""

    name = "graph.yield"
    traits = traits_def(IsTerminator(), Pure())
    inputs = var_operand_def(TENSOR)


def terminator(op: GraphOp, block: Block) -> Yield:
    last = block.last_op
    if not isinstance(last, Yield):
        raise VerifyException(f"{op.name}: a region must end in graph.yield")
    return last


@graph_op
class If(GraphOp):
    """The results of `then_region` where `condition` (an i1 scalar) holds, else of `else_region`.

    ONNX If, torch.cond.
    """

    name = "graph.if"
    traits = traits_def(RecursiveMemoryEffect())
    condition = operand_def(TENSOR)
    outputs = var_result_def(TENSOR)
    then_region = region_def("single_block")
    else_region = region_def("single_block")

    def verify_(self) -> None:
        is_scalar = element_type(self.condition) == i1 and rank_of(self.condition) == 0
        require(self, is_scalar, "the condition must be an i1 scalar")
        for region in (self.then_region, self.else_region):
            require(self, not region.block.args, "its regions take no arguments")
            end = terminator(self, region.block)
            require(
                self,
                len(end.inputs) == len(self.outputs),
                f"{len(self.outputs)} results, but a region yields {len(end.inputs)}",
            )
            for got, want in zip(end.inputs, self.outputs, strict=True):
                require(
                    self,
                    compatible(got.type, want.type),
                    f"a region yields {got.type}, the result is {want.type}",
                )


@graph_op
class Loop(GraphOp):
    """Run `body` while a condition holds and at most `max_trips` times. ONNX Loop and Scan.

    The body takes the iteration number (i64 scalar) and the carried values; it yields the next
    condition (i1 scalar), the next carried values, and one element of each scan output. Results:
    the carried values after the last iteration, then the scan outputs, stacked along a new dim 0.
    """

    name = "graph.loop"
    traits = traits_def(RecursiveMemoryEffect())
    irdl_options = (SEGMENTS,)
    max_trips = opt_operand_def(TENSOR)
    condition = opt_operand_def(TENSOR)
    carried = var_operand_def(TENSOR)
    outputs = var_result_def(TENSOR)
    body = region_def("single_block")

    @property
    def scan_count(self) -> int:
        return len(self.outputs) - len(self.carried)

    def verify_(self) -> None:
        for value, dtype, what in (
            (self.max_trips, i64, "max_trips"),
            (self.condition, i1, "the condition"),
        ):
            if value is not None:
                is_scalar = element_type(value) == dtype and rank_of(value) == 0
                require(self, is_scalar, f"{what} must be a scalar of {dtype}")
        block, n = self.body.block, len(self.carried)
        require(self, len(block.args) == n + 1, f"the body must take {n + 1} arguments")
        end = terminator(self, block)
        require(
            self,
            len(end.inputs) == 1 + len(self.outputs) and self.scan_count >= 0,
            f"the body must yield {1 + len(self.outputs)} values, got {len(end.inputs)}",
        )
        for i in range(n):
            for type in (self.carried[i].type, block.args[1 + i].type, end.inputs[1 + i].type):
                require(
                    self,
                    compatible(type, self.outputs[i].type),
                    f"carried value {i} is {type} in one place, {self.outputs[i].type} in another",
                )
        for got, out in zip(end.inputs[1 + n :], self.outputs[n:], strict=True):
            require(
                self,
                element_type(got) == element_type(out) and rank_of(got) + 1 == rank_of(out),
                f"a scan output of {got.type} can't stack to {out.type}",
            )


@graph_op
class CustomCall(GraphOp):
    """A call of code from outside the op set, found by `target` when the module runs.

    `payload` is text for the callee (JSON by convention). The result types are given. It may have
    side effects, so it is never removed, merged or moved.
    """

    name = "graph.custom_call"
    inputs = var_operand_def(TENSOR)
    outputs = var_result_def(TENSOR)
    target: str = param(str)
    payload: str = param(str, default="")
