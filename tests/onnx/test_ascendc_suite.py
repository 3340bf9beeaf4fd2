"""The node cases of ONNX's backend suite in Ascend C, on the emulator.

``-m ascendc_suite`` runs all that the NumPy target passes, but those that `ascendc_excluded.txt`
lists with a reason. The default run takes a slice of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.onnx.test_backend_suite import NAMES, Rep, cases, check

LIST = Path(__file__).with_name("ascendc_excluded.txt")


def excluded() -> dict[str, str]:
    """The cases of the list, each with the reason that it stands under."""
    found, reason = {}, ""
    for line in LIST.read_text().splitlines():
        if line.startswith("# "):
            reason = line[2:]
        else:
            found[line] = reason
    return found


EXCLUDED = excluded()

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
    assert all(EXCLUDED.values())
