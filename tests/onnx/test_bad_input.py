"""Damaged and hostile models: one clear error that names the file or node, and nothing written."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import aicc
from aicc.cli import main
from aicc.errors import AiccError

FLOAT = TensorProto.FLOAT


def info(name, shape, dtype: Any = FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs=None, outputs=None, initializers=(), functions=(), opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        inputs if inputs is not None else [info("x", [2, 3])],
        outputs if outputs is not None else [info("y", None)],
        list(initializers),
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=9)


def node(kind, inputs, outputs, name="n", **attributes):
    return helper.make_node(kind, inputs, outputs, name=name, **attributes)


def relu():
    return model([node("Relu", ["x"], ["y"])])


def external(location, offset=0, shape=(2, 3)):
    weight = TensorProto(name="w", data_type=FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", str(offset))):
        weight.external_data.add(key=key, value=value)
    return model([node("Add", ["x", "w"], ["y"])], initializers=[weight])


def calls_itself():
    body = [node("F", ["a"], ["b"], "again", domain="own")]
    f = helper.make_function("own", "F", ["a"], ["b"], body, [helper.make_opsetid("own", 1)])
    return model([node("F", ["x"], ["y"], domain="own")], functions=[f])


def field(number, payload):
    """A length-delimited protobuf field."""
    size, length = len(payload), b""
    while size >= 128:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def nested(depth):
    """Graphs in If nodes' attributes, `depth` deep, written without onnx's own limits."""
    graph = field(2, b"leaf")
    for _ in range(depth):
        branch = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, branch))
    return b"\x08\x09" + field(7, graph) + field(8, b"\x10\x11")


def raw(name, dtype, dims, data):
    return TensorProto(name=name, data_type=dtype, dims=dims, raw_data=data)


X = info("x", [2, 3])
CASES = {
    "cycle": (
        lambda: model(
            [node("Add", ["x", "b"], ["a"], "first"), node("Neg", ["a"], ["b"], "second")]
        ),
        "first",
    ),
    "never produced": (lambda: model([node("Relu", ["nowhere"], ["y"])]), "nowhere"),
    "output never produced": (lambda: model([node("Relu", ["x"], ["z"])]), "'y'"),
    "produced twice": (
        lambda: model([node("Relu", ["x"], ["y"], "one"), node("Neg", ["x"], ["y"], "two")]),
        "two",
    ),
    "unknown op": (lambda: model([node("Frobnicate", ["x"], ["y"], "odd")]), "Frobnicate"),
    "unknown domain": (
        lambda: model([node("Relu", ["x"], ["y"], domain="com.example")]),
        "com.example",
    ),
    "types differ": (
        lambda: model(
            [node("Add", ["x", "i"], ["y"], "mixed")], [X, info("i", [2, 3], TensorProto.INT64)]
        ),
        "mixed",
    ),
    "shapes differ": (
        lambda: model([node("Add", ["x", "b"], ["y"], "apart")], [X, info("b", [2, 4])]),
        "apart",
    ),
    "inner dims differ": (
        lambda: model([node("MatMul", ["x", "b"], ["y"], "product")], [X, info("b", [4, 5])]),
        "product",
    ),
    "axis out of range": (
        lambda: model([node("Softmax", ["x"], ["y"], "soft", axis=5)]),
        "soft",
    ),
    "dim out of range": (lambda: model([node("Relu", ["x"], ["y"])], [info("x", [2**50])]), "'x'"),
    "too few inputs": (lambda: model([node("Add", ["x"], ["y"], "lonely")]), "lonely"),
    "too many inputs": (lambda: model([node("Relu", ["x", "x"], ["y"], "crowd")]), "crowd"),
    "attribute of the wrong type": (
        lambda: model([node("Concat", ["x", "x"], ["y"], "cat", axis="one")]),
        "cat",
    ),
    "missing attribute": (lambda: model([node("Concat", ["x", "x"], ["y"], "cat")]), "cat"),
    "reshape to another size": (
        lambda: model(
            [node("Reshape", ["x", "s"], ["y"], "shape")],
            initializers=[numpy_helper.from_array(np.array([5, 5]), "s")],
        ),
        "shape",
    ),
    "overflowing dims": (
        lambda: model(
            [node("Add", ["x", "w"], ["y"])],
            initializers=[raw("w", FLOAT, [2**40, 2**40], b"")],
        ),
        "'w'",
    ),
    "negative dims": (
        lambda: model([node("Add", ["x", "w"], ["y"])], initializers=[raw("w", FLOAT, [-4], b"")]),
        "'w'",
    ),
    "too few bytes": (
        lambda: model(
            [node("Add", ["x", "w"], ["y"])], initializers=[raw("w", FLOAT, [2, 3], b"1234")]
        ),
        "'w'",
    ),
    "huge constant of shape": (
        lambda: model(
            [node("Expand", ["x", "s"], ["y"], "huge")],
            initializers=[numpy_helper.from_array(np.array([2**40, 2**40, 2, 3]), "s")],
        ),
        "huge",
    ),
    "unknown element type": (
        lambda: model([node("Relu", ["x"], ["y"])], [info("x", [2], 99)]),
        "99",
    ),
    "no opset": (lambda: model([node("Relu", ["x"], ["y"])], opset=0), "opset"),
    "opset of the future": (lambda: model([node("Relu", ["x"], ["y"])], opset=9999), "9999"),
    "outside: parent": (lambda: external("../secret.bin"), "../secret.bin"),
    "outside: absolute": (lambda: external("/etc/passwd"), "/etc/passwd"),
    "outside: hidden parent": (lambda: external("a/../../secret.bin"), "secret.bin"),
    "outside: link": (lambda: external("link.bin"), "link.bin"),
    "external data missing": (lambda: external("gone.bin"), "gone.bin"),
    "external data too short": (lambda: external("short.bin"), "short.bin"),
    "external offset beyond the end": (lambda: external("short.bin", 2**60), "short.bin"),
    "external negative offset": (lambda: external("short.bin", -8), "short.bin"),
    "recursive function": (calls_itself, "F"),
    "nested deeply": (lambda: nested(30), "'c'"),
    "nested without end": (lambda: nested(5000), "model.onnx"),
    "name that is no text": (
        lambda: relu().SerializeToString().replace(b"Relu", b"R\xff\xfeu"),
        "UTF-8",
    ),
}


def refused(args, folder: Path, words: str, capsys):
    """The command ends with 2 and one line; no other file comes into being."""
    before = sorted(p for p in folder.parent.rglob("*"))
    with pytest.raises(SystemExit) as end:
        main(args)
    err = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert end.value.code == 2, err
    assert len(err) == 1 and err[0].startswith("aicc: error:"), err
    assert words in err[0] and len(err[0]) < 1000
    assert sorted(p for p in folder.parent.rglob("*")) == before


@pytest.mark.parametrize("case", CASES)
def test_bad_models_are_refused(case, tmp_path, capsys):
    make, words = CASES[case]
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    (folder / "short.bin").write_bytes(bytes(8))
    os.symlink(tmp_path / "secret.bin", folder / "link.bin")
    path = folder / "model.onnx"
    made = make()
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    refused(["compile", str(path), "-o", str(folder / "out")], folder, words, capsys)


@pytest.mark.parametrize("keep", [0, 1, 7, 40, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(keep, tmp_path, capsys):
    weight = numpy_helper.from_array(np.ones((64, 3, 3), np.float32), "w")
    raw_bytes = model([node("Add", ["x", "w"], ["y"])], initializers=[weight]).SerializeToString()
    size = keep if isinstance(keep, int) else int(len(raw_bytes) * keep)
    (tmp_path / "cut.onnx").write_bytes(raw_bytes[:size])
    refused(["compile", str(tmp_path / "cut.onnx"), "-o", "o"], tmp_path, "cut.onnx", capsys)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_never_crash(seed, tmp_path):
    """Whatever a few changed bytes make of a model, it compiles or gives an AiccError."""
    rng = np.random.default_rng(seed)
    weight = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    nodes = [node("MatMul", ["x", "w"], ["h"], "m"), node("Softmax", ["h"], ["y"], "s", axis=1)]
    data = bytearray(model(nodes, initializers=[weight]).SerializeToString())
    for at in rng.integers(0, len(data), rng.integers(1, 4)):
        data[at] = rng.integers(0, 256)
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with contextlib.suppress(AiccError):
        aicc.compile(path)


class Payload:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def exported(path):
    program = torch.export.export(torch.nn.Linear(3, 2), (torch.ones(2, 3),))
    torch.export.save(program, path)


def poisoned(path, out, choose, payload: bytes):
    """Rewrite an archive, with `payload` in place of the entries that `choose` picks."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        hits = 0
        for name in old.namelist():
            hit = choose(name)
            hits += hit
            new.writestr(name, payload if hit else old.read(name))
    return hits


