"""The runtime's functions against double precision, and its products, for several widths."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from aicc.backends.cpp.build import FLAGS, PRODUCTS, RUNTIME, compiler

HARNESS = """
#include "aicc_cpu.h"
using namespace aicc;
#define ONE(name) \\
  extern "C" void apply_##name(const float* x, float* y, int64_t n) { \\
    sweep(n, [&](auto lanes, int64_t j) { lanes.store(y + j, name(lanes.load(x + j))); }); \\
  }
ONE(exp) ONE(exp2) ONE(log) ONE(tanh) ONE(erf) ONE(sin) ONE(cos) ONE(expm1) ONE(log1p) ONE(log2)
ONE(tan) ONE(asin) ONE(acos) ONE(atan) ONE(sinh) ONE(cosh) ONE(asinh) ONE(acosh) ONE(atanh)
#define TWO(name) \\
  extern "C" void apply_##name(const float* x, const float* y, float* z, int64_t n) { \\
    sweep(n, [&](auto lanes, int64_t j) { \\
      lanes.store(z + j, name(lanes.load(x + j), lanes.load(y + j))); \\
    }); \\
  }
TWO(power) TWO(atan2) TWO(fmod)
extern "C" void divided(const float* x, float y, float* z, int64_t n) {
  sweep(n, [&](auto lanes, int64_t j) { lanes.store(z + j, lanes.load(x + j) / y); });
}
#define WHOLE(T) \
  extern "C" void whole_##T(const T* x, const T* y, T* q, T* r, int64_t n) { \
    sweep(n, [&](auto lanes, int64_t j) { \
      lanes.store(q + j, quotient(lanes.load(x + j), lanes.load(y + j))); \
      lanes.store(r + j, rest(lanes.load(x + j), lanes.load(y + j))); \
    }); \
  }
WHOLE(int8_t) WHOLE(uint8_t) WHOLE(int16_t) WHOLE(int32_t) WHOLE(uint32_t) WHOLE(int64_t)
#define REDUCTIONS(T, name) \\
  extern "C" void across_##name(const T* x, T* y, int64_t n) { \\
    for (int64_t i = 0; i < n; ++i) { \\
      vec<T> v; \\
      memcpy(&v, x + i * W, sizeof(v)); \\
      y[4 * i] = maximum(v), y[4 * i + 1] = minimum(v), y[4 * i + 2] = sum(v); \\
      y[4 * i + 3] = product(v); \\
    } \\
  } \\
  extern "C" void extremes_##name(const T* x, int64_t n, int64_t from, int64_t step, T* y, \\
                                  int64_t* at) { \\
    extreme<T, true> most; \\
    extreme<T, false> least; \\
    sweep(n, [&](auto lanes, int64_t j) { \\
      const auto places = iota<int64_t>(from + j * step, step); \\
      most.look(lanes, lanes.load(x + j), places), least.look(lanes, lanes.load(x + j), places); \\
    }); \\
    y[0] = most.value(), y[1] = least.value(), at[0] = most.at(), at[1] = least.at(); \\
  }
