"""Turns weights that come from outside once before convolutions, into the order of their products.

Constant weights are turned as the model is compiled. Those of a model that is trained, or whose
parameters are arguments, lie as the framework has them: output channels first, taps last. A product
of images with channels last reads them tap by tap, and each block of its rows would gather all of
them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Fused
from aicc.ir.module import functions
from aicc.ir.types import shape_of, typical
from aicc.passes.kernel_inputs import add_input, drop_unused, made_before, read_through
from aicc.passes.tiling.depthwise import is_depthwise


@dataclass(frozen=True)
class TurnWeights(ModulePass):
    """Give fused convolutions with channels last weights ``[taps…, channels, filters]`` in memory.

    ``conv(x, transpose(w))`` becomes ``conv(x, w')`` with the transpose in a kernel of its own,
    where windows have several taps and the result at least `places` places: with fewer, one block
    of rows gathers each weight once.
    """

    name = "turn-weights"
    places: int = 128

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in functions(op).values():
            for fused in [o for o in func.walk() if isinstance(o, Fused)]:
                for conv in [o for o in fused.ops() if isinstance(o, graph.Conv)]:
                    if self.is_worth_it(conv):
                        turn(fused, conv)

    def is_worth_it(self, conv: graph.Conv) -> bool:
        if conv.layout != "nhwc" or is_depthwise(conv):
            return False
        batch, *places, _ = map(typical, shape_of(conv.result))
        taps = math.prod(map(typical, shape_of(conv.weight)[:-2]))
        return taps > 1 and batch * math.prod(places) >= self.places


def turn(fused: Fused, conv: graph.Conv) -> None:
    """Turn a convolution's weights in a kernel before the one that it is in."""
    source, turned = read_through(conv.weight)
    if turned is None or not isinstance(source, BlockArgument):
        return
    permutation = turned.permutation
    if isinstance(fused.inputs[source.index].owner, graph.Constant):
        return

    def transposed(b: GraphBuilder, weight: SSAValue) -> SSAValue:
        return b.transpose(weight, permutation)

    made = made_before(fused, fused.inputs[source.index], "transpose", "turned", transposed)
    conv.operands[1] = add_input(fused, made)
    drop_unused(fused)
