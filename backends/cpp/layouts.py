"""What convolutions and poolings lose on a CPU as channels lie first or last.

Measured layer by layer on ResNet-50's and MobileNetV2's shapes (AVX-512, two threads): a product of
one tap needs no lists of places with channels last, and takes 0.55 to 0.95 of the time; larger
windows gain little or lose a few hundredths at small images; depthwise ones with stride 1 lose a
seventh, those with larger strides take half the time.
"""

from __future__ import annotations

import math

from aicc.ir import graph
from aicc.ir.op import GraphOp
from aicc.ir.types import bytes_of, shape_of, typical

FLOPS_PER_BYTE = 15
"""Multiplications and additions of a product in the time that one byte takes to move."""

POOLED, ONE_TAP, WINDOW = 0.4, 0.3, 0.05
"""Parts of its time that an op loses with channels first."""

DEPTHWISE, STRIDED = 0.15, 1.0
"""Parts of its time that a depthwise convolution loses with channels last, or if strided first."""

FEW = 16
"""With fewer channels than these a tap reads no whole vectors."""


def layout_cost(op: GraphOp, last: bool) -> float:
    """Bytes that could be moved in the time that is lost."""
    if isinstance(op, (graph.MaxPool, graph.AvgPool)):
        return 0.0 if last else POOLED * moved(op)
    if not isinstance(op, graph.Conv):
        return 0.0
    channels, *window = shape_of(op.weight)[1:]
    if op.groups > 1 and channels == 1:
        if max(op.strides) > 1:
            return 0.0 if last else STRIDED * moved(op)
        return DEPTHWISE * moved(op) if last else 0.0
    if isinstance(channels, int) and channels < FEW:
        return 0.0
    time = typical(op.flops()) / FLOPS_PER_BYTE
    taps = math.prod(map(typical, window))
    return 0.0 if last else (ONE_TAP if taps == 1 else WINDOW) * time


def moved(op: GraphOp) -> float:
    """Bytes that the op reads and writes."""
    sizes = (bytes_of(v) for v in (op.operands[0], op.results[0]))
    return float(sum(typical(s) for s in sizes if s is not None))
