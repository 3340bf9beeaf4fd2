"""Four folders, one import package: in a wheel and from a bare checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "aicc": "aicc",
    "backends": "aicc/backends",
    "frontends": "aicc/frontends",
    "passes": "aicc/passes",
}
IMPORT_ALL = """
import aicc, aicc.backends, aicc.frontends, aicc.passes
print(*(m.__file__ for m in (aicc, aicc.backends, aicc.frontends, aicc.passes)), sep="\\n")
try:
    import aicc.aicc
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("a second copy of aicc can be imported")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that building leaves nothing behind in the real one."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for file in ("pyproject.toml", "setup.py", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> zipfile.ZipFile:
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True)
    (path,) = (checkout / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def imported_files(path: Path, elsewhere: Path) -> list[Path]:
    """Where `aicc` and its folders are found by a process that runs elsewhere."""
    env = {**os.environ, "PYTHONPATH": str(path)}
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        cwd=elsewhere,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return [Path(line) for line in run.stdout.splitlines()]


def test_wheel_holds_every_file(checkout: Path, wheel: zipfile.ZipFile):
    expected = {
        f"{package}/{file.relative_to(checkout / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for file in (checkout / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_every_folder_of_code_is_a_package():
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.parent} lacks __init__.py"


def test_wheel_declares_its_entry_points(wheel: zipfile.ZipFile):
    (name,) = (n for n in wheel.namelist() if n.endswith("/entry_points.txt"))
    text = wheel.read(name).decode()
    assert "[console_scripts]\naicc = aicc.cli:main" in text
    assert "[torch_dynamo_backends]\naicc = aicc.torch_backend:aicc_backend" in text


def test_wheel_imports(wheel: zipfile.ZipFile, tmp_path: Path):
    site = tmp_path / "site"
    wheel.extractall(site)
    assert imported_files(site, tmp_path) == [
        site / package / "__init__.py" for package in FOLDERS.values()
    ]


def test_bare_checkout_imports(checkout: Path, tmp_path: Path):
    assert imported_files(checkout, tmp_path) == [
        checkout / folder / "__init__.py" for folder in FOLDERS
    ]
