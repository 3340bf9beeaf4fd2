"""Softmax, normalisations and attention against torch."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aicc.backends.numpy.kernels import attention, norm
from aicc.backends.numpy.kernels import attention as attention_module

SHAPES = [
    # shape, axis
    ((3, 7), 1),
    ((3, 7), 0),
    ((2, 3, 33, 5), 2),
    ((4, 1000, 33), 2),
    ((100, 1000), 0),
    ((2, 40000), 1),
    ((0, 3), 1),
    ((3, 0), 1),
    ((5, 1), 1),
]


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def tensor(x) -> Any:
    return None if x is None else torch.tensor(x)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_softmax(rng, shape, axis):
    x = normal(rng, *shape) * 5
    found = norm.softmax(x, axis=axis)
    np.testing.assert_allclose(found, F.softmax(torch.tensor(x), axis).numpy(), atol=1e-6)
    found = norm.log_softmax(x, axis=axis)
    np.testing.assert_allclose(found, F.log_softmax(torch.tensor(x), axis).numpy(), atol=1e-5)


def test_softmax_of_infinities():
    x = np.array([[-np.inf, 0, 0], [-np.inf, -np.inf, -np.inf], [np.inf, 0, 1]], np.float32)
    np.testing.assert_array_equal(norm.softmax(x, axis=1), F.softmax(torch.tensor(x), 1).numpy())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_dtypes(rng, dtype):
    x = rng.standard_normal((700, 100)).astype(dtype)
    scale, bias = (rng.standard_normal(100).astype(dtype) for _ in range(2))
    wide, wide_scale, wide_bias = (v.astype(np.float64) for v in (x, scale, bias))
    stats = np.float64 if dtype == np.float64 else np.float32
    tol = {"float16": 4e-3, "bfloat16": 4e-2, "float64": 1e-12}[np.dtype(dtype).name]
    found = norm.softmax(x, axis=1)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float64), norm.softmax(wide, axis=1), atol=tol)
    y, mean, rstd = norm.layer_norm(x, scale, bias, axis=1)
    assert y.dtype == dtype and mean.dtype == rstd.dtype == stats
    expected = norm.layer_norm(wide, wide_scale, wide_bias, axis=1)[0]
    np.testing.assert_allclose(y.astype(np.float64), expected, atol=tol)
    y = norm.rms_norm(x, scale, axis=1)
    assert y.dtype == dtype
    expected = norm.rms_norm(wide, wide_scale, axis=1)
    np.testing.assert_allclose(y.astype(np.float64), expected, atol=tol)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 7), 1),
        ((2, 3, 33, 5), 2),
        ((4, 1000, 33), 2),
        ((2, 40000), 1),
        ((0, 3), 1),
        ((5, 1), 1),
    ],
)
@pytest.mark.parametrize("affine", ["both", "scale", "none"])
def test_layer_norm(rng, shape, axis, affine):
    x, inner = normal(rng, *shape), shape[axis:]
    scale = None if affine == "none" else normal(rng, *inner)
    bias = normal(rng, *inner) if affine == "both" else None
    expected = torch.native_layer_norm(tensor(x), inner, tensor(scale), tensor(bias), 1e-5)
    for f, e in zip(norm.layer_norm(x, scale, bias, axis=axis), expected, strict=True):
        assert f.shape == tuple(e.shape)
        np.testing.assert_allclose(f, e.numpy(), atol=1e-5, rtol=1e-4)
    found = norm.rms_norm(x, scale, axis=axis, epsilon=1e-5)
    expected = F.rms_norm(torch.tensor(x), inner, tensor(scale), 1e-5).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (3, 4, 5), (1, 4, 5), (3, 1, 1)])
def test_scales_that_broadcast(rng, shape):
    x, p = normal(rng, 3, 4, 5), normal(rng, *shape)
    plain, _, _ = norm.layer_norm(x, axis=1)
    np.testing.assert_allclose(norm.layer_norm(x, p, p, axis=1)[0], plain * p + p, rtol=1e-5)
    plain = norm.rms_norm(x, axis=1)
    np.testing.assert_allclose(norm.rms_norm(x, p, axis=1), plain * p, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (4, 6, 5, 3), (0, 6, 2)])
def test_batch_norm(rng, shape):
    x = normal(rng, *shape)
    scale, bias, mean, variance = (normal(rng, 6) for _ in range(4))
    variance = np.abs(variance)
    found = norm.batch_norm(x, scale, bias, mean, variance, epsilon=1e-3)
    tx, tm, tv, ts, tb = map(torch.tensor, (x, mean, variance, scale, bias))
    expected = F.batch_norm(tx, tm, tv, ts, tb, eps=1e-3)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("affine", [False, True])
def test_group_norm(rng, groups, affine):
    x = normal(rng, 4, 6, 5, 3)
    scale, bias = (normal(rng, 6), normal(rng, 6)) if affine else (None, None)
    expected = torch.native_group_norm(
        torch.tensor(x), tensor(scale), tensor(bias), 4, 6, 15, groups, 1e-5
    )
    for f, e in zip(norm.group_norm(x, scale, bias, groups=groups), expected, strict=True):
        assert f.shape == tuple(e.shape)
        np.testing.assert_allclose(f, e.numpy(), atol=1e-5)


# batch, heads, key heads, queries, keys, depth, value depth
SIZES = [
    (2, 4, 4, 7, 7, 8, 8),
    (1, 8, 2, 1, 33, 16, 16),
    (2, 4, 1, 5, 9, 8, 4),
    (1, 2, 2, 150, 200, 4, 4),
    (1, 2, 2, 9, 5, 4, 4),
]


def masks(rng, b, h, s, t):
    return {
        "none": None,
        "keep": rng.random((s, t)) > 0.3,
        "some rows hidden": rng.random((b, 1, s, t)) > 0.9,
        "added": normal(rng, 1, h, s, t),
        "a row": normal(rng, s, 1),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["none", "keep", "some rows hidden", "added", "a row"])
@pytest.mark.parametrize("causal", ["none", "upper_left", "lower_right"])
@pytest.mark.parametrize("block", [1 << 20, 64, 1000])
def test_attention(rng, size, kind, causal, block, monkeypatch):
    b, h, g, s, t, d, e = size
    q, k, v = normal(rng, b, h, s, d), normal(rng, b, g, t, d), normal(rng, b, g, t, e)
    mask = masks(rng, b, h, s, t)[kind]
    added = torch.zeros(b, h, s, t)
    if mask is not None and mask.dtype == np.bool_:
        added = added.masked_fill(~torch.tensor(mask), -torch.inf)
    elif mask is not None:
        added = added + torch.tensor(mask)
    if causal != "none":
        diagonal = t - s if causal == "lower_right" else 0
        seen = torch.ones(s, t, dtype=torch.bool).tril(diagonal)
        added = added.masked_fill(~seen, -torch.inf)
    expected = F.scaled_dot_product_attention(
        tensor(q), tensor(k), tensor(v), added, scale=0.3, enable_gqa=True
    )
    monkeypatch.setattr(attention_module, "BLOCK", block)
    monkeypatch.setattr(attention_module, "CAUSAL_ROWS", 16)
    found = attention.attention(q, k, v, mask, scale=0.3, causal=causal)
    assert not np.isnan(found).any()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_softcap(rng):
    q, k, v = (normal(rng, 1, 2, 5, 4) for _ in range(3))
    found = attention.attention(q, k, v, scale=0.5, softcap=2.0)
    scores = np.tanh(q @ k.swapaxes(2, 3) * 0.5 / 2) * 2
    np.testing.assert_allclose(found, norm.softmax(scores, axis=3) @ v, atol=1e-6)


def test_hidden_rows_give_zero(rng):
    q, k, v = (normal(rng, 1, 2, 3, 4) for _ in range(3))
    mask = np.array([[False] * 3, [True] * 3, [False] * 3])
    for m in (mask, np.where(mask, 0, -np.inf).astype(np.float32)):
        found = attention.attention(q, k, v, m, scale=0.5)
        assert (found[:, :, [0, 2]] == 0).all() and (found[:, :, 1] != 0).all()


def test_no_keys(rng):
    q, k, v = normal(rng, 1, 2, 3, 4), normal(rng, 1, 2, 0, 4), normal(rng, 1, 2, 0, 4)
    assert (attention.attention(q, k, v, scale=1.0) == 0).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_attention_in_low_precision(rng, dtype):
    q, k, v = (normal(rng, 1, 4, 20, 8).astype(dtype) for _ in range(3))
    found = attention.attention(q, k, v, scale=0.35, causal="upper_left")
    assert found.dtype == dtype
    wide = attention.attention(
        *(x.astype(np.float64) for x in (q, k, v)), scale=0.35, causal="upper_left"
    )
    np.testing.assert_allclose(found.astype(np.float64), wide, atol=2e-2)
