"""Every call of the chip's interface that kernels are printed with, and where it is declared.

Headers are those of CANN's `asc-devkit`; counts are how many arguments the forms take that we use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """A function or member: its header, and its numbers of arguments."""

    header: str
    counts: tuple[int, ...]


def _all(header: str, counts: tuple[int, ...], *names: str) -> dict[str, Call]:
    return {name: Call(header, counts) for name in names}


BASIC = "basic_api/kernel_operator"
MATH = "adv_api/math"

CALLS: Mapping[str, Call] = {
    **_all("basic_api/kernel_tpipe.h", (3, 2), "InitBuffer"),
    **_all("basic_api/kernel_tpipe.h", (0,), "AllocTensor", "DeQue"),
    **_all("basic_api/kernel_tpipe.h", (1,), "EnQue", "FreeTensor", "FetchEventID"),
    **_all("basic_api/kernel_tpipe.h", (2,), "GetWithOffset"),
    **_all("basic_api/kernel_tpipe.h", (0,), "GetTPipePtr"),
    **_all("basic_api/kernel_tensor.h", (1,), "GetValue"),
    **_all("basic_api/kernel_tensor.h", (2,), "SetValue", "SetGlobalBuffer"),
    **_all("basic_api/kernel_tensor.h", (0,), "ReinterpretCast"),
    **_all(f"{BASIC}_block_sync_intf.h", (1,), "SetFlag", "WaitFlag"),
    **_all(f"{BASIC}_sys_var_intf.h", (0,), "GetBlockIdx"),
    **_all(f"{BASIC}_data_copy_intf.h", (3,), "DataCopy"),
    **_all(f"{BASIC}_data_copy_intf.h", (3, 4), "DataCopyPad"),
    **_all(f"{BASIC}_vec_binary_intf.h", (4,), "Sub", "Mul", "Div"),
    **_all(f"{BASIC}_vec_binary_intf.h", (4, 6), "Add", "Max", "Min"),
    **_all(f"{BASIC}_vec_binary_scalar_intf.h", (4,), "Adds", "Muls", "Maxs", "Mins"),
    **_all(f"{BASIC}_vec_unary_intf.h", (3,), "Exp", "Ln", "Sqrt", "Abs"),
    **_all(f"{BASIC}_vec_duplicate_intf.h", (3,), "Duplicate"),
    **_all(f"{BASIC}_vec_cmpsel_intf.h", (5,), "Compare", "CompareScalar"),
    **_all(f"{BASIC}_vec_cmpsel_intf.h", (6,), "Select"),
    **_all(f"{BASIC}_vec_vconv_intf.h", (4,), "Cast"),
    **_all(f"{BASIC}_vec_reduce_intf.h", (4,), "ReduceSum", "ReduceMax", "ReduceMin"),
    **_all(f"{BASIC}_vec_reduce_intf.h", (7,), "WholeReduceSum"),
    **_all(f"{BASIC}_vec_reduce_intf.h", (8,), "WholeReduceMax", "WholeReduceMin"),
    **_all(f"{BASIC}_vec_brcb_intf.h", (4,), "Brcb"),
    **_all(f"{BASIC}_vec_gather_intf.h", (5,), "Gather"),
    **_all(f"{BASIC}_copy_intf.h", (5,), "Copy"),
    "ArithProgression": Call("adv_api/index/arithprogression.h", (4,)),
    **{
        name: Call(f"{MATH}/{name.lower()}.h", (3,))
        for name in (
            *("Tanh", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan"),
            *("Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
        )
    },
    "Power": Call(f"{MATH}/power.h", (4,)),
    "Fmod": Call(f"{MATH}/fmod.h", (4,)),
    **_all("adv_api/matmul/matmul_client.h", (1, 2), "SetTensorA", "SetTensorB"),
    **_all("adv_api/matmul/matmul_client.h", (3,), "SetTail"),
    **_all("adv_api/matmul/matmul_client.h", (1,), "IterateAll"),
    **_all("adv_api/matmul/matmul_intf.h", (4,), "REGIST_MATMUL_OBJ"),
    **_all("adv_api/kernel_operator_sys_workspace.h", (0,), "GetSysWorkSpacePtr"),
    **_all("register/op_def_registry.h", (1,), "Input", "Output", "Attr", "ParamType", "DataType"),
    **_all("register/op_def_registry.h", (1,), "Format", "UnknownShapeFormat", "AttrType"),
    **_all("register/op_def_registry.h", (1,), "SetInferShape", "SetInferDataType", "SetTiling"),
    **_all("register/op_def_registry.h", (1,), "AddConfig", "OP_ADD", "OpDef"),
    **_all("register/op_def_registry.h", (0,), "AICore", "Int"),
    **_all("exe_graph/runtime/infer_shape_context.h", (1,), "GetInputShape", "GetOutputShape"),
    **_all("exe_graph/runtime/infer_datatype_context.h", (2,), "SetOutputDataType"),
    **_all("exe_graph/runtime/storage_shape.h", (0,), "GetOriginShape"),
    **_all("exe_graph/runtime/shape.h", (1,), "GetDim", "SetDimNum"),
    **_all("exe_graph/runtime/shape.h", (2,), "SetDim"),
    **_all("exe_graph/runtime/runtime_attrs.h", (1,), "GetInt"),
    **_all("exe_graph/runtime/extended_kernel_context.h", (0,), "GetAttrs"),
    **_all("exe_graph/runtime/tiling_context.h", (0,), "GetTilingData", "GetPlatformInfo"),
    **_all("exe_graph/runtime/tiling_context.h", (1,), "GetWorkspaceSizes", "SetBlockDim"),
    **_all("tiling/platform/platform_ascendc.h", (0,), "GetCoreNumAiv", "GetLibApiWorkSpaceSize"),
    "GetCoreMemSize": Call("tiling/platform/platform_ascendc.h", (2,)),
    **_all("basic_api/kernel_operator_intf.h", (1,), "REGISTER_TILING_DEFAULT"),
    **_all("basic_api/kernel_operator_intf.h", (1,), "KERNEL_TASK_TYPE_DEFAULT"),
    **_all("basic_api/kernel_operator_intf.h", (2,), "GET_TILING_DATA"),
}
"""Calls by name, of kernels and of what defines them as operators."""

TYPES: Mapping[str, str] = {
    "TPipe": "basic_api/kernel_tpipe.h",
    "TQue": "basic_api/kernel_tpipe.h",
    "TBuf": "basic_api/kernel_tpipe.h",
    "TPosition": "basic_api/kernel_event.h",
    "HardEvent": "basic_api/kernel_event.h",
    "LocalTensor": "basic_api/kernel_tensor.h",
    "GlobalTensor": "basic_api/kernel_tensor.h",
    "DataCopyPadExtParams": "basic_api/kernel_struct_data_copy.h",
    "RoundMode": "basic_api/kernel_type.h",
    "CMPMODE": "basic_api/kernel_type.h",
    "SELMODE": "basic_api/kernel_type.h",
    "ReduceOrder": "basic_api/kernel_type.h",
    "TCubeTiling": "adv_api/matmul/matmul_tilingdata.h",
    "MatmulType": "adv_api/matmul/matmul_intf.h",
    "Matmul": "adv_api/matmul/matmul_client.h",
    "CubeFormat": "adv_api/matmul/matmul_config.h",
}
"""Types and enumerations by name."""
