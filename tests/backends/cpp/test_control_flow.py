"""Loops and branches in the C++ function that launches a model's kernels."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

import aicc
from aicc.backends.cpp.backend import CppProgram


def value(name: str, shape, type: int = T.FLOAT):
    return h.make_tensor_value_info(name, type, shape)


def constant(name: str, array: Any):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, constants=()) -> onnx.ModelProto:
    graph = h.make_graph(nodes, "g", inputs, outputs, initializer=list(constants))
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)


def agrees(proto: onnx.ModelProto, *inputs: np.ndarray, native: bool = True) -> list[np.ndarray]:
    """The C++ target's results, which are the NumPy target's; called twice for what is kept."""
    want = aicc.compile(proto, target="numpy").run(list(inputs))
    compiled = aicc.compile(proto, target="cpp")
    program = compiled._program
    assert isinstance(program, CppProgram)
    assert (program.native is not None) == native
    for _ in range(2):
        got = compiled.run(list(inputs))
        for g, w in zip(got, want, strict=True):
            assert g.shape == w.shape and g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)
    program.entry = None  # Python runs what stands between kernels
    for g, w in zip(compiled.run(list(inputs)), want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)
    return list(want)


def turns(trips: int, scan: bool = False) -> onnx.ModelProto:
    """a, b = b, a + 2b so many times; with `scan`, all a + 2b as well."""
    body = h.make_graph(
        [
            h.make_node("Add", ["b", "b"], ["twice"]),
            h.make_node("Add", ["a", "twice"], ["sum"]),
            h.make_node("Identity", ["b"], ["a_next"]),
            h.make_node("Identity", ["again"], ["again_next"]),
        ],
        "body",
        [value("i", [], T.INT64), value("again", [], T.BOOL), value("a", [5]), value("b", [5])],
        [
            value("again_next", [], T.BOOL),
            value("a_next", [5]),
            value("sum", [5]),
            *([value("sum", [5])] if scan else []),
        ],
    )
    results = ["p", "q", *(["all"] if scan else [])]
    shapes = [[5], [5], [trips, 5]]
    return model(
        [h.make_node("Loop", ["trips", "", "x", "y"], results, body=body)],
        [value("x", [5]), value("y", [5])],
        [value(n, s) for n, s in zip(results, shapes, strict=False)],
        [constant("trips", np.int64(trips))],
    )


@pytest.mark.parametrize("trips", [0, 1, 2, 7])
@pytest.mark.parametrize("scan", [False, True])
def test_carried_values_trade_places(trips, scan):
    x, y = np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    agrees(turns(trips, scan), x, y)


@pytest.mark.parametrize("start", [0.5, 3.0, 100.0])
def test_a_loop_that_stops_early(start):
    """Doubles until the sum passes a limit, within a branch."""
    body = h.make_graph(
        [
            h.make_node("Add", ["x", "x"], ["twice"]),
            h.make_node("ReduceSum", ["twice"], ["sum"], keepdims=0),
            h.make_node("Less", ["sum", "limit"], ["again"]),
        ],
        "body",
        [value("i", [], T.INT64), value("c", [], T.BOOL), value("x", [4])],
        [value("again", [], T.BOOL), value("twice", [4])],
    )
    yes = h.make_graph(
        [h.make_node("Loop", ["", "small", "first"], ["grown"], body=body)],
        "yes",
        [],
        [value("grown", [4])],
    )
    no = h.make_graph([h.make_node("Neg", ["first"], ["less"])], "no", [], [value("less", [4])])
    proto = model(
        [
            h.make_node("Exp", ["given"], ["first"]),
            h.make_node("ReduceMax", ["first"], ["most"], keepdims=0),
            h.make_node("Less", ["most", "limit"], ["small"]),
            h.make_node("If", ["small"], ["chosen"], then_branch=yes, else_branch=no),
            h.make_node("Mul", ["chosen", "first"], ["out"]),
        ],
        [value("given", [4])],
        [value("out", [4]), value("chosen", [4])],
        [constant("limit", np.float32(1000))],
    )
    agrees(proto, np.log(np.full(4, start, np.float32)) + np.arange(4, dtype=np.float32))


def recurrent(sequence) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    w, r = (rng.standard_normal((2, 64, n), np.float32) * 0.3 for n in (9, 16))
    b = rng.standard_normal((2, 128), np.float32)
    return model(
        [
            h.make_node(
                "LSTM",
                ["x", "w", "r", "b"],
                ["y", "h", "c"],
                hidden_size=16,
                direction="bidirectional",
            )
        ],
        [value("x", [sequence, 3, 9])],
        [value("y", [sequence, 2, 3, 16]), value("h", [2, 3, 16]), value("c", [2, 3, 16])],
        [constant("w", w), constant("r", r), constant("b", b)],
    )


@pytest.mark.parametrize("sequence, length", [(6, 6), ("seq", 5), ("seq", 1)])
def test_recurrent_layers(sequence, length):
    x = np.random.default_rng(1).standard_normal((length, 3, 9), np.float32)
    agrees(recurrent(sequence), x)


def test_loops_in_loops():
    """Each row of the outer loop is what the inner one adds up, which reads the outer's state."""
    inner = h.make_graph(
        [
            h.make_node("Mul", ["s", "state"], ["scaled"]),
            h.make_node("Add", ["scaled", "half"], ["s_next"]),
            h.make_node("Identity", ["c"], ["c_next"]),
        ],
        "inner",
        [value("i", [], T.INT64), value("c", [], T.BOOL), value("s", [3])],
        [value("c_next", [], T.BOOL), value("s_next", [3])],
    )
    outer = h.make_graph(
        [
            h.make_node("Loop", ["three", "", "state"], ["deep"], body=inner),
            h.make_node("Tanh", ["deep"], ["next"]),
            h.make_node("Identity", ["k"], ["k_next"]),
        ],
        "outer",
        [value("j", [], T.INT64), value("k", [], T.BOOL), value("state", [3])],
        [value("k_next", [], T.BOOL), value("next", [3]), value("deep", [3])],
    )
    proto = model(
        [h.make_node("Loop", ["four", "", "x"], ["last", "rows"], body=outer)],
        [value("x", [3])],
        [value("last", [3]), value("rows", [4, 3])],
        [
            constant("three", np.int64(3)),
            constant("four", np.int64(4)),
            constant("half", np.full(3, 0.5, np.float32)),
        ],
    )
    agrees(proto, np.array([0.1, -0.7, 1.2], np.float32))


