"""Random graph modules: the same seed gives the same module, inputs and outputs."""

from __future__ import annotations

import numpy as np
from xdsl.ir import Block

from aicc.fuzz.drawers import DRAWERS, OFTEN
from aicc.fuzz.maker import Case, Maker, Misfit
from aicc.ir.interfaces import Evaluator

_ALL = tuple(DRAWERS)


def draw_case(seed: int, evaluator: Evaluator, ops: int = 12) -> Case:
    """A module of up to `ops` draws (a draw may add several ops), inputs, and its outputs."""
    m = Maker(np.random.default_rng(seed), evaluator)
    for _ in range(m.integer(1, ops)):
        for _ in range(20):
            cls = m.choose(OFTEN if m.chance(0.5) else _ALL)
            try:
                DRAWERS[cls](m, cls)
                break
            except Misfit:
                continue
    made = [v for v in m.pool if not isinstance(v.owner, Block)] or m.pool
    last = [v for v in made if v.first_use is None][-3:] or made[-1:]
    picked = [m.choose(made) for _ in range(m.integer(0, 1))]
    return m.case(list(dict.fromkeys([*last, *picked])))
