"""Matrix products and convolutions against torch and exact integers."""

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from aicc.backends.numpy.kernels import conv as conv_module
from aicc.backends.numpy.kernels.contract import det, integer_matmul, matmul
from aicc.backends.numpy.kernels.conv import conv, conv_transpose, conv_weight_grad
from aicc.backends.numpy.kernels.exact import blas_dtype

i32 = np.dtype(np.int32)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


class TestMatmul:
    @pytest.mark.parametrize(
        ("a", "b"),
        [((3, 4), (4, 5)), ((2, 1, 3, 4), (7, 4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5))],
    )
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_batches_broadcast(self, rng, a, b, dtype):
        x, y = rng.standard_normal(a).astype(dtype), rng.standard_normal(b).astype(dtype)
        np.testing.assert_array_equal(matmul(x, y), x @ y)

    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
    def test_low_precision_rounds_once(self, rng, dtype):
        a, b = normal(rng, 5, 700).astype(dtype), normal(rng, 700, 3).astype(dtype)
        found = matmul(a, b)
        assert found.dtype == dtype
        exact = a.astype(np.float64) @ b.astype(np.float64)
        step = np.spacing(np.abs(exact).astype(dtype)).astype(np.float64)
        assert np.all(np.abs(found.astype(np.float64) - exact) <= step)

    @pytest.mark.parametrize("k", [1, 33, 1024, 1025, 3000])
    def test_8_bit_integers_are_exact(self, k):
        a = np.full((3, k), -128, np.int8)
        b = np.full((k, 2), -128, np.int8)
        b[0, 0] = 127
        found = matmul(a, b, out_dtype=i32)
        assert found.dtype == i32
        assert found.tolist() == (a.astype(int) @ b.astype(int)).tolist()

    def test_signs_may_differ(self, rng):
        a = rng.integers(0, 256, (9, 70)).astype(np.uint8)
        b = rng.integers(-128, 128, (70, 5)).astype(np.int8)
        found = matmul(a, b, out_dtype=i32)
        assert found.tolist() == (a.astype(int) @ b.astype(int)).tolist()

    def test_4_bit_integers(self, rng):
        a = rng.integers(-8, 8, (9, 70)).astype(ml_dtypes.int4)
        found = matmul(a, a.T, out_dtype=i32)
        assert found.tolist() == (a.astype(int) @ a.astype(int).T).tolist()

    def test_64_bit_integers_wrap(self):
        a = np.array([[2**62, 3]])
        b = np.array([[3], [2**61 + 1]])
        wanted = (3 * 2**62 + 3 * (2**61 + 1) + 2**63) % 2**64 - 2**63
        assert int(integer_matmul(a, b)[0, 0]) == wanted

    def test_the_dtype_follows_the_proof(self):
        def of(dtype, terms, value=1):
            x = np.full(2, value, dtype)
            return blas_dtype(x, x, terms)

        assert of(np.int8, 1024) == np.float32
        assert of(np.int8, 1025) == np.float64
        assert of(np.int16, 1000) == np.float64
        assert of(np.int64, 1000) == np.float32  # its elements prove it
        assert of(np.int64, 1000, 2**31) == np.int64