@pytest.mark.parametrize("trips", [0, 1, 4])
def test_a_loop_of_a_length_that_is_an_input_is_left_to_python(trips):
    """What it begins with lies where its rounds write, and is among what it stacks."""
    body = h.make_graph(
        [
            h.make_node("Add", ["a", "a"], ["twice"]),
            h.make_node("Identity", ["a"], ["old"]),
            h.make_node("Identity", ["again"], ["again_next"]),
        ],
        "body",
        [value("i", [], T.INT64), value("again", [], T.BOOL), value("a", [5])],
        [value("again_next", [], T.BOOL), value("twice", [5]), value("old", [5])],
    )
    proto = model(
        [
            h.make_node("Exp", ["x"], ["first"]),
            h.make_node("Loop", ["trips", "", "first"], ["last", "all"], body=body),
            h.make_node("Neg", ["all"], ["out"]),
        ],
        [value("x", [5]), value("trips", [], T.INT64)],
        [value("out", ["rows", 5])],
    )
    agrees(proto, np.arange(5, dtype=np.float32), np.array(trips), native=False)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_c_program_runs_a_recurrent_model(tmp_path):
    out = tmp_path / "out"
    aicc.compile(recurrent("seq"), target="cpp").save(out, ["native"])
    text = (out / "main.c").read_text().replace("seq = 1;", "seq = 7;")
    (out / "main.c").write_text(text)
    flags = ("-Wl,-rpath,.", "-o", "model")
    subprocess.run(["cc", "main.c", "kernels.native.so", *flags], cwd=out, check=True)
    done = subprocess.run(["./model"], cwd=out, check=True, capture_output=True, text=True)
    want = aicc.compile(recurrent("seq"), target="numpy").run([np.zeros((7, 3, 9), np.float32)])
    np.testing.assert_allclose(float(done.stdout), want[0].ravel()[0], rtol=1e-4)
