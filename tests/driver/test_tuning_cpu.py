"""Schedules that were measured on the CPU: the record has them, compiling takes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import aicc
from aicc import tuning_cpu
from aicc.backends.plain_products import is_plain_product
from aicc.cli import app
from aicc.ir import tile
from aicc.tuning import Record

MODEL = nn.Sequential(nn.Linear(96, 160), nn.ReLU(), nn.Linear(160, 64), nn.Softmax(-1)).eval()
INPUT = torch.randn(120, 96)


def schedules(compiled):
    kernels = [k for k in compiled.module.ops if isinstance(k, tile.Kernel)]
    return {k.sym_name: (dict(k.schedule), k.origin) for k in kernels}


@pytest.fixture
def slow_first(monkeypatch):
    """Each model is said to be faster than those before it, whatever it takes."""
    counted = []

    def timed(first, second):
        counted.append(second)
        names = [k.sym_name for k in second.module.ops if isinstance(k, tile.Kernel)]
        return [dict.fromkeys(names, 1.0), dict.fromkeys(names, 0.9 ** len(counted))]

    monkeypatch.setattr(tuning_cpu, "in_turns", timed)
    return counted


def test_compiling_takes_what_was_measured(slow_first, tmp_path: Path):
    path = tmp_path / "record.json"
    found = tuning_cpu.tune_on_cpu(MODEL, (INPUT,), Record.load(path), best=3)
    assert found and 2 <= len(slow_first) <= 3  # a library's calls are one more
    plain = aicc.compile(MODEL, (INPUT,), target="cpp")
    tuned = aicc.compile(MODEL, (INPUT,), target="cpp", tuning=path)
    before, after = schedules(plain), schedules(tuned)
    for name, entry in found:
        assert after[name][0] == entry.schedule
        assert after[name][1].startswith("measured on ")
        assert entry.tried == 1 or entry.schedule != before[name][0]
    torch.testing.assert_close(tuned(INPUT), MODEL(INPUT))
    assert json.loads(path.read_text())["kernels"].keys() == {
        key for key, _ in Record.load(path).entries
    }


def test_what_the_record_has_is_not_measured_again(slow_first, tmp_path: Path):
    path = tmp_path / "record.json"
    first = tuning_cpu.tune_on_cpu(MODEL, (INPUT,), Record.load(path), best=2)
    count = len(slow_first)
    again = tuning_cpu.tune_on_cpu(MODEL, (INPUT,), Record.load(path), best=2)
    assert len(slow_first) == count and dict(again) == dict(first)


def test_a_schedule_that_is_none_of_the_kernels_is_left_out(slow_first):
    record = Record()
    tuning_cpu.tune_on_cpu(MODEL, (INPUT,), record, best=2)
    for entry in record.entries.values():
        entry.schedule["BLOCK_M"] = 7
    compiled = aicc.compile(MODEL, (INPUT,), target="cpp", tuning=record)
    assert not any(origin.startswith("measured") for _, origin in schedules(compiled).values())


# ---------------------------------------------------------------------- a library's product


class Product(nn.Module):
    def forward(self, x, y):
        return x @ y


A, B = torch.randn(96, 80), torch.randn(80, 112)


@pytest.fixture
def fast_library(slow_first):
    if tuning_cpu.blas.library_path() is None:
        pytest.skip("no BLAS library is loaded")


def test_a_library_is_called_where_it_won(fast_library, tmp_path: Path, monkeypatch):
    record = Record(tmp_path / "record.json")
    ((_, entry),) = tuning_cpu.tune_on_cpu(Product(), (A, B), record, best=2)
    assert entry.winning_call == "cblas_sgemm"
    assert '"winner": "cblas_sgemm"' in (tmp_path / "record.json").read_text()
    tuned = aicc.compile(Product(), (A, B), target="cpp", tuning=record)
    assert "if (cblas_sgemm(out, x, y, 96, 112, 80)) return;" in tuned.source
    torch.testing.assert_close(tuned(A, B), A @ B)


def test_without_the_library_the_kernel_runs(fast_library, tmp_path: Path):
    record = Record(tmp_path / "record.json")
    tuning_cpu.tune_on_cpu(Product(), (A, B), record, best=2)
    tuned = aicc.compile(Product(), (A, B), target="cpp", tuning=record)
    tuned.save(tmp_path / "out")
    code = (
        "import numpy as np, aicc; m = aicc.load('out'); "
        "a, b = np.ones((96, 80), 'f4'), np.ones((80, 112), 'f4'); "
        "assert (m.run([a, b])[0] == 80).all(); print('fine')"
    )
    for given in ({}, {"AICC_BLAS": "none.so"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
        )
        assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize(
    "f, plain",
    [
        (lambda x, y: x @ y, True),
        (lambda x, y: x.t() @ y, False),
        (lambda x, y: x @ y.t(), False),
        (lambda x, y: (x @ y) * 2 + 1, False),
        (lambda x, y: x[:, :32] @ y[:32], False),
    ],
)
def test_which_products_are_a_librarys(f, plain):
    """A square matrix that is read by columns has the same shape, and is another one."""

    class Model(nn.Module):
        def forward(self, x, y):
            return f(x, y)

    x, y = torch.randn(64, 64), torch.randn(64, 64)
    compiled = aicc.compile(Model(), (x, y), target="cpp")
    (kernel,) = [k for k in compiled.module.ops if isinstance(k, tile.Kernel)]
    assert is_plain_product(kernel) == plain


# ---------------------------------------------------------------------- the command line


def test_by_command(tmp_path: Path):
    program = torch.export.export(MODEL, (INPUT,))
    torch.export.save(program, tmp_path / "model.pt2")
    record = tmp_path / "tuning.json"
    given = [str(tmp_path / "model.pt2"), "--target", "cpp", "-o", str(record), "--best", "2"]
    done = CliRunner().invoke(app, ["tune", *given])
    assert done.exit_code == 0, done.output
    assert "schedules tried" in done.output and Record.load(record).entries
