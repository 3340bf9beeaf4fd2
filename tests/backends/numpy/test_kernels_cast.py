"""Casts against onnx.reference and ONNX Runtime; bit casts."""

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from aicc.backends.numpy.kernels.cast import bitcast, cast, unit

WIDE = ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"]
FLOAT8 = ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"]
INTS = ["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"]
SUB_BYTE = ["INT4", "UINT4", "INT2", "UINT2"]


def dtype(name: str) -> np.dtype:
    return helper.tensor_dtype_to_np_dtype(getattr(TensorProto, name))


def model(source: str, to: str, **attributes) -> onnx.ModelProto:
    node = helper.make_node("Cast", ["x"], ["y"], to=getattr(TensorProto, to), **attributes)
    x = helper.make_tensor_value_info("x", getattr(TensorProto, source), [None])
    y = helper.make_tensor_value_info("y", getattr(TensorProto, to), [None])
    opsets = [helper.make_opsetid("", 21)]
    graph = helper.make_graph([node], "g", [x], [y])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def same(found: np.ndarray, expected: Any) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found.astype(np.float64), expected.astype(np.float64))


VALUES = np.array(
    [
        *(0.0, -0.0, 0.5, 1.5, 2.5, -2.5, 0.47892547, 3.14, -7.2, 15.0, 240.0, 448.0, 460.0),
        *(464.0, 480.0, 57344.0, 60000.0, 61440.0, 65504.0, 1e-3, -1e-3, 2.0**-9, 2.0**-16),
        *(2.0**-17, -448.0, -500.0, 1e-8, -1e-8),
    ]
)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 1e6, -1e6])


@pytest.mark.parametrize(("source", "to"), list(itertools.product(WIDE, FLOAT8)))
@pytest.mark.parametrize("saturate", [0, 1])
def test_to_float8(source, to, saturate):
    x = np.concatenate([VALUES, SPECIAL]).astype(dtype(source))
    reference: Any = ReferenceEvaluator(model(source, to, saturate=saturate))
    expected = reference.run(None, {"x": x})[0]
    same(cast(x, to=dtype(to), saturate=bool(saturate)), expected)


@pytest.mark.parametrize(("source", "to"), list(itertools.permutations(WIDE + FLOAT8, 2)))
def test_between_floats(source, to):
    x = VALUES[:10].astype(dtype(source))
    same(cast(x, to=dtype(to)), x.astype(np.float64).astype(dtype(to)))


