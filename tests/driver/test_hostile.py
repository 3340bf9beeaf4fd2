"""Damaged and hostile files: each is refused with one of aicc's errors, soon, or it is read.

Files are mutated (bits flipped, parts cut, doubled, swapped, numbers made huge) and read in this
process. Nothing else than an `AiccError` may come out.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aicc
from aicc.cli import main
from aicc.errors import AiccError

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples/digits/digits.onnx"
LONGEST = 10.0
"""Seconds that reading one file may take."""


def mutated(data: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        if not made:
            break
        at = draw.randrange(len(made))
        length = draw.randint(1, max(len(made) // 8, 1))
        kind = draw.randrange(6)
        if kind == 0:
            made[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del made[at : at + length]
        elif kind == 2:
            made[at:at] = made[at : at + length]
        elif kind == 3:
            made[at : at + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f"])
        elif kind == 4:
            del made[at:]
        else:
            numbers = list(re.finditer(rb"\d+", made[:200_000]))
            if numbers:
                one = draw.choice(numbers)
                huge = draw.choice([b"0", b"-1", b"9999999999999999999", b"2147483648", b"1e400"])
                made[one.start() : one.end()] = huge
    return bytes(made)


def survives(read, what: str) -> None:
    """Whether reading ends soon, well or with an error for users."""
    start = time.monotonic()
    try:
        read()
    except AiccError as e:
        assert str(e)
    except MemoryError:
        pass
    spent = time.monotonic() - start
    assert spent < LONGEST, f"{what}: {spent:.1f} s"


def onnx_files(draw: random.Random, tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(mutated(DIGITS.read_bytes(), draw))
    return path


def mlir_files(draw: random.Random, tmp_path: Path) -> Path:
    source = draw.choice(sorted((ROOT / "tests/regressions").glob("*.mlir")))
    path = tmp_path / "m.mlir"
    path.write_bytes(mutated(source.read_bytes(), draw))
    return path


KINDS = {"onnx": onnx_files, "mlir": mlir_files}


def rounds(kind: str, count: int, seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    for i in range(count):
        path = KINDS[kind](draw, tmp_path)
        survives(lambda p=path: aicc.compile(p, target="numpy"), f"{kind} {seed}:{i}")


@pytest.mark.parametrize("kind", list(KINDS))
def test_mutated_models(kind, tmp_path):
    rounds(kind, 250, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_many_mutated_models(kind, tmp_path):
    rounds(kind, 20_000, 2, tmp_path)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "a"
    aicc.compile(DIGITS, target="numpy").save(path)
    return path


def test_mutated_artifacts(artifact, tmp_path):
    draw = random.Random(3)
    names = [p.name for p in artifact.iterdir() if p.is_file()]
    for i in range(120):
        copy = tmp_path / "a"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(artifact, copy)
        name = draw.choice(names)
        (copy / name).write_bytes(mutated((copy / name).read_bytes(), draw))
        survives(lambda c=copy: aicc.load(c), f"artifact {i} {name}")


TEXTS = {
    "brackets": "(" * 100_000,
    "nesting": "builtin.module {" * 5_000,
    "huge dim": "func.func @main(%x: tensor<999999999999999999999xf32>) { func.return }",
    "many dims": "func.func @main(%x: tensor<" + "1x" * 5_000 + "f32>) { func.return }",
    "literal": "func.func @main() -> tensor<4xf32> { %0 = graph.constant dense<" + "[" * 20_000,
    "number": "#a = " + "1" * 100_000,
    "nothing": "\x00" * 1000,
    "string": 'func.func @main(%x: tensor<f32> {graph.name = "' + "ab" * 40 + ") { func.return }",
}


RIGHT = ("huge dim", "many dims")
"""Sizes that nobody has: text that says nothing wrong."""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_texts_meant_to_hurt(text, tmp_path, request):
    path = tmp_path / "m.mlir"
    path.write_text(text)
    survives(lambda: aicc.compile(path, target="numpy"), text[:40])
    with pytest.raises(SystemExit) as e:
        main(["opt", str(path), "-p", "canonicalize"])
    assert e.value.code == (0 if request.node.callspec.id in RIGHT else 2)


def test_names_of_constants_are_no_paths(tmp_path):
    path = tmp_path / "m.mlir"
    path.write_text(
        """func.func @main() -> tensor<f32> {
          %0 = graph.constant dense_resource<../../etc/passwd> : tensor<f32>
          func.return %0 : tensor<f32>
        }"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "aicc", "compile", str(path), "--target", "numpy"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "not at hand" in done.stderr
