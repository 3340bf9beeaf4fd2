"""What quantizing passes are made of, and the laws that they keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.numpy import NumpyBackend
from aicc.ir import graph
from aicc.ir.builder import name_location
from aicc.ir.dtypes import dtype_of
from aicc.ir.interfaces import CompileContext
from aicc.ir.types import tensor
from aicc.passes.quantization.gptq import gptq
from aicc.passes.quantization.layers import layers_of
from aicc.passes.quantization.observers import BINS, METHODS, Histogram
from aicc.passes.quantization.schemes import Scheme, fitted
from aicc.pipeline import PassManager, parse_pipeline
from tests.backends.test_kernels import module_of

NUMPY = NumpyBackend()
INTEGERS = ("i8", "ui8", "i4", "ui4")


def scheme(dtype: str, symmetric=True, axis=None, group=0, scales="f32") -> Scheme:
    return Scheme(dtype_of(dtype), symmetric, axis, group, scales)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(INTEGERS),
    st.booleans(),
    st.sampled_from([(None, 0), (0, 0), (1, 0), (0, 16)]),
    st.integers(0, 2**31),
)
def test_rounding_loses_at_most_half_a_step(dtype, symmetric, shared, seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(rng.normal(), 1, (37, 5)) * 10.0 ** rng.integers(-3, 4)).astype(np.float32)
    found = fitted(x, scheme(dtype, symmetric, *shared))
    step = found.spread(found.scale, x)
    gap = np.abs(found.rounded(x) - x)
    # An end may lie half a step beyond the last code: the zero point is rounded too.
    assert (gap <= step * (0.501 if symmetric else 1.001)).all()
    zeros = np.zeros_like(x)
    np.testing.assert_array_equal(found.rounded(zeros), zeros)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([*INTEGERS, "f8E4M3FN", "f4E2M1FN"]),
    st.sampled_from([(None, 0), (1, 0), (0, 16)]),
    st.sampled_from(["f32", "f8E4M3FN", "f8E8M0FNU"]),
    st.integers(0, 2**31),
)
def test_codes_are_what_the_ops_compute(dtype, shared, scales, seed):
    """`Parameters.quantize` = graph.quantize, and the way back = graph.dequantize."""
    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, (33, 6)).astype(np.float32)
    found = fitted(
        x, scheme(dtype, not dtype.startswith("ui"), shared[0], shared[1], scales), search=True
    )
    axis, group = shared[0] or 0, shared[1]
    kinds = {"axis": axis, "block_size": group}

    def body(b, value):
        scale = b.constant(found.scale)
        zero = None if found.zero is None else b.constant(found.zero)
        q = b.emit(graph.Quantize, value, scale, zero, dtype=dtype, **kinds)
        return [q, b.emit(graph.Dequantize, q, scale, zero, dtype="f32", **kinds)]

    codes, back = NUMPY.run(module_of(body, tensor(x.shape, "f32")), [x])
    ours, codes = found.quantize(x).astype(np.float32), codes.astype(np.float32)
    same = codes >= found.scheme.limits[0]  # a symmetric scheme leaves out the least code
    np.testing.assert_array_equal(ours, np.maximum(codes, found.scheme.limits[0]))
    np.testing.assert_array_equal(found.rounded(x)[same], back[same])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(INTEGERS), st.sampled_from([(None, 0), (1, 0), (0, 16)]), st.integers(0, 99))
def test_a_search_never_loses_more(dtype, shared, seed):
    x = np.random.default_rng(seed).standard_t(2, (40, 4)).astype(np.float32)
    plain, searched = (fitted(x, scheme(dtype, True, *shared), search=s) for s in (False, True))
    lost = [np.square(p.rounded(x) - x, dtype=np.float64).sum() for p in (plain, searched)]
    assert lost[1] <= lost[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 23), st.sampled_from(["i8", "i4"]), st.integers(0, 2**31))
def test_scales_of_few_bits_are_the_next_larger_ones(bits, dtype, seed):
    """Products of two scales of 5 bits have 10, which is exact wherever 11 are kept."""
    rng = np.random.default_rng(seed)
    low = -np.exp(rng.uniform(-60, 60, 50))
    high = low * -rng.normal(1, 0.3, 50)
    signed = dtype == "i4"
    kind = Scheme(dtype_of(dtype), axis=0, signed=signed)
    whole = kind.parameters(low, high).scale.astype(np.float64)
    short = replace(kind, scale_bits=bits).parameters(low, high).scale.astype(np.float64)
    digits = np.ldexp(np.frexp(np.abs(short))[0], bits)
    assert (digits == np.rint(digits)).all() and (np.sign(short) == np.sign(whole)).all()
    grown = np.abs(short) / np.abs(whole)
    assert (grown >= 1 - 1e-7).all() and (grown <= 1 + 2.0 ** (1 - bits) + 1e-7).all()


def test_scales_that_are_powers_of_two_cover_the_range():
    x = np.random.default_rng(0).normal(0, 1, (64, 3)).astype(np.float32)
    found = fitted(x, scheme("f4E2M1FN", True, 0, 32, "f8E8M0FNU"))
    np.testing.assert_array_equal(np.log2(found.scale) % 1, 0)
    assert (found.spread(found.scale, x) * 6 >= np.abs(x)).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6), st.integers(0, 2**31))
def test_a_histogram_forgets_no_value(sizes, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0, s, 50).astype(np.float32) for s in sizes]
    seen = Histogram()
    for a in arrays:
        seen.add(a)
    every = np.concatenate(arrays)
    assert seen.counts.sum() == seen.seen == every.size
    assert (seen.low, seen.high) == (every.min(), every.max())
    middle = seen.middles.searchsorted(0.0)
    assert (
        abs(seen.counts[middle:].sum() - (every > 0).sum())
        <= seen.counts[middle - 1 : middle + 1].sum()
    )


def test_values_that_are_not_finite_are_counted():
    seen = Histogram()
    seen.add(np.array([1.0, np.nan, np.inf, 2.0]))
    assert (seen.broken, seen.low, seen.high) == (2, 1.0, 2.0)


@pytest.mark.parametrize("method", METHODS)
def test_observers_cut_off_outliers(method):
    rng = np.random.default_rng(0)
    seen = Histogram()
    seen.add(np.append(rng.normal(0, 1, 200_000), [40.0, -40.0]))
    low, high = METHODS[method](seen, scheme("i8"))
    if method == "minmax":
        assert (low, high) == (-40.0, 40.0)
    else:
        assert -30 < low < -2.5 and 2.5 < high < 30


@pytest.mark.parametrize("method", METHODS)
def test_observers_keep_an_even_range(method):
    seen = Histogram()
    seen.add(np.linspace(-3, 5, BINS * 8))
    low, high = METHODS[method](seen, scheme("i8", False))
    assert -3 <= low < -2.3 and 4 < high <= 5


@pytest.mark.parametrize("group", [0, 16])
@pytest.mark.parametrize("dtype", ["i4", "ui4"])
def test_gptq_changes_results_less_than_rounding(dtype, group):
    rng = np.random.default_rng(0)
    mixed = rng.normal(0, 1, (48, 48))
    x = (rng.normal(0, 1, (400, 48)) @ mixed).astype(np.float32)
    w = rng.normal(0, 1, (48, 24)).astype(np.float32)
    start = fitted(w, scheme(dtype, dtype == "i4", 0 if group else 1, group), search=True)
    found, codes = gptq(w, start, (x.T @ x).astype(np.float64))
    lost = [np.square(x @ (r - w)).sum() for r in (start.rounded(w), found.dequantize(codes))]
    assert lost[1] < 0.6 * lost[0]


# ------------------------------------------------------------------ passes


def model(seed: int = 0, convolutions: bool = True) -> ModuleOp:
    """Two convolutions with a relu between them, or two matmuls, each with a bias."""
    rng = np.random.default_rng(seed)

    def body(b, x):
        for i, (size, rest) in enumerate([(6, 3), (5, 6)]):
            b.location = name_location(f"layer{i}")
            bias = rng.normal(0, 0.1, size).astype(np.float32)
            if convolutions:
                w = rng.normal(0, 1, (size, rest, 3, 3)) * 10 ** rng.normal(0, 1, (size, 1, 1, 1))
                window = {"strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1]}
                x = b.emit(
                    graph.Conv, x, b.constant(w.astype(np.float32)), b.constant(bias), **window
                )
            else:
                w = rng.normal(0, 1, (rest, size)) * 10 ** rng.normal(0, 1, size)
                x = b.emit(graph.MatMul, x, b.constant(w.astype(np.float32)))
                x = b.emit(graph.Add, x, b.constant(bias))
            x = b.emit(graph.Relu, x) if i == 0 else x
        return [x]

    return module_of(body, tensor((2, 3, 7, 7) if convolutions else (9, 3), "f32"))


def samples(module: ModuleOp, count: int = 12) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(1)
    from aicc.ir.module import main_of
    from aicc.ir.types import shape_of

    shape = [int(str(d)) for d in shape_of(main_of(module).args[0])]
    return [[rng.normal(0, 1, shape).astype(np.float32)] for _ in range(count)]


def run(module: ModuleOp, passes: str, remarks: list[str] | None = None) -> ModuleOp:
    made = module.clone()
    context = CompileContext(evaluator=NUMPY, calibration=samples(module), remarks=remarks)
    PassManager(parse_pipeline(passes), context).run(made)
    return made


def distance(a: ModuleOp, b: ModuleOp) -> float:
    """The error of b's results, relative to a's."""
    gap = total = 0.0
    for sample in samples(a):
        (x,), (y,) = NUMPY.run(a, sample), NUMPY.run(b, sample)
        gap, total = gap + np.square(x - y).sum(), total + np.square(x).sum()
    return float(np.sqrt(gap / total))


@pytest.mark.parametrize("convolutions", [True, False])
@pytest.mark.parametrize(
    "name", ["equalize-weights", "smooth-activations", "scale-salient-channels"]
)
@pytest.mark.parametrize("seed", range(4))
def test_scaling_changes_nothing(name, seed, convolutions):
    module = model(seed, convolutions)
    assert distance(module, run(module, name)) < 1e-5


def test_equalized_channels_have_one_range():
    even = run(model(), "equalize-weights")
    first, second = (layer.array() for layer in layers_of(even))
    np.testing.assert_allclose(
        np.abs(first).max((1, 2, 3)), np.abs(second).max((0, 2, 3)), rtol=0.01
    )


@pytest.mark.parametrize("convolutions", [True, False])
@pytest.mark.parametrize("passes", ["quantize-activations", "quantize-dynamically"])
def test_integers_are_close(passes, convolutions):
    module = model(convolutions=convolutions)
    quantized = run(module, f"quantize-weights,{passes},quantize-biases")
    assert 0 < distance(module, quantized) < 0.03
    compiled = run(quantized, "integer-products,dce")
    products = [o for o in compiled.walk() if isinstance(o, (graph.MatMul, graph.Conv))]
    assert len(products) == 2
    assert all(o.out_dtype == dtype_of("i32") for o in products), "fake quantization is left"
    assert not any(isinstance(o, graph.Dequantize) for o in compiled.walk())
    assert distance(quantized, compiled) < 1e-5


def test_layers_that_share_an_input_share_its_codes():
    rng = np.random.default_rng(0)

    def body(b, x):
        return [
            b.emit(graph.MatMul, x, b.constant(rng.normal(0, 1, (3, 4)).astype(np.float32)))
            for _ in range(3)
        ]

    module = module_of(body, tensor((9, 3), "f32"))
    made = run(module, "quantize-weights,quantize-activations")
    assert sum(isinstance(o, graph.Quantize) for o in made.walk()) == 1


def test_skipped_layers_stay_in_float():
    made = run(model(), 'quantize-weights{skip="layer0"},quantize-activations')
    assert [layer.is_quantized for layer in layers_of(made)] == [False, True]
    with pytest.raises(ValueError, match="no layer 'other' \\(there are: layer0, layer1\\)"):
        run(model(), 'quantize-weights{skip="other"}')


def test_corrected_biases_leave_no_mean_error():
    module = model(convolutions=False)
    plain, better = (
        run(module, f"quantize-weights{{dtype=i4 correct-bias={c}}}") for c in ("false", "true")
    )

    def mean(made: ModuleOp) -> float:
        errors = [NUMPY.run(made, s)[0] - NUMPY.run(module, s)[0] for s in samples(module)]
        return float(np.abs(np.concatenate(errors).mean(0)).sum())

    assert mean(better) < 0.5 * mean(plain)


def test_scales_that_saturate_are_told_of():
    remarks: list[str] = []
    run(
        model(),
        "quantize-weights,quantize-activations{observer=percentile percentile=80.0}",
        remarks,
    )
    assert any("saturate" in r and r.startswith("layer1") for r in remarks)


@pytest.mark.parametrize(
    "passes, message",
    [
        ("quantize-weights{dtype=i3}", "weights can't be i3"),
        ("quantize-weights{group=24}", "groups of 24"),
        ("quantize-activations{observer=best}", "no observer 'best'"),
        ("quantize-activations{percentile=20.0}", "percentile is 20"),
        ("quantize-weights{scale-bits=0}", "scales of 0 bits"),
        ("quantize-activations{scale-bits=25}", "scales of 25 bits"),
        ("smooth-activations{alpha=2.0}", "alpha is 2"),
    ],
)
def test_options_that_mean_nothing_are_refused(passes, message):
    with pytest.raises(Exception, match=message):
        run(model(), passes)


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("convolution", [False, True])
def test_scales_of_8_bits_lose_nothing_of_small_or_large_weights(size, convolution):
    """A factor for the whole tensor keeps them in their range: results only scale with weights."""
    rng = np.random.default_rng(0)
    shape = (8, 6, 3, 3) if convolution else (64, 12)
    weight = rng.normal(size=shape).astype(np.float32)
    bias = rng.normal(size=8 if convolution else 12).astype(np.float32)

    def body(b, x):
        w, c = b.constant(weight * np.float32(size)), b.constant(bias * np.float32(size))
        if convolution:
            window = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1]}
            return [b.emit(graph.Conv, x, w, c, **window)]
        return [b.emit(graph.Add, b.emit(graph.MatMul, x, w), c)]

    module = module_of(body, tensor((2, 6, 5, 5) if convolution else (8, 64), "f32"))
    x = rng.normal(size=(2, 6, 5, 5) if convolution else (8, 64)).astype(np.float32)
    (want,) = NUMPY.run(module, [x])
    nvfp4 = "quantize-weights{dtype=f4E2M1FN group=16 scales=f8E4M3FN}"
    errors = []
    for passes in (nvfp4, nvfp4.replace("f8E4M3FN", "f32")):
        made = run(module, passes)
        made.verify()
        (found,) = NUMPY.run(made, [x])
        errors.append(np.linalg.norm(found - want) / np.linalg.norm(want))
    assert errors[0] < 1.1 * errors[1] and errors[1] < 0.15
