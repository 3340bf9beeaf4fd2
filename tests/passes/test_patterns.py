"""Every rewrite pattern and every folder, on random modules: it applies, and the result stays."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriteWalker,
    RewritePattern,
)

import aicc.passes
from aicc.ir import graph
from aicc.ir.asm import print_module
from aicc.ir.graph import folders
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import element_type
from tests.passes import rewrites
from tests.passes.random_modules import BACKEND

SEEDS = st.integers(0, 2**32 - 1)
EXAMPLES = settings(max_examples=25, deadline=None)


def all_patterns() -> set[type]:
    for found in pkgutil.walk_packages(aicc.passes.__path__, "aicc.passes."):
        importlib.import_module(found.name)
    made: set[type] = set()
    pending = [RewritePattern]
    while pending:
        for cls in pending.pop().__subclasses__():
            pending.append(cls)
            if cls.__module__.startswith("aicc."):
                made.add(cls)
    return made


def test_each_has_its_case():
    assert {p.__name__ for p in all_patterns()} == {p.__name__ for p in rewrites.PATTERNS}
    assert set(folders.FOLDERS) == set(rewrites.FOLDERS)


def rewritten(module: ModuleOp, patterns: list[RewritePattern], folding: bool) -> ModuleOp:
    copy = module.clone()
    applier = GreedyRewritePatternApplier(patterns, ctx=CompileContext(), folding_enabled=folding)
    PatternRewriteWalker(applier, apply_recursively=False).rewrite_module(copy)
    copy.verify()
    return copy


def drawn(make: rewrites.Make, seed: int) -> tuple[ModuleOp, list[np.ndarray]]:
    sketch = rewrites.Sketch(seed)
    return sketch.finish(make(sketch)), sketch.inputs


def bits(x: np.ndarray) -> np.ndarray:
    """The elements as integers; all NaNs are one."""
    if x.dtype.kind in "biu":
        return x
    plain = np.where(np.isnan(x), np.asarray(np.nan, x.dtype), x)
    return plain.view(f"u{x.dtype.itemsize}")


@pytest.mark.parametrize("pattern", list(rewrites.PATTERNS), ids=lambda p: p.__name__)
@EXAMPLES
@given(seed=SEEDS)
def test_pattern(pattern: type[RewritePattern], seed: int):
    module, inputs = drawn(rewrites.PATTERNS[pattern], seed)
    after = rewritten(module, [pattern()], folding=False)
    assert print_module(after) != print_module(module), "the pattern did not apply"
    (want,), (got,) = BACKEND.run(module, inputs), BACKEND.run(after, inputs)
    assert want.shape == got.shape and want.dtype == got.dtype
    if pattern in rewrites.EXACT:
        np.testing.assert_array_equal(bits(got), bits(want))
    elif want.dtype.kind in "iu":
        assert np.abs(got.astype(int) - want.astype(int)).max(initial=0) <= 1
    else:
        eps = float(np.finfo(want.dtype).eps) if want.dtype.kind == "f" else 2.0**-7
        scale = np.abs(want.astype(np.float64)).max(initial=1)
        np.testing.assert_allclose(
            got.astype(np.float64), want.astype(np.float64), rtol=200 * eps, atol=60 * eps * scale
        )


@pytest.mark.parametrize("cls", list(rewrites.FOLDERS), ids=lambda c: c.name)
@EXAMPLES
@given(seed=SEEDS)
def test_folder(cls, seed: int):
    module, inputs = drawn(rewrites.FOLDERS[cls], seed)
    after = rewritten(module, [], folding=True)
    returned = list(after.walk())[-1].operands[0]
    assert not isinstance(returned.owner, cls), "the op was not folded"
    (want,), (got,) = BACKEND.run(module, inputs), BACKEND.run(after, inputs)
    assert want.shape == got.shape and want.dtype == got.dtype
    np.testing.assert_array_equal(bits(got), bits(want))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_minus_zero_is_no_neutral_element(dtype):
    """x − (−0.0) is 0.0 for x = −0.0."""
    sketch = rewrites.Sketch(0)
    x = sketch.given(np.asarray([-0.0, 0.0, 1.0]).astype(dtype))
    module = sketch.finish(sketch.b.emit(graph.Sub, x, sketch.b.constant(-0.0, element_type(x))))
    after = rewritten(module, [], folding=True)
    assert any(isinstance(op, graph.Sub) for op in after.walk())
    (got,) = BACKEND.run(after, sketch.inputs)
    assert not np.signbit(got).any()
