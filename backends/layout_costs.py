"""How often convolutions and poolings load elements of an image: by that targets weigh layouts."""

from __future__ import annotations

import math

from aicc.ir import graph
from aicc.ir.op import GraphOp
from aicc.ir.types import shape_of, typical


def is_window(op: GraphOp) -> bool:
    """Whether an op goes over an image by windows, and may do so with channels first or last."""
    return isinstance(op, (graph.Conv, graph.MaxPool, graph.AvgPool))


def channels_of(op: GraphOp) -> int:
    """Channels of the image of an op with channels first."""
    return typical(shape_of(op.operands[0])[1])


def is_depthwise(op: GraphOp) -> bool:
    return isinstance(op, graph.Conv) and op.groups == channels_of(op) > 1


def taps_of(op: GraphOp) -> int:
    """Elements of a window."""
    if isinstance(op, graph.Conv):
        return math.prod(map(typical, shape_of(op.weight)[2:]))
    return math.prod(op.kernel_shape)  # type: ignore[attr-defined]


def summed_channels(op: GraphOp) -> int:
    """Channels that one result is made of."""
    return typical(shape_of(op.weight)[1]) if isinstance(op, graph.Conv) else 1


def is_plain_product(op: GraphOp) -> bool:
    """Whether a convolution is a product of the image as it lies: one tap, stride 1."""
    return isinstance(op, graph.Conv) and taps_of(op) == 1 and max(op.strides) == 1


def image_loads(op: GraphOp, rows: int) -> float:
    """Elements that are loaded, where `rows` results of a product share what is loaded once."""
    results = math.prod(map(typical, shape_of(op.results[0])))
    each = results * taps_of(op) * summed_channels(op)
    shared = isinstance(op, graph.Conv) and not is_depthwise(op)
    return each / rows if shared else each
