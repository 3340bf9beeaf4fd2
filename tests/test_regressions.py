"""What once failed, as small modules: on their target they give what the graph interpreter gives.

``aicc fuzz`` and ``aicc bisect`` write such files. An empty pipeline is the target's own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from aicc.bisect import recheck
from aicc.pipeline import full_pipeline
from aicc.reproducer import load_reproducer
from aicc.targets import backend

FILES = sorted((Path(__file__).parent / "regressions").glob("*.mlir"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_regression(path):
    about = load_reproducer(path).about
    target = backend(about["target"])
    own = "" if target.name == "onnx" else full_pipeline(target.lowering)
    assert recheck(path, about["pipeline"] or own) is None
