"""Builds a project against the emulator's headers, and runs it on arrays."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aicc.backends.c_compiler import (
    BuildError,
    cache_folder,
    compiler,
    compiler_version,
    kept,
    made,
    usable,
)
from aicc.backends.c_host import arrays_of
from aicc.ir.memory import address
from aicc.ir.symbols import evaluate
from aicc.ir.types import element_type, shape_of

if TYPE_CHECKING:
    from aicc.backends.ascendc.backend import AscendProgram

FOLDER = Path(__file__).parent / "emulator"

FLAGS = ("-std=c++17", "-O1", "-fPIC", "-w", "-ffp-contract=off")

DRIVER = """
// Runs the model on the host's memory: the text of a fault, or nothing.
extern "C" const char* emulate(void* const* weights, void* const* inputs, void* const* outputs,
                               char* arena, const int64_t* sizes, const int64_t* bytes,
                               const char* const* names, int64_t count) {
  static std::string text;
  auto& all = AscendC::emulator::regions();
  all.clear();
  AscendC::emulator::all_counters().clear();
  void* const* groups[] = {weights, inputs, outputs};
  int64_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t group = bytes[3 * i], place = bytes[3 * i + 1], size = bytes[3 * i + 2];
    const void* data = group == 3 ? arena : groups[group][place];
    AscendC::emulator::add_region(data, size_t(size), names[i]);
  }
  text.clear();
  try {
    model_run(weights, inputs, outputs, arena, sizes);
  } catch (const std::exception& e) {
    text = e.what();
  }
  return text.c_str();
}

