"""Arithmetic identities that rewrites stand on, proved for all values by the solver z3.

The modules before and after are what the compiler's own patterns, folders and simplifications make.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import z3
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.ascendc.indices import simplified
from aicc.ir import graph
from aicc.ir.dtypes import DType, dtype_of, i32
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.graph.patterns import CastOfWideningCast
from aicc.ir.interfaces import CompileContext
from aicc.ir.op import GraphOp
from aicc.ir.symbols import Dim, floordiv, maximum, minimum, mod, sym
from aicc.passes.decompose import Decompose
from aicc.passes.narrow_products import NarrowMatMul
from tests.passes.rewrites import FLOATS, INTEGERS, Sketch
from tests.passes.symbolic import SORTS, counterexample, literal, results
from tests.passes.test_patterns import rewritten

NUMBERS = (*INTEGERS, *FLOATS, "bf16")


def with_constant(cls: type[GraphOp], dtype: str, number: float, right: bool) -> ModuleOp:
    s = Sketch(0)
    x = s.input([], dtype)
    c = s.b.constant(np.asarray(number, dtype_of(dtype).np), dtype)
    return s.finish(s.b.emit(cls, x, c) if right else s.b.emit(cls, c, x))


def is_folded(module: ModuleOp, cls: type[GraphOp]) -> bool:
    return not any(isinstance(op, cls) for op in module.walk())


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("cls", [graph.Add, graph.Sub, graph.Mul, graph.Div, graph.Max])
def test_neutral_elements(cls, dtype):
    """Of operations with 0, −0, 1 and −1, those that are folded are the identity."""
    folded = 0
    for number, right in itertools.product((0, 1, -1, -0.0), (True, False)):
        if number < 0 and dtype.startswith("ui"):
            continue
        module = with_constant(cls, dtype, number, right)
        after = rewritten(module, [], folding=True)
        if is_folded(after, cls):
            folded += 1
            assert counterexample(module, after) is None
    expected = {graph.Add: dtype in INTEGERS, graph.Max: False}.get(cls, True)
    assert bool(folded) == expected


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("cls, number", [(graph.Add, 0.0), (graph.Sub, -0.0)])
def test_what_is_no_identity(cls, number, dtype):
    """The solver finds that x + 0.0 and x − (−0.0) are not x: for −0.0."""
    s = Sketch(0)
    identity = s.finish(s.input([], dtype))
    found = counterexample(with_constant(cls, dtype, number, True), identity)
    (name,) = found.decls()
    value = found[name]
    assert z3.is_true(z3.simplify(z3.And(z3.fpIsZero(value), z3.fpIsNegative(value))))


@pytest.mark.parametrize("dtype", (*NUMBERS, "i1"))
def test_involutions(dtype):
    for cls in (graph.Not,) if dtype == "i1" else (graph.Neg,):
        if dtype.startswith("ui"):
            continue
        s = Sketch(0)
        module = s.finish(s.b.emit(cls, s.b.emit(cls, s.input([], dtype))))
        after = rewritten(module, [], folding=True)
        assert counterexample(module, after) is None
        assert len(list(after.walk())) == len(list(module.walk())) - 1 or is_folded(after, cls)


CASTS = [
    (source, middle)
    for source, middle in itertools.permutations((*INTEGERS, *SORTS), 2)
    if dtype_of(source).kind == dtype_of(middle).kind
    and dtype_of(source).bits < dtype_of(middle).bits
]


@pytest.mark.parametrize("source, middle", CASTS)
def test_a_cast_of_a_widening_cast(source, middle):
    """To every dtype, for all values (of floats, those that an integer dtype can hold)."""
    applied = 0
    for to in (*INTEGERS, *SORTS, "i1"):
        s = Sketch(0)
        wide = s.b.emit(graph.Cast, s.input([], source), to=dtype_of(middle))
        module = s.finish(s.b.emit(graph.Cast, wide, to=dtype_of(to)))
        after = rewritten(module, [CastOfWideningCast()], folding=False)
        casts = sum(isinstance(op, graph.Cast) for op in after.walk())
        if casts == 2 and is_same(module, after):
            continue
        applied += 1
        fits = in_range(results(module)[0][0][()], dtype_of(source), dtype_of(to))
        assert counterexample(module, after, *fits) is None, to
    assert applied


def in_range(x, source: DType, to: DType) -> list:
    """What a float must be for its cast to an integer dtype to be defined."""
    if not (source.is_float and to.is_integer):
        return []
    low, high = (0, to.bits) if to.kind == "uint" else (-(2 ** (to.bits - 1)), to.bits - 1)
    finite = z3.Not(z3.fpIsInf(x))
    return [finite, x >= literal(low, source), x < literal(2.0**high, source)]


def is_same(a: ModuleOp, b: ModuleOp) -> bool:
    return a.is_structurally_equivalent(b)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_relu_is_a_maximum(dtype):
    assert graph.Relu in DECOMPOSITIONS
    s = Sketch(0)
    module = s.finish(s.b.emit(graph.Relu, s.input([], dtype)))
    after = module.clone()
    Decompose(all=True).apply(CompileContext(), after)
    assert is_folded(after, graph.Relu)
    assert counterexample(module, after) is None


@pytest.mark.parametrize("signs", list(itertools.product(["i8", "ui8"], repeat=2)), ids="-".join)
@pytest.mark.parametrize("zeros", list(itertools.product([False, True], repeat=2)), ids=str)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_products_of_narrow_integers(signs, zeros, depth):
    """(a − za) @ (b − zb) in 32 bits is the product of 8-bit integers and its corrections."""
    s = Sketch(0)
    sides = []
    for dtype, zero, shape in zip(signs, zeros, ([1, depth], [depth, 2]), strict=True):
        wide = s.b.cast(s.input(shape, dtype), i32)
        if zero:
            wide = s.b.emit(graph.Sub, wide, s.b.cast(s.input([], dtype), i32))
        sides.append(wide)
    module = s.finish(s.b.emit(graph.MatMul, *sides, out_dtype=i32))
    after = rewritten(module, [NarrowMatMul()], folding=False)
    assert not is_same(module, after)
    assert counterexample(module, after) is None


INDEX_OPS = {
    "arith.muli": lambda x, y: x * y,
    "arith.addi": lambda x, y: x + y,
    "arith.divui": lambda x, y: z3.UDiv(x, y),
    "arith.remui": lambda x, y: z3.URem(x, y),
}


@pytest.mark.parametrize("name", INDEX_OPS)
def test_index_arithmetic(name):
    """What is left out of index expressions in Ascend C is left out for all indices."""
    known = {str(n): z3.BitVecVal(n, 64) for n in (0, 1, 2, 7, 64)}
    terms = {**known, "i": z3.BitVec("i", 64)}
    found = 0
    for x, y in itertools.product(terms, terms):
        if (text := simplified(name, x, y)) is None:
            continue
        found += 1
        made = terms.get(text)
        made = z3.BitVecVal(int(text), 64) if made is None else made
        difference = INDEX_OPS[name](terms[x], terms[y]) != made
        solver = z3.Solver()
        solver.add(difference)
        if name in ("arith.divui", "arith.remui"):
            solver.add(terms[y] != 0)
        assert solver.check() == z3.unsat, (name, x, y, text)
    assert found


def floor(a, b):
    """Python's // for z3's integers, whose own rounds so that the rest is not negative."""
    return z3.If(b > 0, a / b, (-a) / (-b))


FUNCTIONS = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "sub": (lambda a, b: a - b, lambda a, b: a - b),
    "mul": (lambda a, b: a * b, lambda a, b: a * b),
    "floordiv": (floordiv, floor),
    "mod": (mod, lambda a, b: a - b * floor(a, b)),
    "min": (minimum, lambda a, b: z3.If(a < b, a, b)),
    "max": (maximum, lambda a, b: z3.If(a > b, a, b)),
}
SIZES = ("n", "m")


@st.composite
def expressions(draw, depth: int = 4):
    """A dim, which simplifies itself as it is built, and the same as the solver's term."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        if draw(st.booleans()):
            name = draw(st.sampled_from(SIZES))
            return sym(name), z3.Int(name)
        number = draw(st.integers(-3, 12))
        return number, z3.IntVal(number)
    name = draw(st.sampled_from(list(FUNCTIONS)))
    ours, theirs = FUNCTIONS[name]
    (a, x), (b, y) = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    if name in ("floordiv", "mod", "mul"):  # by numbers only: else no solver decides
        b = draw(st.sampled_from([-3, -1, 1, 2, 3, 4, 8]))
        y = z3.IntVal(b)
    return ours(a, b), theirs(x, y)


def term(dim: Dim) -> z3.ArithRef:
    """A simplified dim as a term."""
    if isinstance(dim, int):
        return z3.IntVal(dim)
    names = {
        "floordiv": lambda a, b: floor(a, b),
        "mod": lambda a, b: a - b * floor(a, b),
        "min": lambda *v: _chain(v, lambda a, b: z3.If(a < b, a, b)),
        "max": lambda *v: _chain(v, lambda a, b: z3.If(a > b, a, b)),
        **{n: z3.Int(n) for n in SIZES},
    }
    return eval(str(dim), {"__builtins__": {}}, names)


def _chain(values, f):
    first, *rest = (z3.IntVal(v) if isinstance(v, int) else v for v in values)
    for v in rest:
        first = f(first, v)
    return first


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_dims_simplify_to_what_they_are(drawn):
    """For all sizes ≥ 0."""
    dim, wanted = drawn
    solver = z3.Solver()
    solver.set("timeout", 5000)
    solver.add(*(z3.Int(n) >= 0 for n in SIZES), term(dim) != wanted)
    said = solver.check()
    assume(said != z3.unknown)
    assert said == z3.unsat, solver.model()
