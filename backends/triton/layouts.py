"""What convolutions and poolings lose on a GPU as channels lie first or last.

Read off cubins for sm_90 (Triton 3.9) of ResNet-50's and MobileNetV2's shapes. With channels last,
elements of an image are copied 16 bytes at a time, by `cp.async` into the stages of a product. With
channels first that holds for windows of one tap and stride 1 only; others load each element by an
instruction of its own, those of 16 bits without `cp.async`, which takes no fewer than 4 bytes: 72
to 82 loads of a pooling or depthwise window of nine taps instead of 9 to 19. Below 16 bytes of
channels neither order has whole vectors. Nothing here was timed on a GPU.
"""

from __future__ import annotations

from aicc.backends.layout_costs import (
    channels_of,
    image_loads,
    is_depthwise,
    is_plain_product,
    is_window,
    summed_channels,
)
from aicc.ir import graph
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type

ROWS = 64
"""Rows of a product's tile, which all use an element of the image that is loaded once."""

LOST = {16: 1 / 3, 32: 1 / 12}
"""Bytes of device memory that could be moved in the time which a load of its own takes longer than
its share of a vector, by the bits of the element. A multiprocessor loads 32 elements or 128 bytes a
clock, while its part of device memory's bandwidth is 21 bytes (H100); of 32 bits the bytes take as
long, but there are four times the instructions."""

VECTOR_BITS = 128


def layout_cost(op: GraphOp, last: bool) -> float:
    """Bytes that could be moved in the time that is lost."""
    if last or not is_window(op) or is_plain_product(op):
        return 0.0
    bits = element_type(op.operands[0]).bits
    single = isinstance(op, graph.Conv) and not is_depthwise(op)
    side_by_side = summed_channels(op) if single else channels_of(op)
    if side_by_side * bits < VECTOR_BITS:
        return 0.0
    return image_loads(op, ROWS) * LOST.get(bits, 0.0)
