"""Kernels compiled ahead of time, for chips that needn't be there."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from aicc.backends.triton.text import LAUNCH_OPTIONS, kernel_name, pointer_name, python_name
from aicc.ir import tile


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel takes of a chip: registers a thread, spilled and shared bytes.

    `wgmma` says whether the matrix units are used by the widest instructions, those of sm_90.
    """

    registers: int
    spilled: int
    shared: int
    tensor_cores: bool
    wgmma: bool


@dataclass(frozen=True)
class Binary:
    """A kernel for one chip: `code` is a cubin or hsaco, `assembly` PTX or AMD's."""

    kernel: str
    arch: str
    code: bytes
    assembly: str
    shared: int
    warps: int

    @property
    def kind(self) -> str:
        """What such code is called: the end of its file's name."""
        return code_kind(self.arch)

    def description(self) -> str:
        """What a launch needs to know, as JSON."""
        return json.dumps(
            {"kernel": self.kernel, "arch": self.arch, "warps": self.warps, "shared": self.shared}
        )

    def resources(self) -> Resources:
        """Read off the code by the tools in Triton's package. Only for NVIDIA's chips."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.cubin"
            path.write_bytes(self.code)
            usage = _tool("cuobjdump", "--dump-resource-usage", str(path))
            text = _tool("nvdisasm", "-c", str(path))
        found = {k: int(v) for k, v in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
        spills = found["STACK"] + found["LOCAL"]
        cores = bool(re.search(r"\b([HIQ]G|[HIQD])MMA\b", text))
        wide = bool(re.search(r"\b[HIQ]GMMA\b", text))
        return Resources(found["REG"], spills, self.shared, cores, wide)


def _tool(name: str, *args: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends/nvidia/bin" / name
    done = subprocess.run([str(path), *args], capture_output=True, text=True, check=True)
    return done.stdout


def code_kind(arch: str) -> str:
    return "cubin" if arch.startswith("sm_") else "hsaco"


def target_of(arch: str) -> Any:
    """Triton's description of a chip: ``sm_90``, ``gfx942``. Raises ValueError for other names."""
    from triton.backends.compiler import GPUTarget

    if match := re.fullmatch(r"sm_(\d+)a?", arch):
        return GPUTarget("cuda", int(match[1]), 32)
    if re.fullmatch(r"gfx\w+", arch):
        return GPUTarget("hip", arch, 64)
    raise ValueError(f"unknown chip '{arch}': write sm_80, sm_90, gfx942 and the like")


def compile_kernel(module: ModuleType, kernel: tile.Kernel, arch: str) -> Binary:
    """Compile a kernel of the printed `module`, with its schedule, for a chip."""
    import triton
    from triton.compiler import ASTSource

    function = getattr(module, kernel_name(kernel))
    names = list(function.arg_names)
    signature: dict[str, str] = {}
    attrs: dict[tuple[int, ...], Sequence[Sequence[Any]]] = {}
    constants = {k: v for k, v in kernel.schedule.items() if k not in LAUNCH_OPTIONS}
    for i, (name, arg) in enumerate(zip(names, kernel.body.block.args, strict=False)):
        assert isinstance(arg.type, tile.BufferType)
        signature[name] = pointer_name(arg.type.dtype)
        attrs[(i,)] = [["tt.divisibility", 16]]
    for name in map(python_name, kernel.sizes):
        signature[name] = "i64"
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(function, signature, constants, attrs)  # type: ignore[arg-type]
    options = {k: v for k, v in kernel.schedule.items() if k in LAUNCH_OPTIONS}
    options["enable_fp_fusion"] = True  # Triton 3.9 warns where it is left to change
    made: Any = triton.compile(source, target=target_of(arch), options=options)
    code = made.asm[code_kind(arch)]
    text = made.asm["ptx" if arch.startswith("sm_") else "amdgcn"]
    return Binary(kernel.sym_name, arch, code, text, made.metadata.shared, made.metadata.num_warps)
