"""Runs kernels of the tile dialect program by program: the reference for every other target.

What a mask hides is never touched. Where a load says nothing of hidden elements they are NaN, or a
large number, so that a kernel which lets them through gives a wrong result and not a lucky one. An
access outside its buffer raises `RunError`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects import scf
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Operation

from aicc.backends.numpy.kernels import elementwise as ew
from aicc.backends.numpy.kernels.cast import cast
from aicc.backends.numpy.runtime import RunError
from aicc.ir import tile
from aicc.ir.dtypes import dtype_of
from aicc.ir.symbols import Dim, evaluate
from aicc.ir.tile.types import tile_element, tile_shape

PROGRAM = "program"
"""Where in an environment the program's place in the grid stands."""

Env = dict[Any, Any]
"""What values are: of each SSA value, and of `PROGRAM`."""

Step = Callable[[Env], None]


class KernelRunner:
    """Runs a kernel; what its ops do is looked up once for each set of sizes."""

    def __init__(self, kernel: tile.Kernel):
        self.kernel = kernel
        self.bound: dict[tuple[int, ...], tuple[list[tuple[int, ...]], list[Step]]] = {}

    def run(self, buffers: Sequence[np.ndarray], sizes: Mapping[str, int]) -> None:
        """Run every program of the grid, in order, on C-contiguous buffers.

        `sizes` gives the kernel's symbols. Outputs are written in place.
        """
        key = tuple(sizes[s] for s in self.kernel.sizes)
        if key not in self.bound:
            self.bound[key] = self.bind(sizes)
        programs, steps = self.bound[key]
        env: Env = {}
        for arg, array in zip(self.kernel.body.block.args, buffers, strict=True):
            if not array.flags.c_contiguous:
                raise RunError(f"{self.kernel.sym_name}: a buffer isn't contiguous")
            flat = array.reshape(-1)
            kind = flat.dtype
            env[arg] = flat.view(f"i{kind.itemsize}") if kind.kind == "u" else flat
        with np.errstate(all="ignore"):
            for env[PROGRAM] in programs:
                for step in steps:
                    step(env)

    def bind(self, sizes: Mapping[str, int]) -> tuple[list[tuple[int, ...]], list[Step]]:
        """The points of the grid, and the calls that the body is."""
        runner = _Runner({**sizes, **self.kernel.schedule})
        grid = [range(runner.dim(d)) for d in self.kernel.grid]
        return list(itertools.product(*grid)), runner.steps(self.kernel.body.block)

    def launch(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sizes: Mapping[str, int]
    ) -> Sequence[np.ndarray]:
        """The outputs, written in place, on inputs of any strides."""
        self.run([*map(np.ascontiguousarray, inputs), *outputs], sizes)
        return outputs


def run_kernel(
    kernel: tile.Kernel, buffers: Sequence[np.ndarray], sizes: Mapping[str, int]
) -> None:
    """Run a kernel once: see `KernelRunner.run`."""
    KernelRunner(kernel).run(buffers, sizes)


def numpy_type(element: Attribute) -> np.dtype:
    """The NumPy dtype of a tile's elements."""
    return np.dtype(np.int64) if isinstance(element, IndexType) else dtype_of(element).np


class _Runner:
    """Turns ops into calls, for one set of sizes and schedule parameters."""

    def __init__(self, values: Mapping[str, int]):
        self.values = values

    def dim(self, d: Dim) -> int:
        return evaluate(d, self.values)

    def shape(self, type: Attribute) -> tuple[int, ...]:
        return tuple(self.dim(d) for d in tile_shape(type))

    def steps(self, block: Block) -> list[Step]:
        return [self.step(op) for op in block.ops if not isinstance(op, (tile.Return, scf.YieldOp))]

    def step(self, op: Operation) -> Step:
        maker = STEPS.get(op.name)
        if maker is not None:
            return maker(self, op)
        function = ARITHMETIC.get(op.name)
        if function is None:
            raise RunError(f"the tile interpreter has no {op.name}")
        ins, out = list(op.operands), op.results[0]

        def run(env: Env) -> None:
            env[out] = function(*(env[v] for v in ins))

        return run


