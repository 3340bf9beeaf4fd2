"""Random pipelines: passes in any order that they allow, down to what a target runs."""

from __future__ import annotations

import numpy as np

from aicc.pipeline import full_pipeline
from aicc.targets import Backend

GRAPH_PASSES = (
    "canonicalize",
    "shape-simplify",
    "constant-fold",
    "constant-fold{max-elements=4}",
    "batch-norm-fold",
    "scale-fold",
    "cse",
    "dce",
    "integer-products",
    "narrow-products",
    "decompose",
    "decompose{all=true}",
    "assign-layouts",
    "assign-layouts{layout=nhwc}",
    "raise-composites",
    "gather-log-softmax",
    "simplify-masks",
    "merge-matmuls",
    "sink-norm",
    "scatter-to-select",
    "split-products{parts=2 least=16}",
    "split-reductions",
    "split-reductions{programs=8 least=4}",
)
"""Passes from graph to graph that keep results and need nothing else."""

TO_TILE = (
    "fuse,dce,lower-to-tile{scans=true},dce",
    "fuse{max-ops=3 max-operands=4},dce,lower-to-tile,dce",
)


def draw_pipeline(rng: np.random.Generator, target: Backend) -> str:
    """A pipeline that ends in what a target loads; for "numpy" that is any level of the IR."""
    passes = [GRAPH_PASSES[i] for i in rng.integers(0, len(GRAPH_PASSES), rng.integers(0, 9))]
    kind = rng.integers(4)
    if kind == 0:
        return full_pipeline(target.lowering)
    if target.name != "numpy":
        return ",".join([*passes, full_pipeline(target.lowering)])
    if kind == 1:
        return ",".join(passes)
    tiles = TO_TILE[rng.integers(len(TO_TILE))]
    if rng.random() < 0.5:
        tiles += ",plan-memory"
    return ",".join([*passes, "lower-quantization,canonicalize,dce", tiles])
