"""What all tests share: every module that one imports or compiles must survive its text."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported: kernels run on the CPU

os.environ.setdefault("AICC_TARGET", "numpy")  # what tests that name no target are about

from aicc import api
from aicc.backends.numpy.backend import NumpyBackend
from aicc.ir.asm import named_constants, parse_module, print_module

LARGE = 3000
"""Modules with more ops than this are left out: tests of compile time make them."""


def check_round_trip(module):
    """parse(print(m)) is m: the same ops, types, parameters, constants, names and locations."""
    if sum(1 for _ in module.walk()) > LARGE:
        return
    text = print_module(module)
    weights = {name: c.array for name, c in named_constants(module).items()}
    again = parse_module(text, weights=weights)
    assert again.is_structurally_equivalent(module)
    assert print_module(again) == text


@pytest.fixture(autouse=True)
def round_trip(monkeypatch):
    """Check what comes from a frontend, and what a backend is to load."""
    import_any, load = api.import_any, NumpyBackend.load

    def checked_import(*args, **kwargs):
        imported = import_any(*args, **kwargs)
        check_round_trip(imported.module)
        return imported

    def checked_load(self, module, *args, **kwargs):
        check_round_trip(module)
        return load(self, module, *args, **kwargs)

    monkeypatch.setattr(api, "import_any", checked_import)
    monkeypatch.setattr(NumpyBackend, "load", checked_load)
