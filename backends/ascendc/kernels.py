"""Prints a tile kernel as an Ascend C kernel: a class, its entry, and its tiling.

Each core takes every n-th program of the grid. What a program loads and stores goes through queues
of two buffers, so that copies of one program run beside the arithmetic of another; what it computes
lies in one buffer, whose parts are used again as soon as they are free.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from aicc.backends.ascendc.blocks import Blocks
from aicc.backends.ascendc.indices import is_bool, is_float
from aicc.backends.ascendc.locals import UB_BYTES, Overflow, place, placed_as
from aicc.backends.ascendc.spellings import memory_type
from aicc.backends.ascendc.writer import OWN_NAMES
from aicc.backends.c_text import (
    RESERVED,
    Unprintable,
    bracketed,
    cpp_name,
    dim_text,
    kernel_name,
)
from aicc.backends.printing import fresh_name, origin_text
from aicc.ir import tile
from aicc.ir.symbols import product as product_of
from aicc.ir.tile.extents import UnknownSize
from aicc.ir.tile.types import bind, tile_element
from aicc.ir.types import format_dims

TILE_OPS = (tile.Load, tile.Reduce, tile.ArgReduce, tile.Dot)
"""Ops whose results always have tiles."""

SCALAR_OPS = (tile.ProgramId, tile.Size, tile.Full, tile.Axis, tile.InBounds)


@dataclass(frozen=True)
class Budget:
    """What a kernel takes of the unified buffer: bytes by queue, and of the tiles between."""

    queues: dict[str, int]
    pool: int

    @property
    def total(self) -> int:
        return sum(self.queues.values()) + self.pool

    def rows(self) -> list[str]:
        found = [f"{name}: {size}" for name, size in self.queues.items()]
        return [*found, f"pool: {self.pool}", f"of {UB_BYTES}: {self.total}"]


class KernelPrinter(Blocks):
    """Writes one kernel. Raises Unprintable for an op that has no words, Overflow for too much."""

    def __init__(self, kernel: tile.Kernel):
        super().__init__(kernel)
        self.grain = grain_of(kernel)
        words = cpp_name(kernel.sym_name).split("_")
        self.class_name = "".join(p.capitalize() for p in words if p) + "Kernel"
        self.entry = f"{cpp_name(kernel.sym_name)}_core"
        self.taken |= {self.class_name, self.entry}
        block, names = kernel.body.block, {*RESERVED, *OWN_NAMES}
        for i, arg in enumerate(block.args):
            name = fresh_name(arg.name_hint or ("out" if i >= kernel.inputs else "x"), names)
            self.buffers[arg] = name
            self.taken.add(f"{name}Gm")
        try:
            self.steps(block)
        except UnknownSize as e:
            raise Unprintable(str(e)) from None
        self.leave_block()
        pool = placed_as(self.pool, kernel.places) if kernel.places else place(self.pool)
        queues = {n: 2 * local.bytes for n, local in self.queues.items()}
        self.budget = Budget(queues, pool)
        if self.budget.total > UB_BYTES:
            raise Overflow(
                f"{kernel.sym_name} takes {self.budget.total} bytes of the unified buffer's "
                f"{UB_BYTES}: {', '.join(self.budget.rows()[:-1])}"
            )

    # ------------------------------------------------------------------ text

    def source(self) -> str:
        """The tiling, the class and the kernel."""
        kernel = self.kernel
        parts = [self.comment(), self.tiling(), self.kernel_class()]
        arguments = [f"__gm__ uint8_t* {self.buffers[a]}" for a in kernel.body.block.args]
        arguments.append(f"{self.class_name}Tiling tiling")
        kind = "__mix__(1, 2)" if self.matmuls else "__vector__"
        entry = [f"__global__ {kind} void {self.entry}({', '.join(arguments)}) {{"]
        entry += ["  TPipe pipe;", f"  {self.class_name} op;"]
        names = ", ".join(self.buffers[a] for a in kernel.body.block.args)
        entry.append(f"  op.Init({names}, &tiling, &pipe);")
        for m in self.matmuls.values():
            entry.append(f"  REGIST_MATMUL_OBJ(&pipe, GetSysWorkSpacePtr(), op.{m}, &tiling.{m});")
        entry += ["  op.Process();", "}"]
        return "\n\n".join([*parts, "\n".join(entry), self.launcher()]) + "\n"

    def comment(self) -> str:
        schedule = ", ".join(
            f"{k} = {v}" for k, v in self.kernel.schedule.items() if not k.startswith("num_")
        )
        rows = [origin_text(self.kernel, self.kernel.sym_name), *([schedule] if schedule else [])]
        rows += ["Unified buffer, in bytes (queues hold two tiles):"]
        rows += [f"  {r}" for r in self.budget.rows()]
        return "\n".join(f"// {r}" for r in rows)

    def tiling(self) -> str:
        """The struct that the host fills in, and the function that does."""
        kernel, cls = self.kernel, self.class_name
        sizes = [cpp_name(s) for s in kernel.sizes]
        fields = [f"  int64_t {s};" for s in sizes]
        fields += ["  int64_t programs;", "  int64_t cores;  // vector cores that run them"]
        fields += [f"  TCubeTiling {m};" for m in self.matmuls.values()]
        grid = [dim_text(bind(d, kernel.schedule)) for d in kernel.grid]
        programs = " * ".join(bracketed(g) for g in grid if g != "1") or "1"
        parameters = ", ".join(
            [*(f"int64_t {s}" for s in sizes), "int64_t available", "int64_t ub_bytes"]
        )
        lines = [f"struct {cls}Tiling {{", *fields, "};", ""]
        lines += [f"inline {cls}Tiling Tile{cls}({parameters}) {{", f"  {cls}Tiling t = {{}};"]
        lines += [f"  t.{s} = {s};" for s in sizes]
        lines += [f"  t.programs = {programs};"]
        lines += ["  t.cores = t.programs < available ? t.programs : available;"]
        if self.matmuls:
            lines += ["  t.cores += t.cores % 2;  // two beside each cube core"]
        lines += [f"  if (ub_bytes < {self.budget.total}) t.cores = 0;  // tiles don't fit"]
        for product, name in self.matmuls.items():
            lines += product.tiling(f"t.{name}", self.cube_depth(product, name))
        return "\n".join([*lines, "  return t;", "}"])

    def phases(self) -> tuple[list[str], list[str]]:
        """What is done for each program, and the lines of the second: what it computes."""
        lines = self.needed(self.lines)
        calls = [n.strip() for n in lines]
        first = next((i for i, n in enumerate(calls) if not n.startswith("const ")), 0)
        phases = ["Compute(program);"]
        if calls and calls[-1] in ("CopyOut(program);", "CopyOut();"):
            phases.append(lines.pop().strip())
        if calls and calls[first] in ("CopyIn(program);", "CopyIn();"):
            phases.insert(0, lines.pop(first).strip())
        return phases, self.without_unused(lines)

    def kernel_class(self) -> str:
        kernel, cls = self.kernel, self.class_name
        phases, body = self.phases()
        args = kernel.body.block.args
        parameters = [f"GM_ADDR {self.buffers[a]}" for a in args]
        parameters += [f"const {cls}Tiling* given", "TPipe* pipe"]
        lines = [f"class {cls} {{", " public:"]
        lines += [
            f"  __aicore__ inline void Init({', '.join(parameters)}) {{",
            "    tiling = given;",
        ]
        lines += [f"    const int64_t {cpp_name(s)} = tiling->{cpp_name(s)};" for s in kernel.sizes]
        for a in args:
            assert isinstance(a.type, tile.BufferType)
            name, type = self.buffers[a], self.memory_type(a)
            dims = a.type.shape[:1] if a in self.quant_words else a.type.shape
            size = dim_text(product_of(d for d in dims if d is not None))
            shape = f"{a.type.dtype}[{format_dims(a.type.shape)}]"
            lines.append(
                f"    {name}Gm.SetGlobalBuffer((__gm__ {type}*){name}, {size});  // {shape}"
            )
        for name, local in self.queues.items():
            lines.append(f"    pipe->InitBuffer({name}, 2, {local.bytes});  // {local.described()}")
        if self.budget.pool:
            lines.append(f"    pipe->InitBuffer(pool, {self.budget.pool});")
        lines += ["  }", "", "  __aicore__ inline void Process() {"]
        lines.append(
            "    for (int64_t program = GetBlockIdx(); program < tiling->programs; "
            "program += tiling->cores) {"
        )
        lines += [f"      {call}" for call in phases]
        lines += ["    }", "  }", ""]
        lines += [f"  {p.declared()} {name};" for p, name in self.matmuls.items()]
        lines += ["", " private:"]
        for method in self.methods:
            lines += [method, ""]
        lines += ["  __aicore__ inline void Compute(int64_t program) {"]
        lines += self.pool_tiles()
        if "S_V" in self.marked and self.scalar_tiles:
            lines.append("    Sync<HardEvent::S_V>();  // the program before this one is done")
        lines += [*body, "  }", ""]
        for a in args:
            lines.append(f"  GlobalTensor<{self.memory_type(a)}> {self.buffers[a]}Gm;")
        ins = {self.queue_names[op] for op in self.queue_names if isinstance(op, tile.Load)}
        for name in self.queues:
            position = "VECIN" if name in ins else "VECOUT"
            lines.append(f"  TQue<TPosition::{position}, 2> {name};")
        if self.budget.pool:
            lines.append("  TBuf<TPosition::VECCALC> pool;")
        lines += [f"  const {cls}Tiling* tiling;", "};"]
        return "\n".join(lines)

    def pool_tiles(self) -> list[str]:
        """Tiles between loads and stores, with where they lie."""
        return [
            f"    LocalTensor<{t.type}> {t.name} = "
            f"pool.GetWithOffset<{t.type}>({t.count}, {t.offset});  // {t.described()}"
            for t in self.pool
        ]

    def memory_type(self, buffer: SSAValue) -> str:
        assert isinstance(buffer.type, tile.BufferType)
        return "uint64_t" if buffer in self.quant_words else memory_type(buffer.type.dtype)

    def launcher(self) -> str:
        """The host's function that launches the kernel on buffers."""
        kernel, cls = self.kernel, self.class_name
        sizes = [f"sizes[{i}]" for i in range(len(kernel.sizes))]
        n = len(kernel.body.block.args)
        given = ", ".join([*sizes, "AICC_CORES", "AICC_UB_BYTES"])
        launch = "AICC_LAUNCH_MIX" if self.matmuls else "AICC_LAUNCH"
        buffers = ", ".join(f"(uint8_t*)buffers[{i}]" for i in range(n))
        return "\n".join(
            [
                f'extern "C" void {kernel_name(kernel.sym_name)}'
                "(void* const* buffers, const int64_t* sizes) {",
                *([] if kernel.sizes else ["  (void)sizes;"]),
                f"  const {cls}Tiling tiling = Tile{cls}({given});",
                f'  if (tiling.programs > 0 && tiling.cores < 1) model_refuse("{self.entry}");',
                "  else if (tiling.programs > 0)",
                f"    {launch}({self.entry}, tiling.cores, {buffers}, tiling);",
                "}",
            ]
        )


def grain_of(kernel: tile.Kernel) -> int:
    """Elements of 32 bytes in the narrowest type that a kernel's tiles have."""
    narrowest = 4
    for op in kernel.body.walk():
        for v in (*op.operands, *op.results):
            if isinstance(v.type, tile.BufferType):
                narrowest = min(narrowest, max(v.type.dtype.bits // 8, 1))
            elif is_float(v):
                bits = getattr(tile_element(v.type), "bitwidth", 32)
                narrowest = min(narrowest, bits // 8)
            elif is_bool(v) and has_flags(v):
                narrowest = min(narrowest, 2)
    return 32 // narrowest


def has_flags(value: SSAValue) -> bool:
    """Whether a mask is made from numbers, and so a tile of 0 and 1."""
    op = value.owner
    if isinstance(op, (tile.Cmp, tile.Cast)):
        return is_float(op.operands[0])
    return isinstance(op, (tile.Load, tile.Reduce))
