"""Damaged and hostile files: each is refused with one of aicc's errors, soon, or it is read.

Inputs are mutated (`mutators`) and read in this process. Nothing else than an `AiccError` may come
out. ``tests/hostile/fuzz.py`` does the same led by coverage and within bounds of memory; what it
found is in ``found/`` and read by every run.
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import aicc
from aicc.arrays import load_array, load_arrays
from aicc.cli import main
from aicc.errors import AiccError, ArtifactError, CompileError, InputError
from aicc.sources import import_any
from tests.hostile import mutators, readers
from tests.hostile.fuzz import bounded

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 10.0
"""Seconds that reading one input may take."""
COUNTS = {"onnx": 200, "mlir": 250, "pt2": 40, "artifact": 200, "arrays": 500, "command": 40}


def survives(kind: str, data: bytes, what: str) -> None:
    start = time.monotonic()
    readers.read(kind, data)
    spent = time.monotonic() - start
    assert spent < LONGEST, f"{what}: {spent:.1f} s"


def rounds(kind: str, count: int, seed: int) -> None:
    draw = random.Random(seed)
    reader = readers.READERS[kind]
    seeds = reader.seeds()
    for i in range(count):
        data = draw.choice(seeds)
        for _ in range(draw.randint(1, 3)):
            data = reader.mutate(data, draw)
        survives(kind, data, f"{kind} {seed}:{i}")


@pytest.mark.parametrize("kind", list(readers.READERS))
def test_mutated(kind):
    rounds(kind, COUNTS[kind], 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", list(readers.READERS))
def test_many_mutated(kind):
    rounds(kind, 40 * COUNTS[kind], 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", list(readers.READERS))
def test_led_by_coverage(kind, tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.hostile.fuzz", kind, "--inputs", "3000"]
    done = subprocess.run(
        [*command, "--findings", str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.iterdir()), done.stdout[-3000:]


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent / "found").iterdir()), ids=lambda p: p.name
)
def test_found_once(path):
    survives(path.name.partition("-")[0], path.read_bytes(), path.name)


TEXTS = {
    "brackets": "(" * 100_000,
    "nesting": "builtin.module {" * 5_000,
    "huge dim": "func.func @main(%x: tensor<999999999999999999999xf32>) { func.return }",
    "many dims": "func.func @main(%x: tensor<" + "1x" * 5_000 + "f32>) { func.return }",
    "literal": "func.func @main() -> tensor<4xf32> { %0 = graph.constant dense<" + "[" * 20_000,
    "number": "#a = " + "1" * 100_000,
    "nothing": "\x00" * 1000,
    "wide integer": "func.func @main(%x: tensor<2xi99999999999>) { func.return }",
    "string": 'func.func @main(%x: tensor<f32> {graph.name = "' + "ab" * 40 + ") { func.return }",
}


RIGHT = ("huge dim", "many dims")
"""Sizes that nobody has: text that says nothing wrong."""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_texts_meant_to_hurt(text, tmp_path, request):
    path = tmp_path / "m.mlir"
    path.write_text(text)
    survives("mlir", text.encode(), text[:40])
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


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def npy_header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BOMB = 400 * 2**20


@pytest.fixture
def little_memory():
    """No more address space than a reader may take beside its input."""
    with bounded(0):
        yield


def test_archives_that_expand(tmp_path, request):
    """400 MB of zeros in 400 kB, as samples and as an exported program."""
    out = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as f,
    ):
        f.write(npy_header(f"({BOMB // 4},)"))
        for _ in range(BOMB // 2**20):
            f.write(bytes(2**20))
    assert out.stat().st_size < 2**20
    request.getfixturevalue("little_memory")
    with pytest.raises(InputError, match="expands to"):
        load_arrays(out)
    with pytest.raises(InputError, match="expands to"):
        import_any(out.rename(tmp_path / "bomb.pt2"), None, {})


def test_headers_that_promise_more_than_there_is(tmp_path, little_memory):
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header("(1000000000000,)") + bytes(64))
    with pytest.raises(InputError, match=r"in 1.. bytes"):
        load_array(path)
    with pytest.raises(InputError, match=r"in 1.. bytes"):
        load_arrays(zipped(tmp_path / "x.npz", {"x.npy": path.read_bytes()}))


def test_sparse_tensors_that_expand(tmp_path, little_memory):
    dims = [2**15, 2**15]
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, dims)],
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    with pytest.raises(CompileError, match="too large"):
        import_any(tmp_path / "m.onnx", None, {})


class Trap:
    def __reduce__(self):
        return os.system, ("touch trapped",)


def test_pickles_are_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.array([Trap()], object), allow_pickle=True)
    Path("raw.npy").write_bytes(pickle.dumps(Trap()))
    for path in ("x.npy", "raw.npy"):
        with pytest.raises(InputError):
            load_array(path)
    np.savez("x.npz", x=np.array([Trap()], object))
    with pytest.raises(InputError, match="Python objects"):
        load_arrays("x.npz")
    members = mutators.unpacked(readers.pt2_seeds()[0])
    pickled = [n for n in members if n.endswith(".pt")]
    assert pickled, list(members)
    for name in pickled:
        changed = {**members, name: pickle.dumps(Trap())}
        Path("m.pt2").write_bytes(mutators.packed(changed))
        readers.read("pt2", Path("m.pt2").read_bytes())
    assert not Path("trapped").exists()


@pytest.mark.parametrize("linked", ["model.safetensors", "model.mlir", "manifest.json"])
def test_links_out_of_an_artifact(linked, tmp_path):
    path = aicc.compile(readers.ROOT / "tests/regressions/sigmoid-tails.mlir", target="numpy").save(
        tmp_path / "a"
    )
    (path / linked).rename(tmp_path / "elsewhere")
    (path / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="link"):
        aicc.load(path)


def test_a_module_without_main(tmp_path):
    path = tmp_path / "m.mlir"
    path.write_text("func.func @other(%x: tensor<f32>) { func.return }")
    with pytest.raises(AiccError, match="no function @main"):
        aicc.compile(path, target="numpy")
