"""Products of bytes: exact sums, whatever the sizes and strides."""

from __future__ import annotations

import numpy as np
import pytest

import aicc
from aicc.ir import graph
from aicc.ir.dtypes import i32
from aicc.ir.types import tensor
from tests.backends.test_kernels import module_of

SIZES = [(1, 1, 1), (1, 7, 5), (3, 64, 16), (5, 33, 17), (7, 4, 64), (33, 101, 70), (70, 1500, 130)]


@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
@pytest.mark.parametrize("m, k, n", SIZES)
def test_sums_are_exact(m, k, n, turned):
    rng = np.random.default_rng(m * k)
    a, b = (rng.integers(-128, 128, s).astype(np.int8) for s in ((m, k), (k, n)))
    given = [v.T.copy() if name in turned else v for name, v in (("a", a), ("b", b))]

    def body(builder, x, y):
        x = builder.transpose(x, (1, 0)) if "a" in turned else x
        y = builder.transpose(y, (1, 0)) if "b" in turned else y
        return [builder.emit(graph.MatMul, x, y, out_dtype=i32)]

    module = module_of(body, *(tensor(v.shape, "i8") for v in given))
    (found,) = aicc.compile(module, target="cpp").run(given)
    np.testing.assert_array_equal(found, a.astype(np.int32) @ b.astype(np.int32))


def test_extremes():
    """The largest sums that bytes give: no step saturates."""
    for left, right in ((-128, -128), (127, -128), (-128, 127), (127, 127)):
        a, b = np.full((5, 1000), left, np.int8), np.full((1000, 20), right, np.int8)

        def body(builder, x, b=b):
            return [builder.emit(graph.MatMul, x, builder.constant(b), out_dtype=i32)]

        module = module_of(body, tensor(a.shape, "i8"))
        (found,) = aicc.compile(module, target="cpp").run([a])
        assert (found == left * right * 1000).all()
