"""Tuning records: what was measured is kept, goes on where it was, and is what compiling takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import aicc
from aicc.errors import CompileError, InputError
from aicc.tuning import Entry, Record, tune


class Stub:
    """Takes the place of a GPU: the schedule with the most warps is the fastest."""

    def __init__(self, fail_at: int | None = None):
        self.measured = 0
        self.fail_at = fail_at

    def measure(self, kernel, schedules):
        if self.measured == self.fail_at:
            raise KeyboardInterrupt
        self.measured += 1
        return [1e-3 / s["num_warps"] + 1e-9 * i for i, s in enumerate(schedules)]

    def measure_library(self, kernel):
        return {"torch.mm": 1e-9} if len(kernel.body.block.args) == 3 else {}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(32, 64)
        self.last = torch.nn.Linear(64, 32, bias=False)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


INPUT = torch.zeros(48, 32)


def compiled(**options) -> aicc.CompiledModel:
    torch.manual_seed(0)
    return aicc.compile(Model().eval(), (INPUT,), target="triton", **options)


def test_an_interrupted_run_goes_on(tmp_path: Path):
    path = tmp_path / "record.json"
    model = compiled()
    model._program = Stub(fail_at=1)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        tune(model, Record.load(path))
    assert len(Record.load(path).entries) == 1
    model._program = stub = Stub()  # type: ignore[assignment]
    seen: list[str] = []
    found = tune(model, Record.load(path), progress=lambda name, i, n: seen.append(f"{i}/{n}"))
    assert (stub.measured, seen) == (1, ["0/2", "1/2"])
    assert len(found) == len(Record.load(path).entries) == 2


def test_compiling_takes_what_was_measured(tmp_path: Path, monkeypatch):
    path = tmp_path / "record.json"
    model = compiled()
    model._program = Stub()  # type: ignore[assignment]
    tune(model, Record.load(path))
    data = json.loads(path.read_text())
    winners = sorted(e["winner"] for chips in data["kernels"].values() for e in chips.values())
    assert winners == ["kernel", "torch.mm"]
    again = compiled(tuning=path)
    assert "torch.mm(relu, " in again.source
    (fastest,) = (e.schedule for e in Record.load(path).entries.values() if not e.winning_call)
    assert ", ".join(f"{k}={v}" for k, v in fastest.items()) in again.source
    assert again.source != compiled().source
    torch.testing.assert_close(again(INPUT), compiled()(INPUT))
    monkeypatch.setenv("AICC_TUNING", str(path))
    assert compiled().source == again.source
    again.save(tmp_path / "out")
    rows = json.loads((tmp_path / "out/tuning.json").read_text())
    assert {r["origin"] for r in rows.values()} == {"measured on sm_90"}


def test_a_library_wins_only_where_it_is_faster():
    assert Entry("k", {}, 2.0, 3, {"torch.mm": 1.0}).winning_call == "torch.mm"
    assert Entry("k", {}, 1.0, 3, {"torch.mm": 2.0}).winning_call == ""


@pytest.mark.parametrize("text", ["", "{}", '{"format": 9}', '{"format": 1, "kernels": {"a": 3}}'])
def test_damaged_records_are_refused(tmp_path: Path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"record\.json"):
        Record.load(path)


def test_what_cannot_be_tuned_says_so(tmp_path: Path):
    model = aicc.compile(Model().eval(), (INPUT,))
    with pytest.raises(CompileError, match="numpy target has no schedules"):
        tune(model, Record())
    if not torch.cuda.is_available():
        with pytest.raises(CompileError, match="no GPU"):
            tune(compiled(), Record())
