"""Symbolic dims: canonical form, simplification, text, and agreement with integer arithmetic."""

from __future__ import annotations

import copy
import operator
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aicc.ir.symbols import (
    Dim,
    SymExpr,
    bounds,
    ceildiv,
    could_be_equal,
    definitely_equal,
    evaluate,
    exact_div,
    floordiv,
    maximum,
    minimum,
    mod,
    parse,
    product,
    recombined,
    rename,
    sym,
)

ROOT = Path(__file__).resolve().parents[2]
BIG = 2**63
NAMES = ("s0", "s1", "batch.size")
a, b, c = map(sym, NAMES)

Tree = int | str | tuple  # what an expression is made from: a number, a name, or (op, *operands)
Env = Mapping[str, int]

OPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (operator.add, operator.add),
    "sub": (operator.sub, operator.sub),
    "mul": (operator.mul, operator.mul),
    "neg": (operator.neg, operator.neg),
    "floordiv": (floordiv, operator.floordiv),
    "ceildiv": (ceildiv, lambda x, y: -(-x // y)),
    "mod": (mod, operator.mod),
    "min": (minimum, min),
    "max": (maximum, max),
}


def build(tree: Tree) -> Dim:
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return sym(tree)
    return OPS[tree[0]][0](*map(build, tree[1:]))


def compute(tree: Tree, env: Env) -> int:
    """The value by Python's arithmetic alone. Divisors that break an assumption raise."""
    if isinstance(tree, int):
        return tree
    if isinstance(tree, str):
        return env[tree]
    values = [compute(t, env) for t in tree[1:]]
    if tree[0] == "ceildiv" and values[1] < 0 and not isinstance(tree[2], int):
        raise ZeroDivisionError("a symbolic divisor of ceildiv is positive")
    return OPS[tree[0]][1](*values)


numbers = st.integers(-20, 20)
names = st.sampled_from(NAMES)
polynomials: st.SearchStrategy[Tree] = st.recursive(
    numbers | names,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul"]), inner, inner),
        st.tuples(st.just("neg"), inner),
    ),
    max_leaves=6,
)
trees: st.SearchStrategy[Tree] = st.recursive(
    numbers | names,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul"]), inner, inner),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner, inner),
        st.tuples(st.sampled_from(["floordiv", "ceildiv", "mod"]), inner, inner),
        st.tuples(st.sampled_from(["floordiv", "ceildiv", "mod"]), inner, st.integers(1, 12)),
    ),
    max_leaves=8,
)
envs: st.SearchStrategy[Env] = st.fixed_dictionaries({n: st.integers(0, 40) for n in NAMES})


def built(tree: Tree) -> Dim:
    """The expression; a tree that divides by the constant 0 is not an example."""
    try:
        return build(tree)
    except ZeroDivisionError:
        assume(False)
        raise


def computed(tree: Tree, env: Env) -> int:
    try:
        return compute(tree, env)
    except ZeroDivisionError:
        assume(False)
        raise


def run_python(dim: Dim, env: Env) -> int:
    """Run the generated source."""
    source = dim.python(lambda n: f"env[{n!r}]") if isinstance(dim, SymExpr) else str(dim)
    return eval(source, {"env": env, "min": min, "max": max})


# ---------------------------------------------------------------------- laws


@settings(max_examples=600, deadline=None)
@given(trees, envs)
def test_agrees_with_integer_arithmetic(tree: Tree, env: Env) -> None:
    value = computed(tree, env)
    dim = built(tree)
    assert evaluate(dim, env) == value
    assert run_python(dim, env) == value
    for ranges in ({}, {n: (v, v) for n, v in env.items()}, {n: (0, 40) for n in NAMES}):
        low, high = bounds(dim, ranges)
        assert (low is None or low <= value) and (high is None or value <= high)
    assert could_be_equal(dim, value)


@settings(max_examples=300, deadline=None)
@given(trees, trees, st.integers(1, 9), st.integers(-3, 3), envs)
def test_quotients_and_rests_recombine(t: Tree, rest: Tree, k: int, c: int, env: Env) -> None:
    x, more = built(t), built(rest)
    split = (floordiv(x, k) * k + mod(x, k)) * c + more
    want = computed(t, env) * c + computed(rest, env)
    assert evaluate(recombined(split), env) == want
    assert recombined((floordiv(a, k) * k + mod(a, k)) * c + b) == a * c + b


@settings(max_examples=300, deadline=None)
@given(trees)
def test_text_round_trips(tree: Tree) -> None:
    dim = built(tree)
    again = parse(str(dim))
    assert again == dim and hash(again) == hash(dim) and str(again) == str(dim)
    assert isinstance(again, int) == isinstance(dim, int)


