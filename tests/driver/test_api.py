"""`aicc.compile`, `CompiledModel` and verification."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import InsertPoint, Rewriter

import aicc
from aicc.errors import CompileError, InputError
from aicc.ir import graph
from aicc.ir.builder import GraphBuilder
from aicc.ir.module import finish_function, new_function
from aicc.ir.types import tensor
from aicc.passes import PASSES
from aicc.passes.dce import DeadCodeElimination
from aicc.pipeline import INEXACT
from aicc.targets import default_target, host_target

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "digits" / "digits.onnx"
SAMPLES = np.load(ROOT / "examples" / "digits" / "samples.npy")


@pytest.fixture(scope="module")
def digits():
    return aicc.compile(MODEL, dims={"batch": (1, 64)})


def test_numpy_in_numpy_out(digits):
    out = digits(SAMPLES)
    assert isinstance(out, np.ndarray) and out.shape == (8, 10)
    np.testing.assert_array_equal(digits(image=SAMPLES), out)


def test_torch_in_torch_out(digits):
    out = digits(torch.from_numpy(SAMPLES))
    assert isinstance(out, torch.Tensor)
    np.testing.assert_array_equal(out.numpy(), digits(SAMPLES))


def test_every_batch_size(digits):
    whole = digits(SAMPLES)
    for n in (1, 3, 8):
        np.testing.assert_allclose(digits(SAMPLES[:n]), whole[:n], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((SAMPLES.astype(np.float64),), "dtype"),
        ((SAMPLES[:, :, :4],), "shape"),
        ((np.zeros((65, 1, 8, 8), np.float32),), "range"),
        ((), "expected 1 inputs"),
    ],
)
def test_wrong_inputs(digits, args, words):
    with pytest.raises(InputError, match=words):
        digits(*args)


def test_ir_at_any_point(digits):
    assert "graph.batch_norm" in digits.ir(after="import")
    assert "graph.batch_norm" not in digits.ir(after="batch-norm-fold")
    assert digits.ir() == digits.ir(after="dce")
    with pytest.raises(InputError, match="no pass 'fuse'"):
        digits.ir(after="fuse")


def test_report(digits):
    report = digits.report()
    assert report.ops["conv"] == 3 and report.parameters > 20_000
    assert "batch" in str(report.flops)


def test_save_and_load(digits, tmp_path):
    digits.save(tmp_path / "a")
    again = aicc.load(tmp_path / "a")
    np.testing.assert_array_equal(again(SAMPLES), digits(SAMPLES))
    assert again.ir() == digits.ir()


def test_readme_examples_run(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


class Broken(DeadCodeElimination):
    """Turns the first exp into a negation."""

    name = "broken"

    def apply(self, ctx, op):
        for inner in op.walk():
            if isinstance(inner, graph.Exp):
                new = graph.Neg.make(inner.input, location=inner.location)
                Rewriter.insert_op(new, InsertPoint.before(inner))
                inner.result.replace_all_uses_with(new.result)
                inner.detach()
                inner.erase()
                return


def exponential():
    func = new_function("main", [("x", tensor((4,), "f32"))])
    b = GraphBuilder(func.body.block)
    finish_function(func, [("y", b.emit(graph.Exp, func.args[0]))])
    return ModuleOp([func])


def test_verify_each_names_the_broken_pass(monkeypatch):
    monkeypatch.setitem(PASSES, "broken", lambda: Broken)
    aicc.compile(exponential(), pipeline="canonicalize,broken,cse")
    with pytest.raises(CompileError, match=r"pass 'broken' \(number 2\).*'y'.*largest error"):
        aicc.compile(exponential(), pipeline="canonicalize,broken,cse", verify_each=True)


def test_the_default_target_follows_the_machine(monkeypatch):
    monkeypatch.setattr("aicc.devices.GPU_DEVICES", ("/dev/null",))
    monkeypatch.delenv("AICC_TARGET")
    for seen, target in ((True, "triton"), (False, "cpp")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        assert default_target() == target
    monkeypatch.setattr("aicc.devices.GPU_DEVICES", ("/dev/no-such-device",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert default_target() == host_target() == "cpp"
    monkeypatch.setattr("aicc.backends.c_compiler.compiler", lambda: None)
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        assert default_target() == "numpy"
    monkeypatch.setenv("AICC_TARGET", "triton")
    assert default_target() == host_target() == "triton"


def test_exact_leaves_out_what_changes_last_bits():
    model = "examples/digits/digits.onnx"
    exact, usual = (aicc.compile(model, target="numpy", exact=e) for e in (True, False))
    assert "graph.batch_norm" in exact.ir() and "graph.batch_norm" not in usual.ir()
    ran = {r.spec for r in exact._records}
    assert ran and not ran & set(INEXACT)
    x = np.random.default_rng(0).normal(0, 1, (2, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(exact(x), usual(x), rtol=1e-5, atol=1e-6)
