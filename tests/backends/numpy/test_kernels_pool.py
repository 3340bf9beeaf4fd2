"""Pooling and its gradients against torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aicc.backends.numpy.kernels import pool

WINDOWS = [
    # kernel, stride, pad, dilation
    (3, 1, 1, 1),
    (2, 2, 1, 1),
    (3, 2, 1, 1),
    (1, 1, 0, 1),
    (3, 3, 0, 1),
    (5, 2, 2, 1),
    (3, 2, 1, 2),
]


def options(rank, window, ceil_mode):
    k, stride, pad, dilation = window
    return {
        "kernel_shape": (k,) * rank,
        "strides": (stride,) * rank,
        "pads": (pad,) * 2 * rank,
        "dilations": (dilation,) * rank,
        "ceil_mode": ceil_mode,
    }


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool(rng, rank, window, ceil_mode):
    k, stride, pad, dilation = window
    aten = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
    for size in (7, 12):
        # Few different values, so that ties show.
        x = np.round(rng.standard_normal((2, 3, *[size + i for i in range(rank)]))).astype(
            np.float32
        )
        tx = torch.tensor(x, requires_grad=True)
        y, at = aten(tx, k, stride, pad, dilation, ceil_mode, return_indices=True)
        values, indices = pool.max_pool(x, **options(rank, window, ceil_mode))
        np.testing.assert_array_equal(values, y.detach().numpy())
        np.testing.assert_array_equal(indices, at.numpy())
        dy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(torch.tensor(dy))
        assert tx.grad is not None and indices is not None
        grad = pool.max_pool_grad(dy, indices, input_spatial=x.shape[2:])
        np.testing.assert_allclose(grad, tx.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("window", [w for w in WINDOWS if w[3] == 1])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
def test_avg_pool(rng, rank, window, ceil_mode, count_include_pad):
    k, stride, pad, _ = window
    aten = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
    for size in (7, 12):
        x = rng.standard_normal((2, 3, *[size + i for i in range(rank)])).astype(np.float32)
        tx = torch.tensor(x, requires_grad=True)
        y = aten(tx, k, stride, pad, ceil_mode, count_include_pad)
        attributes = options(rank, window, ceil_mode) | {"count_include_pad": count_include_pad}
        np.testing.assert_allclose(pool.avg_pool(x, **attributes), y.detach().numpy(), atol=1e-5)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(torch.tensor(dy))
        assert tx.grad is not None
        grad = pool.avg_pool_grad(dy, input_spatial=x.shape[2:], **attributes)
        np.testing.assert_allclose(grad, tx.grad.numpy(), atol=1e-5)


@settings(deadline=None)
@given(
    *(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)),
    *(st.integers(0, 2), st.integers(0, 2), st.booleans()),
)
def test_windows_by_definition(size, k, stride, dilation, low, high, ceil_mode):
    """Each value is the maximum, or mean, of what its window holds of x."""
    assume(low < k and high < k and size + low + high >= (k - 1) * dilation + 1)
    x = np.random.default_rng(size).standard_normal((1, 1, size))
    attributes = {
        "kernel_shape": (k,),
        "strides": (stride,),
        "pads": (low, high),
        "dilations": (dilation,),
        "ceil_mode": ceil_mode,
    }
    values, indices = pool.max_pool(x, **attributes)
    means = pool.avg_pool(x, **attributes)
    assert indices is not None
    for i in range(values.shape[2]):
        at = [i * stride - low + t * dilation for t in range(k)]
        inside = [a for a in at if 0 <= a < size]
        if inside:
            assert values[0, 0, i] == max(x[0, 0, a] for a in inside)
            assert x[0, 0, indices[0, 0, i]] == values[0, 0, i]
            assert np.isclose(means[0, 0, i], np.mean([x[0, 0, a] for a in inside]))


def test_values_alone_are_the_same(rng):
    x = rng.standard_normal((2, 3, 13, 11)).astype(np.float32)
    attributes = options(2, (3, 2, 1, 1), True)
    values, none = pool.max_pool(x, with_indices=False, **attributes)
    assert none is None
    np.testing.assert_array_equal(values, pool.max_pool(x, **attributes)[0])


def test_nan_wins(rng):
    x = rng.standard_normal((1, 1, 6)).astype(np.float32)
    x[0, 0, 2] = np.nan
    values, indices = pool.max_pool(x, **options(1, (3, 1, 0, 1), False))
    assert np.isnan(values[0, 0, :3]).all() and not np.isnan(values[0, 0, 3])
    assert indices is not None and indices[0, 0, :3].tolist() == [2, 2, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
def test_padding_never_wins(dtype):
    lowest = -np.inf if dtype == np.float32 else np.iinfo(dtype).min
    x = np.full((1, 1, 4), lowest, dtype)
    values, indices = pool.max_pool(x, **options(1, (3, 2, 1, 1), True))
    assert (values == lowest).all()
    assert indices is not None and indices.tolist() == [[[0, 1, 3]]]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_dtypes(rng, dtype):
    x = rng.standard_normal((1, 2, 8, 8)).astype(dtype)
    attributes = options(2, (3, 2, 1, 1), False)
    values, _ = pool.max_pool(x, **attributes)
    assert values.dtype == dtype
    means = pool.avg_pool(x, **attributes)
    assert means.dtype == dtype
    wide = pool.avg_pool(x.astype(np.float64), **attributes)
    np.testing.assert_allclose(means, wide, atol=1e-3)


def test_no_elements():
    x = np.zeros((0, 3, 8, 8), np.float32)
    values, indices = pool.max_pool(x, **options(2, (3, 2, 1, 1), False))
    assert values.shape == (0, 3, 4, 4) and indices is not None and indices.shape == (0, 3, 4, 4)
