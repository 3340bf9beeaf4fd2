"""Artifacts of earlier compiles: given again for the same compile, and for no other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aicc import api, compile_cache
from aicc.backends.c_compiler import made
from aicc.cli import main

WEIGHT = np.arange(4096, dtype=np.float32).reshape(64, 64)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AICC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def compiles(monkeypatch):
    """How often something was compiled."""
    seen = []
    compile_ = api.compile
    monkeypatch.setattr(api, "compile", lambda *a, **k: (seen.append(a), compile_(*a, **k))[1])
    return seen


def model(path: Path, weight=WEIGHT, external=False) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", 64]) for n in "xy")
    tensors = [numpy_helper.from_array(weight, "w")]
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), ir_version=10)
    onnx.save(made, path, save_as_external_data=external, location="w.bin", size_threshold=0)
    return path


def aicc(*args) -> None:
    with pytest.raises(SystemExit) as end:
        main(["compile", *map(str, args)])
    assert not end.value.code


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_a_second_compile_copies_the_first(tmp_path, compiles, capfd):
    path = model(tmp_path / "m.onnx")
    aicc(path, "-o", tmp_path / "a")
    assert "before" not in capfd.readouterr().err
    aicc(path, "-o", tmp_path / "b")
    assert len(compiles) == 1
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert "as it was compiled before" in capfd.readouterr().err
    x = np.ones((2, 64), np.float32)
    np.testing.assert_allclose(api.load(tmp_path / "b")(x), x @ WEIGHT)


def test_every_option_counts(tmp_path, compiles):
    path = model(tmp_path / "m.onnx")
    given = [[], ["--exact"], ["--dim", "rows=1..8"], ["--layout", "nhwc"], ["--target", "onnx"]]
    for options in given:
        aicc(path, "-o", tmp_path / "out", *options)
    assert len(compiles) == len(given)
    for options in given:
        aicc(path, "-o", tmp_path / "out", *options)
    assert len(compiles) == len(given)


@pytest.mark.parametrize("option", ["--no-cache", "--verify-each", "--explain-fusion"])
def test_some_compiles_are_made_each_time(tmp_path, compiles, option):
    path = model(tmp_path / "m.onnx")
    for _ in range(2):
        aicc(path, "-o", tmp_path / "out", option)
    assert len(compiles) == 2


def test_the_model_and_the_files_that_it_names_count(tmp_path, compiles):
    path = model(tmp_path / "m.onnx", external=True)
    assert compile_cache.files_named_by(path) == ["w.bin"]
    aicc(path, "-o", tmp_path / "out")
    raw = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(raw[:-4] + np.float32(7).tobytes())
    aicc(path, "-o", tmp_path / "out")
    assert len(compiles) == 2
    y = api.load(tmp_path / "out")(np.ones((1, 64), np.float32))
    assert y[0, -1] == WEIGHT[:-1, -1].sum() + 7
    model(path, WEIGHT + 1)
    aicc(path, "-o", tmp_path / "out")
    assert len(compiles) == 3


def test_a_file_that_is_gone_is_named(tmp_path, capfd):
    path = model(tmp_path / "m.onnx", external=True)
    aicc(path, "-o", tmp_path / "out")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(SystemExit):
        main(["compile", str(path), "-o", str(tmp_path / "out")])
    assert "external data file 'w.bin' is missing" in capfd.readouterr().err


def test_tensors_in_branches_are_found(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(WEIGHT, "c"))],
        "branch",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [64, 64])],
    )
    node = helper.make_node("If", ["p"], ["y"], then_branch=inner, else_branch=inner)
    p = helper.make_tensor_value_info("p", TensorProto.BOOL, [])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])
    whole = helper.make_model(helper.make_graph([node], "g", [p], [y]), ir_version=10)
    path = tmp_path / "m.onnx"
    onnx.save(
        whole,
        path,
        save_as_external_data=True,
        location="c.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    assert compile_cache.files_named_by(path) == ["c.bin"]


def test_a_dump_depends_on_its_weights(tmp_path, compiles):
    aicc(model(tmp_path / "m.onnx"), "-o", tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    aicc(tmp_path / "b" / "model.mlir", "-o", tmp_path / "out")
    aicc(tmp_path / "b" / "model.mlir", "-o", tmp_path / "out")
    assert len(compiles) == 2
    aicc(model(tmp_path / "m.onnx", WEIGHT + 1), "-o", tmp_path / "a")
    weights = (tmp_path / "a" / "model.safetensors").read_bytes()
    (tmp_path / "b" / "model.safetensors").write_bytes(weights)
    aicc(tmp_path / "b" / "model.mlir", "-o", tmp_path / "out")
    assert len(compiles) == 4


def test_code_and_environment_count(tmp_path, compiles, monkeypatch):
    path = model(tmp_path / "m.onnx")
    aicc(path, "-o", tmp_path / "out")
    for name, value in (("AICC_TARGET", "onnx"), ("TRITON_PTXAS_PATH", "elsewhere")):
        with monkeypatch.context() as m:
            m.setenv(name, value)
            compile_cache.surroundings.cache_clear()
            aicc(path, "-o", tmp_path / "out")
    with monkeypatch.context() as m:
        m.setattr(compile_cache, "code_digest", lambda: "other code")
        compile_cache.surroundings.cache_clear()
        aicc(path, "-o", tmp_path / "out")
    assert len(compiles) == 4
    compile_cache.surroundings.cache_clear()
    aicc(path, "-o", tmp_path / "out")
    assert len(compiles) == 4


def test_models_that_functions_make_are_not_kept():
    assert compile_cache.lookup("package.module:factory", [], []) is None


def test_nothing_is_kept_beside_plugins(tmp_path, monkeypatch):
    path = model(tmp_path / "m.onnx")
    assert compile_cache.lookup(str(path), [], []) is not None
    found = lambda group: ["a pass"] if group == "aicc.passes" else []  # noqa: E731
    monkeypatch.setattr(compile_cache.importlib.metadata, "entry_points", found)
    assert compile_cache.lookup(str(path), [], []) is None


def test_what_is_damaged_is_made_anew(tmp_path, compiles):
    path = model(tmp_path / "m.onnx")
    aicc(path, "-o", tmp_path / "out")
    (entry,) = (p for p in (tmp_path / "cache" / "compiled").iterdir() if p.is_dir())
    (entry / "artifact" / "model.safetensors").write_bytes(b"cut")
    aicc(path, "-o", tmp_path / "out")
    assert len(compiles) == 2
    assert api.load(tmp_path / "out")


def test_other_folders_are_left_alone(tmp_path, compiles, capfd):
    path = model(tmp_path / "m.onnx")
    aicc(path, "-o", tmp_path / "a")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    with pytest.raises(SystemExit):
        main(["compile", str(path), "-o", str(tmp_path / "mine")])
    assert "is no artifact" in capfd.readouterr().err
    assert files(tmp_path / "mine") == {"note.txt": b"mine"}
    (tmp_path / "a" / "note.txt").write_text("mine")
    aicc(path, "-o", tmp_path / "a")
    assert (tmp_path / "a" / "note.txt").exists()


def test_what_is_there_already_stays_and_what_was_changed_does_not(tmp_path, compiles):
    path, out = model(tmp_path / "m.onnx"), tmp_path / "out"
    aicc(path, "-o", out)
    before = {p.name: p.stat().st_ino for p in out.iterdir()}
    aicc(path, "-o", out)
    assert {p.name: p.stat().st_ino for p in out.iterdir()} == before
    whole = files(out)
    for change in (lambda p: p.write_bytes(b"\0" * p.stat().st_size), Path.unlink):
        change(out / "model.safetensors")
        aicc(path, "-o", out)
        assert files(out) == whole
    assert len(compiles) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_copies_are_whole(tmp_path, monkeypatch, fails):
    def refuse(*args):
        raise OSError("other file system")

    in_parts = lambda old, new, n: os.sendfile(new, old, None, min(n, 3))  # noqa: E731
    monkeypatch.setattr(os, "copy_file_range", refuse if fails else in_parts)
    (tmp_path / "a").write_bytes(b"0123456789")
    compile_cache.copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"0123456789"


def test_the_least_lately_used_go_first(tmp_path, monkeypatch):
    folder = tmp_path / "compiled"
    for i, name in enumerate("abc"):

        def make(goal, name=name):
            goal.mkdir()
            (goal / "data").write_bytes(b"x" * 100)
            (goal / "files.json").write_text(json.dumps([]))

        made(folder / name, make)
        os.utime(folder / name, (i, i))
    os.utime(folder / "a")
    monkeypatch.setattr(compile_cache, "LIMIT", 250)
    compile_cache.make_room(folder)
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["a", "c"]
    assert not (folder / "b.sha256").exists()
