"""Pads images once before convolutions, so that no tap meets a place outside.

Where a border lies around the image, the place that a tap meets is a place of the result plus a
place of the tap, and no element needs to be masked: a product finds all that it reads by two short
lists of distances.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Region
from xdsl.passes import ModulePass

from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.graph import Fused
from aicc.ir.module import functions
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
                turned = convs[0].input.owner
                turned = turned if isinstance(turned, graph.Transpose) else None
                image = convs[0].input if turned is None else turned.input
                if isinstance(image, BlockArgument) and (turned or any(convs[0].pads)):
                    pad_image(fused, convs[0], image, turned)


def pad_image(
    fused: Fused, conv: graph.Conv, old: BlockArgument, turned: graph.Transpose | None
) -> None:
    """Pad what a convolution reads in a kernel before the one that it is in, and turn it there."""
    source, rank = fused.inputs[old.index], len(conv.strides)
    body = Block(arg_types=[source.type])
    body.args[0].name_hint = source.name_hint
    b = GraphBuilder(body)
    image = body.args[0] if turned is None else b.transpose(body.args[0], turned.permutation)
    zero = b.scalar_like(0, image)
    ends = conv.pads[:rank], conv.pads[rank:]
    last = conv.layout == "nhwc"
    low, high = ([0, *pads, 0] if last else [0, 0, *pads] for pads in ends)
    made = b.emit(graph.Pad, image, zero, low=low, high=high) if any(conv.pads) else image
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
    block, inner = fused.parent, fused.body.block
    assert block is not None
    block.insert_op_before(before, fused)
    padded = inner.insert_arg(made.type, len(inner.args))
    padded.name_hint = "padded"
    fused.operands = [*fused.operands, before.outputs[0]]
    conv.operands[0] = padded
    conv.set_param("pads", [0] * len(conv.pads))
    if turned is not None and turned.result.first_use is None:
        turned.detach()
        turned.erase()
    if old.first_use is None:
        fused.operands = [v for i, v in enumerate(fused.operands) if i != old.index]
        inner.erase_arg(old)