# ---------------------------------------------------------------------- ops of the tile dialect


def _program_id(r: _Runner, op: tile.ProgramId) -> Step:
    axis, result = op.axis, op.result

    def run(env: Env) -> None:
        env[result] = env[PROGRAM][axis]

    return run


def _value(value: Any) -> Callable[[Any, Any], Step]:
    def make(r: _Runner, op: Any) -> Step:
        result, found = op.results[0], value(r, op)

        def run(env: Env) -> None:
            env[result] = found

        return run

    return make


def _full(r: _Runner, op: tile.Full) -> np.ndarray:
    dtype = numpy_type(tile_element(op.result.type))
    value = np.asarray(op.value).astype(dtype)  # an unsigned one wraps: tiles are signless
    return np.full(r.shape(op.result.type), value, dtype)


def _axis(r: _Runner, op: tile.Axis) -> Step:
    shape = r.shape(op.result.type)
    steps = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    start, result = op.start, op.result

    def run(env: Env) -> None:
        env[result] = env[start] + steps

    return run


def _in_bounds(r: _Runner, op: tile.InBounds) -> Step:
    owner = op.axis.owner
    assert isinstance(owner, tile.Axis)
    bound, axis, result = r.dim(owner.bound[0]), op.axis, op.result

    def run(env: Env) -> None:
        env[result] = env[axis] < bound

    return run


def _address(r: _Runner, op: tile.Access) -> Callable[[Env], tuple[Any, Any]]:
    """Gives the elements' positions in the buffer, checked, and the mask."""
    strides = [r.dim(s) for s in op.strides]
    offset = r.dim(op.offset[0])
    subscripts, mask, buffer = list(op.subscripts), op.mask, op.buffer
    name = str(op.location) if mask is None else op.name

    def address(env: Env) -> tuple[Any, Any]:
        at: Any = offset
        for s, stride in zip(subscripts, strides, strict=True):
            at = at + env[s] * stride
        at = np.asarray(at)
        keep = None
        if mask is not None:
            at, keep = np.broadcast_arrays(at, env[mask])
        active = at if keep is None else at[keep]
        if active.size and (active.min() < 0 or active.max() >= env[buffer].size):
            raise RunError(
                f"{op.name} reaches element {active.max()} (or {active.min()}) of a buffer of "
                f"{env[buffer].size}: {name}"
            )
        return at, keep

    return address


def poison(dtype: np.dtype) -> Any:
    """What stands where nothing was loaded."""
    if dtype == np.bool_:
        return True
    if dtype.kind == "i":
        return np.iinfo(dtype).max // 3
    return np.nan


def _load(r: _Runner, op: tile.Load) -> Step:
    address, buffer, result = _address(r, op), op.buffer, op.result
    element = numpy_type(tile_element(op.result.type))
    hidden = poison(element) if op.other is None else op.other

    def run(env: Env) -> None:
        at, keep = address(env)
        source = env[buffer]
        if ew.is_sub_byte_int(source.dtype):  # signless, as tiles are
            source = source.view(element)
        if keep is None:
            env[result] = source[at]
            return
        found = np.full(at.shape, hidden, source.dtype)
        found[keep] = source[at[keep]]
        env[result] = found

    return run


def _store(r: _Runner, op: tile.Store) -> Step:
    address, buffer, value = _address(r, op), op.buffer, op.value

    def run(env: Env) -> None:
        at, keep = address(env)
        what = np.broadcast_to(env[value], at.shape)
        if ew.is_sub_byte_int(env[buffer].dtype):  # NumPy has no cast from signed to unsigned ones
            what = ew.wrap_narrow(what.astype(np.int8), env[buffer].dtype)
        if keep is None:
            env[buffer][at] = what
        else:
            env[buffer][at[keep]] = what[keep]

    return run


