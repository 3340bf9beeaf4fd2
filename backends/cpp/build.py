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
    digest_of,
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

GROUP = 8
"""Kernels that are compiled in one go, at most: to read the headers takes as long as one or two."""

FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-w", "-ffunction-sections"),
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

    def library(self, kernels: Mapping[str, str], model: str = "") -> Path:
        """A shared library of kernels, sources by symbol, and of a model's function, if given.

        Raises BuildError.
        """
        path = self.folder / f"{self.key(*kernels, *kernels.values(), model)}.so"
        if kept(path):
            return path
        objects = {s: self.folder / f"{self.key(s, text)}.o" for s, text in kernels.items()}
        missing = {s: kernels[s] for s, o in objects.items() if not kept(o)}
        sources = [*kernels.values(), *([model] if model else [])]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            headers = self.headers()  # once, before all that is compiled behind them
            names = [*products_of(sources), *(["model.cpp"] if model else [])]
            runtime = [pool.submit(self.runtime_object, n) for n in names]
            groups = [
                pool.submit(self.kernel_objects, {s: objects[s] for s in group}, group, headers)
                for group in grouped(missing)
            ]
            own = [pool.submit(self.object, model, headers)] if model else []
            paths = [o.result() for o in (*runtime, *own)]
            for group in groups:
                group.result()
        paths += {digest_of(o): o for o in objects.values()}.values()
        made(path, partial(self.link, [*map(str, paths)], objects))
        return path

    def link(self, paths: Sequence[str], objects: Mapping[str, Path], goal: Path) -> None:
        """Make a library of what kernels and the C interface need: groups may hold more."""
        symbols = [f"-Wl,--defsym={s}={unique(s, o)}" for s, o in objects.items()]
        exported = goal.with_suffix(".exports")
        exported.write_text(
            f"{{ global: model_*; {''.join(f'{s}; ' for s in objects)}local: *; }};"
        )
        options = [
            *("-shared", "-ldl", "-Wl,--gc-sections", f"-Wl,--version-script={exported}"),
            "-Wl,--allow-multiple-definition",  # of a kernel in two groups, the same in both
        ]
        self.run([*paths, *symbols, *options, "-o", str(goal)])
        exported.unlink()

    def kernel_objects(
        self, objects: Mapping[str, Path], sources: Mapping[str, str], headers: Path
    ) -> None:
        """Compile kernels in one go: the same object is kept for each.

        Their symbols are unique, so that objects of several models can be linked.
        """
        parts = [f'#include "{HEADER}"\n']
        for symbol, text in sources.items():
            name = unique(symbol, objects[symbol])
            parts.append(f"#define {symbol} {name}\n{text}\n#undef {symbol}\n")
        first, *others = objects.values()
        made(first, lambda goal: self.compile("".join(parts), headers, goal))
        for other in others:
            made(other, partial(copied, first))

    def dispatcher(self) -> Path:
        """A library that loads the one for the processor it finds, of those beside it."""
        path = self.folder / f"{self.key(DISPATCHER)}.so"
        source = str(RUNTIME / DISPATCHER)
        if not kept(path):
            made(path, lambda goal: self.run([source, "-shared", "-ldl", "-o", str(goal)]))
        return path

    def object(self, source: str, headers: Path) -> Path:
        path = self.folder / f"{self.key(source)}.o"
        if not kept(path):
            made(path, lambda goal: self.compile(source, headers, goal))
        return path

    def compile(self, source: str, headers: Path, goal: Path) -> None:
        text = goal.with_suffix(".cpp")
        text.write_text(source)
        self.run(["-I", str(headers), "-c", str(text), "-o", str(goal)])
        text.unlink()

    def start(self) -> None:
        """Begin to build what almost every library needs, in a thread of its own."""
        wanted = {self.headers_path(): self.make_headers}
        for name in ("dot.cpp", "model.cpp"):
            wanted[self.runtime_path(name)] = partial(self.make_runtime, name)
        missing = {p: make for p, make in wanted.items() if p not in STARTED and not p.exists()}
        if missing:
            pool = ThreadPoolExecutor(max((os.cpu_count() or 1) - 1, 1))  # one core is in use
            for path, make in missing.items():  # the headers first: the others wait for them
                STARTED[path] = pool.submit(made, path, make)
            pool.shutdown(wait=False)

    def runtime_path(self, name: str) -> Path:
        return self.folder / f"{self.key('runtime', name)}.o"

    def runtime_object(self, name: str) -> Path:
        """A source of the runtime, compiled."""
        return finished(self.runtime_path(name), partial(self.make_runtime, name))

    def make_runtime(self, name: str, goal: Path) -> None:
        """Behind the headers, as they are precompiled: to read them takes half of the time."""
        headers = self.headers()
        first = ["-I", str(headers), "-include", HEADER, "-I", str(SHARED)]
        self.run([*first, "-c", str(headers / name), "-o", str(goal)])

    def headers_path(self) -> Path:
        return self.folder / f"include-{self.key('headers')}"

    def headers(self) -> Path:
        """A folder with the runtime, its headers precompiled where the compiler is g++."""
        return finished(self.headers_path(), self.make_headers)

    def make_headers(self, goal: Path) -> None:
        goal.mkdir()
        for source in RUNTIME.iterdir():
            shutil.copy(source, goal)
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
    """Something of the cache, waited for where it was started, made where it isn't there.

    What is only queued yet is made here: now all cores are free for it.
    """
    future = STARTED.get(path)
    if future is not None and not future.cancel():
        wait([future])  # if it failed, the same goes wrong below
    if not kept(path):
        made(path, make)
    return path


def copied(source: Path, goal: Path) -> None:
    shutil.copyfile(source, goal)


def unique(symbol: str, path: Path) -> str:
    """What a kernel is called in its object."""
    return f"{symbol}_{path.stem}"


def grouped(sources: Mapping[str, str]) -> list[dict[str, str]]:
    """Sources that are compiled together: as many groups as keep all cores busy to the end."""
    cores = os.cpu_count() or 1
    count = min(-(-len(sources) // (GROUP * cores)) * cores, len(sources))
    groups: list[dict[str, str]] = [{} for _ in range(count)]
    for symbol in sorted(sources, key=lambda s: len(sources[s]), reverse=True):
        smallest = min(groups, key=lambda g: sum(map(len, g.values())))
        smallest[symbol] = sources[symbol]
    return groups


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
