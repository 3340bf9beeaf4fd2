"""Quantization, Fourier transforms and random numbers."""

from typing import Any

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import helper

from aicc.backends.numpy.kernels.cast import cast
from aicc.backends.numpy.kernels.quant import dequantize, integer_range, quantize
from aicc.backends.numpy.kernels.random import rng_normal, rng_uniform
from aicc.backends.numpy.kernels.signal import dft

f32 = np.dtype(np.float32)
INTS = [np.int8, np.uint8, np.int16, np.uint16]
SUB_BYTE = [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2]
FLOAT8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


def run_onnx(op, inputs, output, **attributes):
    def kind(dtype):
        return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    node = helper.make_node(op, list(inputs), ["y"], **attributes)
    arguments = [
        helper.make_tensor_value_info(n, kind(v.dtype), v.shape) for n, v in inputs.items()
    ]
    result = helper.make_tensor_value_info("y", kind(output), None)
    graph = helper.make_graph([node], "g", arguments, [result])
    opsets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, inputs)[0])


class TestQuantize:
    @pytest.mark.parametrize("dtype", INTS)
    @pytest.mark.parametrize("how", ["tensor", "axis 1", "blocked"])
    @pytest.mark.parametrize("shape", [(3, 6, 5), (2, 6, 9000)])
    def test_like_onnx_runtime(self, rng, dtype, how, shape):
        x = (rng.standard_normal(shape) * 100).astype(np.float32)
        x[0, 0, :4] = [0.5, 1.5, -0.5, 2.5]
        size = {"tensor": (), "axis 1": (6,), "blocked": (shape[0], 2, shape[2])}[how]
        scale = rng.uniform(0.5, 1.5, size).astype(np.float32)
        zero = rng.integers(0, 20, size).astype(dtype)
        extra: Any = {"block_size": 3} if how == "blocked" else {}
        axis = 1
        inputs = {"x": x, "scale": scale, "zero": zero}
        expected = run_onnx("QuantizeLinear", inputs, dtype, axis=axis, **extra)
        found = quantize(x, scale, zero, dtype=np.dtype(dtype), axis=axis, **extra)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
        inputs = {"x": found, "scale": scale, "zero": zero}
        expected = run_onnx("DequantizeLinear", inputs, np.float32, axis=axis, **extra)
        back = dequantize(found, scale, zero, dtype=f32, axis=axis, **extra)
        assert back.dtype == f32
        np.testing.assert_array_equal(back, expected)

    @pytest.mark.parametrize("dtype", [*INTS, *SUB_BYTE])
    def test_saturates(self, dtype):
        low, high = integer_range(np.dtype(dtype))
        x = np.array([-1e9, 1e9, 0, 1], np.float32)
        found = quantize(x, np.array(1, np.float32), dtype=np.dtype(dtype))
        assert found.dtype == dtype and found.astype(int).tolist() == [low, high, 0, 1]

    @pytest.mark.parametrize("dtype", FLOAT8)
    @pytest.mark.parametrize("saturate", [False, True])
    def test_to_float8(self, rng, dtype, saturate):
        x = (rng.standard_normal(100) * 1000).astype(np.float32)
        scale = np.array(2, np.float32)
        found = quantize(x, scale, dtype=np.dtype(dtype), saturate=saturate)
        expected = cast(x / 2, to=np.dtype(dtype), saturate=saturate)
        np.testing.assert_array_equal(found.astype(f32), expected.astype(f32))
        back = dequantize(found, scale, dtype=f32)
        np.testing.assert_array_equal(back, found.astype(f32) * 2)

    def test_wide_zero_points_are_exact(self):
        x = np.array([2**24 + 1, 2**24 + 3], np.int32)
        found = dequantize(x, np.array(1, np.float32), np.array(2**24, np.int32), dtype=f32)
        assert found.tolist() == [1, 3]

    @pytest.mark.parametrize("value", [np.array(3.3, np.float32), np.zeros((0, 3), np.float32)])
    def test_scalars_and_nothing(self, value):
        zero = np.array(3, np.uint8)
        found = quantize(value, np.array(0.5, np.float32), zero, dtype=np.dtype(np.uint8))
        assert found.shape == value.shape
        assert dequantize(found, np.array(0.5, np.float32), zero, dtype=f32).shape == value.shape

    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
    def test_16_bit_floats(self, rng, dtype):
        x = rng.standard_normal(50).astype(dtype)
        scale = np.array(0.05).astype(dtype)
        found = quantize(x, scale, dtype=np.dtype(np.int8))
        back = dequantize(found, scale, dtype=np.dtype(dtype))
        assert back.dtype == dtype
        np.testing.assert_allclose(back.astype(f32), x.astype(f32), atol=0.04)


class TestDFT:
    @pytest.mark.parametrize("parts", [1, 2])
    @pytest.mark.parametrize("length", [8, 7, 5, 12])
    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
    def test_forward_and_back(self, rng, parts, length, axis, dtype):
        x = rng.standard_normal((8, 8, parts)).astype(dtype)
        signal = x[..., 0].astype(complex)
        if parts == 2:
            signal += 1j * x[..., 1]
        expected = np.fft.fft(signal, length, axis)
        tol = 2e-2 if dtype == np.float16 else 1e-5
        found = dft(x, axis=axis, length=(length,))
        assert found.dtype == dtype
        np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=tol)
        half = dft(x, axis=axis, length=(length,), onesided=True)
        expected = expected.take(np.arange(length // 2 + 1), axis)
        np.testing.assert_allclose(half[..., 0] + 1j * half[..., 1], expected, atol=tol)
        back = dft(found, axis=axis, length=(length,), inverse=True)
        n = min(length, 8)
        whole = x if parts == 2 else np.concatenate([x, np.zeros_like(x)], -1)
        kept = (slice(n), slice(None)) if axis == 0 else (slice(None), slice(n))
        np.testing.assert_allclose(back[kept], whole[kept], atol=tol)

    @pytest.mark.parametrize("length", [7, 8])
    def test_onesided_inverse_gives_the_real_signal(self, rng, length):
        x = rng.standard_normal((3, length, 1)).astype(np.float32)
        half = dft(x, axis=1, length=(length,), onesided=True)
        back = dft(half, axis=1, length=(length,), onesided=True, inverse=True)
        assert back.shape == x.shape and back.dtype == np.float32
        np.testing.assert_allclose(back, x, atol=1e-5)


class TestRandom:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
    def test_uniform(self, dtype):
        x = rng_uniform(shape=(100, 100), dtype=np.dtype(dtype), seed=1, low=0.0, high=1.0)
        assert x.dtype == dtype and x.shape == (100, 100)
        wide = x.astype(np.float64)
        assert wide.min() >= 0 and wide.max() < 1 and abs(wide.mean() - 0.5) < 0.02
        again = rng_uniform(shape=(100, 100), dtype=np.dtype(dtype), seed=1, low=0.0, high=1.0)
        np.testing.assert_array_equal(x, again)

    def test_limits(self):
        x = rng_uniform(shape=(1000,), dtype=f32, seed=2, low=-3.0, high=5.0)
        assert -3 <= x.min() < -2.9 and 4.9 < x.max() < 5

    def test_normal(self):
        x = rng_normal(shape=(20000,), dtype=f32, seed=3, mean=2.0, std=0.5)
        assert x.dtype == f32 and abs(x.mean() - 2) < 0.02 and abs(x.std() - 0.5) < 0.02

    def test_without_a_seed_each_draw_is_new(self):
        a, b = (rng_normal(shape=(4,), dtype=f32, seed=None, mean=0.0, std=1.0) for _ in range(2))
        assert (a != b).all()
