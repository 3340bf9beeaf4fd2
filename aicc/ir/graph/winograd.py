"""Convolutions of 3×3 taps by Winograd's method: 36 products for 16 places instead of 144.

F(4×4, 3×3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015): a patch d
of 6×6 of the image and the taps g give 4×4 places Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A. Summed over channels,
the middle is a product of matrices for each of the 36 places of a patch. The points of the
interpolation are 0, ±3/4, ±3/2 and ∞, whose sums lose fewer bits than those of 0, ±1, ±2 and ∞:
twice the error of a direct convolution instead of four times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.irdl import opt_operand_def

from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_float,
    operand_def,
    require,
    require_dtype,
    require_lengths,
    require_rank,
    require_same_dtype,
    result_def,
)
from aicc.ir.graph.contract import LAYOUTS, channels_first
from aicc.ir.op import graph_op
from aicc.ir.params import INTS, param
from aicc.ir.symbols import Dim, ceildiv
from aicc.ir.types import Shape, compatible_dim, numel, shape_of, tensor
from aicc.ir.values import SymbolicValues

STEP, TAPS = 4, 3
"""Places of the result that one patch gives along each dim, and taps."""

PATCH = STEP + TAPS - 1
"""Places of the image in a patch along each dim."""

NEAR, FAR = 0.75, 1.5
"""Points of the interpolation, beside 0, ∞ and those of the other sign."""

POINTS = (0.0, NEAR, -NEAR, FAR, -FAR)


def _weight_matrix() -> np.ndarray:
    rows = []
    for i, p in enumerate(POINTS):
        norm = np.prod([p - q for j, q in enumerate(POINTS) if j != i])
        rows.append([p**k / norm for k in range(TAPS)])
    return np.array([*rows, [0.0] * (TAPS - 1) + [1.0]])


def _input_matrix() -> np.ndarray:
    rows = []
    for i in range(len(POINTS)):
        others = [q for j, q in enumerate(POINTS) if j != i]
        rows.append([*np.poly(others)[::-1], 0.0])
    return np.array([*rows, np.poly(POINTS)[::-1]])


def _output_matrix() -> np.ndarray:
    last = [float(k == STEP - 1) for k in range(STEP)]
    return np.array([*([p**k for k in range(STEP)] for p in POINTS), last]).T


WEIGHT, INPUT, OUTPUT = _weight_matrix(), _input_matrix(), _output_matrix()
"""G [6, 3], Bᵀ [6, 6] and Aᵀ [4, 6]."""


def transformed_weight(weight: np.ndarray, layout: str = "nchw") -> np.ndarray:
    """Taps w[M, C, 3, 3] as ``G w Gᵀ``, [36, M, C], computed in float64.

    With channels last, taps w[3, 3, C, M] give [36, C, M].
    """
    if layout == "nhwc":
        taps, channels = weight.reshape(TAPS**2, -1), weight.shape[2:]
    else:
        taps, channels = weight.reshape(-1, TAPS**2).T, weight.shape[:2]
    wide = np.kron(WEIGHT, WEIGHT) @ taps.astype(np.float64)
    return wide.astype(weight.dtype).reshape(PATCH**2, *channels)


@graph_op
class WinogradInputTransform(GraphOp):
    """Patches of x[N, C, H, W] as ``Bᵀ d B``: [36, C, N, ⌈H′/4⌉, ⌈W′/4⌉] for a result of H′×W′.

    `pads` are those of the convolution of 3×3 taps: the low ends, then the high ends. With `layout`
    nhwc x is [N, H, W, C], the result [36, N, ⌈H′/4⌉, ⌈W′/4⌉, C]. MLIR's
    linalg.winograd_input_transform with m = 4, r = 3.
    """

    name = "graph.winograd_input_transform"
    traits = PURE
    input = operand_def(TENSOR)
    result = result_def(TENSOR)
    pads: tuple[int, ...] = param(INTS)
    layout: str = param(str, default="nchw", choices=LAYOUTS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        require_rank(self, self.input, 4, "the input")
        require_lengths(self, 4, pads=self.pads)
        n, c, *image = self.image
        places = []
        for i, s in enumerate(image):
            size = None if s is None else s + self.pads[i] + self.pads[2 + i] - TAPS + 1
            require(self, not isinstance(size, int) or size >= 0, "the image is too small")
            places.append(None if size is None else ceildiv(size, STEP))
        shape = (n, *places, c) if self.layout == "nhwc" else (c, n, *places)
        return [tensor((PATCH**2, *shape), dtype)]

    @property
    def image(self) -> Shape:
        """The input's dims in the order [N, C, H, W]."""
        shape = shape_of(self.input)
        return channels_first(shape) if self.layout == "nhwc" else shape


@graph_op
class WinogradConv(GraphOp):
    """A convolution of 3×3 taps from patches and weights that are transformed: [N, M, H, W].

    `patches` [36, C, N, ⌈H/4⌉, ⌈W/4⌉] are a `winograd_input_transform`, `weight` [36, M, C] is
    ``G w Gᵀ``, `size` is [H, W]. With `layout` nhwc the patches are [36, N, ⌈H/4⌉, ⌈W/4⌉, C], the
    weight [36, C, M], the result [N, H, W, M]. The sums over C and MLIR's
    linalg.winograd_output_transform, in one.
    """

    name = "graph.winograd_conv"
    traits = PURE
    patches = operand_def(TENSOR)
    weight = operand_def(TENSOR)
    bias = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    size: tuple[int, ...] = param(INTS)
    layout: str = param(str, default="nchw", choices=LAYOUTS)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.patches, is_float, "the patches")
        require_same_dtype(self, self.patches, self.weight, self.bias)
        require_rank(self, self.patches, 5, "the patches")
        require_rank(self, self.weight, 3, "the weight")
        require_lengths(self, 2, size=self.size)
        count = {shape_of(v)[0] for v in (self.patches, self.weight)}
        require(self, count == {PATCH**2}, "a patch has 36 places")
        (c, n, *places), (m, summed) = self.dims
        require(self, compatible_dim(c, summed), f"{c} channels, the weight takes {summed}")
        for place, size in zip(places, self.size, strict=True):
            fits = compatible_dim(place, ceildiv(size, STEP))
            require(self, fits, f"{place} patches of {STEP} places for a result of {size}")
        if self.bias is not None:
            require_rank(self, self.bias, 1, "the bias")
        shape = (n, *self.size, m) if self.layout == "nhwc" else (n, m, *self.size)
        return [tensor(shape, dtype)]

    @property
    def dims(self) -> tuple[Shape, Shape]:
        """The patches' dims in the order [C, N, *P], and the weight's as [M, C]."""
        patches, weight = shape_of(self.patches)[1:], shape_of(self.weight)[1:]
        if self.layout == "nhwc":
            return (patches[-1], *patches[:-1]), (weight[1], weight[0])
        return patches, weight

    def flops(self) -> Dim:
        products = numel((*shape_of(self.patches), self.dims[1][0]))
        return 0 if products is None else 2 * products
