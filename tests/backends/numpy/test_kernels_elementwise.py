"""Elementwise kernels against torch, and the corners that NumPy alone gets wrong."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from aicc.backends.numpy.kernels import elementwise as ew

bf16 = np.dtype(ml_dtypes.bfloat16)
int4, uint4 = np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4)

SHAPES = [(), (0, 3), (1,), (7,), (33, 7), (3, 40000)]


def ulps(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest error in units of the last place of `found`'s dtype."""
    return float(
        np.max(np.abs(found - expected) / np.spacing(np.abs(expected).astype(found.dtype)))
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kernel", "reference"),
    [
        (ew.erf, torch.erf),
        (ew.sigmoid, torch.sigmoid),
        (ew.silu, F.silu),
        (ew.relu, torch.relu),
        (ew.rsqrt, torch.rsqrt),
        (ew.gelu, F.gelu),
        (lambda x: ew.gelu(x, approximate="tanh"), lambda x: F.gelu(x, approximate="tanh")),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unary_like_torch(rng, kernel, reference, shape, dtype):
    x = np.asarray(rng.standard_normal(shape) * 4, dtype)
    found = kernel(x)
    assert found.dtype == dtype and found.shape == shape
    tol = 2e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(found, reference(torch.tensor(x)).numpy(), rtol=tol, atol=tol)


def test_not_contiguous(rng):
    x = rng.standard_normal((300, 300)).astype(np.float32)[:, ::2].T
    np.testing.assert_array_equal(ew.sigmoid(x), ew.sigmoid(np.ascontiguousarray(x)))


def test_erf_is_accurate():
    x = np.concatenate([np.linspace(-4.5, 4.5, 20001), np.logspace(-40, 0, 2001), [0.0]])
    expected = np.array([math.erf(v) for v in x.astype(np.float32)])
    found = ew.erf(x.astype(np.float32))
    tiny = np.abs(expected) < np.finfo(np.float32).tiny
    assert ulps(found[~tiny], expected[~tiny]) < 1.0
    assert np.abs(found).max() == 1.0
    expected = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(ew.erf(x), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_of_special_values(dtype):
    found = ew.erf(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype))
    np.testing.assert_array_equal(found, [np.nan, 1, -1, 0, -0.0])
    assert np.signbit(found[4])


def test_sigmoid_far_from_zero():
    x = np.array([-np.inf, -1e4, -80, -20, 40, 1e4, np.inf, np.nan], np.float32)
    expected = torch.sigmoid(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ew.sigmoid(x), expected, rtol=1e-6)


def test_relu_keeps_nan():
    np.testing.assert_array_equal(ew.relu(np.array([np.nan, -1, 2])), [np.nan, 0, 2])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, [1, 1, 0, 0]),
        ({"detect_negative": False}, [1, 0, 0, 0]),
        ({"detect_positive": False}, [0, 1, 0, 0]),
        ({"detect_positive": False, "detect_negative": False}, [0, 0, 0, 0]),
    ],
)
def test_is_inf(flags, expected):
    x = np.array([np.inf, -np.inf, np.nan, 3.0])
    assert ew.is_inf(x, **flags).tolist() == [bool(e) for e in expected]


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_integer_division_goes_toward_zero(a, b):
    expected = 0
    if b:
        expected = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        expected = (expected + 2**31) % 2**32 - 2**31
    with np.errstate(all="ignore"):
        assert ew.div(np.array([a], np.int32), np.array([b], np.int32))[0] == expected


def test_unsigned_division():
    a = np.array([250, 7, 0], np.uint8)
    assert ew.div(a, np.array([3, 0, 5], np.uint8)).tolist() == [83, 0, 0]


def test_integer_remainders_have_their_signs():
    a, b = np.array([7, -7, 7, -7]), np.array([3, 3, -3, -3])
    assert np.fmod(a, b).tolist() == [1, -1, 1, -1]
    assert np.mod(a, b).tolist() == [1, 2, -2, -1]


class TestPow:
    @pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 3.0, -1.0, 2.5])
    def test_scalar_exponents(self, rng, exponent):
        x = rng.random((5, 7)).astype(np.float32) + 0.1
        found = ew.pow_(x, np.array(exponent, np.float32))
        assert found.shape == x.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, x**exponent, rtol=1e-6)

    def test_the_exponent_broadcasts_the_base(self):
        found = ew.pow_(np.array([2.0, 3.0]), np.array([[2.0]]))
        np.testing.assert_array_equal(found, [[4.0, 9.0]])

    def test_mixed_dtypes_give_the_base_s(self):
        found = ew.pow_(np.array([1, 2, 3], np.int32), np.array([2.0, 0.5, 3.0], np.float32))
        assert found.dtype == np.int32 and found.tolist() == [1, 1, 27]
        found = ew.pow_(np.array([2.0, 3.0], np.float32), np.array([3, 2], np.int64))
        assert found.dtype == np.float32 and found.tolist() == [8, 9]

    def test_negative_integer_powers_truncate(self):
        found = ew.pow_(np.array([1, -1, -1, 2, 0]), np.array([-5, -5, -4, -1, -1]))
        assert found.tolist() == [1, -1, 1, 0, 0]

    def test_overflow_wraps(self):
        found = ew.pow_(np.array([3], np.int8), np.array([300], np.int64))
        assert int(found[0]) % 256 == pow(3, 300, 256)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_shifts_of_any_amount(dtype):
    a = np.array([1, 100, 127, 3], dtype)
    if dtype == np.int8:
        a[3] = -3
    bits = a.dtype.itemsize * 8
    for amount in (0, 1, 7, bits - 1, bits, bits + 3):
        b = np.full(4, amount, dtype)
        left = [(int(v) << amount) % 2**bits for v in a]
        assert [int(v) % 2**bits for v in ew.shl(a, b)] == left
        assert [int(v) for v in ew.shr(a, b)] == [int(v) >> amount for v in a]


def test_via_float32_rounds_once(rng):
    a = rng.standard_normal(50000).astype(bf16)
    b = rng.standard_normal(50000).astype(bf16)
    found = ew.via_float32(np.multiply)(a, b)
    assert found.dtype == bf16
    expected = (
        torch.tensor(a.astype(np.float32)).bfloat16()
        * torch.tensor(b.astype(np.float32)).bfloat16()
    )
    np.testing.assert_array_equal(found.astype(np.float32), expected.float().numpy())
    less = ew.via_float32(np.less)(a, b)
    assert less.dtype == np.bool_
    np.testing.assert_array_equal(less, a.astype(np.float32) < b.astype(np.float32))
    np.testing.assert_array_equal(ew.via_float32(np.add)(a[:5, None], b[:3]).shape, (5, 3))


@given(st.integers(-8, 7), st.integers(-8, 7))
def test_four_bit_integers_wrap(a, b):
    x, y = np.array([a]).astype(int4), np.array([b]).astype(int4)
    for fn, expected in ((np.add, a + b), (np.multiply, a * b), (np.subtract, a - b)):
        found = ew.via_int(fn)(x, y)
        assert found.dtype == int4 and int(found[0]) == (expected + 8) % 16 - 8
    assert bool(ew.via_int(np.less)(x, y)[0]) == (a < b)


def test_unsigned_four_bit_integers_wrap():
    found = ew.via_int(np.subtract)(np.array([3]).astype(uint4), np.array([5]).astype(uint4))
    assert found.dtype == uint4 and int(found[0]) == 14
