"""The fuzzer: what it draws, what it takes for rounding, what for a bug, and how small it gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from aicc.cli import main
from aicc.compare import EXACT, SUMS, differences
from aicc.failing import trouble
from aicc.fuzz import campaign
from aicc.fuzz.drawers import DRAWERS, NOT_DRAWN
from aicc.fuzz.graphs import draw_case
from aicc.ir import graph
from aicc.ir.asm import parse_module, print_module
from aicc.ir.op import GraphOp
from aicc.passes import PASSES
from aicc.reproducer import load_reproducer
from aicc.targets import backend

REFERENCE = backend("numpy")


def test_every_op_is_drawn_or_has_a_reason():
    assert DRAWERS.keys() | NOT_DRAWN.keys() == set(graph.OPS.values())
    assert not DRAWERS.keys() & NOT_DRAWN.keys()
    assert not EXACT & SUMS


def test_a_seed_gives_one_module():
    a, b = (draw_case(7, REFERENCE) for _ in range(2))
    assert print_module(a.module) == print_module(b.module)
    for x, y in zip(a.inputs + a.outputs, b.inputs + b.outputs, strict=True):
        assert x.tobytes() == y.tobytes()


def test_all_ops_come_up():
    seen: set[str] = set()
    for seed in range(600):
        seen |= {op.kind for op in draw_case(seed, REFERENCE).module.walk()
                 if isinstance(op, GraphOp)}  # fmt: skip
    assert {cls.name.removeprefix("graph.") for cls in DRAWERS} <= seen


@pytest.mark.parametrize("target", ["numpy", "onnx"])
def test_no_differences(target):
    tally = campaign.fuzz(range(100_000, 100_080), [target])
    assert tally.graphs[target] == 80
    assert [f"{f.seed} {f.what}" for f in tally.findings] == []


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpp", "triton", "ascendc"])
def test_no_differences_on(target):
    tally = campaign.fuzz(range(200_000, 200_100), [target])
    assert [f"{f.seed} {f.what}" for f in tally.findings] == []


@dataclass(frozen=True)
class BreakTanh(ModulePass):
    """A miscompile: tanh becomes sigmoid."""

    name = "break-tanh"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in list(op.walk()):
            if isinstance(inner, graph.Tanh):
                Rewriter.replace_op(inner, graph.Sigmoid.make(inner.input))


def test_a_miscompile_is_found_and_made_small(monkeypatch, tmp_path):
    monkeypatch.setitem(PASSES, BreakTanh.name, lambda: BreakTanh)
    monkeypatch.setattr(
        campaign, "draw_pipeline", lambda rng, target: "canonicalize,cse,break-tanh,dce"
    )
    tally = campaign.fuzz(range(400), most=2)
    assert len(tally.findings) == 2
    for found in tally.findings:
        assert found.setting.pipeline == "break-tanh"
        ops = [op for op in found.module.walk() if isinstance(op, GraphOp)]
        working = [op for op in ops if not isinstance(op, (graph.Constant, graph.Yield))]
        assert any(isinstance(op, graph.Tanh) for op in working) and len(working) <= 6
        path = found.save(tmp_path)
        assert path is not None
        again = load_reproducer(path)
        assert again.about["pipeline"] == "break-tanh"
        assert trouble(again.module, again.inputs, found.setting)


def outcome(text: str, changed: np.ndarray, *inputs: np.ndarray) -> list[str]:
    module = parse_module(text)
    wanted = REFERENCE.run(module, inputs)
    return differences(REFERENCE, module, inputs, wanted, [changed])  # type: ignore[arg-type]


SUM = """func.func @main(%0: tensor<4x1000xf32>) -> tensor<4xf32> {
  %1 = graph.reduce_sum %0 {axes = [1]} : (tensor<4x1000xf32>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}"""


def test_another_order_of_additions_is_rounding():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (4, 1000)).astype(np.float32)
    x[:, 500:] = -x[:, :500][:, ::-1]  # all of it cancels
    backward = np.cumsum(x[:, ::-1], 1, dtype=np.float32)[:, -1]
    assert outcome(SUM, backward, x) == []
    assert outcome(SUM, backward + np.float32(0.01), x) != []
    assert outcome(SUM, np.full(4, np.nan, np.float32), x) != []


def test_one_unit_can_decide_what_floor_gives():
    text = """func.func @main(%0: tensor<2xf32>) -> tensor<2xf32> {
      %1 = graph.constant dense<0.1> : tensor<f32>
      %2 = graph.mul %0, %1 : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32>
      %3 = graph.floor %2 : tensor<2xf32>
      func.return %3 : tensor<2xf32>
    }"""
    x = np.array([30, 34], np.float32)
    assert outcome(text, np.array([2, 3], np.float32), x) == []
    assert outcome(text, np.array([3, 2], np.float32), x) != []


def test_moves_are_exact():
    text = """func.func @main(%0: tensor<2x2xf32>) -> tensor<2x2xf32> {
      %1 = graph.transpose %0 {permutation = [1, 0]} : tensor<2x2xf32>
      func.return %1 : tensor<2x2xf32>
    }"""
    x = np.array([[1, 2], [3, 4]], np.float32)
    assert outcome(text, x.T.copy(), x) == []
    assert outcome(text, x, x) != []


def test_command_line(capsys, tmp_path, monkeypatch):
    main_ok = ["fuzz", "--graphs", "5", "--seed", "3", "-o", str(tmp_path)]
    with pytest.raises(SystemExit) as e:
        main(main_ok)
    assert e.value.code == 0 and "no differences" in capsys.readouterr().out
    monkeypatch.setitem(PASSES, BreakTanh.name, lambda: BreakTanh)
    monkeypatch.setattr(campaign, "draw_pipeline", lambda rng, target: "break-tanh")
    with pytest.raises(SystemExit) as e:
        main(["fuzz", "--graphs", "150", "-o", str(tmp_path)])
    assert e.value.code == 1
    assert list(tmp_path.glob("*.mlir")) and "instead of" in capsys.readouterr().out
