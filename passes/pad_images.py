"""Pads images once before convolutions, so that no tap meets a place outside.

Where a border lies around the image, the place that a tap meets is a place of the result plus a
place of the tap, and no element needs to be masked: a product finds all that it reads by two short
lists of distances.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument, SSAValue
from xdsl.passes import ModulePass

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Fused
from aicc.ir.module import functions
from aicc.passes.kernel_inputs import add_input, drop_unused, made_before, read_through
from aicc.passes.tiling.depthwise import is_depthwise


@dataclass(frozen=True)
class PadImages(ModulePass):
    """Give fused convolutions of unfused images an input that is padded already.

    ``conv(x, pads)`` becomes ``conv(pad(x))``, with the padding in a kernel of its own; an image
    that a convolution would transpose as it reads it is transposed there too.
    """

    name = "pad-images"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for func in functions(op).values():
            for fused in [o for o in func.walk() if isinstance(o, Fused)]:
                convs = [o for o in fused.ops() if isinstance(o, graph.Conv)]
                if len(convs) != 1 or is_depthwise(convs[0]):
                    continue
                image, turned = read_through(convs[0].input)
                if isinstance(image, BlockArgument) and (turned or any(convs[0].pads)):
                    pad_image(fused, convs[0], image, turned)


def pad_image(
    fused: Fused, conv: graph.Conv, old: BlockArgument, turned: graph.Transpose | None
) -> None:
    """Pad what a convolution reads in a kernel before the one that it is in, and turn it there."""
    rank = len(conv.strides)
    ends = conv.pads[:rank], conv.pads[rank:]
    last = conv.layout == "nhwc"
    low, high = ([0, *pads, 0] if last else [0, 0, *pads] for pads in ends)

    def padded(b: GraphBuilder, image: SSAValue) -> SSAValue:
        image = image if turned is None else b.transpose(image, turned.permutation)
        if not any(conv.pads):
            return image
        return b.emit(graph.Pad, image, b.scalar_like(0, image), low=low, high=high)

    made = made_before(fused, fused.inputs[old.index], "pad", "padded", padded)
    conv.operands[0] = add_input(fused, made)
    conv.set_param("pads", [0] * len(conv.pads))
    drop_unused(fused)
