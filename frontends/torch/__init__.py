"""torch programs → graph IR."""

from __future__ import annotations

from aicc.frontends.torch import (  # noqa: F401  (the importers enter themselves into the table)
    ops_attention,
    ops_complex,
    ops_distance,
    ops_elementwise,
    ops_index,
    ops_nn,
    ops_order,
    ops_quant,
    ops_recurrent,
    ops_reduce,
    ops_tensor,
    ops_transformer,
)
from aicc.frontends.torch.context import TorchImportError
from aicc.frontends.torch.decompositions import decomposition_table
from aicc.frontends.torch.exported import exported_program, import_torch, load_exported
from aicc.frontends.torch.importer import FxImporter, ImportedGraph
from aicc.frontends.torch.table import IMPORTERS

__all__ = [
    "IMPORTERS",
    "FxImporter",
    "ImportedGraph",
    "TorchImportError",
    "decomposition_table",
    "exported_program",
    "import_torch",
    "load_exported",
]
