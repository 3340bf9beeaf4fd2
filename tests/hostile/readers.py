"""What reads files that may come from anyone, and what such files look like when they are right.

Each reader takes one input as bytes and a folder to put files in. Nothing else than an error for
users may come out of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper
from onnx.backend.test.loader import load_model_tests

import aicc
from aicc import artifact as artifacts
from aicc.arrays import load_array, load_arrays
from aicc.cli import main
from aicc.errors import AiccError
from aicc.ir.asm import parse_module, print_module
from aicc.sources import import_any
from tests.hostile import mutators
from tests.hostile.mutators import Mutate

ROOT = Path(__file__).resolve().parents[2]
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
COMPILED = 50
"""One input in so many that can be read is also printed, parsed again and compiled."""


@dataclass(frozen=True)
class Reader:
    read: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    mutate: Mutate


def _model(name: str, data: bytes, folder: Path) -> None:
    path = folder / name
    path.write_bytes(data)
    module = import_any(path, None, {}).module
    if zlib.crc32(data) % COMPILED == 0:
        parse_module(print_module(module))
        aicc.compile(path, target="numpy")


@cache
def onnx_seeds() -> list[bytes]:
    cases = load_model_tests(kind="node")
    models = [c.model.SerializeToString() for c in cases if c.model is not None]
    digits = (ROOT / "examples/digits/digits.onnx").read_bytes()
    return [*(m for m in models if len(m) < 1_500), digits]


def mlir_seeds() -> list[bytes]:
    files = [*ROOT.glob("tests/regressions/*.mlir"), *ROOT.glob("tests/filecheck/*.mlir")]
    return [part.encode() for f in sorted(files) for part in f.read_text().split("// -----")]


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("offset", torch.ones(2, dtype=torch.float64))

    def forward(self, x, flag):
        chosen = torch.where(flag, self.linear(x), x[:, :2] * 2)
        return torch.softmax(chosen + self.get_buffer("offset").float(), -1), x.shape[
            0
        ] * chosen.sum()


@cache
def pt2_seeds() -> list[bytes]:
    batch = torch.export.Dim("batch", min=1, max=9)
    example = (torch.ones(4, 3), torch.tensor(True))
    made = []
    for dims in (None, {"x": {0: batch}, "flag": None}):
        program = torch.export.export(Small(), example, dynamic_shapes=dims)
        out = io.BytesIO()
        torch.export.save(program, out)
        made.append(out.getvalue())
    return made


@cache
def _artifacts() -> list[dict[str, bytes]]:
    made = []
    sources = [ROOT / "examples/digits/digits.onnx", ROOT / "tests/regressions/sigmoid-tails.mlir"]
    with tempfile.TemporaryDirectory() as folder:
        for i, source in enumerate(sources):
            path = aicc.compile(source, target="numpy").save(Path(folder) / str(i))
            made.append({p.name: p.read_bytes() for p in sorted(Path(path).iterdir())})
    return made


def artifact_seeds() -> list[bytes]:
    return [mutators.packed(files) for files in _artifacts()]


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def read_artifact(data: bytes, folder: Path) -> None:
    """An archive of an artifact's files, whose manifest gets the digests of what it holds."""
    try:
        members = mutators.unpacked(data)
    except ValueError:
        return
    target = folder / "a"
    for name, content in members.items():
        if ".." in name or name.startswith("/") or "\x00" in name or not name.strip("/."):
            continue  # what makes the files is this function, not a reader
        with contextlib.suppress(OSError):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
    manifest = members.get(artifacts.MANIFEST, b"")
    for name in members:
        for files in _artifacts():
            if name in files and (target / name).is_file():
                manifest = manifest.replace(_digest(files[name]), _digest(members[name]))
    with contextlib.suppress(OSError):
        (target / artifacts.MANIFEST).write_bytes(manifest)
    aicc.load(target)