WINDOWS = [
    # kernel, stride, dilation, pad
    (3, 1, 1, 1),
    (1, 1, 1, 0),
    (1, 2, 1, 0),
    (1, 1, 1, 1),
    (2, 2, 1, 0),
    (3, 2, 2, 2),
    (3, 3, 1, 0),
]
CHANNELS = [
    # batch, channels, filters, groups
    (2, 4, 6, 1),
    (1, 4, 8, 2),
    (2, 6, 6, 6),
    (2, 4, 8, 4),
    (0, 4, 4, 1),
    (1, 3, 5, 1),
]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("window", WINDOWS)
def test_convolutions_like_torch(rng, rank, channels, window):
    batch, c, m, groups = channels
    k, stride, dilation, pad = window
    size = [7 + i for i in range(rank)]
    x, w, bias = (
        normal(rng, batch, c, *size),
        normal(rng, m, c // groups, *[k] * rank),
        normal(rng, m),
    )
    options = {
        "strides": (stride,) * rank,
        "pads": (pad,) * 2 * rank,
        "dilations": (dilation,) * rank,
        "groups": groups,
    }
    aten, aten_t = [
        (F.conv1d, F.conv_transpose1d),
        (F.conv2d, F.conv_transpose2d),
        (F.conv3d, F.conv_transpose3d),
    ][rank - 1]
    tx, tw, tb = torch.tensor(x), torch.tensor(w, requires_grad=True), torch.tensor(bias)
    y = aten(tx, tw, tb, stride, pad, dilation, groups)
    found = conv(x, w, bias, **options)
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, y.detach().numpy(), atol=1e-4)
    if batch:
        dy = normal(rng, *y.shape)
        y.backward(torch.tensor(dy))
        assert tw.grad is not None
        grad = conv_weight_grad(x, dy, kernel_shape=(k,) * rank, **options)
        np.testing.assert_allclose(grad, tw.grad.numpy(), atol=1e-3)
    extra = stride - 1
    wt = normal(rng, c, m // groups, *[k] * rank)
    expected = aten_t(tx, torch.tensor(wt), tb, stride, pad, extra, groups, dilation)
    found = conv_transpose(x, wt, bias, output_padding=(extra,) * rank, **options)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_asymmetric_and_negative_pads(rng):
    x, w = normal(rng, 2, 3, 8, 9), normal(rng, 4, 3, 3, 3)
    found = conv(x, w, strides=(1, 2), pads=(2, -1, 0, 3), dilations=(1, 1))
    padded = F.pad(torch.tensor(x), (-1, 3, 2, 0))
    expected = F.conv2d(padded, torch.tensor(w), stride=(1, 2)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_small_blocks_change_nothing(rng, groups, monkeypatch):
    x, w = normal(rng, 2, 6, 17, 9), normal(rng, 6, 6 // groups, 3, 3)
    options = {"strides": (2, 1), "pads": (1,) * 4, "dilations": (1, 1), "groups": groups}
    whole = conv(x, w, **options)
    monkeypatch.setattr(conv_module, "COLUMNS_BYTES", 5000)
    monkeypatch.setattr(conv_module, "PLANE_BYTES", 1500)
    np.testing.assert_allclose(conv(x, w, **options), whole, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_low_precision_convolutions(rng, dtype):
    x, w = normal(rng, 1, 8, 6, 6).astype(dtype), normal(rng, 4, 8, 3, 3).astype(dtype)
    options = {"strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1)}
    found = conv(x, w, **options)
    assert found.dtype == dtype
    exact = conv(x.astype(np.float64), w.astype(np.float64), **options)
    tol = 2.0**-8 if dtype != np.float16 else 2.0**-10
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=tol, atol=1e-3)


@pytest.mark.parametrize("kernel", [1, 3])
def test_integer_convolutions_are_exact(rng, kernel):
    x = rng.integers(0, 256, (2, 70, 5, 5)).astype(np.uint8)
    w = rng.integers(-128, 128, (4, 70, kernel, kernel)).astype(np.int8)
    bias = rng.integers(-1000, 1000, 4).astype(np.int32)
    options = {"strides": (1, 1), "pads": (1,) * 4, "dilations": (1, 1)}
    found = conv(x, w, bias, out_dtype=i32, **options)
    assert found.dtype == i32
    exact = conv(x.astype(np.float64), w.astype(np.float64), bias.astype(np.float64), **options)
    np.testing.assert_array_equal(found, exact.astype(np.int64))


def test_transposed_with_more_padding_than_it_has(rng):
    x, w = normal(rng, 1, 2, 5), normal(rng, 2, 3, 2)

    def run(*pads):
        return conv_transpose(x, w, strides=(2,), dilations=(1,), output_padding=(0,), pads=pads)

    wider = np.pad(run(0, 0), [(0, 0), (0, 0), (2, 0)])
    np.testing.assert_array_equal(run(-2, 1), wider[..., :-1])


@settings(deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 4)
)
def test_transposed_is_the_adjoint(size, stride, dilation, pad, k):
    """⟨conv(x, w), y⟩ = ⟨x, conv_transpose(y, w)⟩."""
    size += (k - 1) * dilation
    rng = np.random.default_rng(size * 1000 + stride * 100 + pad * 10 + k)
    options = {"strides": (stride,), "pads": (pad, pad), "dilations": (dilation,)}
    x, w = rng.standard_normal((2, 3, size)), rng.standard_normal((4, 3, k))
    forward = conv(x, w, **options)
    y = rng.standard_normal(forward.shape)
    rest = (size + 2 * pad - (k - 1) * dilation - 1) % stride
    back = conv_transpose(y, w, output_padding=(rest,), **options)
    np.testing.assert_allclose((forward * y).sum(), (x * back).sum(), atol=1e-9)


def test_det(rng):
    x = normal(rng, 2, 3, 4, 4)
    found = det(x)
    assert found.dtype == np.float32 and found.shape == (2, 3)
    np.testing.assert_allclose(found, torch.linalg.det(torch.tensor(x)).numpy(), rtol=1e-4)
    assert det(x[0, 0]).shape == ()
