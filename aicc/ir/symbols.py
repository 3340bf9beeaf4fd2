"""Symbolic integer expressions for tensor dims.

A `Dim` is an int or a `SymExpr`: a polynomial with integer coefficients over atoms, where an atom is
a symbol (a size that is known only at run time, never negative) or a call of floordiv, mod, min or
max. Expressions are immutable and canonical: equal polynomials are equal objects with equal hashes,
and anything constant is a plain int.

Text: ``s0 * 2 + s1 * s1 - 3``, ``floordiv(s0 + 1, 2)``, ``mod(s0, 8)``, ``min(a, b)``,
``max(a, b)``; `parse` inverts `str`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Union

_LIMIT = 2**63


@dataclass(frozen=True)
class Call:
    """An opaque atom: ``floordiv(a, b)``, ``mod(a, b)``, ``min(a, b)`` or ``max(a, b)``."""

    function: str
    args: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.args))})"


Atom = Union[str, Call]
Monomial = tuple[Atom, ...]  # atoms in canonical order, repeated for powers; () is the constant


class SymExpr:
    """A symbolic integer that is not constant. Build it with `sym` and arithmetic."""

    __slots__ = ("_hash", "_symbols", "_text", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]):
        self.terms = terms
        self._hash = hash(terms)
        self._text: str | None = None
        self._symbols: frozenset[str] | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, SymExpr) and self._hash == other._hash and self.terms == other.terms
        )

    def __add__(self, other: Dim) -> Dim:
        if other == 0:
            return self
        total = dict(self.terms)
        for m, c in _terms(other):
            total[m] = total.get(m, 0) + c
        return _make(total)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return SymExpr(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: Dim) -> Dim:
        return (-self) + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            if other == 1:
                return self
            return _make({m: c * other for m, c in self.terms})
        total: dict[Monomial, int] = {}
        for m, c in self.terms:
            for n, d in other.terms:
                key = tuple(sorted(m + n, key=_atom_key)) if m and n else m + n
                total[key] = total.get(key, 0) + c * d
        return _make(total)

    __rmul__ = __mul__

    def symbols(self) -> frozenset[str]:
        """The names that occur anywhere in the expression."""
        if self._symbols is None:
            found: set[str] = set()
            for m, _ in self.terms:
                for a in m:
                    if isinstance(a, str):
                        found.add(a)
                    else:
                        for x in a.args:
                            if isinstance(x, SymExpr):
                                found |= x.symbols()
            self._symbols = frozenset(found)
        return self._symbols

    def substitute(self, mapping: Mapping[str, Dim]) -> Dim:
        """The expression with symbols replaced, in canonical form again."""
        total: Dim = 0
        for m, c in self.terms:
            product: Dim = c
            for a in m:
                if isinstance(a, str):
                    product = product * mapping.get(a, sym(a))
                else:
                    args = (x.substitute(mapping) if isinstance(x, SymExpr) else x for x in a.args)
                    product = product * _FUNCTIONS[a.function](*args)
            total = total + product
        return total

    def python(self, names: Callable[[str], str] = str) -> str:
        """A Python expression with the same value, each symbol spelled by `names`."""

        def atom(a: Atom) -> str:
            if isinstance(a, str):
                return names(a)
            x, y = (v.python(names) if isinstance(v, SymExpr) else str(v) for v in a.args)
            return {
                "floordiv": f"(({x}) // ({y}))",
                "mod": f"(({x}) % ({y}))",
                "min": f"min({x}, {y})",
                "max": f"max({x}, {y})",
            }[a.function]

        return self._join(atom)

    def _join(self, atom: Callable[[Atom], str]) -> str:
        text = ""
        for i, (m, c) in enumerate(self.terms):
            factors = [atom(a) for a in m]
            if not factors or abs(c) != 1:
                factors.append(str(abs(c)))
            sign = ("-" if c < 0 else "") if i == 0 else (" - " if c < 0 else " + ")
            text += sign + " * ".join(factors)
        return text

    def __str__(self) -> str:
        if self._text is None:
            self._text = self._join(str)
        return self._text

    __repr__ = __str__


Dim = Union[int, SymExpr]


def _atom_key(a: Atom) -> tuple[int, str]:
    return (0, a) if isinstance(a, str) else (1, str(a))


def _term_key(term: tuple[Monomial, int]) -> tuple:
    m = term[0]
    return (not m, [_atom_key(a) for a in m])


def _terms(d: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(d, SymExpr):
        return d.terms
    return (((), d),) if d else ()


def _make(terms: Mapping[Monomial, int]) -> Dim:
    kept = [(m, c) for m, c in terms.items() if c]
    for _, c in kept:
        if not -_LIMIT <= c < _LIMIT:
            raise OverflowError(f"{c} in a dimension does not fit into 64 bits")
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    if len(kept) > 1:
        kept.sort(key=_term_key)
    return SymExpr(tuple(kept))


def _call(function: str, a: Dim, b: Dim) -> Dim:
    return SymExpr((((Call(function, (a, b)),), 1),))


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_KNOWN: dict[str, SymExpr] = {}


def sym(name: str) -> SymExpr:
    """The symbol `name`: letters, digits, ``_`` and ``.``, not one of the function names."""
    found = _KNOWN.get(name)
    if found is None:
        if not _NAME.fullmatch(name) or name in _FUNCTIONS:
            raise ValueError(f"{name!r} can't name a symbol")
        found = SymExpr((((name,), 1),))
        if len(_KNOWN) < 4096:
            _KNOWN[name] = found
    return found


def exact_div(a: Dim, b: Dim) -> Dim | None:
    """a / b where b divides every term of a, else None."""
    if isinstance(b, int):
        if b == 0 or any(c % b for _, c in _terms(a)):
            return None
        return a // b if isinstance(a, int) else _make({m: c // b for m, c in a.terms})
    if a == b:
        return 1
    if len(b.terms) != 1:
        return None
    (divisor, coefficient) = b.terms[0]
    quotient: dict[Monomial, int] = {}
    for m, c in _terms(a):
        rest = list(m)
        for atom in divisor:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coefficient:
            return None
        quotient[tuple(rest)] = c // coefficient
    return _make(quotient)


def floordiv(a: Dim, b: Dim) -> Dim:
    """Floor division. A symbolic divisor counts as non-zero. Raises ZeroDivisionError for 0."""
    if b == 0:
        raise ZeroDivisionError("a dimension divided by 0")
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    exact = exact_div(a, b)
    if exact is not None:
        return exact
    if isinstance(b, int) and b > 0:
        whole = _make({m: c // b for m, c in _terms(a) if c % b == 0 or not m})
        rest = _make({m: c % b if not m else c for m, c in _terms(a) if not m or c % b})
        if isinstance(rest, SymExpr) and len(rest.terms) == 1 and rest.terms[0][1] == 1:
            inner = rest.terms[0][0]
            if len(inner) == 1 and isinstance(inner[0], Call) and inner[0].function == "floordiv":
                x, y = inner[0].args
                if isinstance(y, int) and y > 0:
                    return floordiv(x, y * b) + whole
        return (_call("floordiv", rest, b) if isinstance(rest, SymExpr) else rest // b) + whole
    return _call("floordiv", a, b)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """Ceiling division by a positive divisor."""
    return floordiv(a + b - 1, b)


def mod(a: Dim, b: Dim) -> Dim:
    """The remainder with the divisor's sign. Raises ZeroDivisionError for 0."""
    if b == 0:
        raise ZeroDivisionError("a dimension modulo 0")
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if exact_div(a, b) is not None:
        return 0
    if isinstance(b, int) and b > 0:
        rest = _make({m: c % b for m, c in _terms(a)})
        return rest % b if isinstance(rest, int) else _call("mod", rest, b)
    return _call("mod", a, b)


