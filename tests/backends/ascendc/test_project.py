"""Ascend C projects: what is in them, how they build against the emulator, and the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import aicc
from aicc.backends.ascendc.emulate import FOLDER, EmulationError
from aicc.backends.ascendc.kernels import KernelPrinter
from aicc.backends.ascendc.locals import Overflow
from aicc.backends.c_compiler import compiler
from aicc.cli import app
from aicc.errors import CompileError
from aicc.ir import tile
from tests.backends.ascendc.models import cases, printed


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 33), nn.GELU(), nn.Linear(33, 5), nn.Softmax(-1)).eval()


@pytest.fixture(scope="module")
def artifact(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ascendc") / "out"
    rows = torch.export.Dim("rows", min=1, max=64)
    exported = torch.export.export(model, (torch.zeros(3, 16),), dynamic_shapes=({0: rows},))
    aicc.compile(exported, target="ascendc").save(path)
    return path


def test_a_project_is_whole(artifact):
    names = {p.name for p in artifact.iterdir()}
    assert {"model.asc", "main.cpp", "safetensors.h", "CMakeLists.txt", "README.md"} <= names
    readme = (artifact / "README.md").read_text()
    assert "not yet\nbuilt by the vendor's compiler" in readme and "{" not in readme
    assert "dav-2201" in (artifact / "CMakeLists.txt").read_text()
    assert str(Path.home()) not in (artifact / "model.asc").read_text()


def test_the_program_around_the_kernels(artifact, model):
    """`main.cpp` and `model.asc`, unmodified, with the emulator's headers."""
    cxx = compiler()
    assert cxx is not None
    flags = ("-std=c++17", "-O1", "-w", "-I", str(FOLDER))
    build = [cxx, *flags, "-x", "c++", "model.asc", "main.cpp", "-o", "model"]
    subprocess.run(build, cwd=artifact, check=True)
    x = np.random.default_rng(0).standard_normal((7, 16)).astype(np.float32)
    x.tofile(artifact / "x.bin")
    size = named_size(artifact)
    subprocess.run(["./model", f"{size}=7", "x.bin"], cwd=artifact, check=True)
    found = np.fromfile(artifact / "output_0.bin", np.float32).reshape(7, 5)
    with torch.no_grad():
        want = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
    wrong = subprocess.run(
        ["./model", f"{size}=8", "x.bin"], cwd=artifact, capture_output=True, text=True
    )
    assert wrong.returncode == 1 and "takes 512 bytes" in wrong.stderr


def named_size(artifact: Path) -> str:
    """The name of the dynamic size, as the README gives it."""
    line = next(s for s in (artifact / "README.md").read_text().splitlines() if "Sizes" in s)
    return line.rpartition(": ")[2]


def test_on_the_command_line(artifact):
    runner = CliRunner()
    done = runner.invoke(app, ["run", str(artifact), "--emulate"])
    assert done.exit_code == 0 and "float32[" in done.output
    assert "of the unified buffer; estimated:" in done.output
    refused = runner.invoke(app, ["run", str(artifact)])
    assert refused.exit_code != 0 and "--emulate" in str(refused.exception or refused.output)


def test_verify_compares_with_numpy(tmp_path):
    digits = str(Path(__file__).parents[3] / "examples" / "digits" / "digits.onnx")
    arguments = ["compile", digits, "--target", "ascendc", "--verify", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "verified against numpy: largest error" in done.output


def test_what_has_no_room_is_said_by_buffer():
    program, *_ = cases()["chain"]
    compiled = aicc.compile(program, cases()["chain"][1], target="ascendc")
    (kernel,) = [op for op in compiled.module.ops if isinstance(op, tile.Kernel)]
    schedule = {k: 512 if k.startswith("BLOCK") else v for k, v in kernel.schedule.items()}
    kernel.set_param("schedule", schedule)
    kernel.set_param("places", {})
    with pytest.raises(Overflow, match=r"bytes of the unified buffer's 188160: in\w+: \d+, .*pool"):
        KernelPrinter(kernel)


def test_blocks_are_made_to_fit():
    """A long chain of many tiles gets smaller blocks than a short one."""

    def many(x):
        parts = [torch.sin(x * i) for i in range(1, 9)]
        return sum(p * q for p, q in zip(parts, reversed(parts), strict=True))

    class Many(nn.Module):
        def forward(self, x):
            return many(x)

    x = torch.randn(100_000)
    compiled = aicc.compile(Many(), (x,), target="ascendc")
    (kernel,) = [op for op in compiled.module.ops if isinstance(op, tile.Kernel)]
    assert kernel.schedule["BLOCK"] < 8192
    torch.testing.assert_close(compiled(x), many(x), rtol=1e-4, atol=1e-4)


def small_transformer(name: str) -> nn.Module:
    import transformers

    torch.manual_seed(0)
    sizes: dict[str, Any]
    if name == "bert":
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = transformers.BertConfig(vocab_size=100, intermediate_size=128, **sizes)
        return transformers.BertModel(config).eval()
    if name == "llama":
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes |= {"num_key_value_heads": 2, "intermediate_size": 128, "use_cache": False}
        return transformers.LlamaForCausalLM(
            transformers.LlamaConfig(vocab_size=100, **sizes)
        ).eval()
    if name == "vit":
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        sizes |= {"image_size": 32, "patch_size": 8, "intermediate_size": 128}
        return transformers.ViTModel(transformers.ViTConfig(**sizes)).eval()
    sizes = {"n_positions": 32, "n_embd": 64, "n_layer": 2, "n_head": 4}
    sizes |= {"bos_token_id": 0, "eos_token_id": 0}
    config = transformers.GPT2Config(vocab_size=100, use_cache=False, **sizes)
    return transformers.GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_small_transformer(name, dtype):
    model = small_transformer(name).to(dtype)
    x = torch.randint(0, 90, (1, 17))
    if name == "vit":
        x = torch.randn(1, 3, 32, 32).to(dtype)
    with torch.no_grad():
        compiled = aicc.compile(torch.export.export(model, (x,)), target="ascendc")
        found = compiled(x)
        want = model(x)[0]
    found = found[0] if isinstance(found, tuple) else found
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, want, rtol=tolerance, atol=tolerance)
    assert "Gm.GetValue(" not in compiled.source  # no element of device memory by itself