@pytest.mark.parametrize("how", ["plain", "torch"])
def test_pickles_in_pt2_are_not_run(how, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    marker = tmp_path / "was_run"
    exported(tmp_path / "good.pt2")
    aicc.compile(tmp_path / "good.pt2")
    if how == "plain":
        payload = pickle.dumps(Payload(marker))
    else:
        buffer = io.BytesIO()
        torch.save(Payload(marker), buffer)
        payload = buffer.getvalue()
    bad = folder / "bad.pt2"
    assert poisoned(tmp_path / "good.pt2", bad, lambda n: n.endswith(".pt"), payload)
    refused(["compile", str(bad), "-o", str(folder / "out")], folder, "bad.pt2", capsys)
    assert not marker.exists()


def test_pickled_objects_in_pt2_are_refused(tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    exported(folder / "model.pt2")
    with zipfile.ZipFile(folder / "model.pt2", "a") as archive:
        archive.writestr("model/data/constants/opaque_obj_0", pickle.dumps(Payload("x")))
    refused(["compile", str(folder / "model.pt2"), "-o", "o"], folder, "pickled object", capsys)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", pickle.dumps([1, 2])])
def test_other_files_named_pt2_are_refused(data, tmp_path, capsys):
    (tmp_path / "model.pt2").write_bytes(data)
    refused(["compile", str(tmp_path / "model.pt2"), "-o", "o"], tmp_path, "model.pt2", capsys)


# ---------------------------------------------------------------------- artifacts


@pytest.fixture
def artifact(tmp_path):
    weight = numpy_helper.from_array(np.ones((30, 3), np.float32), "w")
    m = model([node("Gemm", ["x", "w"], ["y"], transB=1)], initializers=[weight])
    aicc.compile(m).save(tmp_path / "folder" / "art")
    return tmp_path / "folder" / "art"


@pytest.mark.parametrize("name", ["model.mlir", "model.safetensors", "program.py"])
@pytest.mark.parametrize("how", ["flip", "cut", "delete"])
def test_changed_artifacts_are_refused(artifact, name, how, capsys):
    path = artifact / name
    data = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-1])
    else:
        data[-1] ^= 1
        path.write_bytes(data)
    refused(["run", str(artifact)], artifact, name, capsys)


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"format": 1, "target": "numpy", "files": {"../../x": "0"}}']
)
def test_bad_manifests_are_refused(artifact, manifest, capsys):
    (artifact / "manifest.json").write_text(manifest)
    refused(["run", str(artifact)], artifact, "manifest.json", capsys)


def test_a_failed_save_leaves_the_old_artifact(artifact, monkeypatch):
    import aicc.artifact as module

    before = {p.name: p.read_bytes() for p in artifact.iterdir()}

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "save_weights", full)
    with pytest.raises(OSError):
        aicc.compile(relu()).save(artifact)
    assert {p.name: p.read_bytes() for p in artifact.iterdir()} == before
    assert [p.name for p in artifact.parent.iterdir()] == [artifact.name]


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AiccError, match="left alone"):
        aicc.compile(relu()).save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_large_models_keep_external_data(tmp_path):
    """External data inside the folder is read, from subfolders too."""
    (tmp_path / "data").mkdir()
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "data" / "w.bin").write_bytes(b"\0" * 8 + w.tobytes())
    onnx.save(external("data/w.bin", 8), tmp_path / "m.onnx")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(aicc.compile(tmp_path / "m.onnx")(x), x + w)