REDUCTIONS(float, float) REDUCTIONS(double, double)
REDUCTIONS(int32_t, int) REDUCTIONS(int8_t, byte)
extern "C" int width() { return W; }
extern "C" void product(float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k,
                        int64_t arow, int64_t acol, int64_t brow, int64_t bcol, int64_t add) {
  dot(c, (n + W - 1) / W * W, matrix<float>{a, arow, acol}, matrix<float>{b, brow, bcol}, m, n, k,
      add != 0);
}
extern "C" void places_product(float* c, const float* a, const float* packed, const float* b,
                               const int64_t* rows, const int64_t* columns, int64_t m, int64_t n,
                               int64_t k, int64_t add) {
  const int64_t row = (n + W - 1) / W * W;
  const places<float> right{b, rows, columns};
  if (packed)
    dot(c, row, panels<float>{packed, k * 64}, right, m, n, k, add != 0);
  else
    dot(c, row, matrix<float>{a, k, 1}, right, m, n, k, add != 0);
}
// times[p] and the thread of each program, for which a team of so many threads is asked.
extern "C" void programs(int64_t n, int threads, int* times, int* by) {
  omp_set_num_threads(threads);
  run_programs(n, 1e9, [&](int64_t p) {
    by[p] = omp_get_thread_num();
#pragma omp atomic
    ++times[p];
  });
}
"""
CONVERSIONS = """
template <class From>
From pattern(uint64_t i) {
  // All patterns of 16 bits; for wider types some of all magnitudes, and the ends.
  uint64_t bits = i;
  if (sizeof(From) > 2) {
    bits = (i * 0x9e3779b97f4a7c15u) >> (i % 61);
    const double ends[] = {0.0, -0.0, 0.5, 1e9, -1e9, 3e9, 1e19, 1e-9, 65504, 65520, INFINITY, NAN};
    if (std::is_same<From, float>::value && i < 12) return convert<From>(float(ends[i]));
    if (std::is_same<From, double>::value && i < 12) return convert<From>(ends[i]);
  }
  From x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}
