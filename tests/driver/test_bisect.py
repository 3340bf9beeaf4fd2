"""Bisection, the debugger and verification in torch.compile, on miscompiles that are planted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

import aicc
from aicc import api
from aicc.backends.c_spellings import SPELLINGS
from aicc.bisect import bisect, recheck
from aicc.cli import main
from aicc.debug import compare_artifact
from aicc.errors import CompileError, InputError
from aicc.frontends.onnx import IMPORTERS
from aicc.ir import graph
from aicc.passes import PASSES

DIGITS = "examples/digits/digits.onnx"


@dataclass(frozen=True)
class BreakSoftmax(ModulePass):
    """A miscompile: the other axis."""

    name = "break-softmax"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in list(op.walk()):
            if isinstance(inner, graph.Softmax):
                new = graph.Softmax.make(inner.input, axis=0, location=inner.location)
                Rewriter.replace_op(inner, new)


@dataclass(frozen=True)
class Raise(ModulePass):
    """A pass that fails on relu."""

    name = "raise-on-relu"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if any(isinstance(inner, graph.Relu) for inner in op.walk()):
            raise ValueError("no relu please")


@pytest.fixture(autouse=True)
def wrong_passes(monkeypatch):
    for wrong in (BreakSoftmax, Raise):
        monkeypatch.setitem(PASSES, wrong.name, lambda wrong=wrong: wrong)


PIPELINE = "canonicalize,constant-fold,batch-norm-fold,break-softmax,cse,dce"


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_the_pass_and_the_op(target, tmp_path):
    """What a pass made for a target is run by the interpreter, here and in the reproducer."""
    found = bisect(DIGITS, target=target, pipeline=PIPELINE)
    assert found is not None and found.finding is not None
    assert found.stage == "break-softmax" and found.number == 4
    assert len(found.ops) == 1 and found.ops[0].startswith("graph.softmax")
    assert "/softmax/Softmax" in found.ops[0] and found.finding.setting.pipeline == "break-softmax"
    paths = found.save(tmp_path)
    assert [p.name for p in paths] == ["bisected.mlir", "test_bisected.py"]
    assert f"// target: {target}\n" in paths[0].read_text()
    assert "// runs: numpy\n" in paths[0].read_text()
    assert "elements are wrong" in str(recheck(paths[0]))


def test_the_written_test_fails_until_it_is_mended(tmp_path, monkeypatch):
    found = bisect(DIGITS, target="numpy", pipeline=PIPELINE)
    assert found is not None
    mlir, test = found.save(tmp_path)
    mended = mlir.read_text().replace("pipeline: break-softmax", "pipeline: canonicalize")
    mlir.write_text(mended)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_a_pass_that_raises():
    found = bisect(DIGITS, target="numpy", pipeline="canonicalize,raise-on-relu")
    assert found is not None and found.stage == "raise-on-relu"
    assert "no relu please" in found.what and len(found.ops) == 1


def test_nothing_is_wrong():
    assert bisect(DIGITS, target="numpy") is None
    assert bisect(DIGITS, target="cpp", against="eager") is None


def test_the_target_is_wrong(monkeypatch):
    monkeypatch.setitem(SPELLINGS, "math.tanh", SPELLINGS["math.erf"])
    model = "tests.driver.test_bisect:tanh_model"
    found = bisect(model, target="cpp")
    assert found is not None and found.stage == "target"
    assert any("tanh" in op for op in found.ops) and len(found.ops) == 1


def tanh_model():
    torch.manual_seed(0)
    layers = (torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    return torch.nn.Sequential(*layers).eval(), (torch.randn(2, 4),)


def relu_then_add() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("Tanh", ["a"], ["b"], name="second"),
        helper.make_node("Add", ["a", "b"], ["y"], name="third"),
    ]
    info = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, [3, 4])],
        [info("y", TensorProto.FLOAT, [3, 4])],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_the_import_is_wrong(monkeypatch):
    monkeypatch.setitem(IMPORTERS, ("", "Tanh"), IMPORTERS["", "Sigmoid"])
    found = bisect(relu_then_add(), target="numpy", against="eager")
    assert found is not None and found.stage == "import"
    assert len(found.ops) == 1 and found.ops[0].startswith("b at second")


def test_bad_input():
    with pytest.raises(InputError, match="against"):
        bisect(DIGITS, against="tvm")
    with pytest.raises(InputError, match="no source model"):
        bisect("tests/regressions/sigmoid-tails.mlir", against="eager")


def test_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        main(["bisect", DIGITS, "--target", "numpy", "--pipeline", PIPELINE, "-o", str(tmp_path)])
    said = capsys.readouterr().out
    assert e.value.code == 1 and "pass 'break-softmax' (number 4)" in said
    assert (tmp_path / "bisected.mlir").is_file()


# ---------------------------------------------------------------------- the debugger


@pytest.mark.parametrize("target", ["numpy", "cpp"])
def test_layers_of_an_artifact(target, tmp_path):
    aicc.compile(DIGITS, target=target).save(tmp_path / "a")
    found = compare_artifact(tmp_path / "a", DIGITS, {})
    assert not found.wrong and found.origin is None
    assert "block2_relu_Relu_output_0" in [x.name for x in found.layers]


def test_the_first_layer_that_differs(tmp_path, capsys):
    passes = "canonicalize,break-softmax"
    aicc.compile(DIGITS, target="numpy", pipeline=passes).save(tmp_path / "a")
    with pytest.raises(SystemExit) as e:
        main(["debug", str(tmp_path / "a"), "--model", DIGITS])
    said = capsys.readouterr().out
    assert e.value.code == 1
    assert "first to differ: probabilities at /softmax/Softmax" in said


def test_where_nan_comes_from(tmp_path):
    class Roots(torch.nn.Module):
        def forward(self, x):
            return torch.relu(x) + torch.sqrt(x - 1).sum(1, keepdim=True)

    model, x = Roots(), torch.zeros(2, 3)
    aicc.compile(model, (x,), target="numpy").save(tmp_path / "a")
    with pytest.raises(CompileError, match="needs example inputs"):
        compare_artifact(tmp_path / "a", model, {})
    found = compare_artifact(tmp_path / "a", "tests.driver.test_bisect:roots", {})
    assert found.origin is not None
    assert found.origin.startswith("graph.sqrt at") and "makes NaN" in found.origin
    assert "in -1 to -1" in found.origin


def roots():
    class Roots(torch.nn.Module):
        def forward(self, x):
            return torch.relu(x) + torch.sqrt(x - 1).sum(1, keepdim=True)

    return Roots(), (torch.zeros(2, 3),)


# ---------------------------------------------------------------------- torch.compile


def test_verify_names_pass_and_op(tmp_path):
    torch._dynamo.reset()
    layers = (torch.nn.Linear(4, 4), torch.nn.Softmax(1))
    model, x = torch.nn.Sequential(*layers), torch.randn(3, 4)
    options: dict[str, Any] = {"verify": str(tmp_path), "target": "numpy", "pipeline": PIPELINE}
    fast = torch.compile(model, backend="aicc", options=options)
    with pytest.raises(CompileError, match=r"pass 'break-softmax'.*\n.*graph.softmax"):
        fast(x)
    assert "break-softmax" in (tmp_path / "bisected.mlir").read_text()


def test_verify_lets_what_is_right_through():
    torch._dynamo.reset()
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.GELU()), torch.randn(3, 4)
    fast = torch.compile(model, backend="aicc", options={"verify": True})
    fast(x).sum().backward()
    torch.testing.assert_close(fast(x), model(x))


def test_inputs_are_given_by_name(tmp_path):
    x = np.random.default_rng(0).normal(0, 1, (2, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    api.compile(DIGITS, target="numpy").save(tmp_path / "a")
    for command in (
        ["bisect", DIGITS, "--target", "numpy", "--input", f"image={tmp_path}/x.npy"],
        ["debug", str(tmp_path / "a"), "--model", DIGITS, "--input", f"image={tmp_path}/x.npy"],
    ):
        with pytest.raises(SystemExit) as e:
            main(command)
        assert e.value.code == 0
    with pytest.raises(SystemExit) as e:
        main([*command[:-1], f"picture={tmp_path}/x.npy"])
    assert e.value.code == 2