@settings(max_examples=300, deadline=None)
@given(trees)
def test_constants_are_ints(tree: Tree) -> None:
    dim = built(tree)
    assert type(dim) is int or (type(dim) is SymExpr and dim.symbols() and dim != 0)


def same(x: Dim, y: Dim) -> bool:
    return x == y and hash(x) == hash(y) and str(x) == str(y) and definitely_equal(x, y)


@settings(max_examples=200, deadline=None)
@given(trees, trees, trees)
def test_sums_and_products_are_canonical(t: Tree, u: Tree, v: Tree) -> None:
    x, y, z = built(t), built(u), built(v)
    assert same(x + y, y + x) and same(x * y, y * x)
    assert same((x + y) + z, x + (y + z)) and same((x * y) * z, x * (y * z))
    assert same(x * (y + z), x * y + x * z)
    assert same(x - y, -(y - x)) and same(x - x, 0) and same(x + 0, x) and same(x * 1, x)


@settings(max_examples=200, deadline=None)
@given(trees, trees)
def test_min_and_max_ignore_order_and_repetition(t: Tree, u: Tree) -> None:
    x, y = built(t), built(u)
    for f in (minimum, maximum):
        assert same(f(x, y), f(y, x)) and same(f(x, y, x), f(x, y)) and same(f(x), x)


@settings(max_examples=200, deadline=None)
@given(*[st.sampled_from([a, b, c, a + 1, b - 2, a + b, 4])] * 3)
def test_min_and_max_are_associative(x: Dim, y: Dim, z: Dim) -> None:
    for f in (minimum, maximum):
        assert same(f(f(x, y), z), f(x, f(y, z))) and same(f(f(x, y), z), f(x, y, z))


@settings(max_examples=200, deadline=None)
@given(trees, st.lists(numbers | st.just(a), max_size=2), st.integers(1, 12))
def test_multiples_leave_a_division(t: Tree, factors: list[Dim], n: int) -> None:
    x, whole = built(t), product(factors)
    assert same(floordiv(whole * n, n), whole) and same(mod(whole * n, n), 0)
    shift = product(f for f in factors if isinstance(f, int))
    assert same(floordiv(x + shift * n, n), floordiv(x, n) + shift)
    assert same(mod(x + shift * n, n), mod(x, n))
    assert same(ceildiv(x, n), floordiv(x + n - 1, n))


@settings(max_examples=200, deadline=None)
@given(polynomials, polynomials)
def test_exact_division_inverts_the_product(t: Tree, u: Tree) -> None:
    x, y = built(t), built(u)
    assume(y != 0)
    quotient = exact_div(x * y, y)
    assert quotient is not None and same(quotient, x)
    other = exact_div(x, y)
    assert other is None or same(other * y, x)


@settings(max_examples=300, deadline=None)
@given(trees, st.dictionaries(names, polynomials), envs)
def test_substitute_then_evaluate(tree: Tree, replacements: dict[str, Tree], env: Env) -> None:
    mapping = {n: built(t) for n, t in replacements.items()}
    inner = {**env, **{n: evaluate(d, env) for n, d in mapping.items()}}
    assume(all(v >= 0 for v in inner.values()))
    value = computed(tree, inner)
    dim = built(tree)
    try:
        dim = dim.substitute(mapping) if isinstance(dim, SymExpr) else dim
    except (ZeroDivisionError, OverflowError):
        assume(False)
    assert evaluate(dim, env) == value


@settings(max_examples=200, deadline=None)
@given(trees, trees, envs)
def test_equality_is_never_claimed_wrongly(t: Tree, u: Tree, env: Env) -> None:
    left, right = computed(t, env), computed(u, env)
    x, y = built(t), built(u)
    if not could_be_equal(x, y):
        assert left != right
    if definitely_equal(x, y):
        assert left == right and could_be_equal(x, y)