template <class From, class To>
int64_t differences() {
  int64_t found = 0;
  for (uint64_t i = 0; i < 65536; i += W) {
    From in[W];
    To one[W], all_at_once[W];
    for (int j = 0; j < W; ++j) in[j] = pattern<From>(i + j), one[j] = convert<To>(in[j]);
    all lanes;
    lanes.store(all_at_once, convert<To>(lanes.load(in)));
    for (int j = 0; j < W; ++j) found += memcmp(one + j, all_at_once + j, sizeof(To)) != 0;
  }
  return found;
}
template <class From, class... To>
int64_t from_one() { return (differences<From, To>() + ...); }
template <class... T>
int64_t among() { return (from_one<T, T...>() + ...); }
extern "C" int64_t conversions() {
  return among<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float,
               double, f16, bf16, f8e4m3, f8e5m2>();
}
"""
ARCHS = ("x86-64", "x86-64-v3", "x86-64-v4")
FUNCTIONS = {
    "exp": (np.exp, -110, 95),
    "exp2": (np.exp2, -155, 130),
    "log": (np.log, 0, 10),
    "tanh": (np.tanh, -12, 12),
    "erf": (special.erf, -5, 5),
    "sin": (np.sin, -100, 100),
    "cos": (np.cos, -100, 100),
    "tan": (np.tan, -100, 100),
    "expm1": (np.expm1, -25, 95),
    "log1p": (np.log1p, -1, 1e4),
    "log2": (np.log2, 0, 10),
    "asin": (np.arcsin, -1, 1),
    "acos": (np.arccos, -1, 1),
    "atan": (np.arctan, -50, 50),
    "sinh": (np.sinh, -92, 92),
    "cosh": (np.cosh, -92, 92),
    "asinh": (np.arcsinh, -1e4, 1e4),
    "acosh": (np.arccosh, 1, 1e4),
    "atanh": (np.arctanh, -1, 1),
}
PAIRS = {"power": np.power, "atan2": np.arctan2, "fmod": np.fmod}
ENDS = [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1e-45, -1e-45, 1e-38, 1e38, -1e38, 16777217, 3e9]
ENDS += [np.inf, -np.inf, np.nan]


def runs_here(arch: str) -> bool:
    text = Path("/proc/cpuinfo").read_text()
    return {"x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}.get(arch, "sse2") in text


@pytest.fixture(scope="module", params=ARCHS)
def library(request, tmp_path_factory):
    if not runs_here(request.param):
        pytest.skip(f"this machine doesn't run {request.param}")
    folder = tmp_path_factory.mktemp("runtime")
    (folder / "harness.cpp").write_text(HARNESS)
    cxx = compiler()
    assert cxx is not None
    goal = folder / "harness.so"
    sources = [str(folder / "harness.cpp"), *(str(RUNTIME / n) for n in PRODUCTS)]
    flags = [f for f in FLAGS if f != "-O3"]
    command = [cxx, *flags, "-O2", f"-march={request.param}", "-I", str(RUNTIME), "-shared"]
    subprocess.run([*command, *sources, "-o", str(goal)], check=True, capture_output=True)
    return ctypes.CDLL(str(goal))


@pytest.mark.parametrize("arch", ARCHS)
def test_conversions_of_vectors_are_those_of_elements(arch, tmp_path):
    """Between all pairs of types, for every pattern of 16 bits."""
    if not runs_here(arch):
        pytest.skip(f"this machine doesn't run {arch}")
    source = tmp_path / "conversions.cpp"
    source.write_text(f'#include "aicc_cpu.h"\nusing namespace aicc;\n{CONVERSIONS}')
    goal = tmp_path / "conversions.so"
    flags = [f for f in FLAGS if f != "-O3"]
    command = [str(compiler()), *flags, "-O1", f"-march={arch}", "-I", str(RUNTIME), "-shared"]
    subprocess.run([*command, str(source), "-o", str(goal)], check=True, capture_output=True)
    assert ctypes.CDLL(str(goal)).conversions() == 0


@pytest.mark.parametrize("name", sorted(p.name for p in RUNTIME.glob("*.h")))
def test_each_header_includes_what_it_needs(name):
    command = [str(compiler()), "-std=c++17", "-fsyntax-only", "-w", "-fopenmp", "-x", "c++"]
    done = subprocess.run([*command, str(RUNTIME / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def apply(library, name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    getattr(library, f"apply_{name}")(
        ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(x.size)
    )
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_two_ulp(library, name):
    exact, low, high = FUNCTIONS[name]
    x = np.linspace(low, high, 300_007, dtype=np.float32)
    tiny = np.geomspace(1e-44, 1e-3, 999, dtype=np.float32)
    x = np.concatenate([x, tiny, -tiny, tiny * 1e3, tiny * 1e41, tiny * -1e41])
    with np.errstate(all="ignore"):
        want = exact(x.astype(np.float64))
    assert_within_two_ulp(apply(library, name, x), want)


def assert_within_two_ulp(got, want):
    """Of exact numbers; what is no number or no finite one, and the sign of zeros, is the same."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    ulp = np.spacing(np.maximum(np.abs(rounded[finite]), np.float32(1e-44))).astype(np.float64)
    assert np.max(np.abs(got[finite] - want[finite]) / ulp) <= 2
    zeros = want == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_are_within_two_ulp(library, name):
    rng = np.random.default_rng(0)
    x, y = (np.array(v, np.float32) for v in zip(*itertools.product(ENDS, ENDS), strict=True))
    near, wide = rng.normal(0, 3, (2, 50_000)), np.exp(rng.uniform(-80, 80, (2, 50_000)))
    whole = rng.integers(-9, 10, (2, 50_000))
    pairs = [(x, y), near, wide, near[::-1] * 100, whole, (near[0], whole[0]), (wide[0], near[0])]
    x, y = (np.concatenate([p[i] for p in pairs]).astype(np.float32) for i in (0, 1))
    got = np.empty_like(x)
    getattr(library, f"apply_{name}")(*map(pointer, (x, y, got)), ctypes.c_int64(x.size))
    with np.errstate(all="ignore"):
        want = PAIRS[name](x.astype(np.float64), y.astype(np.float64))
    assert_within_two_ulp(got, want)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64"])
