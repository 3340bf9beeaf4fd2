"""Builds C++ kernels into a shared library, and keeps what it built.

Objects are kept by a hash of what they are made from, so that a kernel which several models share
is compiled once, and a model that was built before is not built again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from aicc.backends.c_compiler import (
    BuildError,
    cache_folder,
    compiler,
    compiler_version,
    cpu_features,
    kept,
    made,
    usable,
)

RUNTIME = Path(__file__).parent / "runtime"
SHARED = Path(__file__).parents[1] / "c_sources"
"""Sources that other targets' projects hold, too."""

HEADER = "aicc_cpu.h"

PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "dot.cpp": ("matrix<float>", "panels<float>"),
    "dot_halves.cpp": ("matrix<f16>",),
    "dot_bf16.cpp": ("matrix<bf16>",),
    "dot_eighths.cpp": ("matrix<f8e4m3>", "matrix<f8e5m2>"),
    "dot_double.cpp": ("matrix<double>",),
    "dot_bytes.cpp": ("matrix<int8_t>",),
    "places.cpp": ("places<float>",),
}
"""Sources of the runtime's products, and the operands of which a kernel with them needs each."""

DISPATCHER = "dispatch.cpp"
"""What stands for the libraries of several instruction sets."""

FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-w"),
    *("-fwrapv", "-fno-math-errno", "-fno-trapping-math"),
)


@dataclass(frozen=True)
class Arch:
    """An instruction set: the compiler's option for it, and the machine if it is not any."""

    option: str
    machine: str = ""


ARCHS: Mapping[str, Arch] = {
    "native": Arch("-march=native"),
    "x86-64": Arch("-march=x86-64", "x86_64"),
    "x86-64-v3": Arch("-march=x86-64-v3", "x86_64"),
    "x86-64-v4": Arch("-march=x86-64-v4", "x86_64"),
    "armv8.2": Arch("-march=armv8.2-a", "aarch64"),
}
"""Instruction sets that libraries are built for."""


def sanitizers() -> list[str]:
    """Options for checked builds: ``AICC_SANITIZE=address,undefined``."""
    given = os.environ.get("AICC_SANITIZE")
    return [f"-fsanitize={given}", "-fno-sanitize-recover=all", "-g"] if given else []


class Builder:
    """Compiles for one instruction set."""

    def __init__(self, arch: str = "native"):
        if arch not in ARCHS:
            raise BuildError(f"unknown instruction set '{arch}' (there are: {', '.join(ARCHS)})")
        self.arch = arch
        self.machine = ARCHS[arch].machine
        self.flags = [*FLAGS, ARCHS[arch].option, *sanitizers()]
        self.folder = usable(cache_folder() / "cpp")

    def key(self, *parts: str) -> str:
        """A hash of sources, the runtime, the compiler and its options."""
        text = "\0".join([*parts, self.common()])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def common(self) -> str:
        features = cpu_features() if self.arch == "native" else ""
        return "\0".join([runtime_text(), compiler_version(self.machine), *self.flags, features])

    # ------------------------------------------------------------------ building

    def library(self, sources: Mapping[str, str], model: bool = False) -> Path:
        """A shared library of sources by name, with the C interface of a `model`.

        Raises BuildError.
        """
        path = self.folder / f"{self.key(*sources, *sources.values(), str(model))}.so"
        if kept(path):
            return path
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            names = [*products_of(sources.values()), *(["model.cpp"] if model else [])]
            runtime = [pool.submit(self.runtime_object, n) for n in names]
            headers = self.headers()
            objects = [pool.submit(self.object, s, headers) for s in sources.values()]
            paths = [o.result() for o in (*runtime, *objects)]
        made(path, lambda goal: self.run([*map(str, paths), "-shared", "-ldl", "-o", str(goal)]))
        return path

    def dispatcher(self) -> Path:
        """A library that loads the one for the processor it finds, of those beside it."""
        path = self.folder / f"{self.key(DISPATCHER)}.so"
        source = str(RUNTIME / DISPATCHER)
        if not kept(path):
            made(path, lambda goal: self.run([source, "-shared", "-ldl", "-o", str(goal)]))
        return path

    def object(self, source: str, headers: Path) -> Path:
        path = self.folder / f"{self.key(source)}.o"
        if kept(path):
            return path

        def make(goal: Path) -> None:
            text = goal.with_suffix(".cpp")
            text.write_text(source)
            self.run(["-I", str(headers), "-c", str(text), "-o", str(goal)])
            text.unlink()

        made(path, make)
        return path

    def start(self) -> None:
        """Begin to build what almost every library needs, in a thread of its own."""
        wanted = {self.headers_path(): self.make_headers}
        for name in ("dot.cpp", "model.cpp"):
            wanted[self.runtime_path(name)] = partial(self.make_runtime, name)
        missing = {p: make for p, make in wanted.items() if p not in STARTED and not p.exists()}
        if missing:
            pool = ThreadPoolExecutor(os.cpu_count())
            STARTED.update({p: pool.submit(made, p, make) for p, make in missing.items()})
            pool.shutdown(wait=False)

    def runtime_path(self, name: str) -> Path:
        return self.folder / f"{self.key('runtime', name)}.o"

    def runtime_object(self, name: str) -> Path:
        """A source of the runtime, compiled."""
        return finished(self.runtime_path(name), partial(self.make_runtime, name))

    def make_runtime(self, name: str, goal: Path) -> None:
        self.run(["-I", str(SHARED), "-c", str(RUNTIME / name), "-o", str(goal)])

    def headers_path(self) -> Path:
        return self.folder / f"include-{self.key('headers')}"

    def headers(self) -> Path:
        """A folder with the runtime's headers, precompiled where the compiler is g++."""
        return finished(self.headers_path(), self.make_headers)

    def make_headers(self, goal: Path) -> None:
        goal.mkdir()
        for header in RUNTIME.glob("*.h"):
            shutil.copy(header, goal)
        if "Free Software Foundation" in compiler_version(self.machine):
            header = goal / HEADER
            self.run(["-x", "c++-header", str(header), "-o", f"{header}.gch"])

    def run(self, arguments: Sequence[str]) -> None:
        cxx = compiler(self.machine)
        assert cxx is not None
        done = subprocess.run([cxx, *self.flags, *arguments], capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line][:8]
            raise BuildError(f"{Path(cxx).name} failed:\n" + "\n".join(errors or [done.stderr]))


STARTED: dict[Path, Future[None]] = {}
"""What `Builder.start` builds."""

os.register_at_fork(after_in_child=STARTED.clear)  # which has no such threads


def finished(path: Path, make: Callable[[Path], None]) -> Path:
    """Something of the cache, waited for where it was started, made where it isn't there."""
    if (future := STARTED.get(path)) is not None:
        wait([future])  # if it failed, the same goes wrong below
    if not kept(path):
        made(path, make)
    return path


def products_of(sources: Iterable[str]) -> list[str]:
    """The sources of products that kernels call."""
    text = "\n".join(sources)
    return [name for name, operands in PRODUCTS.items() if any(o in text for o in operands)]


@cache
def runtime_files() -> dict[str, bytes]:
    """The runtime's sources by name."""
    paths = [p for folder in (RUNTIME, SHARED) for p in sorted(folder.iterdir()) if p.is_file()]
    return {p.name: p.read_bytes() for p in paths}


@cache
def runtime_text() -> str:
    return "\0".join(data.decode() for data in runtime_files().values())
