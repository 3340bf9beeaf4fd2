"""Reductions and scans against torch and NumPy in float64."""

import ml_dtypes
import numpy as np
import pytest
import torch

from aicc.backends.numpy.kernels import reduce

KERNELS = {
    "sum": (reduce.reduce_sum, np.sum),
    "prod": (reduce.reduce_prod, np.prod),
    "max": (reduce.reduce_max, np.max),
    "min": (reduce.reduce_min, np.min),
    "mean": (reduce.reduce_mean, np.mean),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.int8]
)
def test_axes(rng, name, axes, keepdims, dtype):
    kernel, reference = KERNELS[name]
    x = rng.integers(-2, 3, (3, 4, 5)).astype(dtype)
    found = kernel(x, axes=axes, keepdims=keepdims)
    assert found.dtype == dtype
    expected = reference(x.astype(np.float64), axis=axes, keepdims=keepdims)
    if np.dtype(dtype).kind == "i":
        expected = np.trunc(expected)
        if dtype == np.int8:
            expected = (expected + 128) % 256 - 128
    tol = {"float16": 1e-2, "bfloat16": 1e-1}.get(np.dtype(dtype).name, 1e-6)
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=tol, atol=tol * 0.1)


@pytest.mark.parametrize("name", KERNELS)
def test_no_axes_is_no_reduction(name):
    x = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(KERNELS[name][0](x, axes=()), x)


@pytest.mark.parametrize(
    ("name", "expected"), [("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf)]
)
def test_over_nothing(name, expected):
    found = KERNELS[name][0](np.zeros((2, 0, 3), np.float32), axes=(1,))
    np.testing.assert_array_equal(found, np.full((2, 3), expected))


def test_extremes_of_nothing_in_other_dtypes():
    nothing = np.zeros((0,), np.int8)
    assert reduce.reduce_max(nothing, axes=(0,)) == -128
    assert reduce.reduce_min(nothing, axes=(0,)) == 127
    assert not reduce.reduce_max(nothing.astype(bool), axes=(0,))
    assert reduce.reduce_min(nothing.astype(bool), axes=(0,))
    found = reduce.reduce_max(nothing.astype(ml_dtypes.bfloat16), axes=(0,))
    assert found.dtype == ml_dtypes.bfloat16 and found == -np.inf


def test_extremes_of_booleans():
    x = np.array([[True, False], [False, False]])
    assert reduce.reduce_max(x, axes=(1,)).tolist() == [True, False]
    assert reduce.reduce_min(x, axes=(1,)).tolist() == [False, False]


def test_nan_wins():
    x = np.array([1, np.nan, 3], np.float32)
    assert np.isnan(reduce.reduce_max(x, axes=(0,))) and np.isnan(reduce.reduce_min(x, axes=(0,)))


def test_16_bit_sums_do_not_stall():
    x = np.ones(5000, ml_dtypes.bfloat16)
    assert float(reduce.reduce_sum(x, axes=(0,))) == 4992  # 5000 rounded; 256 if added in bf16
    assert float(reduce.reduce_mean(np.full(70000, 4.0, np.float16), axes=(0,))) == 4


def test_four_bit_integers():
    x = np.array([3, 4, 5]).astype(ml_dtypes.int4)
    assert int(reduce.reduce_sum(x, axes=(0,))) == -4
    assert int(reduce.reduce_max(x, axes=(0,))) == 5


def test_long_sums_along_an_outer_axis(rng):
    x = (rng.random((100_000, 3)) + 1).astype(np.float32)
    exact = x.sum(0, dtype=np.float64)
    for kernel, expected in ((reduce.reduce_sum, exact), (reduce.reduce_mean, exact / 100_000)):
        np.testing.assert_allclose(kernel(x, axes=(0,)), expected, rtol=3e-6)


def test_integer_means_round_toward_zero():
    assert int(reduce.reduce_mean(np.array([-3, 2, -4]), axes=(0,))) == -1
    big = np.full(2, 2**62 - 1)
    assert int(reduce.reduce_mean(big // 2, axes=(0,))) == (2**62 - 1) // 2


@pytest.mark.parametrize("kernel", [reduce.argmax, reduce.argmin])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, ml_dtypes.bfloat16])
def test_arg(rng, kernel, keepdims, dtype):
    x = rng.integers(0, 3, (3, 9, 2)).astype(dtype)
    wide = x.astype(np.float64)
    reference = np.argmax if kernel is reduce.argmax else np.argmin
    found = kernel(x, axis=1, keepdims=keepdims)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, reference(wide, 1, keepdims=keepdims))
    last = kernel(x, axis=1, keepdims=True, select_last_index=True)
    best = np.take_along_axis(wide, reference(wide, 1, keepdims=True), 1)
    places = np.where(wide == best, np.arange(9)[None, :, None], -1)
    np.testing.assert_array_equal(last, places.max(1, keepdims=True))


def test_arg_of_nan():
    x = np.array([1, np.nan, 3, np.nan], np.float32)
    assert reduce.argmax(x, axis=0) == torch.argmax(torch.tensor(x)).item() == 1
    assert reduce.argmin(x, axis=0) == 1


@pytest.mark.parametrize("kernel", [reduce.cumsum, reduce.cumprod])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_scans(rng, kernel, axis, exclusive, reverse, n):
    x = rng.integers(-2, 3, (n, 3) if axis == 0 else (3, n)).astype(np.float32)
    start = 0 if kernel is reduce.cumsum else 1
    lines = np.moveaxis(x, axis, 0)[:: -1 if reverse else 1]
    expected = np.empty_like(lines)
    total = np.full(3, start, np.float32)
    for i, line in enumerate(lines):
        after = total + line if start == 0 else total * line
        expected[i] = total if exclusive else after
        total = after
    expected = np.moveaxis(expected[:: -1 if reverse else 1], 0, axis)
    found = kernel(x, axis=axis, exclusive=exclusive, reverse=reverse)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, ml_dtypes.bfloat16])
def test_scans_keep_the_dtype(dtype):
    found = reduce.cumsum(np.ones(100, dtype), axis=0)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.astype(np.float64), np.arange(1, 101))


@pytest.mark.parametrize("name", ["cummax", "cummin"])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.float16])
def test_running_extremes(rng, name, dtype):
    x = rng.integers(0, 6, (3, 20, 2)).astype(dtype)
    if dtype == np.float32:
        x[rng.random(x.shape) < 0.05] = np.nan
    values, indices = getattr(reduce, name)(x, axis=1)
    expected, at = getattr(torch, name)(torch.tensor(x), 1)
    np.testing.assert_array_equal(values, expected.numpy())
    np.testing.assert_array_equal(indices, at.numpy())
