"""Kernels around a convolution, as a product whose right operand is read from the image.

Rows are the output's channels, columns its places, and what is summed over are input channels and
taps: nothing like an im2col matrix is ever in memory. Images and groups of channels go to the grid.
With channels last rows are places, of all images, and columns channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.ir import Block

from aicc.ir import graph
from aicc.ir.graph import Fused
from aicc.ir.graph.contract import channels_first
from aicc.ir.symbols import Dim, floordiv, mod, sym
from aicc.ir.types import shape_of, typical
from aicc.passes.tiling import nodes as n
from aicc.passes.tiling.depthwise import is_depthwise, lower_depthwise
from aicc.passes.tiling.pooling import Window
from aicc.passes.tiling.products import M, N, Product, check_dtypes
from aicc.passes.tiling.spaces import known_shape

FEW_PLACES = 15
"""Of so few places, fewer than a block's columns, those of all images are columns together, where
nothing else is said."""


def lower_conv(
    op: Fused, conv: graph.Conv | graph.ConvTranspose, places: int
) -> tuple[Block, dict]:
    """The body of a kernel for `op`, which is built around `conv`, and its parameters.

    Of images of up to `places` places, those of all are columns together.
    """
    if isinstance(conv, graph.Conv) and is_depthwise(conv):
        return lower_depthwise(op, conv)
    return _Convolution(op, conv, places).product().lower()


class _Convolution:
    def __init__(self, op: Fused, conv: graph.Conv | graph.ConvTranspose, few: int):
        self.op, self.conv, self.few = op, conv, few
        self.dtype, self.out = check_dtypes(conv.input, conv.weight, conv.result)
        self.image = known_shape(shape_of(conv.input))
        self.weight = known_shape(shape_of(conv.weight))
        self.shape = known_shape(shape_of(conv.result))
        self.last = isinstance(conv, graph.Conv) and conv.layout == "nhwc"
        if self.last:
            self.image, self.shape = channels_first(self.image), channels_first(self.shape)
            self.weight = (self.weight[-1], self.weight[-2], *self.weight[:-2])
        self.rank = len(self.shape) - 2
        self.transposed = isinstance(conv, graph.ConvTranspose)
        if self.transposed:
            self.summed, self.channels = floordiv(self.weight[0], conv.groups), self.weight[1]
        else:
            self.summed, self.channels = self.weight[1], floordiv(self.weight[0], conv.groups)

    def product(self) -> Product:
        """The weight times the image, or with channels last the image times the weight."""
        name, r = n.axis_name, range(self.rank)
        places = [name(f"s{i}") for i in r]
        over: list[Dim] = [sym(s) for s in places]
        taps = [f"t{i}" for i in r]
        order = [*taps, "c"] if self.last else ["c", *taps]
        left, right = ([name(f"{c}{side}") for c in order] for side in "ab")
        sizes = dict(zip(["c", *taps], [self.summed, *self.weight[2:]], strict=True))
        summed = [sizes[c] for c in order]
        batch, group = name("image"), name("group")
        across = N if self.last else M
        known = all(isinstance(d, int) for d in self.shape)
        few = known and 0 < math.prod(map(typical, self.shape[2:])) <= self.few
        extents: dict[str, Dim] = {
            batch: self.shape[0],
            group: self.conv.groups,
            across: self.channels,
            **dict(zip(places, self.shape[2:], strict=True)),
            **dict(zip(left, summed, strict=True)),
            **dict(zip(right, summed, strict=True)),
        }
        kinds = {
            batch: "batch" if self.last else "n" if few else "grid",
            group: "groups",
            across: "n" if self.last else "m",
            **dict.fromkeys(places, "m" if self.last else "n"),
            **dict.fromkeys(left, "ka"),
            **dict.fromkeys(right, "kb"),
        }
        tracer = n.Tracer(extents)
        g = sym(group) if self.conv.groups > 1 else 0
        channel = sym(across) + g * self.channels
        acc = n.Given(self.out, frozenset([batch, group, across, *places]))
        after: n.Node = acc
        if self.conv.bias is not None:
            bias = tracer.value(self.conv.bias, (channel,))
            add = "arith.addf" if self.out.is_float else "arith.addi"
            after = n.Combine(self.out, acc.axes, add, acc, bias)

        def along(axes: Sequence[str]) -> list[Dim]:
            """The channel and the taps of one side."""
            at = dict(zip(order, axes, strict=True))
            return [sym(at[c]) for c in ("c", *taps)]

        image_side, weight_side = (left, right) if self.last else (right, left)
        patch = self.patch(tracer, along(image_side), g, [sym(batch)], over)
        weight = self.taps(tracer, along(weight_side), g, channel)
        return Product(
            self.op,
            [self.conv.result],
            tracer,
            extents,
            kinds,
            [sym(batch), *over, channel] if self.last else [sym(batch), channel, *over],
            patch if self.last else weight,
            [weight if self.last else patch],
            self.dtype,
            [acc],
            [after],
            indexed=True,
        )

    def taps(self, tracer: n.Tracer, at: list, g: Dim, channel: Dim) -> n.Node:
        """The weight, at a channel of the output, a channel of the input and a tap."""
        if self.transposed:
            return tracer.value(self.conv.weight, (at[0] + g * self.summed, sym(M), *at[1:]))
        if self.last:
            return tracer.value(self.conv.weight, (*at[1:], at[0], channel))
        return tracer.value(self.conv.weight, (channel, *at))

    def patch(self, tracer: n.Tracer, at: list, g: Dim, batch: list, places: list) -> n.Node:
        """What of the input a tap meets at a place of the output; 0 outside the image."""
        if self.transposed:
            source, inside = self.behind(at[1:], places)
        else:
            source, inside = Window(self.conv, places, self.image[2:]).under(at[1:])
        depth = at[0] + g * self.summed
        coords = (*batch, *source, depth) if self.last else (*batch, depth, *source)
        node = tracer.value(self.conv.input, coords, tuple(inside))
        if isinstance(node, n.Read):
            return node  # hidden elements are read as 0
        return tracer.chosen(inside, node, 0)

    def behind(self, taps: list, places: list) -> tuple[list[Dim], list[Dim]]:
        """The place of the input that a tap takes to a place of the output, as `Window.under`."""
        source, inside = list[Dim](), list[Dim]()
        for i, (place, tap) in enumerate(zip(places, taps, strict=True)):
            step, size = self.conv.strides[i], self.image[2 + i]
            shifted = place + self.conv.pads[i] - tap * self.conv.dilations[i]
            source.append(floordiv(shifted, step))
            inside += [shifted, size * step - 1 - shifted]
            if step > 1:
                inside.append(-mod(shifted, step))
        return source, inside
