"""Artifacts: folders that hold a compiled model.

manifest.json       target, signature, versions, SHA-256 of every other file
model.mlir          the final IR
model.safetensors   large constants
program.py          the code that the NumPy target runs, to read
kernels.cpp         the kernels of the C++ target and the function that launches them; beside it
                    the runtime's sources, model.h, and main.c, which runs the model without Python
kernels.ARCH.so     those, built for an instruction set
kernels.py          the kernels of the Triton target, which run without aicc
model.asc           the kernels of the Ascend C target and what launches them; beside it main.cpp,
                    CMakeLists.txt and a README
op_host, op_kernel  the same kernels as custom operators, if that was asked for
tuning.json         each kernel's schedule, and what chose it (Triton target)
*.cubin, *.hsaco    kernels compiled for chips, each with a .json of what a launch needs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import ParseError, VerifyException

from aicc import __version__
from aicc.artifact_files import MANIFEST, file_name, files_in, place
from aicc.errors import ArtifactError
from aicc.ir.asm import named_constants, parse_module, print_module
from aicc.ir.module import input_names, main_of, output_names, return_of, symbol_ranges
from aicc.ir.tile import check_launches
from aicc.plugins import load_ops
from aicc.targets import Program
from aicc.weights import open_weights, save_weights

FORMAT = 1


@dataclass
class Artifact:
    """What an artifact's folder says."""

    path: Path
    manifest: dict[str, Any]
    module: ModuleOp

    @property
    def target(self) -> str:
        return self.manifest["target"]


def _hash(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def signature(module: ModuleOp) -> dict[str, Any]:
    """Inputs and outputs of ``@main`` with their types, as in the manifest."""
    func = main_of(module)
    outputs = zip(output_names(func), return_of(func).operands, strict=True)
    return {
        "inputs": [
            {"name": n, "type": str(a.type)}
            for n, a in zip(input_names(func), func.args, strict=True)
        ],
        "outputs": [{"name": n, "type": str(v.type)} for n, v in outputs],
        "dims": {n: list(r) for n, r in symbol_ranges(module).items()},
    }


def save_artifact(
    module: ModuleOp, target: str, program: Program, path: str | Path, archs: Sequence[str] = ()
) -> Path:
    """Write an artifact, with kernels compiled for `archs`; the folder appears whole or not at all.

    An older artifact at `path` is replaced (files that aren't its own stay). Raises ArtifactError
    if something else is there.
    """

    def fill(staging: Path) -> None:
        constants = {**named_constants(module), **program.constants}
        save_weights(constants, staging / "model.safetensors")
        (staging / "model.mlir").write_text(print_module(module))
        written = {program.source_name: program.source.encode(), **program.files(archs)}
        for name, data in written.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_bytes(data)
        manifest = {
            "format": FORMAT,
            "aicc": __version__,
            "target": target,
            **({"form": form} if (form := getattr(program, "form", None)) else {}),
            **signature(module),
            "files": {file_name(p, staging): _hash(p) for p in sorted(files_in(staging))},
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")

    return place(path, fill)


def load_artifact(path: str | Path) -> Artifact:
    """Read an artifact. Raises ArtifactError if a file is missing or was changed."""
    load_ops()
    path = Path(path)
    if (path / MANIFEST).is_symlink():
        raise ArtifactError(f"{path}: {MANIFEST} is a link")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except OSError:
        raise ArtifactError(f"{path}: no artifact (it has no {MANIFEST})") from None
    except ValueError as e:
        raise ArtifactError(f"{path}: {MANIFEST} is damaged: {e}") from None
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or "target" not in manifest:
        raise ArtifactError(f"{path}: {MANIFEST} is damaged")
    if manifest.get("format") != FORMAT:
        raise ArtifactError(f"{path}: format {manifest.get('format')}, this aicc reads {FORMAT}")
    for name, digest in files.items():
        parts = PurePosixPath(name).parts
        if (
            not parts
            or ".." in parts
            or PurePosixPath(name).is_absolute()
            or {"\\", "\0"} & {*name}
        ):
            raise ArtifactError(f"{path}: {MANIFEST} names '{name}', outside the folder")
        if not (path / name).resolve().is_relative_to(path.resolve()):
            raise ArtifactError(f"{path}: {name} is a link to what is outside the folder")
        if not (path / name).is_file():
            raise ArtifactError(f"{path}: {name} is missing")
        if _hash(path / name) != digest:
            raise ArtifactError(f"{path}: {name} was changed since it was compiled")
    for name in ("model.mlir", "model.safetensors"):
        if name not in files:
            raise ArtifactError(f"{path}: {MANIFEST} lists no {name}")
    weights = open_weights(path / "model.safetensors")
    try:
        module = parse_module((path / "model.mlir").read_text(), str(path / "model.mlir"), weights)
        check_launches(module)
        main_of(module)
    except (ParseError, VerifyException, ValueError, RecursionError) as e:
        raise ArtifactError(f"{path}: {e}") from e
    return Artifact(path, manifest, module)