# ---------------------------------------------------------------------- places in the IR


def test_places_are_text_that_can_be_changed(model):
    """Where tiles lie stands on the kernel; what is printed follows it, if it can be so."""
    compiled = aicc.compile(model, (torch.randn(4, 16),), target="ascendc")
    (kernel, *_) = [op for op in compiled.module.ops if isinstance(op, tile.Kernel)]
    printer = KernelPrinter(kernel)
    assert kernel.places == {t.name: t.offset for t in printer.pool} and kernel.places
    assert kernel.queues == {name: t.bytes for name, t in printer.queues.items()}
    moved = {name: at + 32 for name, at in kernel.places.items()}
    kernel.set_param("places", moved)
    changed = KernelPrinter(kernel)
    assert changed.budget.pool == printer.budget.pool + 32
    first = next(iter(moved))
    assert f", {moved[first]});" in changed.source()
    for places, message in (
        (dict.fromkeys(moved, 0), "live at the same time and overlap"),
        ({**moved, first: 4}, "begins at byte 4"),
        ({"other": 0}, "don't name the kernel's tiles"),
    ):
        kernel.set_param("places", places)
        with pytest.raises(ValueError, match=message):
            KernelPrinter(kernel)


# ---------------------------------------------------------------------- custom operators


@pytest.mark.parametrize("name", ["softmax", "linear", "attention", "embedding"])
def test_custom_operators(name, tmp_path):
    """Each kernel is an operator, whose shapes and tiling the emulator asks for."""
    model, inputs = cases()[name]
    compiled = aicc.compile(model.eval(), inputs, target="ascendc")
    compiled.save(tmp_path / "out", form="custom_op")
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.cpp")}
    assert {n.split("/")[0] for n in names} == {"op_host", "op_kernel"}
    loaded = aicc.load(tmp_path / "out")
    torch.testing.assert_close(loaded(*inputs), model(*inputs), rtol=1e-4, atol=1e-4)


def test_an_operator_serves_all_sizes(tmp_path):
    rows = torch.export.Dim("rows", min=1, max=4096)
    model = nn.Sequential(nn.Linear(16, 24), nn.Softmax(-1)).eval()
    exported = torch.export.export(model, (torch.randn(5, 16),), dynamic_shapes=({0: rows},))
    aicc.compile(exported, target="ascendc").save(tmp_path / "out", form="custom_op")
    loaded = aicc.load(tmp_path / "out")
    for n in (1, 7, 33):
        x = torch.randn(n, 16)
        torch.testing.assert_close(loaded(x), model(x), rtol=1e-4, atol=1e-5)
    host = "".join(p.read_text() for p in (tmp_path / "out" / "op_host").glob("*.cpp"))
    assert "context->GetInputShape(0)->GetOriginShape().GetDim(0)" in host


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("SetDim(0, 13)", "SetDim(0, 12)", "InferShape gives another shape for out"),
        ("OutputDataType(0, ge::DT_FLOAT)", "OutputDataType(0, ge::DT_BOOL)", "another type"),
        ('Input("input")', 'Output("input")', r"it is defined with 0 inputs and 2 outputs"),
        ("tiling.cores > 0 ? tiling.cores : 1", "0", "its tiling sets no blocks"),
    ],
)
def test_wrong_operators_are_found(old, new, message):
    program, inputs, _ = printed("softmax")
    custom = program.in_form("custom_op")
    files = {name: data.decode() for name, data in custom.files(()).items()}
    (host,) = [n for n in files if n.startswith("op_host/") and n.endswith(".cpp")]
    assert old in files[host]
    files[host] = files[host].replace(old, new)
    custom.files = lambda archs: {n: text.encode() for n, text in files.items()}
    with pytest.raises(EmulationError, match=f"operator SoftmaxCustom: .*{message}"):
        custom(*[x.numpy() for x in inputs])


def test_operators_on_the_command_line(tmp_path):
    model = Path(__file__).parents[3] / "examples" / "digits" / "digits.onnx"
    out = str(tmp_path / "ops")
    options = ["--target", "ascendc", "--ascendc-project", "custom_op", "--dim", "batch=1..4"]
    done = CliRunner().invoke(app, ["compile", str(model), "-o", out, *options])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["run", out, "--emulate"])
    assert done.exit_code == 0 and "softmax_add_custom: " in done.output, done.output
    readme = (tmp_path / "ops" / "README.md").read_text()
    assert "1. `PadCustom`: inputs[0], arena + " in readme


def test_other_targets_have_no_such_projects(tmp_path):
    compiled = aicc.compile(nn.ReLU(), (torch.randn(3),), target="numpy")
    with pytest.raises(CompileError, match="only Ascend C projects have forms"):
        compiled.save(tmp_path / "out", form="custom_op")
    compiled = aicc.compile(nn.ReLU(), (torch.randn(3),), target="ascendc")
    with pytest.raises(CompileError, match="no form 'tpu'"):
        compiled.save(tmp_path / "out", form="tpu")
