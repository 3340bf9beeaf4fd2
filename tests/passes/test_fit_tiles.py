"""Blocks made smaller until a target says that they fit."""

from __future__ import annotations

import pytest
from xdsl.dialects.builtin import ModuleOp

from aicc.ir import graph, tile
from aicc.ir.interfaces import CompileContext, TargetDescription
from aicc.ir.types import tensor
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import module_of


def lowered(module: ModuleOp, fits) -> tile.Kernel:
    target = TargetDescription("stub", fits=fits)
    pipeline = parse_pipeline("fuse,lower-to-tile,dce,fit-tiles")
    PassManager(pipeline, CompileContext(target=target)).run(module)
    module.verify()
    (kernel,) = [op for op in module.ops if isinstance(op, tile.Kernel)]
    return kernel


def chain() -> ModuleOp:
    return module_of(lambda b, x: [b.emit(graph.Exp, x)], tensor((1_000_000,), "f32"))


def product() -> ModuleOp:
    return module_of(
        lambda b, x, y: [b.emit(graph.MatMul, x, y)],
        tensor((256, 256), "f32"),
        tensor((256, 256), "f32"),
    )


def test_pointwise_kernels_begin_with_long_blocks():
    kernel = lowered(chain(), lambda kernel: True)
    assert kernel.schedule["BLOCK"] == 8192 and kernel.origin == "fits the chip's memory"


@pytest.mark.parametrize("room", [4096, 1024, 1])
def test_blocks_are_halved_until_they_fit(room):
    kernel = lowered(chain(), lambda kernel: kernel.schedule["BLOCK"] <= room)
    assert kernel.schedule["BLOCK"] == room


def test_the_largest_block_of_a_product_goes_first():
    def fits(kernel):
        return kernel.schedule["BLOCK_M"] * kernel.schedule["BLOCK_N"] <= 1024

    s = lowered(product(), fits).schedule
    assert s["BLOCK_M"] == s["BLOCK_N"] == 32


def test_what_never_fits_keeps_the_least_blocks():
    s = lowered(product(), lambda kernel: False).schedule
    assert min(s["BLOCK_M"], s["BLOCK_N"], s["BLOCK_K"]) == 16
