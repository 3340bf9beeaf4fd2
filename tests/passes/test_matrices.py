"""Weights that are computed as they are read are those that would be computed at once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aicc.ir import graph
from aicc.ir.module import main_of
from aicc.ir.types import tensor
from aicc.passes.matrices import across, column_sums, columns, joined, matrix_of, ranges, scaled
from aicc.passes.panels import Panels
from aicc.passes.weights import derived_constant
from tests.backends.test_kernels import module_of

DTYPES = [np.float32, np.float64, ml_dtypes.bfloat16]


def matrices(sizes, dtype, rows=7):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(rows, n)).astype(dtype) for n in sizes]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 1200), min_size=1, max_size=4),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_parts_are_those_of_the_whole(sizes, dtype, seed):
    rng = np.random.default_rng(seed)
    parts = matrices(sizes, dtype)
    factor = rng.normal(size=7).astype(np.float32)
    width = np.result_type(dtype, np.float32)
    side_by_side = np.concatenate(parts, axis=1)
    want = (side_by_side.astype(width) * factor[:, None].astype(width)).astype(dtype)
    made = scaled(joined(parts), factor)
    assert made.shape == want.shape and made.dtype == want.dtype
    np.testing.assert_array_equal(made(), want)
    first, last = sorted(rng.integers(0, want.shape[1] + 1, 2))
    np.testing.assert_array_equal(columns(made, first, last), want[:, first:last])
    assert [i for a, b in ranges(made) for i in range(a, b)] == list(range(want.shape[1]))
    np.testing.assert_array_equal(column_sums(made), want.sum(axis=0, dtype=np.float64))
    np.testing.assert_array_equal(across(made, lambda x: x.max(axis=0)), want.max(axis=0))


@pytest.mark.parametrize("panels", [Panels(64), Panels(64, 2, 32), Panels(16, step=16, box=16)])
@pytest.mark.parametrize("size", [64, 100, 1300])
def test_panels_of_what_is_not_computed_yet(panels, size):
    (weight,) = matrices([size], np.float32)
    factor = np.arange(7, dtype=np.float32)
    made = scaled(weight, factor)
    np.testing.assert_array_equal(panels.pack(made), panels.pack(weight * factor[:, None]))


def test_constants_compute_nothing_until_they_are_read():
    """But small ones, which print inline, and those that are named after their elements."""
    read = []

    def given(size):
        weight = np.ones((7, size), np.float32)
        module = module_of(
            lambda b, x: [b.emit(graph.MatMul, x, b.constant(weight, "f32", "w"))], x
        )
        (constant,) = [op for op in main_of(module).walk() if isinstance(op, graph.Constant)]
        return constant.result, weight

    x = tensor((2, 7), "f32")
    for size, how, late in [(600, "scaled", True), (600, "", False), (3, "scaled", False)]:
        value, weight = given(size)
        made = scaled(weight, np.full(7, 2, np.float32))
        object.__setattr__(made, "columns", lambda a, b, f=made.columns: read.append(a) or f(a, b))
        constant = derived_constant(value, made, how)
        assert bool(read) != late
        assert (matrix_of(constant.result) is made) == late
        np.testing.assert_array_equal(constant.value.array, weight * 2)
        assert isinstance(matrix_of(constant.result), np.ndarray)
        read.clear()
