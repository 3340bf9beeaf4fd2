"""Artifacts of the Triton target: they run without aicc, and carry kernels compiled for chips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import aicc

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "examples/digits"

RUN_ALONE = """
import sys
import numpy, torch
sys.modules["aicc"] = None  # an import of it would fail
sys.path.insert(0, sys.argv[1])
import kernels
weights = kernels.load(device="cpu")
inputs = torch.from_numpy(numpy.load(sys.argv[2]))
(out,) = kernels.call(weights, inputs)
numpy.save(sys.argv[3], out.numpy())
"""

RESOURCES = """
import json, sys
from aicc.backends.triton.aot import compile_kernel
from aicc.backends.triton.backend import import_source
from aicc.ir import tile
import aicc, torch

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(512, 2048)

    def forward(self, x, q):
        y = torch.nn.functional.gelu(self.up(x))
        return torch.softmax(y, -1), torch.nn.functional.scaled_dot_product_attention(q, q, q)

x, q = torch.randn(2048, 512), torch.randn(2, 8, 512, 64)
compiled = aicc.compile(Block().bfloat16(), (x.bfloat16(), q.bfloat16()), target="triton")
module = import_source(compiled.source)
found = {}
for kernel in compiled.module.ops:
    if isinstance(kernel, tile.Kernel):
        for arch in ("sm_80", "sm_90"):
            used = compile_kernel(module, kernel, arch).resources()
            found[f"{kernel.sym_name} {arch}"] = vars(used)
print(json.dumps(found))
"""


def python(*args: str | Path, interpret: bool, check: bool = True):
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    if interpret:
        env["TRITON_INTERPRET"] = "1"
    done = subprocess.run(
        [sys.executable, *map(str, args)], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "out"
    options = ("--target", "triton", "--arch", "sm_80,sm_90,gfx942", "-o", out)
    python("-m", "aicc", "compile", DIGITS / "digits.onnx", *options, interpret=False)
    return out


def test_it_runs_without_aicc(artifact, tmp_path):
    samples, out = DIGITS / "samples.npy", tmp_path / "out.npy"
    python("-c", RUN_ALONE, artifact, samples, out, interpret=True)
    want = aicc.compile(DIGITS / "digits.onnx")(np.load(samples))
    np.testing.assert_allclose(np.load(out), want, rtol=1e-4, atol=1e-5)


def test_aicc_runs_it_in_the_interpreter_and_says_so(artifact, tmp_path):
    given = f"image={DIGITS / 'samples.npy'}"
    done = python("-m", "aicc", "run", artifact, "--input", given, interpret=False)
    assert "interpreter" in done.stderr and "[8, 10]" in done.stdout


def test_it_carries_every_kernel_for_every_chip(artifact):
    manifest = json.loads((artifact / "manifest.json").read_text())
    names = set(manifest["files"])
    kernels = {n.split(".")[0] for n in names if n.endswith(".cubin")}
    assert kernels and {"kernels.py", "model.mlir", "model.safetensors"} <= names
    for kernel in kernels:
        for chip in ("sm_80.cubin", "sm_90.cubin", "gfx942.hsaco"):
            assert f"{kernel}.{chip}" in names
        told = json.loads((artifact / f"{kernel}.sm_90.json").read_text())
        assert told["kernel"] == kernel and told["warps"] >= 1


def test_an_unknown_chip_is_an_error(tmp_path):
    options = ("--target", "triton", "--arch", "sm_ninety", "-o", tmp_path / "o")
    command = ("-m", "aicc", "compile", DIGITS / "digits.onnx", *options)
    done = python(*command, interpret=False, check=False)
    assert done.returncode == 2 and "unknown chip 'sm_ninety'" in done.stderr
    assert not (tmp_path / "o").exists()


def test_kernels_spill_nothing_and_use_tensor_cores():
    found = json.loads(python("-c", RESOURCES, interpret=False).stdout)
    assert len(found) == 6
    for name, used in found.items():
        assert used["spilled"] == 0, name
        assert used["shared"] <= (166_912 if "sm_80" in name else 232_448), name
        assert used["tensor_cores"] == (not name.startswith("softmax")), name
        assert used["wgmma"] == (used["tensor_cores"] and name.endswith("sm_90")), name


def test_products_of_f32_are_tf32_where_that_is_allowed():
    torch = pytest.importorskip("torch")
    model, x = torch.nn.Linear(256, 256).eval(), torch.randn(128, 256)
    wide, narrow = (
        aicc.compile(model, [x], target="triton", chips=("sm_90",), tf32=tf32)
        for tf32 in (False, True)
    )
    assert 'input_precision="ieee"' in wide.source and "tf32" not in wide.source
    assert 'input_precision="tf32"' in narrow.source and "ieee" not in narrow.source
