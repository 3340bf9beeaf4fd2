"""Products of bytes and of bf16 by the runtime: matrix registers, vectors, and widened elements."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from aicc.backends.cpp.build import FLAGS, RUNTIME, compiler

HARNESS = """
#include "aicc_cpu.h"
using namespace aicc;
#define PRODUCTS(name, Sum, T)                                                                   \\
  extern "C" void name(Sum* c, int64_t row, const T* a, const T* b, const T* packed, int64_t m,  \\
                       int64_t n, int64_t k, int64_t arow, int64_t acol, int64_t brow,           \\
                       int64_t bcol, int64_t panel, int64_t add) {                               \\
    const matrix<T> left{a, arow, acol};                                                         \\
    if (packed)                                                                                  \\
      dot(c, row, left, panels<T>{packed, panel}, m, n, k, add != 0);                            \\
    else                                                                                         \\
      dot(c, row, left, matrix<T>{b, brow, bcol}, m, n, k, add != 0);                            \\
  }
PRODUCTS(of_bytes, int32_t, int8_t)
PRODUCTS(of_bf16, float, bf16)
"""
BUILDS = {
    "matrix registers": ("x86-64-v4", "amx_bf16", ()),
    "vectors": ("cascadelake", "avx512_vnni", ("-DAICC_NO_SQUARES",)),
    "vectors of bf16": ("cooperlake", "avx512_bf16", ("-DAICC_NO_SQUARES",)),
    "wide": ("x86-64-v4", "avx512vl", ("-DAICC_NO_SQUARES",)),
    "narrow": ("x86-64-v3", "avx2", ()),
    "least": ("x86-64", "sse2", ()),
}
"""An instruction set, what a chip must have for it, and options."""

SIZES = [
    (1, 1, 1),
    (1, 70, 33),
    (3, 64, 8),
    (16, 16, 64),
    (31, 48, 32),
    (33, 65, 100),
    (50, 130, 9),
]


@pytest.fixture(scope="module", params=BUILDS)
def library(request, tmp_path_factory):
    arch, feature, options = BUILDS[request.param]
    if feature not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this machine has no {feature}")
    folder = tmp_path_factory.mktemp("runtime")
    (folder / "harness.cpp").write_text(HARNESS)
    flags = [*(f for f in FLAGS if f != "-O3"), "-O1", f"-march={arch}", *options]
    sources = [RUNTIME / "dot_bytes.cpp", RUNTIME / "dot_bf16.cpp", folder / "harness.cpp"]
    goal = folder / "harness.so"
    command = [str(compiler()), *flags, "-I", str(RUNTIME), "-shared", *map(str, sources)]
    subprocess.run([*command, "-o", str(goal)], check=True, capture_output=True)
    return ctypes.CDLL(str(goal))


def in_panels(b: np.ndarray) -> np.ndarray:
    """The columns of a matrix as the runtime takes them from panels."""
    (k, n), group = b.shape, 4 // b.itemsize
    deep = -(-k // (16 * group)) * 16 * group
    whole = np.zeros((deep, -(-n // 64) * 64), b.dtype)
    whole[:k, :n] = b
    return whole.reshape(deep // group, group, -1, 64).transpose(2, 0, 3, 1).copy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.int8, ml_dtypes.bfloat16])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
@pytest.mark.parametrize("packed", [False, True])
def test_products(library, size, dtype, turned, packed):
    """Any sizes and strides, with sums so far and without; what lies behind stays as it is."""
    m, n, k = size
    rng = np.random.default_rng(m * n * k)
    of_bytes = dtype == np.int8
    a, b = (rng.integers(-128, 128, s).astype(np.int8) for s in ((m, k), (k, n)))
    if not of_bytes:
        a, b = ((x / 16).astype(dtype) for x in (a, b))
    left, right = (x.T.copy() if name in turned else x for name, x in (("a", a), ("b", b)))
    strides = [(1, len(x)) if name in turned else (len(x.T), 1) for name, x in (("a", a), ("b", b))]
    panels = in_panels(b)
    row = -(-n // 16) * 16
    for add in (False, True):
        start = rng.integers(-99, 99, (m + 1, row))
        c = start.astype(np.int32 if of_bytes else np.float32)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (left, right, panels)]
        if not packed:
            pointers[2] = ctypes.c_void_p(None)
        numbers = [m, n, k, *strides[0], *strides[1], panels[0].size, add]
        function = library.of_bytes if of_bytes else library.of_bf16
        function(ctypes.c_void_p(c.ctypes.data), ctypes.c_int64(row), *pointers,
                 *map(ctypes.c_int64, numbers))  # fmt: skip
        want = a.astype(np.float64) @ b.astype(np.float64) + (start[:m, :n] if add else 0)
        if of_bytes:
            np.testing.assert_array_equal(c[:m, :n], want)
        else:
            np.testing.assert_allclose(c[:m, :n], want, rtol=1e-5, atol=1e-3)
        np.testing.assert_array_equal(c[m], start[m])
