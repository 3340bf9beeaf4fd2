"""Schedules: every candidate computes the same, none asks for more than a chip has."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.numpy.backend import NumpyBackend
from aicc.backends.numpy.tiles import run_kernel
from aicc.ir import graph, tile
from aicc.ir.chips import CHIPS, chip_of
from aicc.ir.interfaces import CompileContext, Tuned
from aicc.ir.tile.identity import kernel_key
from aicc.ir.types import tensor
from aicc.passes.roofline import Model
from aicc.passes.schedules import Rules, candidates, ranked
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()


def kernel_of(body, *types) -> tile.Kernel:
    module = module_of(body, *types)
    run(module, "fuse,lower-to-tile,dce")
    (kernel,) = [op for op in module.ops if isinstance(op, tile.Kernel)]
    return kernel


def run(module: ModuleOp, pipeline: str, **context) -> None:
    PassManager(parse_pipeline(pipeline), CompileContext(evaluator=NUMPY, **context)).run(module)


def product(m: int, n: int, k: int, dtype="bf16") -> tile.Kernel:
    body = lambda b, x, w: [b.emit(graph.Relu, b.emit(graph.MatMul, x, w))]  # noqa: E731
    return kernel_of(body, tensor((m, k), dtype), tensor((k, n), dtype))


KERNELS = {
    "product": lambda: product(70, 96, 48, "f32"),
    "softmax": lambda: kernel_of(
        lambda b, x: [b.emit(graph.Softmax, x, axis=1)], tensor((37, 300), "f32")
    ),
    "columns": lambda: kernel_of(
        lambda b, x: [b.emit(graph.ReduceSum, x, axes=(0,), keepdims=False)],
        tensor((300, 65), "f32"),
    ),
    "long_row": lambda: kernel_of(
        lambda b, x: [b.emit(graph.Softmax, x, axis=1)], tensor((3, 20000), "f32")
    ),
    "elements": lambda: kernel_of(
        lambda b, x, y: [b.emit(graph.Add, x, b.transpose(y, [1, 0]))],
        tensor((65, 130), "f32"),
        tensor((130, 65), "f32"),
    ),
    "attention": lambda: kernel_of(
        lambda b, q, k, v: [b.emit(graph.Attention, q, k, v, scale=0.3, causal="upper_left")],
        *[tensor((1, 2, 40, 16), "f32")] * 3,
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_every_schedule_computes_the_same(name):
    kernel = KERNELS[name]()
    rng = np.random.default_rng(0)
    shapes = [tuple(a.type.shape) for a in kernel.body.block.args]  # type: ignore
    inputs = [rng.normal(size=s).astype(np.float32) for s in shapes[: kernel.inputs]]
    every = list(candidates(kernel))
    random.seed(0)
    kept: set[tuple[int, ...]] = set()  # schedules that differ in more than warps and stages
    want: np.ndarray | None = None
    for schedule in [every[0], *random.sample(every, min(12, len(every)))]:
        blocks = tuple(v for k, v in schedule.items() if k.isupper())
        if blocks in kept:
            continue
        kept.add(blocks)
        kernel.set_param("schedule", schedule)
        kernel.verify()
        out = np.full(shapes[-1], np.nan, np.float32)
        run_kernel(kernel, [*inputs, out], {})
        want = out if want is None else want
        np.testing.assert_allclose(out, want, rtol=2e-5, atol=2e-5)


def test_a_block_without_masks_must_divide():
    kernel = product(64, 96, 64)  # 96 is three blocks of 32: no masks were needed
    rules = Rules(kernel)
    for m, n in itertools.product((16, 32, 64, 128), repeat=2):
        fits = rules.allow({**kernel.schedule, "BLOCK_M": m, "BLOCK_N": n})
        assert fits == (64 % m == 0 and (96 % n == 0 or 96 % kernel.schedule["BLOCK_N"] != 0))


@pytest.mark.parametrize("chip", CHIPS)
def test_the_model_prefers_what_is_known_to_be_fast(chip):
    large = ranked(product(4096, 4096, 4096), [chip_of(chip)])[0][1]
    assert large["BLOCK_M"] * large["BLOCK_N"] >= 64 * 128 and large["num_warps"] >= 4
    small = ranked(product(16, 4096, 4096), [chip_of(chip)])[0][1]
    assert small["BLOCK_M"] == 16
    seconds = Model(product(8192, 8192, 8192), chip_of(chip)).seconds(large)
    peak = chip_of(chip).dot["bf16"] * chip_of(chip).cores * chip_of(chip).clock
    assert 0.4 < 2 * 8192**3 / seconds / peak < 1


def test_schedules_fit_every_chip_that_is_asked_for():
    for _, schedule in ranked(product(4096, 4096, 4096), [CHIPS["sm_90"], CHIPS["gfx942"]]):
        rows, columns, depth = (schedule[f"BLOCK_{d}"] for d in "MNK")
        stages = max(schedule["num_stages"] - 1, 1)
        assert (rows + columns) * depth * 2 * stages <= 64 << 10


def test_a_measured_schedule_is_taken_where_it_is_right():
    kernel = product(64, 64, 64)
    key = (kernel_key(kernel), "sm_90")
    chosen = {**kernel.schedule, "BLOCK_M": 16, "num_warps": 8}
    for schedule, taken in ((chosen, True), ({**chosen, "BLOCK_N": 48}, False), ({}, False)):
        again = kernel.clone()
        module = ModuleOp([again])
        tuned = {key: Tuned(schedule, "torch.mm")}
        run(module, "schedule", chips=("sm_90",), tuned=tuned)
        assert (again.schedule == chosen, again.library == "torch.mm") == (taken, taken)
        assert again.origin == ("measured on sm_90" if taken else "modelled for sm_90")
        assert kernel_key(again) == key[0]
