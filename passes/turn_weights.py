"""Turns weights that come from outside once before convolutions, into the order of their products.

Constant weights are turned as the model is compiled. Those of a model that is trained, or whose
parameters are arguments, lie as the framework has them: a product of images with channels last
reads them tap by tap, and a gradient reads them with channels and filters swapped. Each block of
its columns or images would gather all of them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Fused
from aicc.ir.module import functions
from aicc.ir.op import GraphOp
from aicc.ir.types import shape_of, typical
from aicc.passes.kernel_inputs import VIEWS, add_input, drop_unused, made_before
from aicc.passes.tiling.depthwise import is_depthwise


@dataclass(frozen=True)
class TurnWeights(ModulePass):
    """Give fused convolutions weights that lie in memory as their products read them.

    ``conv(x, view(w))`` becomes ``conv(x, w')`` with the view, of transposes, slices and reshapes,
    in a kernel of its own, where windows have several taps, results more places than those, and all
    images together at least `places`: else each weight is gathered once or twice anyway.
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
        if is_depthwise(conv):
            return False
        last = conv.layout == "nhwc"
        batch, *places = map(typical, shape_of(conv.result))
        places = places[:-1] if last else places[1:]
        taps = shape_of(conv.weight)[:-2] if last else shape_of(conv.weight)[2:]
        window, image = math.prod(map(typical, taps)), math.prod(places)
        return 1 < window < image and batch * image >= self.places


def turn(fused: Fused, conv: graph.Conv) -> None:
    """Put a convolution's weights in order in a kernel before the one that it is in."""
    source, views = viewed(conv.weight)
    if not isinstance(source, BlockArgument):
        return
    if all(isinstance(v, graph.Reshape) for v in views):
        return
    given = fused.inputs[source.index]
    if isinstance(given.owner, graph.Constant):
        return

    def in_order(b: GraphBuilder, value: SSAValue) -> SSAValue:
        for view in views:
            (value,) = b.build(type(view), value, **view.param_values()).results
        return value

    made = made_before(fused, given, "transpose", "turned", in_order)
    conv.operands[1] = add_input(fused, made)
    drop_unused(fused)


def viewed(value: SSAValue) -> tuple[SSAValue, Sequence[GraphOp]]:
    """What a value is a view of, and the ops of the view in their order."""
    views: list[GraphOp] = []
    while isinstance(value.owner, VIEWS) and len(value.owner.operands) == 1:
        views.append(value.owner)
        value = value.owner.input
    return value, views[::-1]
