"""Resampling and detection ops."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.irdl import opt_operand_def

from aicc.ir.dtypes import i64
from aicc.ir.graph.common import (
    PURE,
    TENSOR,
    GraphOp,
    is_float,
    is_numeric,
    operand_def,
    require,
    require_axis,
    require_dtype,
    require_lengths,
    require_rank,
    require_same_dtype,
    result_def,
    result_numel,
    structural,
)
from aicc.ir.op import graph_op
from aicc.ir.params import DIMS, FLOATS, INTS, param
from aicc.ir.symbols import Dim
from aicc.ir.types import element_type, rank_of, shape_of, tensor
from aicc.ir.values import SymbolicValues

COORDINATE_MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)


@graph_op
class Resize(GraphOp):
    """Resample along `axes` to `sizes`. ONNX Resize and Upsample, aten.upsample_*.

    `scales` (one per axis) are used for the coordinates where given, else sizes over input sizes.
    `roi` lists the starts, then the ends of the region for "tf_crop_and_resize".
    """

    name = "graph.resize"
    traits = PURE
    input = operand_def(TENSOR)
    dyn_sizes = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    axes: tuple[int, ...] = param(INTS)
    sizes: tuple = param(DIMS, default=None)
    mode: str = param(str, default="nearest", choices=("nearest", "linear", "cubic"))
    coordinate_transformation_mode: str = param(str, default="half_pixel", choices=COORDINATE_MODES)
    nearest_mode: str = param(
        str,
        default="round_prefer_floor",
        choices=("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    )
    cubic_coeff_a: float = param(float, default=-0.75)
    exclude_outside: bool = param(bool, default=False)
    antialias: bool = param(bool, default=False)
    extrapolation_value: float = param(float, default=0.0)
    scales: tuple[float, ...] | None = param(FLOATS, default=None)
    roi: tuple[float, ...] | None = param(FLOATS, default=None)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_numeric)
        shape = list(shape_of(self.input))
        n = len(self.axes)
        sizes = structural(self, "sizes", values, n) or (None,) * n
        if self.scales is not None:
            require_lengths(self, n, scales=self.scales)
        if self.roi is not None:
            require_lengths(self, 2 * n, roi=self.roi)
        for axis, size in zip(self.axes, sizes, strict=True):
            require_axis(self, axis, len(shape))
            shape[axis] = size
        return [tensor(shape, dtype)]

    def flops(self) -> Dim:
        return {"nearest": 0, "linear": 4, "cubic": 16}[self.mode] * result_numel(self)


@graph_op
class GridSample(GraphOp):
    """Sample x[N, C, *S] at grid[N, *O, rank] of coordinates in [−1, 1].

    ONNX GridSample, aten.grid_sampler_2d and _3d.
    """

    name = "graph.grid_sample"
    traits = PURE
    input = operand_def(TENSOR)
    grid = operand_def(TENSOR)
    result = result_def(TENSOR)
    mode: str = param(str, default="linear", choices=("nearest", "linear", "cubic"))
    padding_mode: str = param(str, default="zeros", choices=("zeros", "border", "reflection"))
    align_corners: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        x, g = shape_of(self.input), shape_of(self.grid)
        require(self, len(x) == len(g) >= 4, "input and grid must have one rank, 4 or more")
        require_dtype(self, self.grid, is_float, "the grid")
        return [tensor((x[0], x[1], *g[1:-1]), element_type(self.input))]


@graph_op
class RoiAlign(GraphOp):
    """Average or maximum of bilinear samples in each bin of each region. ONNX RoiAlign.

    x[N, C, H, W], rois[R, 4] as x1 y1 x2 y2, batch_indices[R]; gives [R, C, height, width]
    (He et al. 2017).
    """

    name = "graph.roi_align"
    traits = PURE
    input = operand_def(TENSOR)
    rois = operand_def(TENSOR)
    batch_indices = operand_def(TENSOR)
    result = result_def(TENSOR)
    mode: str = param(str, default="avg", choices=("avg", "max"))
    output_height: int = param(int, default=1)
    output_width: int = param(int, default=1)
    sampling_ratio: int = param(int, default=0)
    spatial_scale: float = param(float, default=1.0)
    coordinate_transformation_mode: str = param(
        str, default="half_pixel", choices=("half_pixel", "output_half_pixel")
    )

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        dtype = require_dtype(self, self.input, is_float)
        require_same_dtype(self, self.input, self.rois)
        require_rank(self, self.input, 4, "the input")
        require_rank(self, self.rois, 2, "rois")
        regions, channels = shape_of(self.rois)[0], shape_of(self.input)[1]
        return [tensor((regions, channels, self.output_height, self.output_width), dtype)]


@graph_op
class NonMaxSuppression(GraphOp):
    """Indices [batch, class, box] of boxes kept by greedy suppression. ONNX NonMaxSuppression.

    boxes[B, N, 4], scores[B, C, N]; scalars: max_output_boxes (i64), iou_threshold and
    score_threshold (f32). Without the last, no score is too low.
    """

    name = "graph.non_max_suppression"
    traits = PURE
    boxes = operand_def(TENSOR)
    scores = operand_def(TENSOR)
    max_output_boxes = operand_def(TENSOR)
    iou_threshold = operand_def(TENSOR)
    score_threshold = opt_operand_def(TENSOR)
    result = result_def(TENSOR)
    center_point_box: bool = param(bool, default=False)

    def infer(self, values: SymbolicValues) -> Sequence[TensorType]:
        require_rank(self, self.boxes, 3, "boxes")
        require_rank(self, self.scores, 3, "scores")
        require(self, rank_of(self.max_output_boxes) == 0, "max_output_boxes must be a scalar")
        return [tensor((None, 3), i64)]
