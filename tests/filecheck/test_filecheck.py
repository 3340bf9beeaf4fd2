"""IR in, IR out: each .mlir file has a RUN line, and CHECK lines that its output must match."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aicc.dumps import run_passes

HERE = Path(__file__).parent


def pipeline_of(path: Path) -> str:
    """The passes of the file's line ``// RUN: aicc opt %s -p PASSES | filecheck %s``."""
    line = path.read_text().splitlines()[0]
    words = shlex.split(line.removeprefix("// RUN:"))
    assert words[:4] == ["aicc", "opt", "%s", "-p"] and words[5:] == ["|", "filecheck", "%s"], line
    return words[4]


@pytest.mark.parametrize("path", sorted(HERE.glob("*.mlir")), ids=lambda p: p.stem)
def test_file(path, tmp_path):
    out = run_passes(path.read_text(), str(path), pipeline_of(path), "numpy")
    done = subprocess.run(
        [sys.executable, "-m", "filecheck", str(path)], input=out, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{out}"


def test_a_check_can_fail():
    path = HERE / "dce.mlir"
    done = subprocess.run(
        [sys.executable, "-m", "filecheck", str(path)],
        input=path.read_text().replace("//", "#"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
