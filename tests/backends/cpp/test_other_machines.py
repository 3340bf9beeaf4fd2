"""Libraries for other machines: 64-bit ARM in an emulator, and the best of several for x86-64."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import aicc
from aicc.backends.cpp.build import FLAGS, RUNTIME, Builder, BuildError
from tests.backends.cpp.test_runtime import FUNCTIONS, HARNESS

QEMU, ARM_CXX = shutil.which("qemu-aarch64"), shutil.which("aarch64-linux-gnu-g++")
X86_QEMU = shutil.which("qemu-x86_64")
CC = shutil.which("cc") or shutil.which("gcc")
PRELUDE = ("-L", "/usr/aarch64-linux-gnu")

emulated = pytest.mark.skipif(
    QEMU is None or ARM_CXX is None, reason="needs qemu-user and g++-aarch64-linux-gnu"
)
on_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or CC is None, reason="needs an x86-64 processor and cc"
)

# Runs a model on inputs from one file, outputs to another, one behind the other.
RUNNER = """
#include <stdio.h>
#include <stdlib.h>
#include "model.h"
int main(int argc, char** argv) {
  const long in[] = {INPUT_BYTES, 0}, out[] = {OUTPUT_BYTES, 0};
  const int64_t sizes[] = {0};
  void *inputs[9], *outputs[9];
  FILE *from = fopen("inputs", "rb"), *to = fopen("outputs", "wb");
  model* m = model_open("model.safetensors");
  if (!m) return 1;
  for (int i = 0; in[i]; ++i)
    if (fread(inputs[i] = malloc(in[i]), 1, in[i], from) != (size_t)in[i]) return 2;
  for (int i = 0; out[i]; ++i) outputs[i] = malloc(out[i]);
  if (model_call(m, inputs, outputs, sizes)) return 3;
  for (int i = 0; out[i]; ++i) fwrite(outputs[i], 1, out[i], to);
  return fclose(to);
}
"""


class Block(nn.Module):
    """Attention with a causal mask, layer norms, GELU."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(48, 144), nn.Linear(48, 48)
        self.up, self.down = nn.Linear(48, 130), nn.Linear(130, 48)
        self.norms = nn.ModuleList([nn.LayerNorm(48), nn.LayerNorm(48)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norms[0](x)).view(2, 37, 3, 3, 16).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(2, 37, 48))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Images(nn.Module):
    """Convolutions of all kinds, a pool, a normalisation."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 20, 3, stride=2), nn.BatchNorm2d(20), nn.SiLU()),
            *(nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.Conv2d(20, 33, 1), nn.Hardswish()),
            *(nn.MaxPool2d(3, 2, 1), nn.Conv2d(33, 24, 3, padding=1), nn.Sigmoid()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).mean((2, 3))


class Indices(nn.Module):
    """Rows of a table, functions, integers and masks."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 21)

    def forward(self, ids: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.table(ids) * x.exp() + torch.where(x > 0, x.sin(), x.tanh())
        return y.amax(-1), (ids * 7 // 3) % 5, y.argmin(1)


MODELS = {
    "block": (Block(), (torch.randn(2, 37, 48),)),
    "images": (Images(), (torch.randn(2, 3, 41, 41),)),
    "indices": (Indices(), (torch.randint(0, 50, (6, 9)), torch.randn(6, 9, 21))),
    "halves": (Block().bfloat16(), (torch.randn(2, 37, 48, dtype=torch.bfloat16),)),
}


@emulated
@pytest.mark.parametrize(
    ("name", "recipe"),
    [*((n, None) for n in MODELS), ("block", "int8-dynamic"), ("images", "int8-dynamic")],
)
def test_models_on_arm(tmp_path, name, recipe):
    """What 64-bit ARM computes is what this machine computes."""
    model, inputs = MODELS[name]
    compiled = compiled_as(recipe, model.eval(), inputs)
    expected = compiled(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    out = tmp_path / "out"
    compiled.save(out, ["armv8.2"])

    def sizes(tensors: tuple[torch.Tensor, ...]) -> str:
        return ", ".join(str(t.nbytes) for t in tensors)

    source = RUNNER.replace("INPUT_BYTES", sizes(inputs)).replace("OUTPUT_BYTES", sizes(expected))
    (out / "runner.c").write_text(source)
    (out / "inputs").write_bytes(b"".join(raw(t) for t in inputs))
    build = [str(ARM_CXX), "-x", "c++", "runner.c", "-x", "none", "kernels.armv8.2.so"]
    subprocess.run([*build, "-Wl,-rpath,.", "-o", "runner"], cwd=out, check=True)
    subprocess.run([str(QEMU), *PRELUDE, "./runner"], cwd=out, check=True, timeout=250)
    data = (out / "outputs").read_bytes()
    for want in expected:
        size = want.nbytes
        got = torch.frombuffer(bytearray(data[:size]), dtype=want.dtype).reshape(want.shape)
        data = data[size:]
        loose = want.dtype == torch.bfloat16
        torch.testing.assert_close(
            got, want, rtol=2e-2 if loose else 1e-4, atol=2e-2 if loose else 1e-5
        )


def compiled_as(
    recipe: str | None, model: nn.Module, inputs: tuple[torch.Tensor, ...]
) -> aicc.CompiledModel:
    if recipe is None:
        return aicc.compile(model, inputs, target="cpp")
    return aicc.compile(aicc.quantize(model, recipe, inputs=inputs).module, target="cpp")


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@emulated
def test_functions_on_arm(tmp_path):
    """The runtime's functions stay within two units in the last place there, too."""
    cases = "".join(f'  if (name == "{f}") apply_{f}(x.data(), y.data(), n);\n' for f in FUNCTIONS)
    (tmp_path / "main.cpp").write_text(
        f"{HARNESS}\n#include <cstdio>\n#include <string>\n#include <vector>\n"
        "int main(int, char** argv) {\n  const std::string name = argv[1];\n"
        "  const int64_t n = std::stol(argv[2]);\n  std::vector<float> x(n), y(n);\n"
        "  if (int64_t(fread(x.data(), 4, n, stdin)) != n) return 1;\n"
        f"{cases}  return int64_t(fwrite(y.data(), 4, n, stdout)) != n;\n}}\n"
    )
    flags = [f for f in FLAGS if f != "-O3"]
    build = [str(ARM_CXX), *flags, "-O2", "-march=armv8.2-a", "-I", str(RUNTIME), "main.cpp"]
    products = [str(RUNTIME / "dot.cpp"), str(RUNTIME / "places.cpp")]
    subprocess.run([*build, *products, "-o", "main"], cwd=tmp_path, check=True)
    for name, (exact, low, high) in FUNCTIONS.items():
        x = np.linspace(low, high, 100_003, dtype=np.float32)
        x = np.concatenate([x, np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)])
        command = [str(QEMU), *PRELUDE, "./main", name, str(x.size)]
        done = subprocess.run(
            command, cwd=tmp_path, check=True, input=x.tobytes(), capture_output=True
        )
        got = np.frombuffer(done.stdout, np.float32)
        with np.errstate(all="ignore"):
            want = exact(x.astype(np.float64))
            rounded = want.astype(np.float32)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(got[~finite], rounded[~finite], name)
        ulp = np.spacing(np.maximum(np.abs(rounded[finite]), np.float32(1e-44)))
        assert np.max(np.abs(got[finite] - want[finite]) / ulp.astype(np.float64)) <= 2, name


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> tuple[Path, float]:
    """An artifact with libraries for three instruction sets, a program, and its right answer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 200), nn.GELU(), nn.Linear(200, 33), nn.Softmax(-1))
    out = tmp_path_factory.mktemp("several") / "out"
    compiled = aicc.compile(model.eval(), (torch.zeros(5, 64),), target="cpp")
    compiled.save(out, ["x86-64", "x86-64-v3", "x86-64-v4"])
    first = (out / "main.c").read_text().splitlines()[0]
    assert "cc main.c kernels.so" in first
    command = [str(CC), "main.c", "kernels.so", "-Wl,-rpath,.", "-o", "model"]
    subprocess.run(command, cwd=out, check=True)
    with torch.no_grad():
        return out, float(model(torch.zeros(5, 64))[0, 0])


def loaded(out: Path, *emulator: str) -> tuple[float, str]:
    """What the program says, and the library that it took."""
    traced = {"LD_DEBUG": "files", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*emulator, "./model"], cwd=out, env=traced, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    taken = [
        a for a in ("x86-64-v4", "x86-64-v3", "x86-64") if f"init: ./kernels.{a}.so" in done.stderr
    ]
    assert len(taken) == 1
    return float(done.stdout), taken[0]


@on_x86
def test_the_best_library_is_loaded(several):
    out, want = several
    features = Path("/proc/cpuinfo").read_text()
    best = (
        "x86-64-v4" if "avx512vl" in features else "x86-64-v3" if "avx2" in features else "x86-64"
    )
    got, taken = loaded(out)
    assert got == pytest.approx(want, rel=1e-4) and taken == best


@on_x86
def test_the_next_one_is_loaded_where_the_best_is_missing(several, tmp_path):
    out, want = several
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    for name in ("x86-64-v4", "x86-64-v3"):
        (copy / f"kernels.{name}.so").unlink()
    got, taken = loaded(copy)
    assert got == pytest.approx(want, rel=1e-4) and taken == "x86-64"
    (copy / "kernels.x86-64.so").unlink()
    failed = subprocess.run(["./model"], cwd=copy, capture_output=True)
    assert failed.returncode == 1


@on_x86
@pytest.mark.skipif(X86_QEMU is None, reason="needs qemu-user")
@pytest.mark.parametrize(("cpu", "best"), [("Haswell", "x86-64-v3"), ("Nehalem", "x86-64")])
def test_older_processors_get_what_they_run(several, cpu, best):
    out, want = several
    got, taken = loaded(out, str(X86_QEMU), "-cpu", cpu)
    assert got == pytest.approx(want, rel=1e-4) and taken == best


def test_without_a_compiler_for_the_machine(monkeypatch):
    monkeypatch.setattr("aicc.backends.cpp.build.compiler", lambda machine="": None)
    monkeypatch.setattr("aicc.backends.c_compiler.compiler", lambda machine="": None)
    from aicc.backends import c_compiler

    c_compiler.compiler_version.cache_clear()
    with pytest.raises(BuildError, match="aarch64-linux-gnu-g\\+\\+"):
        Builder("armv8.2").library({"answer": "int answer() { return 42; }"})
    c_compiler.compiler_version.cache_clear()
