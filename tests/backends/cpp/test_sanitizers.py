"""The tests of kernels with AddressSanitizer and UndefinedBehaviorSanitizer in the C++ of each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="the sanitizers' libraries are g++'s")
def test_kernels_under_sanitizers(tmp_path):
    libraries = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    env = {
        **os.environ,
        "AICC_SANITIZE": "address,undefined",
        "AICC_CACHE": str(tmp_path),
        "ASAN_OPTIONS": "detect_leaks=0",
        "LD_PRELOAD": " ".join(libraries),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider",
         "tests/backends/test_kernels.py"],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
