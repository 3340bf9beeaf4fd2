"""Resampling and detection kernels against torch and ONNX Runtime."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from aicc.backends.numpy.kernels import image

DEFAULTS: dict[str, Any] = {
    "mode": "nearest",
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_floor",
    "cubic_coeff_a": -0.75,
    "exclude_outside": False,
    "antialias": False,
    "extrapolation_value": 0.0,
    "scales": None,
    "roi": None,
}


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def resize(x, sizes, axes=(2, 3), **changes: Any):
    options: dict[str, Any] = DEFAULTS | changes
    return image.resize(x, sizes=sizes, axes=axes, **options)


def run_onnx(op: str, inputs: dict[str, np.ndarray | None], opset: int = 20, **attributes):
    """One node in ONNX Runtime; its output."""
    named = [name if value is not None else "" for name, value in inputs.items()]
    given = {name: value for name, value in inputs.items() if value is not None}
    node = helper.make_node(op, named, ["y"], **attributes)
    arguments = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in given.items()
    ]
    kind = TensorProto.INT64 if op == "NonMaxSuppression" else TensorProto.FLOAT
    result = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "g", arguments, [result])
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, given)[0])


class TestResize:
    @pytest.mark.parametrize("size", [(14, 12), (3, 4), (1, 1), (7, 33), (20, 5)])
    @pytest.mark.parametrize("align", [False, True])
    @pytest.mark.parametrize("antialias", [False, True])
    @pytest.mark.parametrize("mode", ["linear", "cubic"])
    def test_interpolation_like_torch(self, rng, size, align, antialias, mode):
        if align and antialias:
            pytest.skip("torch: not both")
        x = normal(rng, 2, 3, 7, 6)
        aten: Any = {"linear": "bilinear", "cubic": "bicubic"}[mode]
        expected = F.interpolate(
            torch.tensor(x), size, mode=aten, align_corners=align, antialias=antialias
        )
        options: dict[str, Any] = {
            "mode": mode,
            "antialias": antialias,
            "cubic_coeff_a": -0.5 if antialias else -0.75,
            "exclude_outside": antialias,
            "coordinate_transformation_mode": "align_corners" if align else "half_pixel",
        }
        found = resize(x, size, **options)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)

    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_nearest_like_torch(self, rng, rank):
        x = normal(rng, 2, 3, *[7 - i for i in range(rank)])
        size = (5, 13, 4)[:rank]
        axes = tuple(range(2, 2 + rank))
        expected = F.interpolate(torch.tensor(x), size, mode="nearest").numpy()
        options: dict[str, Any] = {
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        np.testing.assert_array_equal(resize(x, size, axes, **options), expected)

    @pytest.mark.parametrize("transformation", [
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    ])  # fmt: skip
    @pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
    @pytest.mark.parametrize("scale", [0.65, 1.0, 2.0, 2.7])
    def test_coordinates_like_onnx_runtime(self, rng, transformation, mode, scale):
        if transformation == "align_corners" and scale in (0.65, 2.7):
            pytest.skip("ONNX's reference takes the exact, ONNX Runtime the rounded length")
        x = normal(rng, 1, 2, 7, 10)
        attributes: dict[str, Any] = {
            "mode": mode,
            "coordinate_transformation_mode": transformation,
        }
        scales = np.array([1, 1, scale, scale], np.float32)
        expected = run_onnx("Resize", {"x": x, "roi": None, "scales": scales}, **attributes)
        options = dict(attributes)
        options |= {"scales": tuple(scales[2:].astype(float))}
        found = resize(x, expected.shape[2:], **options)
        np.testing.assert_allclose(found, expected, atol=2e-5)

    @pytest.mark.parametrize(
        "nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
    )
    @pytest.mark.parametrize("sizes", [(14, 5), (4, 20)])
    def test_nearest_modes_like_onnx_runtime(self, rng, nearest, sizes):
        x = normal(rng, 1, 2, 7, 10)
        wanted = {"x": x, "roi": None, "scales": None, "sizes": np.array([1, 2, *sizes])}
        expected = run_onnx("Resize", wanted, mode="nearest", nearest_mode=nearest)
        options: dict[str, Any] = {"nearest_mode": nearest}
        np.testing.assert_array_equal(resize(x, sizes, **options), expected)

    def test_crop_and_resize(self, rng):
        x = normal(rng, 1, 1, 6, 6)
        roi = np.array([0, 0, 0.2, -0.3, 1, 1, 0.9, 1.2], np.float32)
        attributes: dict[str, Any] = {
            "mode": "linear",
            "coordinate_transformation_mode": "tf_crop_and_resize",
            "extrapolation_value": 7.0,
        }
        wanted = {"x": x, "roi": roi, "scales": None, "sizes": np.array([1, 1, 4, 5])}
        expected = run_onnx("Resize", wanted, **attributes)
        options = attributes | {"roi": tuple(float(v) for v in roi[[2, 3, 6, 7]])}
        found = resize(x, (4, 5), **options)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.int8])
    def test_dtypes(self, rng, dtype):
        x = rng.integers(0, 100, (1, 1, 5, 4)).astype(dtype)
        found = resize(x, (9, 9), mode="linear")
        assert found.dtype == dtype
        wide = resize(x.astype(np.float64), (9, 9), mode="linear")
        np.testing.assert_allclose(found.astype(np.float64), wide, atol=0.51)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [False, True])
def test_grid_sample(rng, rank, mode, padding, align):
    if rank == 3 and mode == "cubic":
        pytest.skip("torch has none")
    x = normal(rng, 2, 3, *[5 + i for i in range(rank)])
    grid = rng.uniform(-1.5, 1.5, (2, *[4 + i for i in range(rank)], rank)).astype(np.float32)
    aten: Any = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    expected = F.grid_sample(torch.tensor(x), torch.tensor(grid), aten, padding, align)
    found = image.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=align)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("transformation", ["half_pixel", "output_half_pixel"])
def test_roi_align(rng, mode, sampling_ratio, transformation):
    x = normal(rng, 2, 3, 10, 12)
    corner = rng.uniform(-2, 8, (5, 2))
    rois = np.concatenate([corner, corner + rng.uniform(0.1, 9, (5, 2))], 1).astype(np.float32)
    batch = rng.integers(0, 2, 5)
    attributes: dict[str, Any] = {
        "mode": mode,
        "output_height": 3,
        "output_width": 4,
        "sampling_ratio": sampling_ratio,
        "spatial_scale": 0.8,
        "coordinate_transformation_mode": transformation,
    }
    expected = run_onnx("RoiAlign", {"x": x, "rois": rois, "batch": batch}, **attributes)
    found = image.roi_align(x, rois, batch, **attributes)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("limit", [0, 3, 100])
def test_non_max_suppression(rng, center, limit):
    low = rng.uniform(0, 5, (2, 40, 2))
    size = rng.uniform(0.5, 3, (2, 40, 2))
    boxes = np.concatenate([low, size if center else low + size], 2).astype(np.float32)
    scores = rng.random((2, 3, 40)).astype(np.float32)
    scalars = {
        "limit": np.array([limit]),
        "iou": np.array([0.3], np.float32),
        "score": np.array([0.2], np.float32),
    }
    expected = run_onnx(
        "NonMaxSuppression",
        {"boxes": boxes, "scores": scores, **scalars},
        center_point_box=int(center),
    )
    found = image.non_max_suppression(
        boxes,
        scores,
        *(v.reshape(()) for v in scalars.values()),  # type: ignore[arg-type]
        center_point_box=center,
    )
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("offset_groups", [1, 2])
@pytest.mark.parametrize("window", [(1, 1, 1), (2, 1, 1), (1, 0, 2)])
def test_deform_conv(rng, groups, offset_groups, window):
    stride, pad, dilation = window
    x, w, bias = normal(rng, 2, 4, 8, 9), normal(rng, 6, 4 // groups, 3, 2), normal(rng, 6)
    out = [
        (8 + 2 * pad - 2 * dilation - 1) // stride + 1,
        (9 + 2 * pad - dilation - 1) // stride + 1,
    ]
    offset = normal(rng, 2, offset_groups * 12, *out) * 2
    mask = rng.random((2, offset_groups * 6, *out)).astype(np.float32)
    options: dict[str, Any] = {
        "strides": (stride,) * 2,
        "pads": (pad,) * 4,
        "dilations": (dilation,) * 2,
        "groups": groups,
        "offset_groups": offset_groups,
    }
    found = image.deform_conv(x, w, offset, bias, mask, **options)
    names = {"x": x, "w": w, "offset": offset, "bias": bias, "mask": mask}
    expected = run_onnx(
        "DeformConv",
        names,
        strides=[stride] * 2,
        pads=[pad] * 4,
        dilations=[dilation] * 2,
        group=groups,
        offset_group=offset_groups,
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_deform_conv_without_offsets_is_conv(rng):
    x, w = normal(rng, 1, 3, 6, 7), normal(rng, 2, 3, 3, 3)
    zero = np.zeros((1, 18, 6, 7), np.float32)
    found = image.deform_conv(x, w, zero, strides=(1, 1), pads=(1,) * 4, dilations=(1, 1))
    expected = F.conv2d(torch.tensor(x), torch.tensor(w), padding=1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