def _extreme(function: str, pick: Callable[[int, int], int]) -> Callable[[Dim, Dim], Dim]:
    def apply(a: Dim, b: Dim) -> Dim:
        difference = a - b
        if isinstance(difference, int):
            return a if pick(difference, 0) == difference else b
        low, high = bounds(difference, {})
        if low is not None and low >= 0:
            return a if function == "max" else b
        if high is not None and high <= 0:
            return b if function == "max" else a
        first, second = sorted((a, b), key=lambda d: (isinstance(d, int), str(d)))
        return _call(function, first, second)

    return apply


minimum = _extreme("min", min)
maximum = _extreme("max", max)

_FUNCTIONS: dict[str, Callable[[Dim, Dim], Dim]] = {
    "floordiv": floordiv,
    "mod": mod,
    "min": minimum,
    "max": maximum,
}

_PYTHON: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
}


def evaluate(d: Dim, env: Mapping[str, int]) -> int:
    """The value of `d` with the symbols' values from `env`. Raises KeyError for a missing one."""
    if isinstance(d, int):
        return d
    total = 0
    for m, c in d.terms:
        for a in m:
            if isinstance(a, str):
                c *= env[a]
            else:
                c *= _PYTHON[a.function](*(evaluate(x, env) for x in a.args))
        total += c
    return total


Bound = Union[int, None]


