"""The node cases of ONNX's backend suite, imported and written again, in ONNX Runtime.

``-m onnx_suite`` runs all that the NumPy target passes: each must match, or be refused with what
ONNX lacks. The default run takes a slice of them.
"""

from __future__ import annotations

import pytest

import aicc
from tests.onnx.test_backend_suite import NAMES, Rep, cases, check, load_case

pytest.importorskip("onnxruntime")

ORT = "ONNX Runtime's own result differs from ONNX's"
EMPTY = "ONNX Runtime reduces no empty tensor of booleans"

NOISE = "wants the rounding errors of another order of sums, 2e-7, where the sum is 0"

EXCLUDED: dict[str, str] = {
    "test_dft_inverse": NOISE,
    "test_dft_inverse_opset19": NOISE,
    "test_resize_downsample_scales_cubic_align_corners": ORT,
    "test_resize_downsample_scales_linear_align_corners": ORT,
    "test_resize_downsample_sizes_nearest_not_smaller": ORT,
    "test_reduce_max_empty_set_bool": EMPTY,
}

SAMPLE_EVERY = 20

NODES = [n for n in NAMES if cases()[n].kind == "node" and n not in EXCLUDED]

REFUSED = 200
"""At most so many cases have an op that isn't written: loops, images' ops, signed shifts …"""


class OnnxRep(Rep):
    target = "onnx"


def is_written(name: str) -> bool:
    """Whether the case can be written as a model; False where that is refused."""
    model, sets = load_case(cases()[name])
    try:
        aicc.compile(model, list(sets[0][0]), target="onnx")
    except aicc.errors.CompileError:
        return False
    return True


@pytest.mark.parametrize("name", NODES[::SAMPLE_EVERY])
def test_sample(name):
    if is_written(name):
        check(name, OnnxRep)


@pytest.mark.onnx_suite
@pytest.mark.parametrize("name", NODES)
def test_node(name):
    if is_written(name):
        check(name, OnnxRep)


@pytest.mark.onnx_suite
def test_most_are_written():
    assert sum(not is_written(n) for n in NODES) <= REFUSED
