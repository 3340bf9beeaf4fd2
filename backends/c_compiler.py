"""The C++ compiler of this machine, and where what it made is kept."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path


class BuildError(RuntimeError):
    """The compiler is missing, or refused a source."""


@cache
def compiler() -> str | None:
    """The C++ compiler: ``$CXX``, else g++, clang++ or c++; None where there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and (found := shutil.which(name)):
            return found
    return None


@cache
def compiler_version() -> str:
    """What the compiler says of itself."""
    cxx = compiler()
    if cxx is None:
        raise BuildError("there is no C++ compiler: install g++ or clang++, or set CXX")
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


def cache_folder() -> Path:
    """Where objects are kept: ``$AICC_CACHE``, else aicc in the user's cache folder."""
    if given := os.environ.get("AICC_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "aicc"


def made(path: Path, make: Callable[[Path], None]) -> None:
    """Make a file or folder, which appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        goal = Path(folder) / path.name
        make(goal)
        try:
            os.replace(goal, path)
        except OSError:
            if not path.exists():  # else someone was faster
                raise