// What was counted of each kernel, as JSON.
extern "C" const char* emulated_counters() {
  static std::string text;
  std::ostringstream out;
  const char* between = "{";
  for (auto& [kernel, c] : AscendC::emulator::all_counters()) {
    out << between << '"' << kernel << "\\": {\\"blocks\\": " << c.blocks << ", \\"ub_bytes\\": "
        << c.ub_bytes << ", \\"tensors\\": {";
    const char* inner = "";
    for (auto& [name, t] : c.tensors) {
      out << inner << '"' << name << "\\": [" << t.read << ", " << t.written << "]";
      inner = ", ";
    }
    out << "}, \\"queues\\": {";
    inner = "";
    for (auto& [name, q] : c.queues) {
      out << inner << '"' << name << "\\": [" << q.buffers << ", " << q.taken << ", "
          << q.alternated << "]";
      inner = ", ";
    }
    out << "}, \\"pipes\\": {";
    inner = "";
    for (auto& [name, clocks] : c.pipes) {
      out << inner << '"' << name << "\\": " << clocks;
      inner = ", ";
    }
    out << "}}";
    between = ", ";
  }
  out << (between[0] == '{' ? "{}" : "}");
  text = out.str();
  return text.c_str();
}
"""


class EmulationError(RuntimeError):
    """The emulator found a fault: what a kernel does that the chip doesn't allow."""


@cache
def headers() -> str:
    paths = sorted(p for p in FOLDER.rglob("*.h"))
    return "\0".join(p.read_text() for p in paths)


def build(source: str, files: Mapping[str, bytes] = {}) -> Path:
    """A library of a source, the files that it includes, and the emulator. Raises BuildError."""
    if compiler() is None:
        raise BuildError("the emulator needs a C++ compiler: install g++, or set CXX")
    include = prepared()
    path = include.parent / f"{key(source, DRIVER, *map(str, files.items()))}.so"
    if kept(path):
        return path

    def make(goal: Path) -> None:
        file = goal.with_suffix(".cpp")
        file.write_text(source + DRIVER)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes(data)
            own = ["-I", folder] if files else []
            compile("-I", str(include), *own, "-shared", str(file), "-o", str(goal))

    made(path, make)
    return path


def key(*parts: str) -> str:
    """A hash of sources, the emulator, the compiler and its options."""
    text = "\0".join([*parts, headers(), compiler_version(), *FLAGS])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def prepared() -> Path:
    """A folder with the emulator's headers, precompiled where the compiler is g++."""
    path = usable(cache_folder() / "ascendc") / f"include-{key()}"
    if kept(path):
        return path

    def make(goal: Path) -> None:
        shutil.copytree(FOLDER, goal)
        if is_gnu():
            header = str(goal / "acl" / "acl.h")
            compile("-x", "c++-header", header, "-o", f"{header}.gch")

    made(path, make)
    return path


def is_gnu() -> bool:
    return "Free Software Foundation" in compiler_version()


def compile(*arguments: str) -> None:
    """Run the compiler. Raises BuildError."""
    own = ["-fno-gnu-unique"] if is_gnu() else []  # each library has an emulator of its own
    command = [str(compiler()), *FLAGS, *own, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line][:8]
        raise BuildError("the project doesn't build:\n" + "\n".join(errors or [done.stderr]))


class Emulated:
    """A project on the emulator. `counters` holds what the last call counted, by kernel."""

    def __init__(self, program: AscendProgram, source: str | None = None):
        self.host = program.host
        files = {}
        if program.form != "asc":
            files = {**program.files(()), program.source_name: program.source.encode()}
        self.library = ctypes.CDLL(str(build(source or program.project.emulated(), files)))
        self.library.emulate.restype = ctypes.c_char_p
        self.library.emulated_counters.restype = ctypes.c_char_p
        self.library.model_arena.restype = ctypes.c_int64
        self.counters: dict[str, Any] = {}

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs. Raises EmulationError."""
        host = self.host
        given = [np.ascontiguousarray(x) for x in inputs]
        sizes = {
            name: given[i].shape[axis]
            for name, (i, axis) in zip(host.sizes, host.sources, strict=True)
        }
        outputs = []
        for v in host.outputs:
            shape = [
                d if isinstance(d, int) else evaluate(d, sizes)
                for d in shape_of(v)
                if d is not None
            ]
            outputs.append(poisoned(shape, element_type(v).np))
        numbers = (ctypes.c_int64 * max(len(sizes), 1))(*sizes.values())
        arena = np.full(self.library.model_arena(numbers) + 64, 0xFF, np.uint8)
        weights = arrays_of(host.constants)
        groups = [list(weights), given, outputs]
        regions = [
            (g, i, a.nbytes, f"{kind} {i}")
            for g, (kind, arrays) in enumerate(
                zip(("weight", "input", "output"), groups, strict=True)
            )
            for i, a in enumerate(arrays)
        ]
        regions.append((3, 0, arena.nbytes, "the arena"))
        bytes_ = (ctypes.c_int64 * (3 * len(regions)))(*[n for r in regions for n in r[:3]])
        names = (ctypes.c_char_p * len(regions))(*[r[3].encode() for r in regions])
        pointers = [addresses(arrays) for arrays in groups]
        at = ctypes.c_void_p(address(arena))
        fault = self.library.emulate(
            *pointers, at, numbers, bytes_, names, ctypes.c_int64(len(regions))
        )
        if fault:
            raise EmulationError(fault.decode())
        self.counters = json.loads(self.library.emulated_counters().decode())
        return outputs


def summary(counters: Mapping[str, Any]) -> list[str]:
    """A line a kernel: bytes from and to device memory, and which pipe would bound it.

    How busy pipes are is an estimate. A core goes through rounds, one for each tensor that its
    busiest queue takes. A round's copies run beside the arithmetic of the one before, so the first
    round takes as long as all of its pipes, each other one as long as its slowest. A clock is 256
    bytes on the vector unit, 32 on each copying pipe, and 4,096 products on the cube unit.
    """
    lines = []
    for name, c in counters.items():
        read, written = (sum(t[i] for t in c["tensors"].values()) for i in (0, 1))
        pipes = sorted(c["pipes"].items(), key=lambda p: -p[1])
        rounds = max((q[1] for q in c["queues"].values()), default=1) / max(c["blocks"], 1)
        clocks = busy_clocks([n / max(c["blocks"], 1) for _, n in pipes], max(rounds, 1))
        shares = ", ".join(f"{p} {n / max(c['blocks'], 1) / clocks:.0%}" for p, n in pipes)
        lines.append(
            f"{name}: {c['blocks']} cores, {read} bytes read, {written} written, "
            f"{c['ub_bytes']} of the unified buffer; estimated: {clocks:.0f} clocks, busy: {shares}"
        )
    return lines


def busy_clocks(pipes: Sequence[float], rounds: float) -> float:
    """Clocks of a core whose pipes are busy for so many clocks each, in so many rounds."""
    slowest = max(pipes, default=0)
    return max((sum(pipes) + (rounds - 1) * slowest) / rounds, 1)


def poisoned(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An array of bytes that no kernel writes by chance."""
    count = int(np.prod(shape, dtype=np.int64))
    return np.full(count * dtype.itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)


def addresses(arrays: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * (len(arrays) or 1))(*map(address, arrays))
