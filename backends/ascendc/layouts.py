"""What convolutions and poolings lose on Ascend's chips as channels lie first or last.

Estimated by the emulator, in clocks, for layers in half and float: rows of channels are copied and
computed on whole, so that a depthwise window with channels last takes 0.56 of the time, a pooling
0.5 to 0.7, a strided window of one tap 0.61 to 0.67, one that is a product of the image as it lies
0.93 to 0.98, and other windows 0.44 to 0.85. First layers, of 3 channels, take 0.34 to 0.66: all
that a tile needs of the image is one copy. No chip was measured.
"""

from __future__ import annotations

from aicc.backends.layout_costs import (
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


def layout_cost(op: GraphOp, last: bool) -> float:
    """Bytes that could be copied in the time that is lost."""
    if last or not is_window(op):
        return 0.0
    size = element_type(op.operands[0]).bits / 8
    if not isinstance(op, graph.Conv):
        part = POOLED
    elif is_depthwise(op):
        part = DEPTHWISE
    else:
        part = PLAIN if is_plain_product(op) else WINDOW
    return part * image_loads(op, ROWS) * size
