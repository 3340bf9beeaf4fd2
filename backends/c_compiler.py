"""The C++ compiler of this machine, and where what it made is kept."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path


class BuildError(RuntimeError):
    """The compiler is missing, or refused a source."""


@cache
def compiler(machine: str = "") -> str | None:
    """The C++ compiler: ``$CXX``, else g++, clang++ or c++; None where there is none.

    For a `machine` other than this one (``aarch64``) it is the GNU compiler for Linux on it.
    """
    if machine not in ("", platform.machine()):
        return shutil.which(f"{machine}-linux-gnu-g++")
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and (found := shutil.which(name)):
            return found
    return None


@cache
def compiler_version(machine: str = "") -> str:
    """What the compiler says of itself."""
    cxx = compiler(machine)
    if cxx is None:
        asked = f"{machine}-linux-gnu-g++" if machine else "g++ or clang++, or set CXX"
        raise BuildError(f"there is no C++ compiler: install {asked}")
    return subprocess.run([cxx, "--version"], capture_output=True, text=True).stdout


@cache
def cpu_features() -> str:
    """What tells this machine's instruction set from others'."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    found = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join(sorted(found))


@cache
def processor() -> str:
    """A name for the kind of this machine's processor, of letters, digits and underscores."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    parts = [found[k] for k in ("vendor_id", "cpu family", "model") if k in found]
    text = " ".join(parts) or platform.processor() or platform.machine()
    return re.sub(r"\W+", "_", text).strip("_") or "cpu"


def cache_folder() -> Path:
    """Where objects are kept: ``$AICC_CACHE``, else aicc in the user's cache folder."""
    if given := os.environ.get("AICC_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aicc"


@cache
def usable(folder: Path) -> Path:
    """The folder if files can be kept there, else one that lasts as long as the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as e:
        warnings.warn(
            f"{folder} can't be written ({e.strerror}): what is built isn't kept", stacklevel=2
        )
        spare = tempfile.TemporaryDirectory(prefix="aicc-cache-")
        _SPARE.append(spare)
        return Path(spare.name)


_SPARE: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that go when the process does."""


def made(path: Path, make: Callable[[Path], None]) -> None:
    """Make a file or folder, which appears whole or not at all.

    Its digest is written behind it: `kept` doesn't take what was damaged, or lacks one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have emptied the cache
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        goal = Path(folder) / path.name
        make(goal)
        digest = digest_of(goal)
        note = Path(folder) / "digest"
        note.write_text(digest)
        if path.is_dir() and not kept(path):
            shutil.rmtree(path, ignore_errors=True)
        try:
            os.replace(goal, path)
            os.replace(note, _note(path))
        except OSError:
            if not kept(path):  # else someone was faster
                raise


def kept(path: Path) -> bool:
    """Whether an entry of the cache is there as it was made."""
    try:
        return _note(path).read_text() == digest_of(path)
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """A hash of a file; of a folder, that of its files' names and sizes."""
    if path.is_dir():
        found = (p for p in path.rglob("*") if p.is_file())
        files = sorted((str(p.relative_to(path)), p.stat().st_size) for p in found)
        return hashlib.sha256(repr(files).encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
