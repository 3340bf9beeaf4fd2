"""Symbolic integer expressions for tensor dims.

A `Dim` is an int or a `SymExpr`: a polynomial with integer coefficients over *atoms*. An atom is a
symbol or a call of ``floordiv``, ``mod``, ``min`` or ``max`` that nothing simplifies further.
Expressions are immutable and canonical: equal polynomials compare equal and hash equal, terms have
one order, and what is constant is a plain int.

What the simplifications assume: symbols are sizes, so they are ≥ 0; a divisor is never 0. Under
these, ``floordiv(s0 * s1, s1)`` is ``s0`` and ``max(s0, 0)`` is ``s0``. All else holds for every
integer. Division rounds down and `mod` has the divisor's sign, as in Python.

Text: ``s0 * 2 + s1 * s1 - 3``, ``floordiv(s0 + 1, 2)``, ``mod(s0, 8)``, ``min(s0, s1, 4)``;
`parse` inverts `str`. A constant outside int64 raises OverflowError, as does an expression that is
too large to be of use.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, reduce
from math import gcd, inf, prod
from typing import Any, TypeVar

_MIN, _MAX = -(2**63), 2**63 - 1
_MAX_NESTING = 100  # calls within calls, brackets within brackets
_MAX_TERMS = 4096
_MAX_TEXT = 1 << 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

Ranges = Mapping[str, tuple[int, int | None]]  # least and greatest value, None for no greatest
Monomial = tuple[str, ...]  # sorted atoms, a power repeats its atom; () is the monomial 1
Terms = tuple[tuple[Monomial, int], ...]
Interval = tuple[float, float]  # ints, or ±inf
Known = tuple[tuple[str, tuple[int, int | None]], ...]  # ranges that can be hashed


class Call(str):
    """An opaque atom. It is its own text: atoms sort, hash and compare as fast as strings do."""

    __slots__ = ("args", "function", "interval", "nesting")

    def __new__(cls, function: str, args: tuple[Dim, ...]) -> Call:
        self = super().__new__(cls, f"{function}({', '.join(map(str, args))})")
        inner = (a.nesting for x in args for m, _ in _terms(x) for a in m if isinstance(a, Call))
        self.function, self.args, self.nesting = function, args, 1 + max(inner, default=0)
        for x in args:
            _checked(x if isinstance(x, int) else 0)
        if self.nesting > _MAX_NESTING or len(self) > _MAX_TEXT:
            raise OverflowError(f"the dimension expression {self[:40]}… is too large")
        self.interval = _call_interval(function, [_interval(x) for x in args])
        return self


class SymExpr:
    """A symbolic integer that isn't constant. Made by `sym`, arithmetic and the functions below.

    `terms` are monomials with their coefficients in canonical order, without the `constant`.
    """

    __slots__ = ("_hash", "_text", "constant", "terms")

    def __init__(self, terms: Terms, constant: int = 0):
        self.terms = terms
        self.constant = constant if _MIN <= constant <= _MAX else _checked(constant)
        self._hash = hash((terms, constant))
        self._text: str | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SymExpr) or self._hash != other._hash:
            return False
        return self is other or (self.constant == other.constant and self.terms == other.terms)

    def __add__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return SymExpr(self.terms, self.constant + other) if other else self
        if not isinstance(other, SymExpr):
            return NotImplemented
        total = dict(self.terms)
        for m, c in other.terms:
            total[m] = total.get(m, 0) + c
        return _build(total, self.constant + other.constant)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return _build({m: c * other for m, c in self.terms}, self.constant * other)
        if not isinstance(other, SymExpr):
            return NotImplemented
        total: dict[Monomial, int] = {}
        for m, c in _terms(self):
            for n, d in _terms(other):
                key = tuple(sorted(m + n))
                total[key] = total.get(key, 0) + c * d
        return _build(total)

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Callable[[str], Dim], tuple[str]]:
        return parse, (str(self),)  # the hash is another one in another process

    def symbols(self) -> frozenset[str]:
        """The names of all symbols in the expression."""
        return frozenset(re.findall(rf"{_NAME.pattern}(?![\w.(])", str(self)))  # names not called

    def substitute(self, mapping: Mapping[str, Dim]) -> Dim:
        """The expression with dims put for symbols, all at once, and simplified again."""
        return _fold(self, lambda name: mapping[name] if name in mapping else sym(name), _FUNCTIONS)

    def python(self, names: Callable[[str], str] = str) -> str:
        """Python source with the same value; put it in brackets before you combine it further.

        `names` spells a symbol: as a name, attribute, subscript or call.
        """

        def spell(a: str) -> str:
            if not isinstance(a, Call):
                return names(a)
            args = [x.python(names) if isinstance(x, SymExpr) else str(x) for x in a.args]
            if a.function in ("min", "max"):
                return f"{a.function}({', '.join(args)})"
            x, y = (s if re.fullmatch(r"[\w.]+|\([^()]*\)", s) else f"({s})" for s in args)
            return f"({x} // {y})" if a.function == "floordiv" else f"({x} % {y})"

        return self._join(spell)

    def _join(self, spell: Callable[[str], str]) -> str:
        text = ""
        for m, c in _terms(self):
            factors = [spell(a) for a in m] + [str(abs(c))] * (abs(c) != 1 or not m)
            sign = (" - " if c < 0 else " + ") if text else ("-" if c < 0 else "")
            text += sign + " * ".join(factors)
        return text

    def __str__(self) -> str:
        if self._text is None:
            self._text = self._join(str)
        return self._text

    __repr__ = __str__


Dim = int | SymExpr
_F = TypeVar("_F", bound=Callable[..., Any])


def _cached(function: _F) -> _F:
    return lru_cache(1 << 14)(function)  # type: ignore[return-value]


@_cached
def sym(name: str) -> SymExpr:
    """The symbol `name`: letters, digits, ``_`` and ``.``, no digit or ``.`` in front."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't name a symbol: use letters, digits, '_' and '.'")
    return SymExpr((((name,), 1),))


