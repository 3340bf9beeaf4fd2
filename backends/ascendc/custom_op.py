"""A module's kernels as custom operators, which users call through aclnn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from xdsl.ir import SSAValue

from aicc.backends.ascendc.kernels import KernelPrinter
from aicc.backends.ascendc.locals import UB_BYTES
from aicc.backends.ascendc.project import SYNC, Project
from aicc.backends.c_text import Unprintable, cpp_name, dim_text, kernel_name
from aicc.backends.printing import origin_text
from aicc.ir import tile
from aicc.ir.symbols import Dim, SymExpr

TEMPLATE = Path(__file__).parent / "template_custom_op"

DATA_TYPES = {
    **{"f32": "DT_FLOAT", "f16": "DT_FLOAT16", "bf16": "DT_BF16", "i1": "DT_BOOL"},
    **{f"i{n}": f"DT_INT{n}" for n in (8, 16, 32, 64)},
    **{f"ui{n}": f"DT_UINT{n}" for n in (8, 16, 32, 64)},
}
"""Element types of tensors, as definitions of operators name them."""

TILINGS = """\
// What the host says to each kernel, and the functions that work it out. For host and chip.
#pragma once

#include <cstdint>

#include "tiling/tiling_api.h"

#ifndef __aicore__
#define __aicore__
#endif

"""

KERNELS = """\
// The kernels.
#pragma once

#include "kernel_operator.h"
#include "lib/matmul_intf.h"

#include "tilings.h"

using namespace AscendC;

