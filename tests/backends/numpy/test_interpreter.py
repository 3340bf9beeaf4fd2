"""The executor and xDSL's interpreter give the same answers from the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from xdsl.interpreter import Interpreter
from xdsl.utils.exceptions import ParseError, VerifyException

import aicc
import aicc.errors
from aicc.backends.numpy.backend import NumpyBackend
from aicc.backends.numpy.interpreter import GraphFunctions, interpret
from aicc.backends.numpy.table import implements
from aicc.ir.asm import parse_module
from aicc.ir.graph import OPS

ROOT = Path(__file__).parents[3]


def test_every_op_has_an_implementation():
    assert all(implements(op) for op in OPS.values())
    interpreter = Interpreter(aicc.compile(ROOT / "examples/digits/digits.onnx").module)
    interpreter.register_implementations(GraphFunctions({}))


def test_digits_op_by_op():
    model = aicc.compile(ROOT / "examples/digits/digits.onnx")
    x = np.load(ROOT / "examples/digits/samples.npy")
    np.testing.assert_array_equal(interpret(model.module, [x])[0], model(x))


FUSED = """
func.func @main(%x: tensor<3xf32>)
    -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  %a, %b, %c, %unused = graph.fused %x {role = "pointwise", label = "twice"} : (tensor<3xf32>)
      -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  ^bb0(%p: tensor<3xf32>):
    %k = graph.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
    %s = graph.add %p, %p : tensor<3xf32>
    %n = graph.neg %s : tensor<3xf32>
    graph.yield %s, %s, %p, %n : (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> ()
  }
  %d = graph.exp %x : tensor<3xf32>
  func.return %a, %b, %c, %d : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
}
"""


def test_a_kernel_may_give_a_value_twice_and_give_back_what_it_read():
    module = parse_module(FUSED)
    x = np.array([1, 2, 3], np.float32)
    want = [x + x, x + x, x, np.exp(x)]
    for got in (interpret(module, [x]), NumpyBackend().run(module, [x])):
        for a, b in zip(want, got, strict=True):
            np.testing.assert_array_equal(a, b)
    owned = NumpyBackend().load(module, owned_outputs=True)(x)
    owned[2][:] = 9
    owned[0][:] = 9
    np.testing.assert_array_equal(x, [1, 2, 3])
    np.testing.assert_array_equal(owned[1], [2, 4, 6])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("^bb0(%p: tensor<3xf32>)", "^bb0(%p: tensor<3xf32>, %q: tensor<3xf32>)", "takes 2"),
        (
            "graph.yield %s, %s, %p, %n : (tensor<3xf32>, ",
            "graph.yield %s, %s, %p : (",
            "4 results",
        ),
        ('role = "pointwise"', 'role = "opaque"', "one of pointwise"),
        (
            "%n = graph.neg %s",
            "%n = graph.rng_uniform {shape = [3], dtype = f32} : tensor<3xf32> //",
            "only pure graph ops",
        ),
    ],
)
def test_kernels_are_verified(old, new, words):
    assert old in FUSED
    with pytest.raises((ParseError, VerifyException), match=words):
        parse_module(FUSED.replace(old, new))


def looping_model() -> onnx.ModelProto:
    """Sums and keeps x·(i+1) for i < n, and takes the larger branch of an If."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["f", "one"], ["g"]),
            helper.make_node("Mul", ["x", "g"], ["term"]),
            helper.make_node("Add", ["total", "term"], ["next"]),
            helper.make_node("Identity", ["going"], ["go"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("total", TensorProto.FLOAT, ["k"]),
        ],
        [
            value("go", TensorProto.BOOL, []),
            value("next", TensorProto.FLOAT, ["k"]),
            value("term", TensorProto.FLOAT, ["k"]),
        ],
    )
    branches: dict[str, Any] = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["sum"], [name])], name, [], [value(name, 1, ["k"])]
        )
        for name, op in (("then", "Neg"), ("else", "Exp"))
    }
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["one"], value_float=1.0),
            helper.make_node("Loop", ["n", "", "x"], ["sum", "terms"], body=body),
            helper.make_node("ReduceMax", ["sum"], ["top"], keepdims=0),
            helper.make_node("Greater", ["top", "one"], ["large"]),
            helper.make_node("If", ["large"], ["y"], **branches),
        ],
        "loops",
        [value("n", TensorProto.INT64, []), value("x", TensorProto.FLOAT, ["k"])],
        [value("y", TensorProto.FLOAT, ["k"]), value("terms", TensorProto.FLOAT, ["m", "k"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("sign", [1, -1])
def test_control_flow(n, sign):
    proto = looping_model()
    model = aicc.compile(proto, verify_each=True)
    feeds = {"n": np.array(n), "x": sign * np.array([0.5, 1.5, 0.25], np.float32)}
    want = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    for got in (model(*feeds.values()), interpret(model.module, list(feeds.values()))):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, np.asarray(b), rtol=1e-6)


def test_a_failing_op_is_named():
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "i"], ["y"], name="pick")],
        "gather",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [3]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = aicc.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    with pytest.raises(aicc.errors.InputError, match=r"graph\.gather at .*pick.*out of bounds"):
        model(np.zeros(3, np.float32), np.array([0, 7]))


def test_memory_follows_liveness():
    """A chain of 200 buffers of 1 MB never holds more than a few of them."""
    import tracemalloc

    from xdsl.dialects.builtin import ModuleOp

    from aicc.ir import graph
    from aicc.ir.builder import GraphBuilder
    from aicc.ir.module import finish_function, new_function
    from aicc.ir.types import tensor

    func = new_function("main", [("x", tensor((1 << 18,), "f32"))])
    b = GraphBuilder(func.body.block)
    v = func.args[0]
    for i in range(200):
        v = b.emit(graph.Sin if i % 2 else graph.Abs, v)
    finish_function(func, [("y", v)])
    model = aicc.compile(ModuleOp([func]))
    x = np.ones(1 << 18, np.float32)
    model(x)
    tracemalloc.start()
    model(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_sizes_read_in_a_branch_end_there():
    """Both branches launch a kernel over a size that is known once they run."""
    some = "tensor<?xf32, #graph.dims<n>>"
    branch = f"""{{
        %v = graph.custom_call %x {{target = "made"}} : (tensor<2xf32>) -> {some}
        %s = tile.launch %v {{kernel = "double"}} : {some}
        %t = graph.reduce_sum %s {{axes = [0], keepdims = false}} : ({some}) -> tensor<f32>
        graph.yield %t : (tensor<f32>) -> ()
      }}"""
    module = parse_module((ROOT / "tests/ir/double.mlir").read_text())
    main = parse_module(f"""
    func.func @main(%c: tensor<i1>, %x: tensor<2xf32>) -> tensor<f32> {{
      %0 = graph.if %c : (tensor<i1>) -> tensor<f32> {branch} {branch}
      func.return %0 : tensor<f32>
    }}""")
    func = next(iter(main.ops))
    func.detach()
    module.body.block.add_op(func)
    made = NumpyBackend(lambda target, payload: lambda x: (np.repeat(x, 3),))
    for condition in (True, False):
        found = made.run(module, [np.array(condition), np.array([1, 2], np.float32)])
        assert found == [18]
