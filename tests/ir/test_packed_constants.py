"""Elements of 4 and 2 bits in files."""

from __future__ import annotations

import numpy as np
import pytest

from aicc.ir.asm import named_constants, parse_module, print_module
from aicc.ir.constants import packed, unpacked
from aicc.ir.dtypes import dtype_of
from aicc.weights import open_weights, save_weights
from tests.backends.test_kernels import module_of


@pytest.mark.parametrize("size", [0, 1, 5, 8, 17])
@pytest.mark.parametrize("name", ["i4", "ui4", "i2", "ui2", "f4E2M1FN"])
def test_round_trip(name, size):
    row = dtype_of(name)
    low, high = {"int": (-(2 ** (row.bits - 1)), 2 ** (row.bits - 1)), "uint": (0, 2**row.bits)}[
        row.kind if row.is_integer else "int"
    ]
    values = np.random.default_rng(0).integers(low, high, size).astype(row.np)
    data = packed(values)
    assert data.nbytes == -(-size * row.bits // 8)
    np.testing.assert_array_equal(unpacked(data, row, size), values)


def test_the_first_element_is_in_the_low_bits():
    np.testing.assert_array_equal(packed(np.array([1, 2, 3], dtype_of("ui4").np)), [0x21, 0x03])


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match="5 elements of i4 can't be 2 bytes"):
        unpacked(np.zeros(2, np.uint8), dtype_of("i4"), 5)


def test_a_module_keeps_half_a_byte_an_element(tmp_path):
    values = np.arange(-8, 8).repeat(9).astype(dtype_of("i4").np).reshape(16, 9)
    module = module_of(lambda b: [b.constant(values)])
    save_weights(named_constants(module), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_size < 72 + 200
    text = print_module(module)
    again = parse_module(text, "w.mlir", open_weights(tmp_path / "w.safetensors"))
    (constant,) = named_constants(again).values()
    np.testing.assert_array_equal(constant.array, values)