"""


class Operator:
    """One kernel as an operator. Raises Unprintable where inputs' shapes don't say its sizes."""

    def __init__(self, printer: KernelPrinter):
        self.printer, self.kernel = printer, printer.kernel
        self.type = printer.class_name.removesuffix("Kernel") + "Custom"
        self.name = re.sub(r"(?<!^)(?=[A-Z])", "_", self.type).lower()
        args = list(self.kernel.body.block.args)
        self.inputs, self.outputs = args[: self.kernel.inputs], args[self.kernel.inputs :]
        self.sources = {size: self.source_of(size) for size in self.kernel.sizes}
        self.attributes = [s for s, found in self.sources.items() if found is None]

    def source_of(self, size: str) -> tuple[int, int] | None:
        """The input, and its dim, that a size is; None for one that has to be an attribute."""
        for i, arg in enumerate(self.inputs):
            for d, dim in enumerate(shape(arg)):
                if isinstance(dim, SymExpr) and str(dim) == size:
                    return i, d
        return None

    def sizes(self, of: str) -> list[str]:
        """Lines that find the sizes in a context; `of` leads from an input to its dims."""
        lines = []
        for size, found in self.sources.items():
            if found is None:
                value = f"*context->GetAttrs()->GetInt({self.attributes.index(size)})"
            else:
                value = f"context->GetInputShape({found[0]})->{of}GetDim({found[1]})"
            lines.append(f"  const int64_t {cpp_name(size)} = {value};")
        return lines

    # ------------------------------------------------------------------ the host's part

    def host(self) -> str:
        """Definition, shapes and tiling."""
        cls, names = self.printer.class_name, [cpp_name(s) for s in self.kernel.sizes]
        given = ", ".join([*names, "cores", "ub_bytes"])
        blocks = "tiling.cores / 2" if self.printer.matmuls else "tiling.cores"
        return "\n".join(
            [
                f"// {origin_text(self.kernel, self.kernel.sym_name)}",
                '#include "register/op_def_registry.h"',
                '#include "tiling/platform/platform_ascendc.h"',
                '#include "../op_kernel/tilings.h"',
                "",
                f"namespace {self.name}_host {{",
                "",
                "static ge::graphStatus Tile(gert::TilingContext* context) {",
                "  const platform_ascendc::PlatformAscendC chip(context->GetPlatformInfo());",
                "  const int64_t cores = chip.GetCoreNumAiv();",
                "  uint64_t ub_bytes = 0;",
                "  chip.GetCoreMemSize(platform_ascendc::CoreMemType::UB, ub_bytes);",
                *self.sizes("GetOriginShape()."),
                f"  const {cls}Tiling tiling = Tile{cls}({given});",
                "  if (tiling.programs > 0 && tiling.cores < 1) return ge::GRAPH_FAILED;",
                f"  *context->GetTilingData<{cls}Tiling>() = tiling;",
                "  context->GetWorkspaceSizes(1)[0] = chip.GetLibApiWorkSpaceSize();",
                f"  return context->SetBlockDim(tiling.cores > 0 ? {blocks} : 1);",
                "}",
                "",
                "static ge::graphStatus InferShape(gert::InferShapeContext* context) {",
                *self.sizes(""),
                *self.inferred_shapes(),
                "  return ge::GRAPH_SUCCESS;",
                "}",
                "",
                "static ge::graphStatus InferDataType(gert::InferDataTypeContext* context) {",
                *(
                    f"  context->SetOutputDataType({i}, ge::{data_type(o)});"
                    for i, o in enumerate(self.outputs)
                ),
                "  return ge::GRAPH_SUCCESS;",
                "}",
                "",
                f"}}  // namespace {self.name}_host",
                "",
                *self.definition(),
            ]
        )

    def inferred_shapes(self) -> list[str]:
        lines = []
        for i, out in enumerate(self.outputs):
            dims = shape(out)
            lines.append(f"  context->GetOutputShape({i})->SetDimNum({len(dims)});")
            for d, size in enumerate(dims):
                lines.append(f"  context->GetOutputShape({i})->SetDim({d}, {dim_text(size)});")
        return lines

    def definition(self) -> list[str]:
        lines = ["namespace ops {", "", f"class {self.type} : public OpDef {{", " public:"]
        lines.append(f"  explicit {self.type}(const char* name) : OpDef(name) {{")
        for kind, args in (("Input", self.inputs), ("Output", self.outputs)):
            for arg in args:
                lines += [
                    f'    this->{kind}("{self.printer.buffers[arg]}")',
                    "        .ParamType(REQUIRED)",
                    f"        .DataType({{ge::{data_type(arg)}}})",
                    "        .Format({ge::FORMAT_ND})",
                    "        .UnknownShapeFormat({ge::FORMAT_ND});",
                ]
        for size in self.attributes:
            lines.append(f'    this->Attr("{cpp_name(size)}").AttrType(REQUIRED).Int();')
        lines += [
            f"    this->SetInferShape({self.name}_host::InferShape)",
            f"        .SetInferDataType({self.name}_host::InferDataType);",
            f'    this->AICore().SetTiling({self.name}_host::Tile).AddConfig("ascend910b");',
            "  }",
            "};",
            f"OP_ADD({self.type});",
            "",
            "}  // namespace ops",
            "",
        ]
        return lines

    # ------------------------------------------------------------------ the chip's part

    def entry(self) -> str:
        """The kernel's entry."""
        printer = self.printer
        names = [printer.buffers[a] for a in (*self.inputs, *self.outputs)]
        kind = "KERNEL_TYPE_MIX_AIC_1_2" if printer.matmuls else "KERNEL_TYPE_AIV_ONLY"
        parameters = ", ".join(f"GM_ADDR {n}" for n in (*names, "workspace", "tiling"))
        products = [
            f"  REGIST_MATMUL_OBJ(&pipe, GetSysWorkSpacePtr(), op.{m}, &given.{m});"
            for m in printer.matmuls.values()
        ]
        return "\n".join(
            [
                f"// {origin_text(self.kernel, self.kernel.sym_name)}",
                '#include "kernels.h"',
                "",
                f'extern "C" __global__ __aicore__ void {self.name}({parameters}) {{',
                f"  REGISTER_TILING_DEFAULT({printer.class_name}Tiling);",
                "  GET_TILING_DATA(given, tiling);",
                f"  KERNEL_TASK_TYPE_DEFAULT({kind});",
                "  TPipe pipe;",
                f"  {printer.class_name} op;",
                f"  op.Init({', '.join(names)}, &given, &pipe);",
                *products,
                "  op.Process();",
                "}",
                "",
            ]
        )

    def launcher(self) -> str:
        """What launches the operator on the emulator."""
        args = (*self.inputs, *self.outputs)
        names = [f"  const int64_t {cpp_name(s)} = sizes[{i}];" for i, s in enumerate(
            self.kernel.sizes)]  # fmt: skip
        inputs, outputs = (
            "{" + ", ".join(f"gert::Shape({{{dims_text(a)}}})" for a in side) + "}"
            for side in (self.inputs, self.outputs)
        )
        types = ", ".join(f"ge::{data_type(a)}" for a in args)
        attributes = ", ".join(cpp_name(s) for s in self.attributes)
        buffers = "".join(f", (uint8_t*)buffers[{i}]" for i in range(len(args)))
        cores = 2 if self.printer.matmuls else 1
        return "\n".join(
            [
                f'extern "C" void {kernel_name(self.kernel.sym_name)}'
                "(void* const* buffers, const int64_t* sizes) {",
                *names,
                "  (void)sizes;",
                f'  AscendC::emulator::launch_op({cores}, "{self.type}",',
                f'      "{self.name}", {self.name},',
                f"      {inputs}, {outputs}, {{{types}}}, {{{attributes}}}{buffers});",
                "}",
                "",
            ]
        )