def test_integers_are_divided_toward_zero(library, kind):
    """By zero to zero; the least by -1 wraps."""
    info, rng = np.iinfo(kind), np.random.default_rng(0)
    some = [info.min, info.min + 1, -1, 0, 1, 2, 3, info.max // 2, info.max - 1, info.max]
    some = np.array([n for n in some if n >= info.min], kind)
    wide = rng.integers(info.min, info.max, (2, 20_000), kind, endpoint=True)
    wide[1, ::2] >>= rng.integers(0, info.bits - 1, 10_000).astype(kind)
    x = np.concatenate([np.repeat(some, some.size), wide[0]])
    y = np.concatenate([np.tile(some, some.size), wide[1]])
    q, r = np.empty_like(x), np.empty_like(x)
    getattr(library, f"whole_{kind}_t")(*map(pointer, (x, y, q, r)), ctypes.c_int64(x.size))
    pairs = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    want = [0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) for a, b in pairs]
    left = [0 if b == 0 else a - w * b for (a, b), w in zip(pairs, want, strict=True)]
    wrapped = np.array([w - 2**info.bits if w > info.max else w for w in want], kind)
    np.testing.assert_array_equal(q, wrapped)
    np.testing.assert_array_equal(r, np.array(left, kind))


def divided(library, x, y) -> np.ndarray:
    z = np.empty_like(x)
    library.divided(pointer(x), ctypes.c_float(y), pointer(z), ctypes.c_int64(x.size))
    return z


def test_floats_by_one_number_are_quotients(library):
    """Bit for bit: among all magnitudes, at the ends, and where a quotient is nearly halfway."""
    rng = np.random.default_rng(0)
    x = np.concatenate([ENDS, rng.normal(0, 3, 999), np.exp(rng.uniform(-102, 88, 9999))])
    x = x.astype(np.float32)
    for y in (*ENDS, *np.exp(rng.uniform(-15, 15, 99)), *rng.normal(0, 3, 99)):
        y = np.float32(y)
        with np.errstate(all="ignore"):
            want = x / y
        got = divided(library, x, y)
        np.testing.assert_array_equal(got, want)
        zeros = want == 0
        np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))


@pytest.mark.parametrize("seed", range(3))
def test_quotients_that_are_nearly_halfway_between_floats(library, seed):
    """2^p x = (2k + 1) y + j with a small j: x / y is all but midway between two floats."""
    for y in np.random.default_rng(seed).integers(1 << 22, 1 << 23, 400) * 2 + 1:
        y, found = int(y), []
        for p, j in itertools.product((24, 25), range(-9, 10, 2)):
            odd = -j * pow(y, -1, 1 << p) % (1 << p)
            odd += (1 << 24) * (odd < 1 << 24)
            x = (odd * y + j) >> p
            if odd % 2 and odd < 1 << 25 and 1 << 23 <= x < 1 << 24 and (p == 24) == (x >= y):
                found.append(x)
        assert found
        x = np.array(found, np.float32)
        np.testing.assert_array_equal(divided(library, x / 2**23, y / 2**23), x / np.float32(y))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_at_the_ends(library, name):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 1.5, -1.5], np.float32)
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name][0](x.astype(np.float64)).astype(np.float32)
    got = apply(library, name, x)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_array_equal(got[:5], want[:5])
    zeros = want == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))
    np.testing.assert_allclose(got, want, rtol=3e-7, atol=1e-44)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 70, 33), (3, 64, 8), (7, 65, 31), (13, 129, 100)])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("add", [0, 1])
