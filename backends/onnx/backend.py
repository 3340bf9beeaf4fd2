"""The ONNX target: model.onnx, run by ONNX Runtime where it is installed, else by onnx itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from xdsl.dialects.builtin import ModuleOp

from aicc.backends.onnx.ops import EXPORTERS
from aicc.backends.onnx.writer import GraphWriter, Unsupported
from aicc.backends.tile_targets import Evaluated
from aicc.ir.constants import DenseAttr
from aicc.ir.graph.decompositions import DECOMPOSITIONS
from aicc.ir.interfaces import Evaluator, TargetDescription
from aicc.ir.module import functions, input_names, main_of, output_names, return_of
from aicc.ir.op import GraphOp
from aicc.ir.types import element_type

OPSET = 21
IR_VERSION = 10
"""Of files with opset 21."""

LATER = {"f4E2M1FN": (23, 11), "f8E8M0FNU": (24, 12), "i2": (25, 13), "ui2": (25, 13)}
"""Types that came later: the opset and the version of files that have them."""

SHOWN = 64
"""Initializers with more elements are left out of the text form."""


def keeps(op: GraphOp) -> bool:
    """Whether ONNX has the op as it stands."""
    return type(op) in EXPORTERS or type(op) not in DECOMPOSITIONS


def export(module: ModuleOp) -> onnx.ModelProto:
    """The module's ``@main`` as a model. Raises Unsupported naming all ops that ONNX lacks."""
    func = main_of(module)
    if len(functions(module)) > 1:
        raise Unsupported("ONNX models of several functions aren't written")
    missing = sorted(
        {op.kind for op in func.body.block.ops if isinstance(op, GraphOp)}
        - {cls.name.removeprefix("graph.") for cls in EXPORTERS}
    )
    if missing:
        raise Unsupported(f"ONNX has nothing for: {', '.join(missing)}")
    writer = GraphWriter(func)
    for op in func.body.block.ops:
        if isinstance(op, GraphOp):
            writer.place(op)
            EXPORTERS[type(op)](writer, op)
    writer.location = ""
    values = [*func.args, *(r for op in func.body.block.ops for r in op.results)]
    used = {element_type(v).name for v in values}
    opset, version = max([(OPSET, IR_VERSION), *(LATER[t] for t in used & LATER.keys())])
    return helper.make_model(
        writer.finished("main"),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=version,
        producer_name="aicc",
    )


class OnnxBackend(Evaluated):
    """Writes graph modules as ONNX models."""

    name = "onnx"
    description = TargetDescription("onnx", keeps, integer_products=False)
    lowering = ""

    def __init__(self, evaluator: Evaluator):
        self.evaluator = evaluator

    def chips(self) -> tuple[str, ...]:
        """None: it says nothing of machines."""
        return ()

    def load(self, module: ModuleOp, owned_outputs: bool = False) -> OnnxProgram:
        return OnnxProgram(module)


class OnnxProgram:
    """A model, and what runs it."""

    source_name = "model.onnx.txt"
    constants: Mapping[str, DenseAttr] = {}

    def __init__(self, module: ModuleOp):
        self.model = export(module)
        func = main_of(module)
        self.input_names, self.output_names = input_names(func), output_names(func)
        ends = [*func.args, *return_of(func).operands]
        self.has_narrow_types = any(element_type(v).np.isbuiltin != 1 for v in ends)

    @cached_property
    def source(self) -> str:
        """The model as text, without large initializers."""
        shown = onnx.ModelProto()
        shown.CopyFrom(self.model)
        del shown.graph.initializer[:]
        shown.graph.initializer.extend(
            t for t in self.model.graph.initializer if np.prod(t.dims) <= SHOWN
        )
        return onnx.printer.to_text(shown) + "\n"

    def files(self, archs: Sequence[str] = ()) -> Mapping[str, bytes]:
        if archs:
            raise ValueError("ONNX models aren't compiled for chips")
        return {"model.onnx": self.model.SerializeToString(deterministic=True)}

    @cached_property
    def session(self) -> Any:
        """ONNX Runtime on the model; None where it isn't there, or lacks a type or kernel."""
        if self.has_narrow_types:
            return None  # NumPy has no types for its arrays of them
        try:
            import onnxruntime
        except ImportError:
            return None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(
                self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:
            return None

    @cached_property
    def reference(self) -> ReferenceEvaluator:
        return ReferenceEvaluator(self.model)

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        if len(inputs) != len(self.input_names):
            raise ValueError(f"expected {len(self.input_names)} inputs, got {len(inputs)}")
        names = [i.name for i in self.model.graph.input]
        given = {n: np.array(a, order="C") for n, a in zip(names, inputs, strict=True)}
        try:
            if self.session is not None:
                return list(self.session.run(None, given))
            return [np.asarray(v) for v in self.reference.run(None, given)]
        except Exception as e:  # the runtime's own kinds
            raise ValueError(str(e)) from e