def _broadcast(r: _Runner, op: tile.Broadcast) -> Step:
    shape, source, result = r.shape(op.result.type), op.input, op.result

    def run(env: Env) -> None:
        env[result] = np.broadcast_to(env[source], shape)

    return run


def _reshape(r: _Runner, op: tile.Reshape) -> Step:
    shape, source, result = r.shape(op.result.type), op.input, op.result

    def run(env: Env) -> None:
        env[result] = np.reshape(env[source], shape)

    return run


def _transpose(r: _Runner, op: tile.Transpose) -> Step:
    perm, source, result = op.perm, op.input, op.result

    def run(env: Env) -> None:
        env[result] = np.transpose(env[source], perm)

    return run


def _cast(r: _Runner, op: tile.Cast) -> Step:
    source, result, unsigned = op.input, op.result, op.unsigned
    old, new = (numpy_type(tile_element(v.type)) for v in (source, result))

    def run(env: Env) -> None:
        x = np.asarray(env[source])
        if unsigned and old.kind == "i":
            x = x.view(f"u{old.itemsize}")
        if unsigned and new.kind == "i" and old.kind not in "iub":
            env[result] = cast(x, to=np.dtype(f"u{new.itemsize}")).view(new)
        else:
            env[result] = cast(x, to=new)

    return run


def _select(r: _Runner, op: tile.Select) -> Step:
    condition, true, false, result = op.condition, op.true, op.false, op.result

    def run(env: Env) -> None:
        env[result] = np.where(env[condition], env[true], env[false])

    return run


_REDUCE: dict[str, Callable[..., Any]] = {
    "add": np.add.reduce,
    "mul": np.multiply.reduce,
    "max": np.maximum.reduce,
    "min": np.minimum.reduce,
    "or": np.logical_or.reduce,
    "and": np.logical_and.reduce,
}


def _reduce(r: _Runner, op: tile.Reduce) -> Step:
    function, dim, source, result = _REDUCE[op.kind], op.dim, op.input, op.result

    def run(env: Env) -> None:
        x = env[source]
        env[result] = np.asarray(function(x, axis=dim, keepdims=True)).astype(x.dtype, copy=False)

    return run


def _arg_reduce(r: _Runner, op: tile.ArgReduce) -> Step:
    dim, source, index = op.dim, op.input, op.index
    limit = np.maximum if op.kind == "max" else np.minimum

    def run(env: Env) -> None:
        x, at = env[source], env[index]
        value = limit.reduce(x, axis=dim, keepdims=True)
        same = (x == value) | ((x != x) & (value != value))
        env[op.value] = value
        none = np.iinfo(np.int64).max
        env[op.at] = np.where(same, at, none).min(axis=dim, keepdims=True)

    return run


def _dot(r: _Runner, op: tile.Dot) -> Step:
    a, b, acc, result = op.a, op.b, op.acc, op.result
    wide = numpy_type(tile_element(op.result.type))

    def run(env: Env) -> None:
        env[result] = env[acc] + np.matmul(env[a].astype(wide), env[b].astype(wide))

    return run


def _for(r: _Runner, op: scf.ForOp) -> Step:
    block = op.body.block
    steps = r.steps(block)
    end = block.last_op
    assert end is not None
    counter, *carried = block.args
    results = list(op.results)

    def run(env: Env) -> None:
        state = [env[v] for v in op.iter_args]
        for i in range(env[op.lb], env[op.ub], env[op.step]):
            env[counter] = i
            for arg, value in zip(carried, state, strict=True):
                env[arg] = value
            for step in steps:
                step(env)
            state = [env[v] for v in end.operands]
        for result, value in zip(results, state, strict=True):
            env[result] = value

    return run


