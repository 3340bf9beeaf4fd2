"""Rearranging, gathering, scattering and ordering elements."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from aicc.backends.numpy.kernels import indexing, shape

bf16 = ml_dtypes.bfloat16
REDUCTIONS = {
    "none": lambda a, b: b,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": max,
    "min": min,
}


class TestShape:
    def test_expand_both_ways(self):
        x = np.arange(3).reshape(3, 1)
        assert shape.expand(x, shape=(2, 1, 6)).shape == (2, 3, 6)
        assert shape.expand(x, shape=(1,)).shape == (3, 1)
        assert shape.expand(np.array(1), shape=(2, 0)).shape == (2, 0)

    def test_slice_with_negative_steps(self):
        x = np.arange(10)

        def run(start, limit, step):
            options = {"starts": (start,), "limits": (limit,), "steps": (step,)}
            return shape.slice_(x, axes=(0,), **options).tolist()

        assert run(-1, -(2**63), -1) == list(range(9, -1, -1))
        assert run(20, 3, -2) == [9, 7, 5]
        assert run(-3, 2**63 - 1, 1) == [7, 8, 9]
        assert run(5, 2, 1) == []

    @pytest.mark.parametrize(
        ("low", "high"),
        [((0, 0), (0, 0)), ((1, 2), (3, 0)), ((-1, 2), (1, -3)), ((2, -2), (-2, 0))],
    )
    @pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
    def test_pad(self, rng, low, high, mode):
        x = rng.standard_normal((5, 6)).astype(np.float32)
        found = shape.pad(x, np.array(7, np.float32), low=low, high=high, mode=mode)
        widths = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
        extra: dict = {"constant_values": 7} if mode == "constant" else {}
        np_pad: Any = np.pad
        whole = np_pad(x, widths, mode, **extra)
        ends = zip(low, high, whole.shape, strict=True)
        expected = whole[tuple(slice(max(-a, 0), d + min(b, 0)) for a, b, d in ends)]
        np.testing.assert_array_equal(found, expected)

    def test_pads_that_crop_everything(self):
        x = np.ones((3,), np.float32)
        value = np.array(0, np.float32)
        assert shape.pad(x, value, low=(-5,), high=(4,)).tolist() == [0, 0]
        assert shape.pad(x, value, low=(4,), high=(-5,)).tolist() == [0, 0]

    def test_reflections_wider_than_the_dim(self):
        x = np.arange(3)
        found = shape.pad(x, np.array(0), low=(7,), high=(0,), mode="reflect")
        np.testing.assert_array_equal(found, np.pad(x, (7, 0), "reflect"))
        one = shape.pad(np.array([5]), np.array(0), low=(2,), high=(1,), mode="reflect")
        assert one.tolist() == [5] * 4
        with pytest.raises(ValueError, match="empty"):
            shape.pad(np.zeros(0), np.array(0.0), low=(1,), high=(0,), mode="edge")

    @pytest.mark.parametrize("dtype", [np.int64, np.float32, bf16, np.uint8])
    def test_iota(self, dtype):
        found = shape.iota(shape=(2, 3), axis=1, dtype=np.dtype(dtype))
        assert found.dtype == dtype and found.astype(int).tolist() == [[0, 1, 2]] * 2
        assert shape.iota(shape=(0,), dtype=np.dtype(dtype)).shape == (0,)


class TestGather:
    def test_gather(self, rng):
        x = rng.standard_normal((4, 5))
        found = indexing.gather(x, np.array([[0, -1], [2, 4]]), axis=1)
        np.testing.assert_array_equal(found, x[:, [[0, -1], [2, 4]]])
        assert indexing.gather(x, np.array(1), axis=0).shape == (5,)
        with pytest.raises(IndexError):
            indexing.gather(x, np.array([4]), axis=0)

    def test_elements(self, rng):
        x = rng.standard_normal((4, 5, 3))
        at = rng.integers(-5, 5, (2, 7, 3))
        found = indexing.gather_elements(x, at, axis=1)
        expected = torch.gather(torch.tensor(x), 1, torch.tensor(at % 5))
        np.testing.assert_array_equal(found, expected.numpy())
        assert indexing.gather_elements(x, at[:0], axis=1).shape == (0, 7, 3)
        for bad in (5, -6):
            with pytest.raises(IndexError):
                indexing.gather_elements(x, np.full((1, 1, 1), bad), axis=1)

    @pytest.mark.parametrize("batch_dims", [0, 1, 2])
    def test_nd(self, rng, batch_dims):
        x = rng.standard_normal((2, 3, 4, 5))
        lead = (2, 3)[:batch_dims]
        for depth in range(0 if not batch_dims else 1, 5 - batch_dims):
            at = np.stack(
                [rng.integers(-n, n, (*lead, 7)) for n in x.shape[batch_dims : batch_dims + depth]]
                or [np.zeros((*lead, 7), np.int64)],
                -1,
            )[..., :depth]
            found = indexing.gather_nd(x, at, batch_dims=batch_dims)
            assert not np.shares_memory(found, x)
            for place in np.ndindex(*at.shape[:-1]):
                expected = x[(*place[:batch_dims], *at[place])]
                np.testing.assert_array_equal(found[place], expected)


def indices(draw, dims):
    return draw(st.integers(-dims, dims - 1))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(list(REDUCTIONS)), st.integers(0, 1))
def test_scatter_elements_by_definition(data, reduction, axis):
    sizes = [data.draw(st.integers(1, 4)) for _ in range(2)]
    count = [data.draw(st.integers(0, n)) for n in sizes]
    count[axis] = data.draw(st.integers(0, 6))
    x = np.arange(1, 1 + sizes[0] * sizes[1]).reshape(sizes)
    flat = [indices(data.draw, sizes[axis]) for _ in range(count[0] * count[1])]
    at = np.array(flat, np.int64).reshape(count)
    updates = np.arange(2, 2 + at.size).reshape(count)
    expected = x.copy()
    for place in np.ndindex(*count):
        target = list(place)
        target[axis] = at[place]
        old = expected[tuple(target)]
        expected[tuple(target)] = REDUCTIONS[reduction](old, updates[place])
    found = indexing.scatter_elements(x, at, updates, axis=axis, reduction=reduction)
    np.testing.assert_array_equal(found, expected)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(list(REDUCTIONS)), st.integers(0, 3))
def test_scatter_nd_by_definition(data, reduction, depth):
    sizes = (3, 2, 2)
    n = data.draw(st.integers(0, 5))
    x = np.arange(1, 13).reshape(sizes)
    at = np.array(
        [[indices(data.draw, sizes[i]) for i in range(depth)] for _ in range(n)], np.int64
    ).reshape(n, depth)
    updates = np.arange(n * int(np.prod(sizes[depth:]))).reshape(n, *sizes[depth:]) + 2
    expected = x.copy()
    for tuple_, update in zip(at, updates, strict=True):
        old = expected[tuple(tuple_)]
        expected[tuple(tuple_)] = np.vectorize(REDUCTIONS[reduction], otypes=[int])(old, update)
    found = indexing.scatter_nd(x, at, updates, reduction=reduction)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("reduction", list(REDUCTIONS))
@pytest.mark.parametrize("dtype", [np.float16, bf16, np.int8, ml_dtypes.int4])
def test_scatter_keeps_the_dtype(reduction, dtype):
    x = np.array([1, 2, 3]).astype(dtype)
    at = np.array([0, 0, 2])
    updates = np.array([2, 3, 1]).astype(dtype)
    found = indexing.scatter_elements(x, at, updates, axis=0, reduction=reduction)
    expected = {
        "none": [3, 2, 1],
        "add": [6, 2, 4],
        "mul": [6, 2, 3],
        "max": [3, 2, 3],
        "min": [1, 2, 1],
    }
    assert found.dtype == dtype and found.astype(int).tolist() == expected[reduction]
    assert x.astype(int).tolist() == [1, 2, 3]


@pytest.mark.parametrize("bad", [3, -4])
def test_scatter_checks_indices(bad):
    x, at, one = np.zeros(3), np.array([bad]), np.ones(1)
    for reduction in REDUCTIONS:
        with pytest.raises(IndexError):
            indexing.scatter_elements(x, at, one, axis=0, reduction=reduction)
        with pytest.raises(IndexError):
            indexing.scatter_nd(x, at[:, None], one, reduction=reduction)


def test_scatter_into_something_strided(rng):
    x = rng.standard_normal((6, 4)).T
    found = indexing.scatter_nd(x, np.array([[1], [1]]), np.ones((2, 6)), reduction="add")
    expected = x.copy()
    expected[1] += 2
    np.testing.assert_allclose(found, expected)


def test_non_zero(rng):
    x = rng.integers(0, 2, (3, 4, 5)).astype(np.float32)
    found = indexing.non_zero(x)
    np.testing.assert_array_equal(found.T, torch.nonzero(torch.tensor(x)).numpy())
    assert indexing.non_zero(np.array(3.0)).shape == (0, 1)
    assert indexing.non_zero(np.array(0)).shape == (0, 0)
    assert indexing.non_zero(np.array([1, 0, 2]).astype(bf16)).tolist() == [[0, 2]]


class TestOrder:
    @pytest.mark.parametrize("largest", [False, True])
    @pytest.mark.parametrize(("n", "k"), [(0, 0), (1, 1), (7, 3), (300, 5), (1000, 100), (3000, 1)])
    @pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, np.float16, bf16])
    def test_top_k(self, rng, n, k, largest, dtype):
        x = rng.integers(0, 50, (3, n, 2)).astype(dtype)  # many ties
        if dtype == np.float32 and n > 1:
            x[rng.random(x.shape) < 0.05] = np.nan
            x[0, : n - 2] = np.nan
        values, at = indexing.top_k(x, axis=1, k=(k,), largest=largest)
        expected, order = indexing.sort(x, axis=1, descending=largest)
        np.testing.assert_array_equal(at, order[:, :k])
        np.testing.assert_array_equal(values, expected[:, :k])

    def test_too_large_k(self):
        with pytest.raises(ValueError, match="k = 4"):
            indexing.top_k(np.zeros(3), axis=0, k=(4,))

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_sort(self, rng, descending, axis):
        x = rng.integers(0, 9, (30, 20)).astype(np.float32)
        x[rng.random(x.shape) < 0.1] = np.nan
        values, order = indexing.sort(x, axis=axis, descending=descending)
        expected, at = torch.sort(torch.tensor(x), dim=axis, descending=descending, stable=True)
        np.testing.assert_array_equal(values, expected.numpy())
        np.testing.assert_array_equal(order, at.numpy())

    @pytest.mark.parametrize("dtype", [np.float32, np.int64, bf16])
    @pytest.mark.parametrize("is_sorted", [False, True])
    def test_unique(self, dtype, is_sorted):
        x = np.array([[3, 1], [3, 2]]).astype(dtype)
        values, first, inverse, counts = indexing.unique(x, sorted=is_sorted)
        assert values.dtype == dtype
        assert values.astype(int).tolist() == ([1, 2, 3] if is_sorted else [3, 1, 2])
        np.testing.assert_array_equal(values[inverse].reshape(x.shape), x)
        np.testing.assert_array_equal(x.reshape(-1)[first], values)
        assert counts.tolist() == ([1, 1, 2] if is_sorted else [2, 1, 1])

    def test_unique_slices(self):
        x = np.array([[2, 1], [0, 1], [2, 1]])
        values, first, inverse, counts = indexing.unique(x, axis=0)
        assert values.tolist() == [[0, 1], [2, 1]]
        assert first.tolist() == [1, 0] and inverse.tolist() == [1, 0, 1]
        assert counts.tolist() == [1, 2]
        assert indexing.unique(x[:0], axis=0)[0].shape == (0, 2)


def test_embedding_gradient(rng):
    grad = rng.standard_normal((50, 8)).astype(np.float32)
    at = rng.integers(0, 10, 50)
    found = indexing.scatter_nd(np.zeros((10, 8), np.float32), at[:, None], grad, reduction="add")
    weight = torch.zeros(10, 8, requires_grad=True)
    F.embedding(torch.tensor(at), weight).backward(torch.tensor(grad))
    assert weight.grad is not None
    np.testing.assert_allclose(found, weight.grad.numpy(), atol=1e-5)
