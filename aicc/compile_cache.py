"""Artifacts of earlier compiles, kept by what they were made of.

What `aicc compile` writes for a file depends on that file's bytes and on those of the files that it
names, on the options, on this package's code, on the packages and the compiler that it calls, and
on the machine's instruction set. Where all of them are as they were, the artifact is copied.
Nothing is kept for a model that a function makes (code can read anything), nor while another
package adds passes, targets or ops.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import mmap
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aicc import __version__
from aicc.artifact_files import listed_files, place
from aicc.backends.c_compiler import (
    cache_folder,
    compiler,
    compiler_version,
    cpu_features,
    kept,
    made,
    usable,
)
from aicc.devices import may_have_gpu

LIMIT = 8 << 30
"""Bytes of artifacts that are kept; the ones not used for longest go first."""

PIECE = 16 << 20
"""Bytes of a file that are hashed at once."""

ROOMS = ("aicc", "aicc.backends", "aicc.frontends", "aicc.passes")
PACKAGES = ("ml_dtypes", "numpy", "onnx", "safetensors", "torch", "triton", "xdsl")
"""What compiling calls."""

PLUGINS = ("aicc.ops", "aicc.passes", "aicc.targets")

LOCATION = b"\x0a\x08location"
"""How an ONNX file begins to name another file (the field `key` of a StringStringEntryProto)."""


@dataclass(frozen=True)
class Kept:
    """The place of one compile's artifact."""

    folder: Path
    model: Path

    @property
    def artifact(self) -> Path:
        return self.folder / "artifact"

    def is_there(self) -> bool:
        """Whether it was kept, whole, and the files that the model names are as they were."""
        if not kept(self.folder):
            return False
        try:
            named = json.loads((self.folder / "files.json").read_text())
            return all(_digest(self.model.parent / name) == digest for name, digest in named)
        except (OSError, ValueError):
            return False

    def write_to(self, path: Path) -> None:
        """Write the artifact to a folder, unless it is there, by the sizes and times of its files.

        Raises ArtifactError if something else is there.
        """
        os.utime(self.folder)
        if not all(is_copy(path / name, self.artifact / name) for name in listed_files(path)):
            place(path, lambda staging: _copy(self.artifact, staging))

    def keep(self, path: Path) -> None:
        """Keep the artifact that lies in a folder, if it is not too large and the disk has room."""
        size = sum((path / name).stat().st_size for name in listed_files(path))
        if size > LIMIT // 2:
            return
        named = [(name, _digest(self.model.parent / name)) for name in files_named_by(self.model)]

        def make(goal: Path) -> None:
            goal.mkdir()
            (goal / "files.json").write_text(json.dumps(named))
            _copy(path, goal / "artifact")

        try:
            made(self.folder, make)
            make_room(self.folder.parent)
        except OSError as e:
            warnings.warn(f"the artifact isn't kept for later compiles: {e}", stacklevel=2)


def lookup(model: str, options: Sequence[Any], files: Iterable[Path | None]) -> Kept | None:
    """Where the artifact of a compile is, or would be, kept; None if it can't be.

    `options` is what the command was given, `files` are the options that name files.
    """
    path = Path(model)
    parts = parts_of(path)
    if parts is None or any(importlib.metadata.entry_points(group=g) for g in PLUGINS):
        return None
    try:
        read = [[p.name, _digest(p)] for p in parts]
        given = [None if f is None else _digest(f) for f in files]
    except OSError:
        return None  # compiling says what is wrong with it
    key = json.dumps([read, given, options, surroundings()], default=str)
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return Kept(usable(cache_folder() / "compiled") / name, path)


def parts_of(path: Path) -> list[Path] | None:
    """The files that a model always is; None for what isn't a file of a known kind."""
    if (path / "model.mlir").is_file():
        return sorted(p for p in path.iterdir() if p.is_file())
    if not path.is_file():
        return None
    if path.suffix.lower() == ".mlir":
        beside = (path.with_suffix(".safetensors"), path.parent / "model.safetensors")
        return [path, *(p for p in beside if p.is_file())]
    return [path] if path.suffix.lower() in (".onnx", ".pt2") else None


def files_named_by(path: Path) -> list[str]:
    """Other files that an ONNX model's tensors lie in, by their names in it."""
    if path.suffix.lower() != ".onnx":
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(LOCATION) < 0:
            return []
    from aicc.frontends.onnx import external_files

    return external_files(path)


@cache
def surroundings() -> list[Any]:
    """What a compile depends on beside its model and options."""
    ours = {k: v for k, v in os.environ.items() if k.startswith(("AICC_", "TRITON_"))}
    for folder in ("AICC_CACHE", "TRITON_CACHE_DIR"):
        ours.pop(folder, None)
    tuning = ours.get("AICC_TUNING", "")
    return [
        __version__,
        code_digest(),
        sys.version,
        platform.platform(),
        {p: _version(p) for p in PACKAGES},
        cpu_features(),
        compiler() and compiler_version(),
        sorted(ours.items()),
        _digest(Path(tuning)) if os.path.isfile(tuning) else "",
        devices(),
    ]


def devices() -> list[str]:
    """The GPU that kernels are scheduled for where no chip is named, if there may be one."""
    if not may_have_gpu():
        return []
    from aicc.backends.triton.tensors import device_chip

    return [device_chip() or ""]


def code_digest() -> str:
    """A hash of this package's files."""
    whole = hashlib.sha256()
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if "__pycache__" not in path.parts:
                whole.update(f"{room}/{path.relative_to(folder)}\0".encode())
                whole.update(path.read_bytes() + b"\0")
    return whole.hexdigest()


def make_room(folder: Path) -> None:
    """Drop entries, the least lately used first, until the rest is within `LIMIT`."""
    entries = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    total = 0
    for entry in sorted(entries, key=lambda p: p.stat().st_mtime, reverse=True):
        total += sum(p.stat().st_size for p in entry.rglob("*") if p.is_file())
        if total > LIMIT:
            shutil.rmtree(entry, ignore_errors=True)
            entry.with_name(f"{entry.name}.sha256").unlink(missing_ok=True)


def _copy(artifact: Path, goal: Path) -> None:
    for name in listed_files(artifact):
        (goal / name).parent.mkdir(parents=True, exist_ok=True)
        copy_file(artifact / name, goal / name)


def copy_file(source: Path, goal: Path) -> None:
    """Copy a file and its times: within the kernel where that can be, several times as fast."""
    copy = getattr(os, "copy_file_range", None)
    with source.open("rb") as old, goal.open("wb") as new:
        left = os.fstat(old.fileno()).st_size if copy is not None else 0
        try:
            while copy is not None and left > 0:
                copied = copy(old.fileno(), new.fileno(), left)
                if copied == 0:
                    raise OSError(f"{source} was cut short")
                left -= copied
        except OSError:  # between some file systems it can't
            copy = None
    if copy is None:
        shutil.copyfile(source, goal)
    shutil.copystat(source, goal)


def is_copy(goal: Path, source: Path) -> bool:
    """Whether a file has the size of another and was written when that was."""
    try:
        a, b = goal.stat(), source.stat()
    except OSError:
        return False
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _digest(path: Path) -> str:
    """A hash of a file: that of its pieces' hashes, on all cores."""

    def of_piece(start: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return hashlib.sha256(file.read(PIECE)).digest()

    pieces = range(0, max(path.stat().st_size, 1), PIECE)
    if len(pieces) == 1:
        return hashlib.sha256(of_piece(0)).hexdigest()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(of_piece, pieces))).hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
