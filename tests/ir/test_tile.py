"""What the verifier of the tile dialect refuses, and what the interpreter catches beyond it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.utils.exceptions import VerifyException

from aicc.backends.numpy.runtime import RunError
from aicc.backends.numpy.tiles import run_kernel
from aicc.ir import tile
from aicc.ir.asm import parse_module, print_module

KERNEL = (Path(__file__).parent / "double.mlir").read_text()
INDEX, MASK, TILE = (f"tensor<?x{e}, #graph.dims<BLOCK>>" for e in ("index", "i1", "f32"))
BUFFER = "!tile.buffer<[n], f32>"


def without_mask() -> str:
    """The kernel with a load that doesn't look at bounds."""
    text = KERNEL.replace("tile.load %x, %inside, %i", "tile.load %x, none, %i")
    return text.replace(f"({BUFFER}, {MASK}, {INDEX}) -> {TILE}", f"({BUFFER}, {INDEX}) -> {TILE}")


def with_buffer(name: str, other: str) -> str:
    """The kernel with another type for a buffer, where it is defined and where it is used."""
    text = KERNEL.replace(f"%{name}: {BUFFER}", f"%{name}: {other}")
    lines = text.splitlines()
    used = "tile.load" if name == "x" else "tile.store"
    return "\n".join(x.replace(BUFFER, other) if used in x else x for x in lines)


def kernel_of(text: str) -> tile.Kernel:
    (kernel,) = parse_module(text).ops
    assert isinstance(kernel, tile.Kernel)
    return kernel


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000])
def test_a_kernel_runs_at_every_size(n):
    kernel = kernel_of(KERNEL)
    assert kernel.sizes == ["n"]
    x, guarded = np.arange(n, dtype=np.float32), np.full(n + 2, 77, np.float32)
    run_kernel(kernel, [x, guarded[1:-1]], {"n": n})
    np.testing.assert_array_equal(guarded[1:-1], x * 2)
    assert guarded[0] == guarded[-1] == 77


def test_text_round_trips():
    module = parse_module(KERNEL)
    assert print_module(parse_module(print_module(module))) == print_module(module)


def test_what_a_mask_hides_is_not_a_lucky_zero():
    text = with_buffer("out", "!tile.buffer<[n + 8], f32>")
    text = text.replace("%out, %inside, %i", "%out, %all, %i")
    all_ = f'%all = tile.cmp %i, %i {{predicate = "eq"}} : ({INDEX}, {INDEX}) -> {MASK}'
    kernel = kernel_of(text.replace("    %d = ", f"    {all_}\n    %d = "))
    out = np.zeros(16, np.float32)
    run_kernel(kernel, [np.ones(5, np.float32), out], {"n": 5})
    assert np.isnan(out[5:8]).all()


def test_missing_masks_are_refused():
    with pytest.raises(VerifyException, match="without a mask"):
        parse_module(without_mask())


def test_no_mask_is_needed_where_blocks_divide():
    whole = without_mask().replace("bound = [n]", "bound = [64]").replace("[n], f32", "[64], f32")
    kernel_of(whole.replace("floordiv(n - 1, BLOCK) + 1", "8"))


def test_what_reaches_past_a_buffer_is_refused():
    text = with_buffer("x", "!tile.buffer<[63], f32>").replace("bound = [n]", "bound = [64]")
    with pytest.raises(VerifyException, match="reaches element 63 of a buffer of 63"):
        parse_module(text)


def test_dtypes_that_differ_are_refused():
    with pytest.raises(VerifyException, match="a tile of f32 for a buffer of f16"):
        parse_module(with_buffer("out", "!tile.buffer<[n], f16>"))


def test_the_interpreter_stops_at_an_access_outside():
    kernel = kernel_of(KERNEL)
    with pytest.raises(RunError, match="reaches element 4"):
        run_kernel(kernel, [np.ones(4, np.float32), np.ones(8, np.float32)], {"n": 5})
