"""What `raise-composites` recognises in the tests of the pass computes what was spelled out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aicc.ir.asm import parse_module
from aicc.ir.module import functions
from aicc.verify import sample_inputs
from tests.passes.random_modules import BACKEND
from tests.passes.test_laws import run_pipeline, same

TEXT = (Path(__file__).parents[1] / "filecheck" / "raise-composites.mlir").read_text()
NAMES = sorted(functions(parse_module(TEXT)))


@pytest.mark.parametrize("name", NAMES)
def test_results_stay(name):
    module = parse_module(TEXT)
    for other, func in functions(module).items():
        if other != name:
            func.detach()
    functions(module)[name].sym_name = type(functions(module)[name].sym_name)("main")
    inputs = sample_inputs(module, seed=3)
    if name == "guarded":
        inputs[3][1] = -np.inf  # a row that sees no key
    want = BACKEND.run(module, inputs)
    run_pipeline(module, "raise-composites,canonicalize")
    same(want, BACKEND.run(module, inputs))