# ---------------------------------------------------------------------- examples


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (a + a + 1, "s0 * 2 + 1"),
        (b * b - 3 + a * 2, "s0 * 2 + s1 * s1 - 3"),
        (-a, "-s0"),
        (5 - 2 * a * b, "-s0 * s1 * 2 + 5"),
        (a - BIG, "s0 - 9223372036854775808"),
        (floordiv(a * b, b), "s0"),
        (floordiv(a * 6 + 4, 2), "s0 * 3 + 2"),
        (floordiv(a * 5 + 3, 2), "floordiv(s0 + 1, 2) + s0 * 2 + 1"),
        (floordiv(a * 2 + 1, 4), "floordiv(s0, 2)"),
        (floordiv(a, -2), "floordiv(-s0, 2)"),
        (floordiv(a * b, 4 * a), "floordiv(s1, 4)"),
        (floordiv(a * b + c, a), "floordiv(batch.size, s0) + s1"),
        (floordiv(a * a + 2 * a + 1, a + 1), "s0 + 1"),
        (floordiv(a, a + 1), "0"),
        (floordiv(-1, a), "-1"),
        (floordiv(floordiv(a, 2), 3), "floordiv(s0, 6)"),
        (floordiv(floordiv(a, b), 3), "floordiv(s0, s1 * 3)"),
        (floordiv(floordiv(a - 1, 2), 2) + 1, "floordiv(s0 + 3, 4)"),
        (floordiv(mod(a, 8), 8), "0"),
        (ceildiv(a, 2), "floordiv(s0 + 1, 2)"),
        (floordiv(a - 1, 2) + 1, "floordiv(s0 + 1, 2)"),
        (ceildiv(a * b, a), "s1"),
        (ceildiv(a, -2), "floordiv(-s0 + 1, 2)"),
        (mod(a * 9 + 17, 8), "mod(s0 + 1, 8)"),
        (mod(a * 2 + 1, 4), "mod(s0, 2) * 2 + 1"),
        (mod(a * b, b), "0"),
        (mod(mod(a, 8), 8), "mod(s0, 8)"),
        (maximum(a, a + 3), "s0 + 3"),
        (minimum(a, a + b), "s0"),
        (maximum(a, 0), "s0"),
        (minimum(a, 0), "0"),
        (maximum(4, maximum(b, a), a), "max(s0, s1, 4)"),
        (maximum(maximum(a, b) + 1, b + 2), "max(s0, s1 + 1) + 1"),
        (minimum(a + 1, 2), "min(s0, 1) + 1"),
        (maximum(a - 3, 0), "max(s0, 3) - 3"),
        (maximum(a - BIG, 4), "max(s0 - 9223372036854775808, 4)"),
        (maximum(a - minimum(a, 4), 0), "-min(s0, 4) + s0"),
        (product([a, 2, b, 3]), "s0 * s1 * 6"),
        (product([]), "1"),
    ],
)
def test_simplified_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse(text) == dim


def test_python_source() -> None:
    dim = floordiv(a + 1, 2) * 3 - maximum(b, mod(a, 8), 4)
    assert isinstance(dim, SymExpr)
    assert dim.python(lambda n: n.upper()) == "((S0 + 1) // 2) * 3 - max((S0 % 8), S1, 4)"


def test_symbols_of_nested_calls() -> None:
    dim = floordiv(a + mod(b, 8), c) + sym("min") * sym("floordiv2")
    assert isinstance(dim, SymExpr)
    assert dim.symbols() == {"s0", "s1", "batch.size", "min", "floordiv2"}


def test_substitution_happens_at_once() -> None:
    assert isinstance(swapped := rename(a - b, {"s0": "s1", "s1": "s0"}), SymExpr)
    assert swapped == b - a
    assert rename(a - b, {"s0": "s1"}) == 0 and rename(7, {"s0": "s1"}) == 7
    dim = floordiv(a + b, 2)
    assert isinstance(dim, SymExpr)
    assert dim.substitute({"s0": b + 4}) == b + 2 and dim.substitute({"s0": 3, "s1": 6}) == 4


def test_exact_div() -> None:
    assert exact_div(a * b * 4, b * 2) == a * 2
    assert exact_div(a * a - b * b, a + b) == a - b
    assert exact_div(12, 4) == 3 and exact_div(0, a) == 0
    assert exact_div(a + 1, 2) is None and exact_div(a, b) is None and exact_div(5, a) is None
    assert exact_div(a, 0) is None


def test_bounds() -> None:
    ranges = {"s0": (1, 8), "s1": (2, None)}
    assert bounds(7) == (7, 7) and bounds(a) == (0, None) and bounds(3 - a) == (None, 3)
    assert bounds(a * 2 - 1, ranges) == (1, 15)
    assert bounds(a * b, ranges) == (2, None)
    assert bounds(floordiv(a + 7, 8), ranges) == (1, 1)
    assert bounds(mod(b, 4), ranges) == (0, 3)
    assert bounds(mod(a, 9), ranges) == (1, 8)
    assert bounds(minimum(b, 4), ranges) == (2, 4)
    assert bounds(a - minimum(a, 4)) == (0, None)
    assert bounds(a - 5, {"s0": (-3, 3)}) == (-8, -2)


def test_could_be_equal() -> None:
    assert could_be_equal(a, b) and could_be_equal(a, 4) and could_be_equal(3, 3)
    assert not could_be_equal(3, 4) and not could_be_equal(a, a + 1)
    assert not could_be_equal(a, -1) and not could_be_equal(a * 2, 7)
    assert could_be_equal(a, 9) and not could_be_equal(a, 9, {"s0": (1, 8)})


