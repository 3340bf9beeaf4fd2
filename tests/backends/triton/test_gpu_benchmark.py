"""The GPU benchmark works, so far as that can be seen without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def test_smoke():
    done = subprocess.run(
        [sys.executable, "gpu.py", "--smoke"], cwd=BENCHMARKS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
