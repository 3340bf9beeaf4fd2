"""The node cases of ONNX's backend suite in Ascend C, on the emulator.

``-m ascendc_suite`` runs all that the NumPy target passes, but those listed here with a reason. The
default run takes a slice of them.
"""

from __future__ import annotations

import pytest

from tests.onnx.test_backend_suite import NAMES, Rep, cases, check

EXCLUDED: dict[str, str] = {}

SAMPLE_EVERY = 60

NODES = [n for n in NAMES if cases()[n].kind == "node" and n not in EXCLUDED]


class AscendRep(Rep):
    target = "ascendc"


@pytest.mark.parametrize("name", NODES[::SAMPLE_EVERY])
def test_sample(name):
    check(name, AscendRep)


@pytest.mark.ascendc_suite
@pytest.mark.parametrize("name", NODES)
def test_node(name):
    check(name, AscendRep)


def test_every_excluded_case_is_one():
    assert EXCLUDED.keys() <= cases().keys()
