"""Arrays that begin where a cache line does."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from aicc.ir.constants import DenseAttr
from aicc.ir.memory import ALIGNMENT, address, aligned, empty


@pytest.mark.parametrize("dtype", [np.float32, np.int8, ml_dtypes.bfloat16, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5, 33)])
def test_empty_has_the_shape_and_begins_a_line(shape, dtype):
    for _ in range(5):
        array = empty(shape, dtype)
        assert array.shape == shape and array.dtype == dtype
        assert array.flags.c_contiguous
        assert address(array) % ALIGNMENT == 0 or not array.size


def test_aligned_copies_only_what_lies_elsewhere():
    base = empty((65,), np.float32)
    base[...] = np.arange(65)
    assert aligned(base) is base
    for view in (base[1:], base[:64].reshape(8, 8).T, base[::2]):
        moved = aligned(view)
        np.testing.assert_array_equal(moved, view)
        assert address(moved) % ALIGNMENT == 0 and moved.flags.c_contiguous


def test_a_constant_is_moved_once_for_all_who_share_it():
    base = empty((101,), np.float32)
    base[...] = 1
    constant = DenseAttr.make(base[1:], "w")
    digest = constant.data.digest
    moved = constant.data.align()
    assert address(moved) % ALIGNMENT == 0
    assert constant.data.align() is moved and constant.array is moved
    assert DenseAttr.make(base[1:], "w").data.digest == digest == constant.data.digest
