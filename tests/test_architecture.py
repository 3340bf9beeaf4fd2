"""Who may import whom, read off the syntax tree of every source file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("backends", "frontends", "passes")
OTHERS = ("aicc", "benchmarks", "examples", "tests")
IR_MAY_IMPORT = {"ml_dtypes", "numpy", "xdsl"}


def sources(folder: str) -> list[Path]:
    return sorted(
        p for p in (ROOT / folder).rglob("*.py") if not p.is_relative_to(ROOT / "tests/typing")
    )


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute module name of every import in a file, at any depth."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    if package.split(".")[0] in ROOMS:
        package = f"aicc.{package}"
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, n.name) for n in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package.split(".")[: package.count(".") + 2 - level] if level else []
                source = ".".join([*base, *([module] if module else [])])
                if source in ("aicc", ""):
                    yield from ((node.lineno, f"{source}.{n.name}") for n in names)
                else:
                    yield node.lineno, source
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_]
                | [ast.JoinedStr(values=[ast.Constant(value=str(name)), *_]), *_],
            ):
                yield node.lineno, name


def within(name: str, *packages: str) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in packages)


def offences(folder: str, allowed) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for line, name in imports(path)
        if not allowed(name)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_meet_only_in_the_ir(room: str):
    def allowed(name: str) -> bool:
        return not within(name, "aicc") or within(name, "aicc.ir", f"aicc.{room}")

    assert offences(room, allowed) == []


def test_the_ir_stands_on_xdsl_and_numpy():
    def allowed(name: str) -> bool:
        top = name.split(".")[0]
        return top in IR_MAY_IMPORT | sys.stdlib_module_names or within(name, "aicc.ir")

    assert offences("aicc/ir", allowed) == []


@pytest.mark.parametrize("folder", [*ROOMS, *OTHERS])
def test_nothing_imports_the_bare_folder_names(folder: str):
    assert offences(folder, lambda name: not within(name, *ROOMS)) == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("aicc", {"numpy", "onnx", "torch", "triton", "xdsl"}),
        ("aicc.cli", {"onnx", "torch", "triton"}),
    ],
)
def test_starting_is_cheap(module: str, heavy: set[str]):
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert heavy.isdisjoint(loaded)


def test_the_walker_sees_every_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "passes" / "sub" / "a.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import torch.fx, numpy as np\n"
        "from aicc import ir\n"
        "from . import b\n"
        "from ..cse import c\n"
        "def f(x):\n"
        "    from aicc.backends.numpy import kernels\n"
        "    importlib.import_module(f'aicc.passes.{x}')\n"
    )
    assert sorted(imports(file)) == [
        (1, "numpy"),
        (1, "torch.fx"),
        (2, "aicc.ir"),
        (3, "aicc.passes.sub"),
        (4, "aicc.passes.cse"),
        (6, "aicc.backends.numpy"),
        (7, "aicc.passes."),
    ]