def bounds(d: Dim, ranges: Mapping[str, tuple[int, int | None]]) -> tuple[Bound, Bound]:
    """Least and greatest value by interval arithmetic, None where unbounded.

    A symbol without a range counts as 0 or more.
    """
    if isinstance(d, int):
        return d, d
    low: Bound = 0
    high: Bound = 0
    for m, c in d.terms:
        lo: Bound = 1
        hi: Bound = 1
        for a in m:
            alo, ahi = _atom_bounds(a, ranges)
            if alo is None or alo < 0 or lo is None or lo < 0:
                lo, hi = None, None
                break
            lo = lo * alo
            hi = None if hi is None or ahi is None else hi * ahi
        if c < 0:
            lo, hi = hi, lo
        low = None if low is None or lo is None else low + c * lo
        high = None if high is None or hi is None else high + c * hi
    return low, high


def _atom_bounds(a: Atom, ranges: Mapping[str, tuple[int, int | None]]) -> tuple[Bound, Bound]:
    if isinstance(a, str):
        return ranges.get(a, (0, None))
    (xl, xh), (yl, yh) = (bounds(x, ranges) for x in a.args)
    if a.function == "mod":
        return (0, None if yh is None else yh - 1) if yl is not None and yl > 0 else (None, None)
    if a.function == "floordiv":
        if yl is None or yl <= 0 or xl is None:
            return None, None
        low = (0 if yh is None else xl // yh) if xl >= 0 else xl // yl
        return low, None if xh is None else xh // yl
    if a.function == "min":
        low = None if xl is None or yl is None else min(xl, yl)
        highs = [h for h in (xh, yh) if h is not None]
        return low, min(highs) if highs else None
    lows = [v for v in (xl, yl) if v is not None]
    return max(lows) if lows else None, None if xh is None or yh is None else max(xh, yh)


def definitely_equal(a: Dim, b: Dim) -> bool:
    """Whether the two have the same canonical form."""
    return a == b


def product(dims: Iterable[Dim]) -> Dim:
    return reduce(lambda a, b: a * b, dims, 1)


_TOKEN = re.compile(r"\s*(?:(\d+)|([A-Za-z_][A-Za-z0-9_.]*)|(.))")
_MAX_DEPTH = 50


def parse(text: str) -> Dim:
    """The expression that `text` spells; raises ValueError where it doesn't."""
    tokens = [m.group(1) or m.group(2) or m.group(3) for m in _TOKEN.finditer(text.strip())]
    value, rest = _parse_sum(tokens, 0, 0)
    if rest != len(tokens):
        raise ValueError(f"unexpected {tokens[rest]!r} in {text!r}")
    return value


def _parse_sum(tokens: list[str], i: int, depth: int) -> tuple[Dim, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("a dimension expression is nested too deeply")
    negative = i < len(tokens) and tokens[i] == "-"
    value, i = _parse_product(tokens, i + negative, depth)
    value = -value if negative else value
    while i < len(tokens) and tokens[i] in "+-":
        sign = 1 if tokens[i] == "+" else -1
        term, i = _parse_product(tokens, i + 1, depth)
        value = value + term * sign
    return value, i


def _parse_product(tokens: list[str], i: int, depth: int) -> tuple[Dim, int]:
    value, i = _parse_factor(tokens, i, depth)
    while i < len(tokens) and tokens[i] == "*":
        factor, i = _parse_factor(tokens, i + 1, depth)
        value = value * factor
    return value, i


def _parse_factor(tokens: list[str], i: int, depth: int) -> tuple[Dim, int]:
    if i >= len(tokens):
        raise ValueError("a dimension expression ends too early")
    token = tokens[i]
    if token.isdigit():
        if len(token) > 19 or int(token) >= _LIMIT:
            raise OverflowError(f"{token[:24]} does not fit into 64 bits")
        return int(token), i + 1
    if token in _FUNCTIONS:
        if tokens[i + 1 : i + 2] != ["("]:
            raise ValueError(f"'{token}' needs two arguments in parentheses")
        a, i = _parse_sum(tokens, i + 2, depth + 1)
        if tokens[i : i + 1] != [","]:
            raise ValueError(f"'{token}' needs two arguments")
        b, i = _parse_sum(tokens, i + 1, depth + 1)
        if tokens[i : i + 1] != [")"]:
            raise ValueError(f"'{token}' is never closed")
        try:
            return _FUNCTIONS[token](a, b), i + 1
        except ZeroDivisionError as e:
            raise ValueError(str(e)) from None
    if _NAME.fullmatch(token):
        return sym(token), i + 1
    if token == "(":
        value, i = _parse_sum(tokens, i + 1, depth + 1)
        if tokens[i : i + 1] != [")"]:
            raise ValueError("a parenthesis is never closed")
        return value, i + 1
    raise ValueError(f"unexpected {token!r}")
