"""Names in a model become comments, strings and identifiers of a program: never its code."""

from __future__ import annotations

import ast
import io
import re
import tokenize

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import aicc
from aicc.backends.printing import plain

EVIL = "evil_marker"
PAYLOADS = {
    "newline": f"a\n{EVIL} = 1\n#",
    "docstring": f'a"""\n{EVIL}\n"""',
    "quote": f"a'{EVIL}'",
    "double quote": f'a", {EVIL}, "',
    "brackets": f'a"]; {EVIL}; b["',
    "comment": f"a*/ {EVIL} /*",
    "continuation": "a\\",
    "trigraph": "a??/",
    "ends in a quote": 'a"',
    "return": f"a\r{EVIL}\r",
    "line separator": f"a\u2028{EVIL}\x0b{EVIL}\x0c",
    "letters": "层/é.😀",
    "template": "{0} %s $(x) `x`",
}
C_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:[^"\\\n]|\\.)*"|' + r"'(?:[^'\\\n]|\\.)*'", re.S
)


def model(name: str) -> onnx.ModelProto:
    """A model with that name wherever a name may stand: a product, a norm, a softmax."""
    w = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    dims = [name + "dim", 64]
    x = helper.make_tensor_value_info(name + "x", TensorProto.FLOAT, dims)
    y = helper.make_tensor_value_info(name + "y", TensorProto.FLOAT, [name + "dim", 48])
    nodes = [
        helper.make_node("MatMul", [name + "x", name + "w"], [name + "p"], name=name + "1"),
        helper.make_node("Relu", [name + "p"], [name + "r"], name=name + "/2/" + name),
        helper.make_node("Softmax", [name + "r"], [name + "y"], name=name),
    ]
    graph = helper.make_graph(nodes, name, [x], [y], [numpy_helper.from_array(w, name + "w")])
    return helper.make_model(graph, producer_name=name, doc_string=name)


def check_python(source: str) -> None:
    ast.parse(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        assert token.type != tokenize.NAME or token.string != EVIL, token.line


def check_c(source: str) -> None:
    assert not re.search(r"(?:\\|\?\?/)\s*\n", re.sub(r"(?m)^\s*#.*\\\n", "", source)), "continued"
    assert not re.search(rf"\b{EVIL}\b", C_TEXT.sub(" ", source))


@pytest.mark.parametrize("target", ["numpy", "cpp", "triton", "ascendc"])
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_names_are_no_code(target, payload, tmp_path):
    compiled = aicc.compile(model(payload), target=target)
    folder = compiled.save(tmp_path / "a")
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".py":
            check_python(path.read_text())
        elif path.suffix in (".cpp", ".c", ".h", ".asc") and path.name.startswith(
            ("kernels", "model", "main", "weights")
        ):
            check_c(path.read_text())
    assert aicc.load(folder).source == compiled.source
    if target != "ascendc":
        x = np.ones((3, 64), np.float32)
        np.testing.assert_allclose(compiled(x).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["a b", "a(){} int b", "1a", "", "a-b", "a\n"])
def test_kernels_are_named_by_identifiers(name):
    from aicc.ir.tile import Kernel

    source = aicc.compile(model("a"), target="triton").module
    kernel = next(op for op in source.ops if isinstance(op, Kernel))
    kernel.set_param("sym_name", name)
    with pytest.raises(Exception, match="no identifier"):
        kernel.verify()


def test_library_calls_and_schedules_are_no_code():
    from aicc.ir.tile import Kernel, ScheduleAttr

    source = aicc.compile(model("a"), target="triton").module
    kernel = next(op for op in source.ops if isinstance(op, Kernel))
    with pytest.raises(Exception, match="expected one of"):
        kernel.set_param("library", "__import__('os').system")
    for name in ("x): evil(", "a b", ""):
        with pytest.raises(ValueError, match="no schedule parameter"):
            ScheduleAttr({name: 4})


def test_plain():
    assert plain("a\nb") == "a b" and plain('"""x*/\\') == "'''x* //"
    assert plain("é/block1/conv") == "é/block1/conv" and len(plain("x" * 5000)) < 400
