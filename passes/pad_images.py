"""Pads images once before convolutions, so that every tap is a shift of the whole image.

A CPU's product reads the image in rows: where an image has its border around it and neighbours in
the result are neighbours in memory, what a tap meets at all places of the result is one run of
memory, and no element needs to be found or masked by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Region, SSAValue
from xdsl.passes import ModulePass

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Fused
from aicc.ir.module import functions
from aicc.ir.types import static_shape
from aicc.passes.tiling.depthwise import is_depthwise

Make = Callable[[GraphBuilder, SSAValue], SSAValue]


class PadImages(ModulePass):
    """Give fused 2-D convolutions of unfused images an input that is padded already.

    ``conv(x, pads)`` becomes ``conv(pad(x))``. With strides of 2 the four images of even and odd
    rows and columns are made as well, ``[N, C, 2, 2, H/2, W/2]``; the kernel sees the whole image
    through a view of them. A 1×1 convolution with strides gets an image of what it reads.
    """

    name = "pad-images"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in functions(op).values():
            for fused in [o for o in func.walk() if isinstance(o, Fused)]:
                convs = [o for o in fused.ops() if isinstance(o, graph.Conv)]
                if len(convs) == 1:
                    prepare(fused, convs[0])


def prepare(fused: Fused, conv: graph.Conv) -> None:
    image, weight = static_shape(conv.input), static_shape(conv.weight)
    result = static_shape(conv.result)
    if image is None or weight is None or result is None or len(image) != 4 or 0 in image:
        return
    if is_depthwise(conv) or not isinstance(conv.input, BlockArgument):
        return
    taps, strides = weight[2:], tuple(conv.strides)
    if strides not in ((1, 1), (2, 2)) or (strides == (1, 1) and not any(conv.pads)):
        return
    if taps == (1, 1) and not any(conv.pads):
        insert(fused, conv, lambda b, x: picked(b, x, result[2:]), None)
        conv.set_param("strides", [1, 1])
        return
    reach = [(t - 1) * d + 1 for t, d in zip(taps, conv.dilations, strict=True)]
    needed = [(size - 1) * s + r for size, s, r in zip(result[2:], strides, reach, strict=True)]
    goal = [-(-d // s) * s for d, s in zip(needed, strides, strict=True)]
    low = list(conv.pads[:2])
    if strides == (1, 1):
        insert(fused, conv, lambda b, x: padded(b, x, low, goal), None)
    else:
        n, c = image[:2]
        half = [d // 2 for d in goal]

        def phases(b: GraphBuilder, x: SSAValue) -> SSAValue:
            split = b.reshape(padded(b, x, low, goal), [n, c, half[0], 2, half[1], 2])
            return b.transpose(split, [0, 1, 3, 5, 2, 4])

        def whole(b: GraphBuilder, x: SSAValue) -> SSAValue:
            return b.reshape(b.transpose(x, [0, 1, 4, 2, 5, 3]), [n, c, *goal])

        insert(fused, conv, phases, whole)
    conv.set_param("pads", [0] * len(conv.pads))


def picked(b: GraphBuilder, x: SSAValue, size: tuple[int, ...]) -> SSAValue:
    """Every second row and column."""
    limits = [2 * (d - 1) + 1 for d in size]
    return b.slice(b.slice(x, 2, 0, limits[0], 2), 3, 0, limits[1], 2)


def padded(b: GraphBuilder, x: SSAValue, low: list[int], goal: list[int]) -> SSAValue:
    """An image of the size `goal` with x from `low` on and zeros around it."""
    shape = static_shape(x)
    assert shape is not None
    high = [g - d - p for g, d, p in zip(goal, shape[2:], low, strict=True)]
    zero = b.scalar_like(0, x)
    return b.emit(graph.Pad, x, zero, low=[0, 0, *low], high=[0, 0, *high])


def insert(fused: Fused, conv: graph.Conv, make: Make, view: Make | None) -> None:
    """Make the image in a kernel of its own, and have the convolution read it through `view`."""
    assert isinstance(conv.input, BlockArgument)
    source = fused.inputs[conv.input.index]
    body = Block(arg_types=[source.type])
    body.args[0].name_hint = source.name_hint
    made = make(GraphBuilder(body), body.args[0])
    body.add_op(graph.Yield.make([made], result_types=[]))
    before = Fused.make(
        [source],
        result_types=[made.type],
        regions=[Region(body)],
        location=fused.location,
        role="pointwise",
        label="pad",
    )
    before.outputs[0].name_hint = "padded"
    block = fused.parent
    assert block is not None
    block.insert_op_before(before, fused)
    old, inner = conv.input, fused.body.block
    image: SSAValue = inner.insert_arg(made.type, len(inner.args))
    image.name_hint = "padded"
    fused.operands = [*fused.operands, before.outputs[0]]
    if view is not None:
        image = view(GraphBuilder.before(conv), image)
    conv.operands[0] = image
    if old.first_use is None:
        fused.operands = [v for i, v in enumerate(fused.operands) if i != old.index]
        inner.erase_arg(old)
