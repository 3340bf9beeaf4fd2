"""Convolutions of 3×3 taps by Winograd's method, where that takes less time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.dtypes import f32
from aicc.ir.graph import Fused
from aicc.ir.graph.contract import channels_first
from aicc.ir.graph.winograd import PATCH, STEP, TAPS, transformed_weight
from aicc.ir.module import functions
from aicc.ir.types import element_type, shape_of, typical
from aicc.passes.kernel_inputs import add_input, drop_unused, made_before, read_through
from aicc.passes.tiling.depthwise import weight_shape
from aicc.passes.weights import derived_constant

LANES = 16
"""Elements of a row of patches that are transformed at once."""

READ, WRITTEN = 35, 30
"""What an element of a patch and a sum cost to transform, in multiplications of a product."""

STREAMED = 50
"""What an element of the weights costs to fetch from memory, in the same."""


@dataclass(frozen=True)
class Winograd(ModulePass):
    """Have fused convolutions of f32 images with constant 3×3 taps computed patch by patch.

    ``conv(x, w)`` becomes ``winograd_conv(winograd_input_transform(x), G w Gᵀ)``, with the first in
    a kernel of its own that convolutions of the same image share. Results differ in their last
    bits, and an infinity or NaN of the image reaches all places of its patch. It is done where it
    takes at most the part `most` of the direct convolution's time, as weights grow four times.
    """

    name = "winograd"
    most: float = 0.8

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in functions(op).values():
            made: dict[Key, SSAValue] = {}
            for fused in [o for o in func.walk() if isinstance(o, Fused)]:
                convs = [o for o in fused.ops() if isinstance(o, graph.Conv)]
                if len(convs) == 1 and (weight := self.weight(fused, convs[0])) is not None:
                    rewrite(fused, convs[0], weight, made)

    def weight(self, fused: Fused, conv: graph.Conv) -> graph.Constant | None:
        """The convolution's weight if it is to be rewritten."""
        if element_type(conv.result) != f32 or conv.groups != 1:
            return None
        if tuple(weight_shape(conv)[2:]) != (TAPS, TAPS):
            return None
        if set(conv.strides) | set(conv.dilations) != {1} or max(conv.pads) >= TAPS:
            return None
        (image, _), weight = read_through(conv.input), conv.weight
        if not isinstance(image, BlockArgument) or not isinstance(weight, BlockArgument):
            return None
        found = fused.inputs[weight.index].owner
        if not isinstance(found, graph.Constant) or not found.value.data.resolved:
            return None
        return found if part_of_direct(conv) < self.most else None


def part_of_direct(conv: graph.Conv) -> float:
    """The time of transforms and products, as a part of the direct convolution's."""
    last = conv.layout == "nhwc"
    shapes = (shape_of(conv.result), shape_of(conv.input))
    (images, out, *size), (_, summed, *_) = map(channels_first, shapes) if last else shapes
    if not all(isinstance(d, int) and d > 0 for d in (out, summed, *size)):
        return math.inf
    assert isinstance(out, int) and isinstance(summed, int)
    rows, columns = (-(-int(d) // STEP) for d in size)  # type: ignore[arg-type]
    batch = typical(images)
    patches = batch * rows * columns
    idle = 0.5 if last else -(-columns // LANES) * LANES / columns
    filled = patches if last else -(-patches // LANES) * LANES
    time = PATCH**2 * (
        summed * out * (filled + STREAMED) + patches * idle * (summed * READ + out * WRITTEN)
    )
    places = batch * int(size[0]) * int(size[1])  # type: ignore[arg-type]
    direct = TAPS**2 * summed * out * (places + STREAMED)
    return time / direct


Key = tuple[Block | None, SSAValue, tuple[int, ...], tuple[int, ...]]
"""A block, a value read in it, how that is transposed, and what is padded."""


def rewrite(
    fused: Fused, conv: graph.Conv, weight: graph.Constant, made: dict[Key, SSAValue]
) -> None:
    """Replace a convolution inside a kernel, and give the kernel what the new one reads."""
    image, turned = read_through(conv.input)
    assert isinstance(image, BlockArgument)
    source, permutation = fused.inputs[image.index], () if turned is None else turned.permutation

    def patches(b: GraphBuilder, x: SSAValue) -> SSAValue:
        x = b.transpose(x, permutation) if permutation else x
        return b.emit(graph.WinogradInputTransform, x, pads=list(conv.pads), layout=conv.layout)

    key = fused.parent, source, tuple(permutation), conv.pads
    if key not in made:
        made[key] = made_before(fused, source, "winograd_patches", "patches", patches)
    transformed = transformed_weight(weight.value.array, conv.layout)
    constant = derived_constant(weight.result, transformed, f"winograd.{conv.layout}")
    constant.location = weight.location
    constant.result.name_hint = weight.result.name_hint
    Rewriter.insert_op(constant, InsertPoint.before(fused))
    operands = [add_input(fused, made[key]), add_input(fused, constant.result)]
    shape = shape_of(conv.result)
    new = graph.WinogradConv.make(
        *operands,
        *([conv.bias] if conv.bias is not None else []),
        location=conv.location,
        size=list(shape[1:3] if conv.layout == "nhwc" else shape[2:]),
        layout=conv.layout,
    )
    new.result.name_hint = conv.result.name_hint
    Rewriter.replace_op(conv, new)
    drop_unused(fused)
    if weight.result.first_use is None:
        weight.detach()
        weight.erase()
