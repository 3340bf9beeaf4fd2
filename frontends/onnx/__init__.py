"""ONNX models → graph IR."""

from __future__ import annotations

from aicc.frontends.onnx import (  # noqa: F401  (the importers enter themselves into the table)
    ops_attention,
    ops_control,
    ops_image,
    ops_math,
    ops_nn,
    ops_quant,
    ops_recurrent,
    ops_reduce,
    ops_shape,
    ops_training,
)
from aicc.frontends.onnx.errors import ImportError_, NeedsValue, UnsupportedOps
from aicc.frontends.onnx.importer import import_model
from aicc.frontends.onnx.loader import external_files, load_model
from aicc.frontends.onnx.table import IMPORTERS

__all__ = [
    "IMPORTERS",
    "ImportError_",
    "NeedsValue",
    "UnsupportedOps",
    "external_files",
    "import_model",
    "load_model",
]
