"""The command line, as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"


def aicc(*args, stdin=None, code=0, cwd=None):
    done = subprocess.run(
        [sys.executable, "-m", "aicc", *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "digits"
    aicc("compile", MODEL, "-o", out, "--dump-ir", out / "ir", "--verify-each")
    return out


def test_compile_writes_a_whole_artifact(artifact):
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert set(manifest["files"]) == {"model.mlir", "model.safetensors", "program.py"}
    assert manifest["inputs"][0]["name"] == "image"
    dumps = sorted(p.name for p in (artifact / "ir").glob("*.mlir"))
    assert dumps[0] == "00-import.mlir" and dumps[-1].endswith("assign-layouts.mlir")


def test_run_answers(artifact, tmp_path):
    done = aicc("run", artifact, "--input", f"image={DIGITS / 'samples.npy'}", "--output", tmp_path)
    assert "probabilities: float32[8, 10]" in done.stdout
    answers = np.load(tmp_path / "probabilities.npy").argmax(1)
    assert (answers == np.load(DIGITS / "labels.npy")).all()


def test_run_without_inputs_says_so(artifact):
    assert "none given" in aicc("run", artifact).stderr


def test_compiling_again_replaces_the_artifact_and_keeps_dumps(artifact):
    aicc("compile", MODEL, "-o", artifact)
    assert (artifact / "ir" / "00-import.mlir").exists()


def test_compile_is_deterministic(artifact, tmp_path):
    aicc("compile", MODEL, "-o", tmp_path / "b")
    for name in ("model.mlir", "program.py", "model.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (artifact / name).read_bytes()


def test_opt_reads_stdin_and_files(artifact):
    text = aicc("opt", artifact / "ir" / "00-import.mlir", "-p", "batch-norm-fold,dce").stdout
    assert "graph.batch_norm" not in text
    again = aicc("opt", "-", "-p", "", stdin=text).stdout
    assert again == text


def test_opt_prints_between_passes_and_times(artifact):
    done = aicc(
        "opt",
        artifact / "ir" / "00-import.mlir",
        "-p",
        "canonicalize,constant-fold{max-elements=4}",
        "--print-ir-after-all",
        "--mlir-timing",
        "--verify-each",
    )
    assert done.stdout.count("IR after") == 2
    assert "constant-fold" in done.stderr


def test_dumps_compile_again(artifact, tmp_path):
    aicc("compile", artifact / "ir" / "00-import.mlir", "-o", tmp_path / "again")
    a = aicc("run", artifact, "--input", f"image={DIGITS / 'samples.npy'}").stdout
    b = aicc("run", tmp_path / "again", "--input", f"image={DIGITS / 'samples.npy'}").stdout
    assert a == b


def test_print_ir_after():
    done = aicc("compile", MODEL, "-o", "/dev/null/x", "--print-ir-after", "cse", code=2)
    assert "IR after cse" in done.stdout


def test_inspect_model_and_artifact(artifact):
    for what in (MODEL, artifact):
        text = aicc("inspect", what).stdout
        assert "image: tensor<?x1x8x8xf32" in text and re.search(r"\d  conv", text)


def test_ops_lists_every_op():
    from aicc.ir.graph import OPS

    text = aicc("ops").stdout
    assert all(name.removeprefix("graph.") in text for name in OPS)


def test_dim_ranges(tmp_path):
    aicc("compile", MODEL, "-o", tmp_path / "a", "--dim", "batch=1..4")
    assert "batch in 1..4" in aicc("inspect", tmp_path / "a").stdout
    done = aicc("run", tmp_path / "a", "--input", f"image={DIGITS / 'samples.npy'}", code=2)
    assert "batch" in done.stderr
    aicc("compile", MODEL, "-o", tmp_path / "b", "--dim", "batch=8")
    assert "tensor<8x1x8x8xf32>" in aicc("inspect", tmp_path / "b").stdout


def test_factory(tmp_path):
    (tmp_path / "tiny.py").write_text(
        "import torch\n\n\ndef make():\n    return torch.nn.Linear(3, 2), (torch.zeros(4, 3),)\n"
    )
    done = aicc("compile", "tiny:make", cwd=tmp_path)
    assert "artifact: make.aicc" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["compile", "missing.onnx"], "missing.onnx"),
        (["compile", "model.txt"], "model.txt"),
        (["compile", "no_such_module:make"], "no_such_module"),
        (["compile", MODEL, "--target", "abacus"], "abacus"),
        (["compile", MODEL, "--pipeline", "canonicalise"], "canonicalise"),
        (["compile", MODEL, "--dim", "batch"], "batch"),
        (["compile", MODEL, "--dim", "batch=9..2"], "9..2"),
        (["run", "nowhere"], "nowhere"),
        (["opt", "missing.mlir"], "missing.mlir"),
    ],
)
def test_errors_are_one_line(args, words, tmp_path):
    done = aicc(*args, code=2, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("aicc: error:") and words in lines[0]
    assert not list(tmp_path.iterdir())


def test_bad_ir_is_refused():
    bad = "func.func @main() { %0 = graph.relu %1 : tensor<2xf32> func.return }"
    assert "error" in aicc("opt", "-", stdin=bad, code=2).stderr


def test_changed_artifact_is_refused(artifact, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(artifact, copy)
    text = (copy / "model.mlir").read_text()
    (copy / "model.mlir").write_text(text.replace("graph.relu", "graph.neg", 1))
    assert "was changed" in aicc("run", copy, code=2).stderr


def test_explain_fusion(tmp_path):
    pipeline = "canonicalize,batch-norm-fold,fuse,dce"
    done = aicc("compile", MODEL, "-o", tmp_path / "o", "--pipeline", pipeline, "--explain-fusion")
    assert re.search(r"conv at .* → relu at .*: fused, saves \d+ bytes", done.stderr)
    assert re.search(r"→ .*: apart: a reduction needs more of the product", done.stderr)
    assert "kernel" in (tmp_path / "o" / "program.py").read_text()
    done = aicc("compile", MODEL, "-o", tmp_path / "p", "--explain-fusion")
    assert "does the pipeline have the pass fuse?" in done.stderr


def test_inspect_shows_layouts():
    told = aicc("inspect", MODEL, "--target", "cpp", "--layout", "nhwc").stdout
    assert "3  conv nhwc" in told and "at the edge" in told


def test_unknown_layouts_are_refused(tmp_path):
    done = aicc("compile", MODEL, "--layout", "nhcw", "-o", tmp_path / "out", code=2)
    assert "no layout 'nhcw' (there are: auto, nchw, nhwc, none)" in done.stderr