def product(dims: Iterable[Dim]) -> Dim:
    """The product of the dims; 1 if there are none."""
    result: Any = prod(dims)  # type: ignore[type-var]
    return _checked(result) if isinstance(result, int) else result


def total(dims: Iterable[Dim]) -> Dim:
    """The sum of the dims; 0 if there are none."""
    return sum(dims)  # type: ignore[return-value]


@_cached
def exact_div(a: Dim, b: Dim) -> Dim | None:
    """The polynomial q with a = q * b, or None if there is none (or b is 0)."""
    if b == 0:
        return None
    quotient, rest = _divide(a, b)
    return quotient if rest == 0 else None


@_cached
def floordiv(a: Dim, b: Dim) -> Dim:
    """``a // b``. A symbolic divisor counts as nonzero; raises ZeroDivisionError for 0."""
    if isinstance(a, int) and isinstance(b, int):
        return _checked(a // b)
    if _is_negated(b):
        return floordiv(-a, -b)
    whole, a = _divide(a, b)
    factor = _common_factor(a, b)
    if factor != 1:
        return whole + floordiv(_divide(a, factor)[0], _divide(b, factor)[0])
    for call, c in _lone_calls(a, "floordiv"):
        # (x // y + rest) // b = (x + y * rest) // (y * b) for b > 0
        x, y = call.args
        rest = a - _build({(call,): 1})
        ints = isinstance(y, int) and isinstance(b, int)
        if c == 1 and (ints or rest == 0) and _interval(b)[0] >= 0:
            with suppress(OverflowError):
                return whole + floordiv(x + y * rest, y * b)
    return whole if _is_remainder(a, b) else whole + _call("floordiv", a, b)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """``a / b`` rounded up, as ``floordiv(a + b - 1, b)``. A symbolic divisor counts as > 0."""
    if isinstance(b, int) and b < 0:
        return ceildiv(-a, -b)
    exact = exact_div(a, b)
    return floordiv(a + b - 1, b) if exact is None else exact


@_cached
def mod(a: Dim, b: Dim) -> Dim:
    """``a % b``. A symbolic divisor counts as nonzero; raises ZeroDivisionError for 0."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if _is_negated(b):
        return -mod(-a, -b)
    _, a = _divide(a, b)
    factor = _common_factor(a, b)
    if factor != 1:
        a, extra = _divide(a, factor)
        return factor * mod(a, _divide(b, factor)[0]) + extra
    return a if _is_remainder(a, b) else _call("mod", a, b)


def recombined(d: Dim) -> Dim:
    """The expression with ``x`` for each ``floordiv(x, k) * k + mod(x, k)`` in it."""
    for call, c in _lone_calls(d, "mod"):
        x, k = call.args
        quotient = floordiv(x, k) * k
        if isinstance(quotient, int):
            continue
        there = dict(_terms(d))
        if all(there.get(m) == c * q for m, q in _terms(quotient)):
            return recombined(d - (quotient + mod(x, k)) * c + x * c)
    return d


def minimum(*dims: Dim) -> Dim:
    """The least of one or more dims."""
    return _extreme("min", dims)


def maximum(*dims: Dim) -> Dim:
    """The greatest of one or more dims."""
    return _extreme("max", dims)


@_cached
def _extreme(function: str, dims: tuple[Dim, ...]) -> Dim:
    flat: set[Dim] = set()
    for d in dims:
        call, c = next(_lone_calls(d, function), (None, 0))
        if call and c == 1 and isinstance(d, SymExpr) and len(d.terms) == 1:
            flat.update(x + d.constant for x in call.args)
        else:
            flat.add(d)
    kept: list[Dim] = []
    reach = _least_difference if function == "max" else lambda x, y: _least_difference(y, x)
    for d in sorted(flat, key=_by_text):
        if not any(reach(k, d) >= 0 for k in kept):
            kept = [*(k for k in kept if reach(d, k) < 0), d]
    if len(kept) == 1:
        return kept[0]
    shift = min(d if isinstance(d, int) else d.constant for d in kept)
    with suppress(OverflowError):  # max(x + 2, 3) = max(x, 1) + 2
        return _call(function, *sorted((d - shift for d in kept), key=_by_text)) + shift
    return _call(function, *sorted(kept, key=_by_text))


def _by_text(d: Dim) -> tuple[bool, str]:
    return isinstance(d, int), str(d)


_FUNCTIONS = {"floordiv": floordiv, "ceildiv": ceildiv, "mod": mod, "min": minimum, "max": maximum}


def _checked(value: int) -> int:
    if not _MIN <= value <= _MAX:
        raise OverflowError(f"{value} in a dimension expression doesn't fit into 64 bits")
    return value


def _terms(d: Dim) -> Terms:
    """All terms, the constant last."""
    if isinstance(d, int):
        return (((), d),) if d else ()
    return (*d.terms, ((), d.constant)) if d.constant else d.terms


def _build(terms: Mapping[Monomial, int], constant: int = 0) -> Dim:
    """The canonical form of a sum. The constant may stand among the terms, too."""
    constant += terms.get((), 0)
    kept = [(m, _checked(c)) for m, c in terms.items() if c and m]
    if not kept:
        return _checked(constant)
    if len(kept) > _MAX_TERMS:
        raise OverflowError(f"a dimension expression has more than {_MAX_TERMS} terms")
    return SymExpr(tuple(sorted(kept)), constant)


def _call(function: str, *args: Dim) -> Dim:
    call = Call(function, args)
    low, high = call.interval
    return int(low) if low == high else _build({(call,): 1})


def _lone_calls(d: Dim, *functions: str) -> Iterator[tuple[Call, int]]:
    """The terms that are a call times an int."""
    for m, c in _terms(d):
        if len(m) == 1 and isinstance(m[0], Call) and m[0].function in functions:
            yield m[0], c


def _is_negated(b: Dim) -> bool:
    """Whether a divisor's first coefficient is negative: of b and -b one is canonical."""
    if b == 0:
        raise ZeroDivisionError("a dimension divided by 0")
    return _terms(b)[0][1] < 0


def _divide(a: Dim, b: Dim) -> tuple[Dim, Dim]:
    """Quotient and remainder of polynomials. A `b` of several terms divides all of `a` or nothing.

    A coefficient leaves a remainder of its own sign, which keeps bounds tight, a constant one ≥ 0.
    """

    def leading(term: tuple[Monomial, int]) -> tuple[int, Monomial]:
        return -len(term[0]), term[0]  # a monomial order: multiplication keeps it

    left, quotient, rest = dict(_terms(a)), {}, {}
    lead, d = min(_terms(b), key=leading)
    while left:
        m, c = min(left.items(), key=leading)
        factor = tuple((Counter(m) - Counter(lead)).elements())
        k = c // d if not m or c % d == 0 else abs(c) // abs(d) * (1 if c * d > 0 else -1)
        if k and len(factor) + len(lead) == len(m):
            quotient[factor] = k
            for n, e in _terms(b):
                key = tuple(sorted(factor + n))
                left[key] = left.get(key, 0) - k * e
            left = {n: e for n, e in left.items() if e}
        elif len(_terms(b)) > 1:
            return 0, a
        else:
            rest[m] = left.pop(m)
    return _build(quotient), _build(rest)


def _common_factor(a: Dim, b: Dim) -> Dim:
    """The largest monomial that divides both. An int `b` takes no notice of a's constant."""
    terms = [*_terms(b), *(t for t in _terms(a) if t[0] or not isinstance(b, int))]
    common = reduce(operator.and_, (Counter(m) for m, _ in terms))
    return _build({tuple(common.elements()): gcd(*(c for _, c in terms))})


def _is_remainder(a: Dim, b: Dim) -> bool:
    return a == 0 or (_interval(a)[0] >= 0 and _least_difference(b, a) > 0)  # 0 ≤ a < b


def _least_difference(a: Dim, b: Dim) -> float:
    with suppress(OverflowError):
        return _interval(a - b)[0]
    return -inf


def definitely_equal(a: Dim, b: Dim) -> bool:
    """Whether the dims have one canonical form, and so one value wherever they are used."""
    return a == b


def could_be_equal(a: Dim, b: Dim, ranges: Ranges | None = None) -> bool:
    """False only if the dims differ for all values of the symbols (≥ 0, or within `ranges`)."""
    d = a - b
    if isinstance(d, int):
        return d == 0
    low, high = _interval(d, tuple(ranges.items()) if ranges else ())
    return low <= 0 <= high and d.constant % gcd(*(c for _, c in d.terms)) == 0


def bounds(dim: Dim, ranges: Ranges | None = None) -> tuple[int | None, int | None]:
    """Bounds by interval arithmetic, None for no bound. A symbol not in `ranges` is ≥ 0."""
    low, high = _interval(dim, tuple(ranges.items()) if ranges else ())
    return None if low == -inf else int(low), None if high == inf else int(high)


@_cached
def _interval(d: Dim, known: Known = ()) -> Interval:
    low, high = _sum_interval(_terms(d), known)
    for call, c in _lone_calls(d, "min", "max"):
        # The sum is the least, or the greatest, of what it is with each argument in turn.
        options = []
        for x in call.args:
            total = {m: k for m, k in _terms(d) if m != (call,)}
            for m, k in _terms(x):
                total[m] = total.get(m, 0) + k * c
            options.append(_sum_interval(total.items(), known))
        pick = min if (call.function == "min") == (c > 0) else max
        low = max(low, pick(o[0] for o in options))
        high = min(high, pick(o[1] for o in options))
    return low, high


def _sum_interval(terms: Iterable[tuple[Monomial, int]], known: Known) -> Interval:
    low, high = 0, 0
    for m, c in terms:
        span: Interval = (c, c)
        for a in m:
            corners = [x * y if x and y else 0 for x in span for y in _atom_interval(a, known)]
            span = min(corners), max(corners)
        low, high = low + span[0], high + span[1]
    return low, high


def _atom_interval(a: str, known: Known) -> Interval:
    if not isinstance(a, Call):
        low, high = dict(known).get(a, (0, None))
        return low, inf if high is None else high
    return (
        _call_interval(a.function, [_interval(x, known) for x in a.args]) if known else a.interval
    )


def _call_interval(function: str, args: Sequence[Interval]) -> Interval:
    if function in ("min", "max"):
        pick = min if function == "min" else max
        return pick(a[0] for a in args), pick(a[1] for a in args)
    (low, high), (least, most) = args
    if least < 0:
        return -inf, inf
    least, most = max(least, 1), max(most, 1)  # the divisor isn't 0
    if function == "mod":
        if low >= 0 and high < least:
            return low, high
        return 0, min(high, most - 1) if low >= 0 else most - 1
    low = low if low == -inf else int(low // (least if low < 0 else most))
    return low, high if high == inf else int(high // (most if high < 0 else least))


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """The value for given symbols. Raises KeyError if one is missing, ZeroDivisionError for x/0."""
    functions = {"floordiv": operator.floordiv, "mod": operator.mod, "min": min, "max": max}
    try:
        return _checked(_fold(dim, env.__getitem__, functions))
    except KeyError as e:
        raise KeyError(f"no value for symbol {e.args[0]} of {dim}") from None


def rename(dim: Dim, names: Mapping[str, str]) -> Dim:
    """The dim with symbols renamed, all at once; two may get one name."""
    return dim if isinstance(dim, int) else dim.substitute({k: sym(v) for k, v in names.items()})


def _fold(d: Dim, symbol: Callable[[str], Any], functions: Mapping[str, Callable]) -> Any:
    """What `d` comes to where symbols and calls have the given meaning."""
    if isinstance(d, int):
        return d
    total: Any = d.constant
    for m, value in d.terms:
        for a in m:
            if isinstance(a, Call):
                value *= functions[a.function](*(_fold(x, symbol, functions) for x in a.args))
            else:
                value *= symbol(a)
        total += value
    return total


def parse(text: str) -> Dim:
    """The dim that `text` spells; the inverse of `str`. Raises ValueError for bad text."""
    tokens = ["", *reversed(re.findall(rf"[0-9]+|{_NAME.pattern}|\S", text))]  # the next one last
    try:
        value = _parse_sum(tokens, 0)
        _expect(tokens, "")
    except (ValueError, ZeroDivisionError) as e:
        raise ValueError(f"{e} in {text[:80]!r}") from None
    return _checked(value) if isinstance(value, int) else value


def _expect(tokens: list[str], *expected: str) -> str:
    token = tokens.pop()
    if token not in expected:
        wanted = " or ".join(repr(t) if t else "an operator or the end" for t in expected)
        raise ValueError(f"expected {wanted}, got {token[:40]!r}")
    return token


def _parse_sum(tokens: list[str], nesting: int) -> Dim:
    if nesting > _MAX_NESTING:
        raise ValueError(f"more than {_MAX_NESTING} nested brackets")
    total, term = 0, 1
    while True:
        while tokens[-1] == "-":
            tokens.pop()
            term = -term
        term = term * _parse_factor(tokens, nesting)
        if tokens[-1] == "*":
            tokens.pop()
            continue
        total = total + term
        if tokens[-1] not in ("+", "-"):
            return total
        term = 1 if tokens.pop() == "+" else -1


def _parse_factor(tokens: list[str], nesting: int) -> Dim:
    token = tokens.pop()
    if token == "(":
        value = _parse_sum(tokens, nesting + 1)
        _expect(tokens, ")")
        return value
    if token.isascii() and token.isdigit():
        if len(token) > 19:
            raise OverflowError(f"{token[:40]} doesn't fit into 64 bits")
        return int(token)
    if not _NAME.fullmatch(token):
        raise ValueError(f"expected a number, a symbol or '(', got {token[:40]!r}")
    if token not in _FUNCTIONS or tokens[-1] != "(":
        return sym(token)
    tokens.pop()
    args = [_parse_sum(tokens, nesting + 1)]
    while _expect(tokens, ",", ")") == ",":
        args.append(_parse_sum(tokens, nesting + 1))
    if len(args) < 2 or (len(args) > 2 and token not in ("min", "max")):
        raise ValueError(f"{len(args)} arguments for {token}")
    return _FUNCTIONS[token](*args)