def array_seeds() -> list[bytes]:
    made = []
    for value in (np.ones((2, 3), np.float32), np.zeros(4, np.int64), np.array(True)):
        out = io.BytesIO()
        np.save(out, value)
        made.append(out.getvalue())
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, x=np.ones((4, 3), np.float32), y=np.arange(4))
        made.append(out.getvalue())
    return made


def read_arrays(data: bytes, folder: Path) -> None:
    path = folder / "x.npz"
    path.write_bytes(data)
    for load in (load_array, load_arrays):
        with contextlib.suppress(AiccError):
            load(path)


COMMANDS = [
    "compile m.onnx --target numpy -o out --dim batch=2..4",
    "compile m.mlir -o out --dump-ir dumps --verify-each --explain-fusion",
    "compile m.mlir --target triton --arch sm_90 -p canonicalize,cse -o out",
    "opt m.mlir -p canonicalize,constant-fold,cse,dce -o o.mlir",
    "inspect a",
    "inspect m.mlir --layout nhwc",
    "run a --input x=x.npy",
    "run m.onnx --dim batch=3",
    "ops --reference",
    "report a -o page.html",
    "debug a --against m.onnx --input x=x.npy",
    "bisect m.mlir --against numpy -o b",
    "quantize m.onnx --recipe weight-only:bits=8 --calib x.npz -o m.q",
    "quantize m.onnx --recipe static --calib x.npz --max-drop 0.5 -o m.q",
    "bench m.mlir --against none --seconds 0.01",
    "tune m.mlir --arch sm_90",
    "fuzz --seed 1 --graphs 1",
    "--version",
    "compile --help",
]


def command_seeds() -> list[bytes]:
    return [c.replace(" ", "\n").encode() for c in COMMANDS]


@cache
def _small_onnx() -> bytes:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4, 5]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", [x], [y])
    return helper.make_model(graph).SerializeToString()


def read_command(data: bytes, folder: Path) -> None:
    """A command line, one word a line, in a folder that holds a model, an artifact and inputs."""
    words = data.decode("utf-8", "replace").split("\n")
    if endless(words):
        return
    (folder / "m.mlir").write_bytes((ROOT / "tests/regressions/sigmoid-tails.mlir").read_bytes())
    (folder / "m.onnx").write_bytes(_small_onnx())
    np.save(folder / "x.npy", np.ones((3, 4, 5), np.float32))
    np.savez(folder / "x.npz", x=np.ones((8, 3, 4, 5), np.float32))
    (folder / "a").mkdir()
    for name, content in _artifacts()[1].items():
        (folder / "a" / name).write_bytes(content)
    with contextlib.chdir(folder), quiet():
        try:
            main(words)
        except SystemExit as e:
            assert e.code in (None, 0, 1, 2), e.code


def endless(words: Sequence[str]) -> bool:
    """Whether a command would take as long as it is asked to, or runs code that it is given."""
    takes_its_time = bool({"fuzz", "bench"} & set(words)) and "--help" not in words
    return takes_its_time or any(":" in w for w in words)


@contextlib.contextmanager
def quiet():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


READERS = {
    "onnx": Reader(
        lambda data, folder: _model("m.onnx", data, folder),
        onnx_seeds,
        mutators.either(mutators.fields_of, mutators.bytes_of),
    ),
    "mlir": Reader(
        lambda data, folder: _model("m.mlir", data, folder),
        mlir_seeds,
        mutators.either(mutators.tokens_of, mutators.bytes_of),
    ),
    "pt2": Reader(
        lambda data, folder: _model("m.pt2", data, folder), pt2_seeds, mutators.members_of
    ),
    "artifact": Reader(read_artifact, artifact_seeds, mutators.members_of),
    "arrays": Reader(read_arrays, array_seeds, mutators.either(mutators.bytes_of)),
    "command": Reader(read_command, command_seeds, mutators.either(mutators.words_of)),
}


def read(kind: str, data: bytes) -> None:
    """Read one input in a folder of its own. Raises what no user should see."""
    folder = Path(tempfile.mkdtemp(prefix="hostile.", dir=MEMORY))
    try:
        READERS[kind].read(data, folder)
    except AiccError as e:
        assert str(e)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
