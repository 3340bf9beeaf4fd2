"""The pages in docs/: they build without warnings, and every block of code on them runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aicc.ir.asm import parse_module
from aicc.irdoc import reference

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "pages"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)


@pytest.mark.parametrize("page", sorted(p.name for p in PAGES.glob("*.md")))
def test_blocks_run(page, tmp_path):
    """Those of one page run in one folder; Python blocks share their names."""
    shutil.copy(ROOT / "examples/digits/digits.onnx", tmp_path)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    python: list[str] = []
    for kind, text in BLOCK.findall((PAGES / page).read_text()):
        if kind == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                capture_output=True, text=True, cwd=tmp_path, env=environment,
            )  # fmt: skip
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        elif kind == "python":
            python.append(text)
        elif kind == "mlir":
            parse_module(text)
        else:
            assert kind == "toml", f"a block of kind '{kind}'"
    if python:
        script = tmp_path / "page.py"
        script.write_text("\n".join(python))
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr


COMMAND = re.compile(r"^    ((?:aicc|cc) .*)$", re.M)
SHORTER = {"--graphs 1000": "--graphs 5"}
NEEDS_A_GPU = ("aicc tune", "--tuning")


@pytest.mark.timeout(600)
def test_commands_of_the_readme(tmp_path):
    """All of them, in their order, in a folder with a model, a module, samples and a dump."""
    shutil.copy(ROOT / "examples/digits/digits.onnx", tmp_path / "model.onnx")
    shutil.copy(ROOT / "tests/regressions/sigmoid-tails.mlir", tmp_path / "dump.mlir")
    images = np.random.default_rng(0).random((64, 1, 8, 8), np.float32)
    np.save(tmp_path / "samples.npy", images[:4])
    np.savez(tmp_path / "samples.npz", image=images)
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text(
        "import torch\n\n"
        "def factory():\n    return torch.nn.Linear(4, 2).eval(), (torch.ones(3, 4),)\n"
    )
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for name in ("AICC_TARGET", "TRITON_INTERPRET"):
        environment.pop(name, None)
    commands = COMMAND.findall((ROOT / "README.md").read_text())
    assert len(commands) > 15
    for line in commands:
        if any(n in line for n in NEEDS_A_GPU):
            continue
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            capture_output=True, text=True, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def test_the_reference_is_the_declarations():
    assert (PAGES / "ir.md").read_text() == reference(), (
        "run: aicc ops --reference > docs/pages/ir.md"
    )


def test_the_pass_on_the_page_is_the_example():
    page = (PAGES / "passes.md").read_text()
    source = (ROOT / "examples/extending/aicc_extending/double_to_add.py").read_text()
    for block in re.findall(r"^class .*?(?=\n\n\n|\Z)", source.strip(), re.S | re.M):
        assert block in page


def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    config, site = ROOT / "docs/mkdocs.yml", tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict"]
    done = subprocess.run(
        [*command, "-f", str(config), "-d", str(site)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (site / "users/index.html").is_file()
