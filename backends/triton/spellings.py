"""How each op on tiles is written in Triton: one row an op.

A row is a template over the operands' text with the precedence of what it makes, as in Python's
grammar: operands that bind less tightly get brackets.
"""

from __future__ import annotations

from dataclasses import dataclass

ATOM, POWER, UNARY, PRODUCT, SUM, SHIFT, AND, XOR, OR, COMPARE = range(10)


@dataclass(frozen=True)
class Spelling:
    """A template, how tightly its result binds, and the helper function that it calls."""

    template: str
    binds: int = ATOM
    helper: str | None = None
    unsigned: bool = False
    """Whether integers are taken as unsigned, and given back signless."""
    tensors: bool = False
    """Whether constants are written as tensors: the helper asks for their dtype."""


def _infix(symbol: str, binds: int, unsigned: bool = False) -> Spelling:
    return Spelling(f"{{0}} {symbol} {{1}}", binds, None, unsigned)


def _call(function: str) -> Spelling:
    return Spelling(f"{function}({{0}})")


def _helper(name: str, operands: int = 1) -> Spelling:
    args = ", ".join(f"{{{i}}}" for i in range(operands))
    return Spelling(f"{name}({args})", ATOM, name, tensors=operands > 1 and "nan" not in name)


SPELLINGS: dict[str, Spelling] = {
    "arith.addf": _infix("+", SUM),
    "arith.subf": _infix("-", SUM),
    "arith.mulf": _infix("*", PRODUCT),
    "arith.divf": _infix("/", PRODUCT),
    "arith.negf": Spelling("-{0}", UNARY),
    "arith.maximumf": _helper("nan_max", 2),
    "arith.minimumf": _helper("nan_min", 2),
    "arith.addi": _infix("+", SUM),
    "arith.subi": _infix("-", SUM),
    "arith.muli": _infix("*", PRODUCT),
    "arith.divsi": _infix("//", PRODUCT),
    "arith.divui": _infix("//", PRODUCT, unsigned=True),
    "arith.remsi": _infix("%", PRODUCT),
    "arith.remui": _infix("%", PRODUCT, unsigned=True),
    "arith.maxsi": Spelling("tl.maximum({0}, {1})"),
    "arith.minsi": Spelling("tl.minimum({0}, {1})"),
    "arith.maxui": Spelling("tl.maximum({0}, {1})", ATOM, None, True),
    "arith.minui": Spelling("tl.minimum({0}, {1})", ATOM, None, True),
    "arith.andi": _infix("&", AND),
    "arith.ori": _infix("|", OR),
    "arith.xori": _infix("^", XOR),
    "arith.shli": _infix("<<", SHIFT),
    "arith.shrsi": _infix(">>", SHIFT),
    "arith.shrui": _infix(">>", SHIFT, unsigned=True),
    "tile.remf": _infix("%", PRODUCT),
    "math.absf": _call("tl.abs"),
    "math.absi": _call("tl.abs"),
    "math.ceil": _call("tl.ceil"),
    "math.floor": _call("tl.floor"),
    "math.roundeven": _helper("round_even"),
    "math.trunc": _helper("trunc"),
    "math.exp": _call("tl.exp"),
    "math.exp2": _call("tl.exp2"),
    "math.expm1": _helper("expm1"),
    "math.log": _call("tl.log"),
    "math.log2": _call("tl.log2"),
    "math.log1p": _helper("log1p"),
    "math.sqrt": _call("tl.sqrt"),
    "math.rsqrt": _call("tl.rsqrt"),
    "math.sin": _call("tl.sin"),
    "math.cos": _call("tl.cos"),
    "math.tan": _helper("tan"),
    "math.asin": _helper("asin"),
    "math.acos": _helper("acos"),
    "math.atan": _helper("atan"),
    "math.sinh": _helper("sinh"),
    "math.cosh": _helper("cosh"),
    "math.tanh": _helper("tanh"),
    "math.asinh": _helper("asinh"),
    "math.acosh": _helper("acosh"),
    "math.atanh": _helper("atanh"),
    "math.erf": _call("tl.erf"),
    "math.atan2": _helper("atan2", 2),
    "math.powf": _helper("power", 2),
}

SCALAR_AND = Spelling("tl.where({0}, {1}, False)")
"""The conjunction of a scalar and a tile."""

HELPERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "nan_max": (
        '''
def nan_max(x, y):
    """The greater; NaN wins."""
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)
''',
        (),
    ),
    "nan_min": (
        '''
def nan_min(x, y):
    """The lesser; NaN wins."""
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)
''',
        (),
    ),
    "product": (
        """
def product(x, y):
    return x * y
""",
        (),
    ),
    "trunc": (
        '''
def trunc(x):
    """The integer part, toward zero."""
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))
''',
        (),
    ),
    "round_even": (
        '''
def round_even(x):
    """The nearest integer, halves to even."""
    down = tl.floor(x)
    part = x - down
    odd = down - 2 * tl.floor(down * 0.5) != 0
    return tl.where((part > 0.5) | ((part == 0.5) & odd), down + 1, down)
''',
        (),
    ),
    "tanh": (
        '''
def tanh(x):
    """1 - 2 / (e^2x + 1); near 0, where that cancels, an odd polynomial (f64: Kahan's expm1)."""
    t = tl.exp(-2 * tl.abs(x))
    large = (1 - t) / (1 + t)
    s = x * x
    p = x * (1 + s * (-0.3333333333 + s * (0.1333333333 + s * (-0.0539682540 + s * 0.0218694885))))
    if x.dtype == tl.float64:
        u = (t - 1) * 2 * x / tl.log(tl.where(t == 1, 2.0, t))
        p = tl.where(t == 1, x, u / (2 - tl.abs(u)))
    return tl.where(tl.abs(x) < 0.25, p, tl.where(x < 0, -large, large))
''',
        (),
    ),
    "expm1": (
        '''
def expm1(x):
    """e^x - 1; near 0 by Kahan's (u - 1) x / log u, with u = e^x."""
    u = tl.exp(x)
    v = u - 1
    near = tl.where(v == 0, x, v * x / tl.log(tl.where(u == 1, 2.0, u)))
    return tl.where(tl.abs(x) < 0.5, near, v)
''',
        (),
    ),
    "log1p": (
        '''
def log1p(x):
    """log(1 + x), by Kahan's log(u) x / (u - 1) with u = 1 + x."""
    u = 1 + x
    v = u - 1
    near = tl.log(u) * x / tl.where(v == 0, 1.0, v)
    return tl.where(v == 0, x, tl.where(tl.abs(x) < 1, near, tl.log(u)))
''',
        (),
    ),
    "tan": (
        """
def tan(x):
    return tl.sin(x) / tl.cos(x)
""",
        (),
    ),
    "atan": (
        '''
def atan(x):
    """Reduced to |t| <= tan(pi/8), then a polynomial (Cephes' atanf; f64: one Newton step)."""
    a = tl.abs(x)
    big = a > 2.414213562373095
    mid = a > 0.4142135623730950
    t = tl.where(big, -1 / tl.where(a == 0, 1.0, a), tl.where(mid, (a - 1) / (a + 1), a))
    quarter = tl.full(a.shape, 0.7853981633974483, a.dtype)
    base = tl.where(big, 2 * quarter, tl.where(mid, quarter, 0.0))
    s = t * t
    p = ((8.05374449538e-2 * s - 1.38776856032e-1) * s + 1.99777106478e-1) * s - 3.33329491539e-1
    q = p * s * t + t
    if x.dtype == tl.float64:
        q = q + (t * tl.cos(q) - tl.sin(q)) / (tl.cos(q) + t * tl.sin(q))
    r = base + q
    return tl.where(x != x, x, tl.where(x < 0, -r, r))
''',
        (),
    ),
    "atan2": (
        '''
def atan2(y, x):
    """The angle of the point (x, y)."""
    a, b = tl.abs(y), tl.abs(x)
    inf = float("inf")
    both = (a == inf) & (b == inf)
    q = tl.where(both, 1.0, a / tl.where(b == 0, 1.0, b))
    r = atan(tl.where((b == 0) & (a > 0), inf, tl.where((a == 0) & (b == 0), 0.0, q)))
    r = tl.where((x < 0) | ((x == 0) & (1 / x < 0)), 3.141592653589793 - r, r)
    return tl.where((y < 0) | ((y == 0) & (1 / y < 0)), -r, r)
''',
        ("atan",),
    ),
    "asin": (
        """
def asin(x):
    return atan2(x, tl.sqrt((1 - x) * (1 + x)))
""",
        ("atan2",),
    ),
    "acos": (
        """
def acos(x):
    return 2 * atan2(tl.sqrt(1 - x), tl.sqrt(1 + x))
""",
        ("atan2",),
    ),
    "sinh": (
        """
def sinh(x):
    u = expm1(tl.abs(x))
    r = tl.where(tl.abs(x) > 20, tl.exp(tl.abs(x) - 0.6931471805599453), (u + u / (u + 1)) / 2)
    return tl.where(x < 0, -r, r)
""",
        ("expm1",),
    ),
    "cosh": (
        """
def cosh(x):
    h = tl.exp(tl.abs(x) - 0.6931471805599453)
    return h + 0.25 / h
""",
        (),
    ),
    "asinh": (
        """
def asinh(x):
    a = tl.abs(x)
    far = tl.log(a) + 0.6931471805599453
    r = tl.where(a > 1e9, far, log1p(a + a * a / (1 + tl.sqrt(1 + a * a))))
    return tl.where(x < 0, -r, r)
""",
        ("log1p",),
    ),
    "acosh": (
        """
def acosh(x):
    t = x - 1
    return tl.where(x > 1e9, tl.log(x) + 0.6931471805599453, log1p(t + tl.sqrt(2 * t + t * t)))
""",
        ("log1p",),
    ),
    "atanh": (
        """
def atanh(x):
    return 0.5 * (log1p(x) - log1p(-x))
""",
        ("log1p",),
    ),
    "power": (
        '''
def power(x, y):
    """x to the power y, by way of f64; negative x where y is an integer."""
    whole = tl.floor(y)
    odd = whole - 2 * tl.floor(whole * 0.5) != 0
    size = tl.exp2(y.to(tl.float64) * tl.log2(tl.abs(x).to(tl.float64))).to(x.dtype)
    size = tl.where((y == 0) | (x == 1) | ((x == -1) & (tl.abs(y) == float("inf"))), 1.0, size)
    negative = (x < 0) | ((x == 0) & (1 / x < 0))
    signed = tl.where(negative & (whole == y) & odd, -size, size)
    return tl.where((x < 0) & (x != float("-inf")) & (whole != y) & (y == y), float("nan"), signed)
''',
        (),
    ),
}
"""Functions that kernels call for what Triton itself lacks: source, and the helpers it needs."""


def helper_sources(names: set[str]) -> str:
    """The source of helpers and of those that they call, in order of definition."""
    needed: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += HELPERS[name][1]
    return "\n\n".join(
        f"@triton.jit{source.rstrip()}\n" for name, (source, _) in HELPERS.items() if name in needed
    )
