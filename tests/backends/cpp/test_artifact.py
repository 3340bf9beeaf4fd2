"""Artifacts of the cpp target: C programs link with them, and they build from their sources."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import aicc
from aicc.backends.cpp.build import PRODUCTS
from aicc.errors import InputError

CC = shutil.which("cc") or shutil.which("gcc")


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = torch.nn.Linear(64, 200), torch.nn.GELU(), torch.nn.Linear(200, 33)
    return torch.nn.Sequential(*layers, torch.nn.Softmax(-1)).eval()


@pytest.fixture(scope="module")
def artifact(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact") / "out"
    aicc.compile(model, (torch.zeros(5, 64),), target="cpp").save(path, ["native"])
    return path


def expected(model) -> float:
    with torch.no_grad():
        return float(model(torch.zeros(5, 64))[0, 0])


@pytest.mark.skipif(CC is None, reason="there is no C compiler")
def test_a_c_program_links_with_the_library(model, artifact):
    assert CC is not None
    run(CC, "main.c", "kernels.native.so", "-Wl,-rpath,.", "-o", "model", cwd=artifact)
    np.testing.assert_allclose(float(run("./model", cwd=artifact)), expected(model), rtol=1e-4)
    failed = subprocess.run(["./model", "no-such-file"], cwd=artifact, capture_output=True)
    assert failed.returncode == 1 and b"can't read the weights" in failed.stderr


def test_it_builds_from_its_sources(model, artifact):
    sources = ("kernels.cpp", "weights.cpp", *PRODUCTS, "model.cpp")
    flags = ("-std=c++17", "-O1", "-fopenmp", "-fwrapv", "-w")
    run("g++", *flags, *sources, "-x", "c++", "main.c", "-o", "whole", cwd=artifact)
    np.testing.assert_allclose(float(run("./whole", cwd=artifact)), expected(model), rtol=1e-4)


def test_damaged_weights_are_refused(artifact, tmp_path):
    whole = (artifact / "model.safetensors").read_bytes()
    program = artifact / "model"
    if not program.exists():
        pytest.skip("no C program was built")
    table = int.from_bytes(whole[:8], "little")
    for name, data in {
        "empty": b"",
        "short": whole[:20],
        "no-table": (1 << 60).to_bytes(8, "little") + whole[8:],
        "other-names": whole[:8]
        + whole[8 : 8 + table].replace(b'"0.', b'"9.')
        + whole[8 + table :],
    }.items():
        (tmp_path / name).write_bytes(data)
        done = subprocess.run(
            [str(program), str(tmp_path / name)], capture_output=True, cwd=artifact
        )
        assert done.returncode == 1, name


def test_the_header_tells_shapes(artifact):
    header = (artifact / "model.h").read_text()
    assert "//   0: input, float[5, 64]" in header and "//   0: output0, float[5, 33]" in header


def test_sizes_that_vary_in_c(tmp_path):
    """The library's functions take the sizes that shapes leave open."""
    from torch.export import Dim

    model = torch.nn.Softmax(-1)
    program = torch.export.export(
        model, (torch.zeros(4, 9),), dynamic_shapes={"input": {0: Dim("n")}}
    )
    compiled = aicc.compile(program, target="cpp")
    for n in (1, 4, 70):
        x = torch.randn(n, 9)
        torch.testing.assert_close(torch.as_tensor(compiled(x)), torch.softmax(x, -1))
    compiled.save(tmp_path / "out")
    assert "Sizes, in this order:" in (tmp_path / "out/model.h").read_text()


def test_wrong_inputs_are_named(model):
    compiled = aicc.compile(model, (torch.zeros(5, 64),), target="cpp")
    with pytest.raises(InputError, match=r"shape \[5, 63\]"):
        compiled(torch.zeros(5, 63))
    with pytest.raises(InputError, match="dtype"):
        compiled(torch.zeros(5, 64, dtype=torch.float64))


def test_several_threads_at_once(model):
    compiled = aicc.compile(model, (torch.zeros(5, 64),), target="cpp")
    inputs = [torch.randn(5, 64) for _ in range(64)]
    with torch.no_grad():
        want = [model(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for got, right in zip(pool.map(compiled, inputs), want, strict=True):
            torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)
