"""Where what kernels read lies: constants and what lives between kernels begin cache lines."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import aicc
from aicc.ir.memory import ALIGNMENT, address


def network(*layers: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(*layers).eval()


@pytest.mark.parametrize("saved", [False, True])
def test_weights_and_the_arena_are_aligned(saved, tmp_path):
    model = network(torch.nn.Linear(100, 333), torch.nn.GELU(), torch.nn.Linear(333, 17))
    x = torch.randn(9, 100)
    compiled = aicc.compile(model, (x,), target="cpp")
    if saved:
        compiled = aicc.load(compiled.save(tmp_path / "out"))
    with torch.no_grad():
        np.testing.assert_allclose(compiled(x.numpy()), model(x).numpy(), rtol=1e-4, atol=1e-5)
    entry = compiled._program.entry  # type: ignore[attr-defined]
    (arena,) = entry.kept.arenas.values()
    for array in (*entry.arrays, arena):
        assert address(array) % ALIGNMENT == 0


CONVOLUTIONS = {
    "a tap row of three channels": (torch.nn.Conv2d(3, 64, 7, 2, 3), (1, 3, 40, 44), 21),
    "blocks inside a tap row": (torch.nn.Conv2d(256, 64, 3, 2, 1), (1, 256, 14, 14), None),
    "rows that are cut": (torch.nn.Conv2d(5, 64, 3, 1, 1), (2, 5, 9, 13), 15),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_runs_of_one_length_are_copied_so(name):
    """An image's operand is put together from runs: their length is a number where it is known."""
    conv, shape, run = CONVOLUTIONS[name]
    model = network(conv, torch.nn.ReLU())
    x = torch.randn(shape).to(memory_format=torch.channels_last)
    compiled = aicc.compile(model, (x,), target="cpp", layout="nhwc")
    with torch.no_grad():
        np.testing.assert_allclose(compiled(x.numpy()), model(x).numpy(), rtol=1e-3, atol=1e-4)
    loops = re.findall(r"first_j < [^;]*; first_j \+= (\d+)\)", compiled.source)
    assert loops, compiled.source
    if run is not None:
        assert str(run) in loops


def is_of_a_file(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return array is not None


def test_large_constants_of_an_artifact_stay_in_its_file(tmp_path, monkeypatch):
    """Tables that rows are taken of need not be read whole."""
    from aicc import weights

    model = network(torch.nn.Embedding(500, 64), torch.nn.Linear(64, 33))
    ids = torch.tensor([[3, 499, 0]])
    path = aicc.compile(model, (ids,), target="cpp").save(tmp_path / "out")
    monkeypatch.setattr(weights, "MOST_MOVED", 500 * 64 * 4 - 1)
    found = {n: a for n, a in weights.open_weights(path / "model.safetensors").items()}
    assert sorted(is_of_a_file(a) for a in found.values() if a.size > 64) == [False, True]
    assert all(not a.flags.writeable for a in found.values())
    loaded = aicc.load(path)
    (path / "model.safetensors").unlink()  # it is open already
    with torch.no_grad():
        np.testing.assert_allclose(loaded(ids.numpy()), model(ids).numpy(), rtol=1e-4, atol=1e-5)