STEPS: dict[str, Callable[[_Runner, Any], Step]] = {
    "tile.program_id": _program_id,
    "tile.size": _value(lambda r, op: r.dim(op.value[0])),
    "tile.full": _value(_full),
    "tile.axis": _axis,
    "tile.in_bounds": _in_bounds,
    "tile.load": _load,
    "tile.store": _store,
    "tile.broadcast": _broadcast,
    "tile.reshape": _reshape,
    "tile.transpose": _transpose,
    "tile.cast": _cast,
    "tile.select": _select,
    "tile.reduce": _reduce,
    "tile.arg_reduce": _arg_reduce,
    "tile.dot": _dot,
    "scf.for": _for,
    "tile.cmp": lambda r, op: _compare(op),
}


# ---------------------------------------------------------------------- arith and math


def _as_unsigned(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` with integers taken as unsigned; a result that is an integer is signless again."""

    def run(x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return f(x, y)
        x, y = np.asarray(x), np.asarray(y)
        kind = f"u{x.dtype.itemsize}"
        found = f(x.view(kind), y.view(kind))
        return found if found.dtype == np.bool_ else found.view(x.dtype)

    return run


PREDICATES: dict[str, Callable[..., Any]] = {
    "oeq": np.equal,
    "une": np.not_equal,
    "olt": np.less,
    "ole": np.less_equal,
    "ogt": np.greater,
    "oge": np.greater_equal,
    "uno": lambda x, y: np.isnan(x) | np.isnan(y),
    "eq": np.equal,
    "ne": np.not_equal,
    "slt": np.less,
    "sle": np.less_equal,
    "sgt": np.greater,
    "sge": np.greater_equal,
    "ult": _as_unsigned(np.less),
    "ule": _as_unsigned(np.less_equal),
    "ugt": _as_unsigned(np.greater),
    "uge": _as_unsigned(np.greater_equal),
}


def _compare(op: tile.Cmp) -> Step:
    function = PREDICATES[op.predicate]
    x, y, result = op.x, op.y, op.result

    def run(env: Env) -> None:
        env[result] = function(env[x], env[y])

    return run


def _trunc_div(x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return int(x / y) if x * y < 0 else x // y
    return ew.div(np.asarray(x), np.asarray(y))


def _floor_div(x: Any, y: Any) -> Any:
    return x // y


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.negf": np.negative,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.addi": lambda x, y: x + y,
    "arith.subi": lambda x, y: x - y,
    "arith.muli": lambda x, y: x * y,
    "arith.divsi": _trunc_div,
    "arith.divui": _as_unsigned(_floor_div),
    "arith.remsi": np.fmod,
    "arith.remui": _as_unsigned(lambda x, y: x % y),
    "arith.maxsi": np.maximum,
    "arith.minsi": np.minimum,
    "arith.maxui": _as_unsigned(np.maximum),
    "arith.minui": _as_unsigned(np.minimum),
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.shli": np.left_shift,
    "arith.shrsi": np.right_shift,
    "arith.shrui": _as_unsigned(np.right_shift),
    "tile.remf": np.fmod,
    "math.absf": np.abs,
    "math.absi": np.abs,
    "math.ceil": np.ceil,
    "math.floor": np.floor,
    "math.roundeven": np.rint,
    "math.trunc": np.trunc,
    "math.exp": np.exp,
    "math.exp2": np.exp2,
    "math.expm1": np.expm1,
    "math.log": np.log,
    "math.log2": np.log2,
    "math.log1p": np.log1p,
    "math.sqrt": np.sqrt,
    "math.rsqrt": ew.rsqrt,
    "math.sin": np.sin,
    "math.cos": np.cos,
    "math.tan": np.tan,
    "math.asin": np.arcsin,
    "math.acos": np.arccos,
    "math.atan": np.arctan,
    "math.sinh": np.sinh,
    "math.cosh": np.cosh,
    "math.tanh": np.tanh,
    "math.asinh": np.arcsinh,
    "math.acosh": np.arccosh,
    "math.atanh": np.arctanh,
    "math.erf": ew.erf,
    "math.atan2": np.arctan2,
    "math.powf": np.power,
}
"""One row an op: the function on NumPy arrays (and ints, for scalars of index)."""
