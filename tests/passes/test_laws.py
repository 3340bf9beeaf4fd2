"""Laws of passes on random modules: results stay, text round-trips, folding is evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from aicc.backends.triton.backend import TritonBackend
from aicc.ir import graph
from aicc.ir.asm import parse_module, print_module
from aicc.ir.interfaces import CompileContext
from aicc.ir.module import main_of
from aicc.ir.op import GraphOp
from aicc.ir.types import shape_of
from aicc.passes import PASSES
from aicc.pipeline import DEFAULT_PIPELINE, PassManager, parse_pipeline
from tests.passes.random_modules import BACKEND, Drawn, modules

LAWS = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def run_pipeline(module, pipeline):
    context = CompileContext(evaluator=BACKEND, target=BACKEND.description, remarks=[])
    PassManager(parse_pipeline(pipeline), context).run(module)
    return context.remarks or []


def same(want, got):
    assert len(want) == len(got)
    for a, b in zip(want, got, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


CALIBRATED = ("scale-salient-channels", "smooth-activations")
"""Passes that need samples: their law stands in test_quantizing, as those do that round."""

PIPELINES = (
    *sorted(p for p in PASSES if not p.startswith("quantize-") and p not in CALIBRATED),
    "decompose{all=true}",
    "decompose{all=true},fuse,dce",
    "fuse{max-ops=3 max-operands=4}",
    "fuse,lower-to-tile,dce",
    f"canonicalize,{TritonBackend.lowering}",
    DEFAULT_PIPELINE,
)


@pytest.mark.parametrize("pipeline", PIPELINES)
@LAWS
@given(drawn=modules())
def test_passes_keep_results(pipeline, drawn: Drawn):
    run_pipeline(drawn.module, pipeline)
    same(drawn.outputs, BACKEND.run(drawn.module, drawn.inputs))


@pytest.mark.parametrize("name", ["canonicalize", "constant-fold", "cse", "dce", "shape-simplify"])
@LAWS
@given(drawn=modules())
def test_a_second_run_changes_nothing(name, drawn: Drawn):
    run_pipeline(drawn.module, name)
    once = print_module(drawn.module)
    run_pipeline(drawn.module, name)
    assert print_module(drawn.module) == once


@LAWS
@given(drawn=modules(inputs=0))
def test_folding_is_evaluation(drawn: Drawn):
    """Without inputs everything folds to constants: those that running gives.

    Sums may differ in their last bits: NumPy adds in memory order, and constants are contiguous.
    """
    run_pipeline(drawn.module, "constant-fold{max-elements=100000},dce")
    assert all(
        isinstance(op, graph.Constant) for op in drawn.module.walk() if op.name.startswith("graph.")
    )
    for a, b in zip(drawn.outputs, BACKEND.run(drawn.module, []), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)
        assert a.dtype == b.dtype


@LAWS
@given(drawn=modules())
def test_text_round_trips(drawn: Drawn):
    for pipeline in ("", DEFAULT_PIPELINE, "fuse,lower-to-tile"):
        run_pipeline(drawn.module, pipeline)
        text = print_module(drawn.module)
        again = parse_module(text)
        assert again.is_structurally_equivalent(drawn.module)
        assert print_module(again) == text
        same(drawn.outputs, BACKEND.run(again, drawn.inputs))


@LAWS
@given(drawn=modules())
def test_folding_is_bounded(drawn: Drawn):
    """No constant larger than `max-elements` and all that were there comes into being."""
    constants = [op.value for op in drawn.module.walk() if isinstance(op, graph.Constant)]
    before, total = {id(c) for c in constants}, sum(c.array.size for c in constants)
    run_pipeline(drawn.module, "constant-fold{max-elements=4}")
    for op in drawn.module.walk():
        if isinstance(op, graph.Constant) and id(op.value) not in before:
            assert op.value.array.size <= max(4, total)


@LAWS
@given(drawn=modules())
def test_every_kernel_lowers_to_tiles(drawn: Drawn):
    told = run_pipeline(drawn.module, "canonicalize,dce,fuse,lower-to-tile,dce")
    left = [op for op in drawn.module.walk() if isinstance(op, graph.Fused)]
    reasons = [t for t in told if "no tile" in t and "isn't known" not in t]
    assert len(left) <= len([t for t in told if "no tile" in t])
    assert reasons == []


@LAWS
@given(drawn=modules())
def test_fusing_leaves_little(drawn: Drawn):
    """Every op but sorts and the like is in a kernel, and no kernel only renames elements."""
    run_pipeline(drawn.module, "canonicalize,dce,fuse,dce")
    for op in main_of(drawn.module).body.block.ops:
        if isinstance(op, graph.Fused):
            inside = [o for o in op.ops() if not isinstance(o, graph.Constant)]
            assert not all(isinstance(o, graph.Reshape) for o in inside)
            assert op.role in ("pointwise", "reduction", "contraction")
        elif isinstance(op, GraphOp) and None not in shape_of(op.results[0]):
            assert isinstance(op, (graph.Constant, graph.Reshape, graph.ShapeExpr, graph.ShapeOf))