def shape(buffer: SSAValue) -> Sequence[Dim]:
    assert isinstance(buffer.type, tile.BufferType)
    return [d for d in buffer.type.shape if d is not None]


def dims_text(buffer: SSAValue) -> str:
    """The dims of a buffer as a list of integers, which is never mistaken for a number."""
    return "std::vector<int64_t>{" + ", ".join(map(dim_text, shape(buffer))) + "}"


def data_type(buffer: SSAValue) -> str:
    assert isinstance(buffer.type, tile.BufferType)
    name = buffer.type.dtype.name
    if name not in DATA_TYPES:
        raise Unprintable(f"a custom operator on {name}")
    return DATA_TYPES[name]


class CustomOps:
    """A project of operators. `source` is the file of all kernels."""

    source_name = "op_kernel/kernels.h"

    def __init__(self, project: Project):
        self.project = project
        self.operators = [Operator(p) for p in project.printers.values()]
        self.source = (
            KERNELS
            + SYNC
            + "\n".join(f"{p.comment()}\n\n{p.kernel_class()}\n" for p in project.printers.values())
        )

    def files(self) -> dict[str, bytes]:
        """What stands beside the kernels."""
        project = self.project
        files = {
            p.relative_to(TEMPLATE).as_posix(): p.read_text()
            for p in TEMPLATE.rglob("*")
            if p.is_file()
        }
        files["README.md"] = files["README.md"].format(
            signature="\n".join(project.host.signature()),
            capacity=UB_BYTES,
            arena=dim_text(project.host.arena),
            launches="\n".join(self.launches()),
            kernels="\n".join(
                f"- `{o.type}`: {o.printer.budget.total} ({origin_text(o.kernel, '')})"
                for o in self.operators
            ),
        )
        files["op_kernel/tilings.h"] = (
            TILINGS + project.helpers() + "\n".join(
                f"{p.tiling()}\n" for p in project.printers.values()
            )
        )  # fmt: skip
        sources = []
        for o in self.operators:
            files[f"op_host/{o.name}.cpp"] = o.host()
            files[f"op_kernel/{o.name}.cpp"] = o.entry()
            sources.append(f"npu_op_kernel_sources(ascendc_kernels\n    OP_TYPE {o.type}\n"
                           f"    KERNEL_FILE {o.name}.cpp\n)")  # fmt: skip
        files["op_kernel/CMakeLists.txt"] = KERNEL_BUILD.format(sources="\n".join(sources))
        return {name: text.encode() for name, text in files.items()}

    def launches(self) -> list[str]:
        """The launches of the model, a line each."""
        types = {kernel_name(o.kernel.sym_name): o.type for o in self.operators}
        lines, given = [], ""
        for line in self.project.host.lines:
            if (found := re.search(r"buffers\[\] = \{(.*)\};", line)) is not None:
                given = found.group(1)
            elif (found := re.match(r"\s*(\w+)\(buffers, own\);", line)) is not None:
                lines.append(f"{len(lines) + 1}. `{types[found.group(1)]}`: {given}")
        return lines

    def emulated(self) -> str:
        """A source that runs the project's files on the emulator, one operator after another."""
        includes = [f'#include "op_host/{o.name}.cpp"' for o in self.operators]
        includes += [f'#include "op_kernel/{o.name}.cpp"' for o in self.operators]
        launchers = [o.launcher() for o in self.operators]
        parts = ['#include "custom_op.h"', *includes, *launchers, self.project.host.source]
        return "\n".join(parts)


KERNEL_BUILD = """\
npu_op_kernel_options(ascendc_kernels ALL OPTIONS -O2)
{sources}

npu_op_kernel_library(ascendc_kernels
    SRC_BASE ${{CMAKE_CURRENT_SOURCE_DIR}}
    TILING_LIBRARY cust_optiling
)

npu_op_package_add(${{package_name}}
    LIBRARY
        ascendc_kernels
)
"""