def test_products(library, size, across, add):
    """Any sizes, operands in rows or in columns, with sums so far and without."""
    m, n, k = size
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    start = rng.standard_normal((m, n), np.float32)
    lanes = library.width()
    c = np.zeros((m, -(-n // lanes) * lanes), np.float32)
    c[:, :n] = start
    left = np.ascontiguousarray(a.T if across else a)
    right = np.ascontiguousarray(b.T if across else b)
    strides = (1, m, 1, k) if across else (k, 1, n, 1)
    numbers = [ctypes.c_int64(v) for v in (m, n, k, *strides, add)]
    library.product(*(ctypes.c_void_p(x.ctypes.data) for x in (c, left, right)), *numbers)
    want = a.astype(np.float64) @ b.astype(np.float64) + (start if add else 0)
    np.testing.assert_allclose(c[:, :n], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (24, 49, 9), (64, 196, 40), (100, 7, 2500), (130, 13, 1030), (16, 60, 3)]
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("add", [0, 1])
def test_products_by_places(library, size, packed, add):
    """Rows and columns of the right operand anywhere, also beyond one part of the depth."""
    m, n, k = size
    rng = np.random.default_rng(0)
    a, memory = rng.standard_normal((m, k), np.float32), rng.standard_normal(4096, np.float32)
    rows, columns = rng.integers(0, 2048, k), rng.integers(0, 2048, n)
    lanes = library.width()
    c = np.zeros((m, -(-n // lanes) * lanes), np.float32)
    c[:, :n] = start = rng.standard_normal((m, n), np.float32)
    panels = np.zeros((-(-m // 64), k, 64), np.float32)
    for i in range(m):
        panels[i // 64, :, i % 64] = a[i]
    arrays = (c, a, panels, memory, rows, columns)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in arrays]
    if not packed:
        pointers[2] = ctypes.c_void_p(None)
    library.places_product(*pointers, *(ctypes.c_int64(v) for v in (m, n, k, add)))
    want = a.astype(np.float64) @ memory[rows[:, None] + columns] + (start if add else 0)
    np.testing.assert_allclose(c[:, :n], want, rtol=1e-4, atol=1e-4 * np.sqrt(k))


KINDS = {"float": np.float32, "double": np.float64, "int": np.int32, "byte": np.int8}


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_across_lanes(library, kind):
    """NaN in any lane is the greatest and the least; sums go by halves, whatever the width."""
    rng, width, dtype = np.random.default_rng(0), library.width(), KINDS[kind]
    x = rng.integers(-3, 4, (40, width)).astype(dtype)
    if dtype in (np.float32, np.float64):
        x[:20] = rng.normal(size=(20, width))
        for i in range(width):
            x[i % 20, i] = [np.nan, np.inf, -np.inf][i % 3]
    found = np.empty((40, 4), dtype)
    getattr(library, f"across_{kind}")(pointer(x), pointer(found), ctypes.c_int64(40))
    with np.errstate(invalid="ignore"):
        sums, products = x, x
        while sums.shape[1] > 1:
            half = sums.shape[1] // 2
            sums = sums[:, :half] + sums[:, half:]
            products = products[:, :half] * products[:, half:]
    want = np.stack([x.max(1), x.min(1), sums[:, 0], products[:, 0]], 1)
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 7, 8, 15, 16, 17, 33, 100, 1000])
def test_extremes_and_their_places(library, n, kind, last):
    """The first NaN, else the first of equals; with places that fall, the last."""
    rng, dtype = np.random.default_rng(n), KINDS[kind]
    step = -1 if last else 1
    for nans in (0, 0, 1, 3) if dtype in (np.float32, np.float64) else (0, 0):
        x = rng.integers(-3, 4, n).astype(dtype)
        if nans:
            x[rng.integers(0, n, nans)] = np.nan
        values, at = np.empty(2, dtype), np.empty(2, np.int64)
        sizes = [ctypes.c_int64(v) for v in (n, 5, step)]
        getattr(library, f"extremes_{kind}")(pointer(x), *sizes, pointer(values), pointer(at))
        ordered = x[::step]
        places = [(n - 1 - i if last else i) for i in (ordered.argmax(), ordered.argmin())]
        np.testing.assert_array_equal(values, x[places])
        np.testing.assert_array_equal(at, [5 + step * i for i in places])


@pytest.mark.parametrize("n", [2, 3, 7, 64, 1001])
@pytest.mark.parametrize("threads", [1, 2, 3, 70])
def test_every_program_runs_once(library, n, threads):
    times, by = np.zeros(n, np.int32), np.zeros(n, np.int32)
    addresses = [ctypes.c_void_p(x.ctypes.data) for x in (times, by)]
    library.programs(ctypes.c_int64(n), ctypes.c_int(threads), *addresses)
    assert times.tolist() == [1] * n
    assert by.max() < threads