def test_ints_and_expressions_never_compare_equal() -> None:
    assert a != 1 and a != "s0" and a == sym("s0") and len({a, sym("s0"), a + 0}) == 1


def test_missing_symbol_and_zero_divisor() -> None:
    with pytest.raises(KeyError, match="no value for symbol s1"):
        evaluate(a + b, {"s0": 1})
    with pytest.raises(ZeroDivisionError):
        evaluate(floordiv(a, b), {"s0": 1, "s1": 0})
    for f in (floordiv, ceildiv, mod):
        for x in (a, 3):
            with pytest.raises(ZeroDivisionError):
                f(x, 0)


@pytest.mark.parametrize(
    "overflow",
    [
        lambda: a + BIG,
        lambda: a - BIG - 1,
        lambda: a * BIG,
        lambda: (a * 2**40 + 1) * (b * 2**40),
        lambda: -(a - BIG),
        lambda: product([2**40, 2**40]),
        lambda: floordiv(-BIG, -1),
        lambda: floordiv(a, BIG),
        lambda: maximum(a, BIG),
        lambda: evaluate(a * b, {"s0": 2**40, "s1": 2**40}),
        lambda: parse("9223372036854775808"),
        lambda: parse("s0 + 123456789012345678901234567890"),
        lambda: product(sym(f"x{i}") + sym(f"y{i}") for i in range(40)),
    ],
)
def test_sizes_stay_within_int64(overflow: Callable[[], object]) -> None:
    with pytest.raises(OverflowError, match=r"64 bits|terms"):
        overflow()


def test_limits_of_int64_have_text() -> None:
    for dim in (a - BIG, BIG - 1 - a, a * -BIG, b - a * (BIG - 1) * b - BIG, -BIG, BIG - 1):
        assert parse(str(dim)) == dim


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a number, a symbol or '\\(', got ''"),
        ("s0 +", "expected a number"),
        ("s0 s1", "expected an operator or the end, got 's1'"),
        ("s0 / 2", "got '/'"),
        ("2s0", "got 's0'"),
        ("s0 ** 2", "got '\\*'"),
        ("(s0", "expected '\\)', got ''"),
        ("s0)", "got '\\)'"),
        ("floordiv(s0)", "1 arguments for floordiv"),
        ("floordiv(s0, 2, 3)", "3 arguments for floordiv"),
        ("max(s0, 2", "expected ',' or '\\)'"),
        ("mod(s0, 0)", "divi"),
        ("f(s0)", "expected an operator or the end, got '\\('"),
        ("s0 + ٣", "got '٣'"),
        ("__import__('os')", "got '\\('"),
        ("(" * 5000 + "s0" + ")" * 5000, "nested"),
        ("min(1," * 5000, "nested"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_text_may_be_loose() -> None:
    assert parse("  2*( s0+1 )*s1\n") == (a + 1) * b * 2
    assert parse("--s0 - -1") == a + 1 and parse("-" * 5001 + "s0") == -a
    assert parse("ceildiv(s0, 4)") == ceildiv(a, 4)
    assert parse("min") == sym("min")


@pytest.mark.parametrize("name", ["", "0s", "s 0", "s-0", ".s", "s0\n", "é", "max(s0, 4)"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="can't name a symbol"):
        sym(name)


def nest(levels: int) -> Dim:
    dim: Dim = a
    for i in range(levels):
        dim = minimum(maximum(dim, sym(f"p{i}") + 2) + b, sym(f"q{i}") + 5)
    return dim


def test_deep_nesting_is_fast_until_it_is_refused() -> None:
    dim = nest(50)
    env = {n: i for i, n in enumerate(sorted(dim.symbols()))} if isinstance(dim, SymExpr) else {}
    assert parse(str(dim)) == dim
    value = evaluate(dim, env)
    low, high = bounds(dim, {n: (0, v) for n, v in env.items()})
    assert low is not None and high is not None and low <= value <= high
    with pytest.raises(OverflowError, match="too large"):
        nest(51)


def test_copies_and_pickles() -> None:
    dim = floordiv(a * b + 3, 4) - maximum(a, c)
    for other in (copy.copy(dim), copy.deepcopy(dim), pickle.loads(pickle.dumps(dim))):
        assert same(other, dim)


def test_order_is_independent_of_hash_seed() -> None:
    code = (
        "from aicc.ir.symbols import *\n"
        "s = [sym(n) for n in 'qwertyuiop']\n"
        "print(product(x + 1 for x in s[:5]) + maximum(*s, floordiv(s[0] + s[1], s[2] + s[3])))"
    )
    texts = set()
    for seed in "123":
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=ROOT, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1
