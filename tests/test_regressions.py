"""What once failed, as small modules: on their target they give what the graph interpreter gives.

``aicc fuzz`` and ``aicc bisect`` write such files. An empty pipeline is the target's own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from aicc.failing import Setting, trouble
from aicc.pipeline import full_pipeline
from aicc.reproducer import load_reproducer
from aicc.targets import backend

FILES = sorted((Path(__file__).parent / "regressions").glob("*.mlir"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_regression(path):
    found = load_reproducer(path)
    target = backend(found.about["target"])
    pipeline = found.about["pipeline"] or full_pipeline(target.lowering)
    if target.name == "onnx":
        pipeline = found.about["pipeline"]
    reference = backend("numpy")
    wanted = reference.run(found.module, found.inputs)
    runs = backend(found.about["runs"]) if "runs" in found.about else None
    setting = Setting(pipeline, target, reference, runs)
    assert trouble(found.module, found.inputs, setting, wanted) is None
