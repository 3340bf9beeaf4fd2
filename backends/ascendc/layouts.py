"""What convolutions and poolings lose on Ascend's chips as channels lie first or last.

Estimated by the emulator, in clocks, for layers of 32 and 64 channels in half and float: rows of
channels are copied and computed on whole, so that a depthwise window with channels last takes 0.56
of the time, a pooling 0.53 to 0.7, a strided window of one tap 0.67 to 0.72, one that is a product
of the image as it lies 0.93 to 0.98, and other windows 0.45 to 0.97 (1.9 in one case, as its tiles
came out). The first layers of SqueezeNet and of MobileNetV2 took half the time. Of few channels,
single elements are read by the scalar unit. No chip was measured.
"""

from __future__ import annotations

from aicc.backends.layout_costs import (
    channels_of,
    image_loads,
    is_depthwise,
    is_plain_product,
    is_window,
)
from aicc.ir import graph
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type

ROWS = 32
"""Rows of a product's tile."""

DEPTHWISE, POOLED, WINDOW, PLAIN = 0.75, 0.5, 0.4, 0.03
"""Parts of the time that channels last would take which are lost with channels first."""

BLOCK_BYTES, FEW = 32, 4.0
"""With channels last, fewer bytes of channels than these are read one by one: what that takes
longer, at the least, as a part of the time with channels first."""


def layout_cost(op: GraphOp, last: bool) -> float:
    """Bytes that could be copied in the time that is lost."""
    if not is_window(op):
        return 0.0
    size = element_type(op.operands[0]).bits / 8
    if channels_of(op) * size < BLOCK_BYTES:
        return FEW * image_loads(op, ROWS) * size if last else 0.0
    if last:
        return 0.0
    if not isinstance(op, graph.Conv):
        part = POOLED
    elif is_depthwise(op):
        part = DEPTHWISE
    else:
        part = PLAIN if is_plain_product(op) else WINDOW
    return part * image_loads(op, ROWS) * size
