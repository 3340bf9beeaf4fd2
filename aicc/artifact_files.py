"""The folder of an artifact: which files are its own, and how one is put in its place."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from aicc.errors import ArtifactError

MANIFEST = "manifest.json"
"""Lists the other files of an artifact."""


def place(path: str | Path, fill: Callable[[Path], None]) -> Path:
    """Put the artifact that `fill` writes to an empty folder at `path`: whole, or not at all.

    An older artifact there is replaced (files that aren't its own stay). Raises ArtifactError if
    something else is there.
    """
    path = Path(path).absolute()
    if path.exists() and not (path / MANIFEST).is_file():
        foreign = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else [path]
        if foreign:
            raise ArtifactError(f"{path} exists and is no artifact: it is left alone")
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        os.chmod(staging, 0o755)
        fill(staging)
        _swap(staging, path, {*listed_files(staging)})
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def files_in(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]


def file_name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def listed_files(path: Path) -> list[str]:
    """An artifact's own files, as far as its manifest can be read: others may lie beside them."""
    try:
        files = json.loads((path / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        files = ()
    return [MANIFEST, *files]


def _swap(staging: Path, path: Path, files: set[str]) -> None:
    if not path.exists():
        os.rename(staging, path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    os.rename(path, old / "artifact")
    try:
        os.rename(staging, path)
    except OSError:
        os.rename(old / "artifact", path)
        raise
    replaced = listed_files(old / "artifact")
    for left in files_in(old / "artifact"):
        name = file_name(left, old / "artifact")
        if name not in files and name not in replaced:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(left, path / name)
    shutil.rmtree(old, ignore_errors=True)