@pytest.mark.parametrize(
    ("source", "to"), list(itertools.product(["FLOAT", "DOUBLE", "FLOAT16"], INTS))
)
def test_float_to_int_as_onnx_runtime(source, to):
    x = np.array(
        [
            *(0.5, -0.5, 1.99, -2.5, 300.7, -129.6, 70000, -70000, 3e9, 1e10, -1e10, 1e19, -1e19),
            *(np.nan, np.inf, -np.inf),
        ]
    ).astype(dtype(source))
    session = onnxruntime.InferenceSession(
        model(source, to).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    same(cast(x, to=dtype(to)), session.run(None, {"x": x})[0])


@pytest.mark.parametrize("source", [*WIDE, *FLOAT8])
@pytest.mark.parametrize("to", INTS + SUB_BYTE)
def test_float_to_int_truncates(source, to):
    x = np.array([0.0, 0.75, 1.0, 1.5] if to == "INT2" else [0.0, 0.75, 1.0, 2.5, 3.5])
    x = x.astype(dtype(source))
    same(cast(x, to=dtype(to)), np.trunc(x.astype(np.float64)).astype(np.int8).astype(dtype(to)))


@pytest.mark.parametrize("to", SUB_BYTE)
def test_integers_wrap_to_sub_byte(to):
    x = np.arange(-40, 40, dtype=np.int32)
    bits = 4 if "4" in to else 2
    expected = x % 2**bits
    if not to.startswith("U"):
        expected = np.where(expected >= 2 ** (bits - 1), expected - 2**bits, expected)
    found = cast(x, to=dtype(to))
    assert found.dtype == dtype(to) and found.astype(np.int32).tolist() == expected.tolist()
    back = cast(found, to=np.dtype(np.int64))
    assert back.dtype == np.int64 and back.tolist() == expected.tolist()


@pytest.mark.parametrize("to", [*WIDE, *FLOAT8, *INTS, *SUB_BYTE, "FLOAT4E2M1"])
def test_bool_both_ways(to):
    x = np.array([True, False])
    there = cast(x, to=dtype(to))
    assert there.dtype == dtype(to)
    if to != "INT2":
        assert there.astype(np.float32).tolist() == [1, 0]
    assert cast(there, to=np.dtype(np.bool_)).tolist() == [True, False]


def test_nan_is_true():
    x = np.array([np.nan, 0.0, -0.0, 0.1])
    assert cast(x, to=np.dtype(np.bool_)).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("down", [0.25, 1, 1, 1, 2, 2.0**127]),
        ("up", [0.25, 1, 2, 2, 4, 2.0**127]),
        ("nearest", [0.25, 1, 1, 2, 4, 2.0**127]),
    ],
)
def test_to_e8m0_rounds_exponents(mode, expected):
    e8m0 = np.dtype(ml_dtypes.float8_e8m0fnu)
    x = np.array([0.25, 1, 1.2, 1.5, 3, np.inf, np.nan, 0], np.float32)
    found = cast(x, to=e8m0, round_mode=mode)
    assert found.dtype == e8m0
    wide = found.astype(np.float32)
    np.testing.assert_array_equal(wide[:5], expected[:5])
    assert np.isnan(wide[6]) and wide[7] == 2.0**-127


def test_same_dtype_is_not_copied():
    x = np.zeros(3)
    assert cast(x, to=np.dtype(np.float64)) is x


@pytest.mark.parametrize("value", [np.float32(1.5), np.array(1.5, np.float32)])
@pytest.mark.parametrize("to", ["FLOAT16", "FLOAT8E5M2", "INT4", "INT8", "BOOL"])
def test_scalars(value, to):
    assert cast(value, to=dtype(to)).shape == ()


class TestBitcast:
    def test_floats(self):
        x = np.array([[1.0, -2.0]], np.float32)
        found = bitcast(x, to=np.dtype(np.uint32))
        assert found.shape == (1, 2) and found.tolist() == [[0x3F800000, 0xC0000000]]

    def test_a_view_of_something_strided(self):
        x = np.arange(12, dtype=np.int16).reshape(3, 4).T
        np.testing.assert_array_equal(bitcast(x, to=np.dtype(np.uint16)), x)

    def test_bool(self):
        assert bitcast(np.array([True, False]), to=np.dtype(np.int8)).tolist() == [1, 0]
        assert bitcast(np.array([1, 0], np.uint8), to=np.dtype(np.bool_)).tolist() == [True, False]

    def test_scalar(self):
        assert bitcast(np.array(1.0, np.float64), to=np.dtype(np.int64)).shape == ()

    def test_four_bits(self):
        x = np.array([-1, -8, 7, 0]).astype(ml_dtypes.int4)
        assert bitcast(x, to=dtype("UINT4")).astype(int).tolist() == [15, 8, 7, 0]
        back = bitcast(bitcast(x, to=dtype("UINT4")), to=dtype("INT4"))
        assert back.astype(int).tolist() == [-1, -8, 7, 0]
        floats = bitcast(np.array([2, 10]).astype(ml_dtypes.uint4), to=dtype("FLOAT4E2M1"))
        assert floats.astype(np.float32).tolist() == [1.0, -1.0]

    def test_two_bits(self):
        x = np.array([0, 1, 2, 3]).astype(ml_dtypes.uint2)
        assert bitcast(x, to=dtype("INT2")).astype(int).tolist() == [0, 1, -2, -1]


def test_unit():
    assert unit(np.dtype(np.float32)) == 2.0**-23
    assert unit(dtype("BFLOAT16")) == 2.0**-7
