"""Products on the cube unit, by the interface that hides its memories.

Where a loop does nothing but add up products of what it loads, the cube unit is given all of the
rows and columns in device memory. Operands that are computed first come from the unified buffer,
tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.dialects import arith, scf
from xdsl.ir import Operation, SSAValue

from aicc.backends.ascendc.indices import is_float
from aicc.backends.ascendc.locals import BLOCK, Local, up
from aicc.backends.ascendc.rows import Rows
from aicc.backends.ascendc.spellings import SIZES
from aicc.backends.c_text import Unprintable, bracketed, dim_text, plus
from aicc.ir import tile
from aicc.ir.symbols import Dim
from aicc.ir.tile.dequantized import Dequantized, dequantized

L0_BYTES = 64 * 1024
"""What the cube unit's memories for operands hold each."""

LEAST = 16
"""The smallest size that the cube unit multiplies."""

FRACTAL_BYTES = 32
"""What a row of a fractal holds; `LEAST` rows make one."""

SUMS = {"int8_t": "int32_t"}
"""What products of a type are added up in; others in float."""

BIASES = 256
"""Biases that the bias table holds."""

DEPTH = 2
"""Blocks of each operand that L1 holds, one of them filled while another is read."""


@dataclass(frozen=True)
class Product:
    """A kind of product: types of elements and sums, and sizes as the tiling says them.

    `m`, `n` and `k` are what one call multiplies; `a` and `b` the matrices' sizes in memory, and
    `formats` the order of their elements there: by rows (ND), or in fractals (NZ). Sums of bytes
    that are halves are dequantized on their way out of L0C.
    """

    type: str
    sums: str
    m: int
    n: int
    k: Dim
    a: tuple[Dim, Dim]
    b: tuple[Dim, Dim]
    positions: tuple[str, str]
    formats: tuple[str, str] = ("ND", "ND")
    has_bias: bool = False

    def declared(self) -> str:
        """The type of the object that multiplies."""
        sides = ", ".join(
            f"matmul::MatmulType<TPosition::{place}, CubeFormat::{form}, {self.type}, true>"
            for place, form in zip(self.positions, self.formats, strict=True)
        )
        sums = f"matmul::MatmulType<TPosition::VECIN, CubeFormat::ND, {self.sums}>"
        bias = ", matmul::MatmulType<TPosition::GM, CubeFormat::ND, int32_t>"
        return f"matmul::Matmul<{sides}, {sums}{bias if self.has_bias else ''}>"

    @property
    def depth(self) -> int:
        """How deep a block is that L0A and L0B hold, two at a time."""
        depth = up_to(self.k, BLOCK // SIZES[self.type]) if isinstance(self.k, int) else 128
        while depth * max(self.m, self.n) * SIZES[self.type] * 2 > L0_BYTES and depth % 2 == 0:
            depth //= 2
        return depth

    def tiling(self, name: str, depth: int) -> list[str]:
        """Lines that fill in its tiling: one core, all sums of it in L0C, and so deep blocks."""
        values: dict[str, Dim] = {
            **{"usedCoreNum": 1, "M": self.a[0], "N": self.b[1], "Ka": self.a[1], "Kb": self.b[0]},
            **{"singleCoreM": self.m, "singleCoreN": self.n, "singleCoreK": self.k},
            **{"baseM": self.m, "baseN": self.n, "baseK": depth},
            **{
                "depthA1": DEPTH,
                "depthB1": DEPTH,
                "stepM": 1,
                "stepN": 1,
                "stepKa": 1,
                "stepKb": 1,
            },
            **{"isBias": int(self.has_bias), "iterateOrder": 0, "dbL0A": 2, "dbL0B": 2, "dbL0C": 1},
        }
        return [f"  {name}.{k} = {dim_text(v)};" for k, v in values.items()]


@dataclass(frozen=True)
class Matrix:
    """An operand: the tensor, where it begins, and elements from a row to the next.

    `crossed` says that what are rows there are columns to the product. `rows` is not 0 for a matrix
    in fractals: how many it has, filled up.
    """

    type: str
    start: str
    pitch: Dim
    crossed: bool
    local: Local | None = None
    rows: int = 0

    @property
    def position(self) -> str:
        return "GM" if self.local is None else "VECOUT"


def uncrossed(value: SSAValue) -> tuple[SSAValue, bool]:
    """An operand before it is transposed, and whether it is."""
    if isinstance(value.owner, tile.Transpose):
        return value.owner.input, True
    return value, False


def up_to(k: int, least: int) -> int:
    """A power of two that a depth is walked through in."""
    return min(128, max(LEAST, least, 1 << (k - 1).bit_length()))


class Products(Rows):
    """Writes products."""

    def __init__(self, kernel: tile.Kernel):
        super().__init__(kernel)
        self.matmuls: dict[Product, str] = {}
        self.fractals: set[tile.Load] = set()
        """Loads of what lies in fractals that the cube unit reads itself."""
        self.dequantized: dict[scf.ForOp, Dequantized] = {}
        """Loops whose sums Fixpipe dequantizes."""
        self.in_fixpipe: set[Operation] = set()
        """What it does: loads of its parameters, and all between the sums and the result."""
        self.quant_words: set[SSAValue] = set()
        """Buffers of its scales, words of 64 bits."""

    def matmul(self, product: Product) -> str:
        """The object that makes products of a kind."""
        if product not in self.matmuls:
            self.matmuls[product] = f"matmul{len(self.matmuls) or ''}"
        return self.matmuls[product]

    def cube_depth(self, product: Product, name: str) -> int:
        """How deep blocks are in the cube unit's memories, as the kernel says or as they fit."""
        return self.kernel.cubes.get(name, product.depth)

    def dot(self, op: tile.Dot) -> None:
        """A product of tiles, added to the sums so far on the vector unit."""
        depths = [self.count(op.a, 1), self.count(op.b, 0)]
        whole = str(self.shape(op.a)[1])
        k = depths[1] if depths[0] == whole else depths[0]
        self.multiply(op, op.acc, op.result, up(self.shape(op.a)[1], LEAST), k)

    def multiply(
        self,
        op: tile.Dot,
        acc: SSAValue,
        result: SSAValue,
        depth: Dim,
        k: str,
        on_the_way: Dequantized | None = None,
    ) -> None:
        """The product of the operands of a dot, which is `k` deep, and at most `depth`."""
        a, b = self.operand(op.a, 1), self.operand(op.b, 0)
        product = self.sums_of(op, "half" if on_the_way else SUMS.get(a.type, "float"))
        m, n = product.rows, product.pitch
        left = (a.pitch, depth) if a.crossed else (m, a.pitch)
        right = (b.pitch, n) if b.crossed else (depth, b.pitch)
        if b.rows:
            assert isinstance(b.pitch, int)
            right = (b.rows, up(b.pitch, FRACTAL_BYTES // SIZES[b.type]))
            self.fractals.update(o for o in [op.b.owner] if isinstance(o, tile.Load))
        places, formats = (a.position, b.position), ("ND", "NZ" if b.rows else "ND")
        bias = on_the_way.bias if on_the_way else None
        sizes = m, n, depth, left, right
        name = self.matmul(Product(a.type, product.type, *sizes, places, formats, bias is not None))
        if a.local is not None or b.local is not None:
            self.sync("V_MTE3", "MTE2_MTE3", "S_MTE3")
        for side, matrix in (("A", a), ("B", b)):
            if matrix.local is not None:
                self.touched(matrix.local)
            flag = ", true" if matrix.crossed else ""
            self.line(f"{name}.SetTensor{side}({matrix.start}{flag});")
        if bias is not None:
            self.line(f"{name}.SetBias({self.parameters_of(bias)});")
        if on_the_way:
            self.line(f"{name}.SetQuantVector({self.parameters_of(on_the_way.scale)});")
        self.line(f"{name}.SetTail({self.count(op.a, 0)}, {self.count(op.b, 1)}, {k});")
        self.vector_line(f"{name}.IterateAll({product.name});", product, [])
        self.add_to(acc, result, product)

    def operand(self, value: SSAValue, depth: int) -> Matrix:
        """An operand in device memory if it is only loaded, else in the unified buffer."""
        source, across = uncrossed(value) if value not in self.locals else (value, False)
        here = source in self.locals or not isinstance(source.owner, tile.Load)
        if not here and (matrix := self.matrix_of(source, across, depth)) is not None:
            return matrix
        local = self.tile_of(source)
        return Matrix(local.type, local.name, local.pitch, across, local)

    def is_direct(self, op: tile.Load) -> bool:
        """Whether a load is left to the cube unit: all that needs it are products."""
        uses = [(u, op.result) for u in op.result.uses]
        for use, _ in list(uses):
            if isinstance(use.operation, tile.Transpose):
                uses.remove((use, op.result))
                uses += [(u, use.operation.result) for u in use.operation.result.uses]
        return bool(uses) and all(
            isinstance(use.operation, tile.Dot)
            and use.index in (0, 1)
            and self.matrix_of(op.result, value is not op.result, 1 - use.index) is not None
            for use, value in uses
        )

    def sums_of(self, op: tile.Dot, type: str) -> Local:
        """The tile that a product goes to."""
        if 1 in self.shape(op.result):
            raise Unprintable("a product of one row or column")
        return self.scratch("product", type, self.shape(op.result))

    def add_to(self, acc: SSAValue, result: SSAValue, product: Local) -> None:
        """The sums so far with those of a product."""
        if self.constant(acc) == 0:
            self.locals[result] = product
            return
        old = self.tile_of(acc)
        self.vector("Add", self.result(result), [old, product])

    # ------------------------------------------------------------------ in device memory

    def whole_product(self, op: scf.ForOp) -> bool:
        """Write a loop that adds up products of what it loads as one product, if it is one."""
        with self.first_round(op):
            if (dot := self.direct_dot(op)) is None:
                return False
            k, on_the_way = self.extents.size_of(op.ub), self.dequantized.get(op)
            assert k is not None
            result = on_the_way.result if on_the_way else op.results[0]
            self.multiply(dot, op.iter_args[0], result, k, dim_text(k), on_the_way)
            return True

    @contextmanager
    def first_round(self, op: scf.ForOp) -> Iterator[None]:
        """Names as they are where a loop begins."""
        names = dict(self.names)
        self.names[op.body.block.args[0]] = "0"
        yield
        self.names = names

    def direct_dot(self, op: scf.ForOp) -> tile.Dot | None:
        """The product that a loop is, of matrices in device memory."""
        known = self.extents.size_of(op.ub) is not None and self.extents.size_of(op.lb) == 0
        loads = (o for o in op.body.block.ops if isinstance(o, tile.Load))
        dot = self.only_dot(op) if known else None
        return dot if dot is not None and all(map(self.is_direct, loads)) else None

    def plan_fixpipe(self, op: scf.ForOp) -> None:
        """Leave to Fixpipe what is done with a loop's sums, if it can do that."""
        found = dequantized(op.results[0]) if len(op.results) == 1 else None
        with self.first_round(op):
            if found is None or not found.is_paired or (dot := self.direct_dot(op)) is None:
                return
            fits = found.bias is None or (self.shape(dot.result)[1] <= BIASES and not found.minus)
            if not fits or self.constant(op.iter_args[0]) != 0:
                return
        self.dequantized[op] = found
        parameters = [load for load in (found.bias, found.scale) if load is not None]
        self.in_fixpipe.update((*parameters, *found.steps))
        self.quant_words.add(found.scale.buffer)

    def parameters_of(self, load: tile.Load) -> str:
        """Where a column's parameter of Fixpipe lies in device memory, and those of the next do."""
        (column,) = load.subscripts
        return f"{self.gm(load.buffer)}[{self.text(column, self.fitted(column, ['0', '0']))}]"

    def only_dot(self, op: scf.ForOp) -> tile.Dot | None:
        """The product that is all that a loop computes."""
        block, end = op.body.block, op.body.block.last_op
        dots = [o for o in block.ops if isinstance(o, tile.Dot)]
        loads = {o.result for o in block.ops if isinstance(o, tile.Load)}
        if len(dots) != 1 or len(block.args) != 2 or end is None:
            return None
        (dot,) = dots
        sides = {uncrossed(dot.a)[0], uncrossed(dot.b)[0]}
        computed = [
            o
            for o in block.ops
            if o not in (dot, end) and not isinstance(o, (tile.Load, tile.Transpose))
            and (not o.results or is_float(o.results[0]) or o.regions)
        ]  # fmt: skip
        used = [u.operation for v in loads for u in v.uses]
        whole = all(o is dot or isinstance(o, tile.Transpose) for o in used)
        alone = dot.acc is block.args[1] and list(end.operands) == [dot.result]
        once = len(list(dot.result.uses)) == len(list(block.args[1].uses)) == 1
        return dot if sides == loads and not computed and whole and alone and once else None

    def matrix_of(self, value: SSAValue, across: bool, depth: int) -> Matrix | None:
        """The matrix in device memory that tiles are taken from; `depth` is the summed dim."""
        load = value.owner
        if not isinstance(load, tile.Load) or len(self.shape(value)) != 2:
            return None
        type = self.stored_type(load)
        if type not in ("float", "half", "bfloat16_t", "int8_t") or not self.is_cut_by_ends(load):
            return None
        if self.locals_below(*load.subscripts, load.mask):
            return None
        if rows := self.rows_of_fractals(load):
            return self.fractal_matrix(load, rows) if (across, depth) == (False, 0) else None
        summed, kept = (depth, 1 - depth) if not across else (1 - depth, depth)
        along, beside = self.address_step(load, summed), self.address_step(load, kept)
        if along is None or beside is None or 1 not in (along, beside):
            return None
        start = f"{self.gm(load.buffer)}[{self.address(load, ['0', '0'])}]"
        crossed = (along if depth else beside) != 1
        return Matrix(type, start, (along if beside == 1 else beside), crossed)

    def fractal_matrix(self, load: tile.Load, rows: int) -> Matrix:
        """A right operand in fractals, from a whole column of them on."""
        panel, along, _ = (self.text(s, self.fitted(s, ["0", "0"])) for s in load.subscripts)
        width = load.strides[1]
        assert isinstance(load.buffer.type, tile.BufferType) and isinstance(width, int)
        down = [] if along == "0" else [f"{bracketed(along)} * {width}"]
        start = plus(f"{bracketed(panel)} * {rows * width}", *down)
        columns = load.buffer.type.shape[0]
        assert isinstance(columns, int)
        at = f"{self.gm(load.buffer)}[{start}]"
        return Matrix(self.stored_type(load), at, columns * width, False, rows=rows)

    def rows_of_fractals(self, load: tile.Load) -> int:
        """How many rows a matrix in fractals has that a load reads, filled up; 0 for other loads.

        It lies as ``[N / C0, K / 16, 16, C0]``; ``[n / C0, k, n % C0]`` is read of it.
        """
        type = load.buffer.type
        assert isinstance(type, tile.BufferType)
        if len(load.subscripts) != 3 or load.offset[0] != 0 or len(type.shape) != 4:
            return 0
        panel, along, inside = (s.owner for s in load.subscripts)
        if not isinstance(panel, arith.DivUIOp) or not isinstance(inside, arith.RemUIOp):
            return 0
        width, rows = FRACTAL_BYTES * 8 // type.dtype.bits, type.shape[1]
        if (
            panel.lhs is not inside.lhs
            or not isinstance(along, tile.Axis)
            or not isinstance(rows, int)
        ):
            return 0
        by = [self.extents.size_of(v) for v in (panel.rhs, inside.rhs)]
        whole = tuple(type.shape[2:]) == (LEAST, width) and by == [width, width]
        return rows * LEAST if whole and load.strides == (rows * LEAST * width, width, 1) else 0
