"""A package of its own that adds a pass, an operator and a target, installed for real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "examples" / "extending"

ARITHMETIC = """
import json, sys
import numpy as np
from onnx import numpy_helper, load
from onnx.backend.test.loader import load_model_tests
import aicc

KINDS = ("add", "sub", "mul", "div", "neg", "abs", "max", "min", "relu", "sqrt", "exp", "equal",
         "less", "greater", "where")
passed, failed = [], {}
for case in load_model_tests(kind="node"):
    words = case.name.removeprefix("test_").split("_")
    model = case.model
    if words[0] not in KINDS or words[:2] in (["max", "pool"], ["max", "unpool"]):
        continue
    if "expanded" in words or any(n.op_type.startswith("Reduce") for n in model.graph.node):
        continue
    types = {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    if types & {0, 8, 10, 16}:  # strings, float16, bfloat16
        continue
    try:
        compiled = aicc.compile(model, target="plain-c")
        for inputs, outputs in case.data_sets:
            found = compiled(*[np.asarray(x) for x in inputs])
            np.testing.assert_allclose(found, outputs[0], rtol=case.rtol, atol=case.atol)
        passed.append(case.name)
    except Exception as e:
        failed[case.name] = str(e)[:200]
print(json.dumps([passed, failed]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that has the package."""
    where = tmp_path_factory.mktemp("packages")
    copy = tmp_path_factory.mktemp("source") / "extending"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("out", "build", "*.egg-info"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--target", str(where), str(copy)],
        check=True,
    )  # fmt: skip
    return {**os.environ, "PYTHONPATH": str(where)}


def run(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        env=environment,
        cwd=HERE.parents[1],
    )


def aicc(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return run(environment, "-m", "aicc", *args)


def test_the_pass_is_known_by_its_name(installed):
    done = aicc(installed, "opt", str(HERE / "twice.mlir"), "-p", "double-to-add,dce")
    assert done.returncode == 0, done.stderr
    assert "graph.add %x, %x" in done.stdout and "graph.mul" not in done.stdout
    bare = aicc(
        {**installed, "PYTHONPATH": ""}, "opt", str(HERE / "twice.mlir"), "-p", "double-to-add"
    )
    assert bare.returncode == 2 and "double-to-add" in bare.stderr


SLOW = [pytest.param(t, marks=pytest.mark.slow) for t in ("triton", "ascendc")]


@pytest.mark.parametrize("target", ["numpy", "cpp", *SLOW])
def test_the_operator_is_fused_on_every_target(target, installed, tmp_path):
    model = tmp_path / "model.onnx"
    assert run(installed, str(HERE / "make_model.py"), str(model)).returncode == 0
    done = aicc(installed, "compile", str(model), "--target", target, "--verify",
                "--print-ir-after", "fuse", "-o", str(tmp_path / "out"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "verified against numpy" in done.stderr
    if target != "numpy":
        assert done.stdout.count("graph.fused") == 1 and "graph.hard_shrink" in done.stdout
    again = aicc(
        installed, "run", str(tmp_path / "out"), *(["--emulate"] if target == "ascendc" else [])
    )
    assert again.returncode == 0, again.stderr


def test_the_target_passes_the_arithmetic_cases(installed):
    done = run(installed, "-c", ARITHMETIC)
    assert done.returncode == 0, done.stderr
    passed, failed = json.loads(done.stdout.strip().splitlines()[-1])
    assert failed == {} and len(passed) > 60


def test_a_package_that_is_broken_is_named(installed, tmp_path):
    dist = tmp_path / "broken-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "[aicc.targets]\nbad-chip = nowhere.at_all:Backend\n"
    (dist / "entry_points.txt").write_text(points)
    environment = {**installed, "PYTHONPATH": str(tmp_path)}
    done = aicc(environment, "compile", str(HERE / "twice.mlir"), "--target", "bad-chip")
    assert done.returncode == 2
    assert "broken can't give 'bad-chip' of aicc.targets" in done.stderr
