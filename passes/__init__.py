"""Passes. One a file, named as on the command line; `PASSES` is the table."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from xdsl.passes import ModulePass


def _pass(module: str, cls: str) -> Callable[[], type[ModulePass]]:
    return lambda: getattr(import_module(f"aicc.passes.{module}"), cls)


PASSES: dict[str, Callable[[], type[ModulePass]]] = {
    "assign-layouts": _pass("assign_layouts", "AssignLayouts"),
    "allow-tf32": _pass("allow_tf32", "AllowTf32"),
    "batch-norm-fold": _pass("batch_norm_fold", "BatchNormFold"),
    "canonicalize": _pass("canonicalize", "Canonicalize"),
    "constant-fold": _pass("constant_fold", "ConstantFold"),
    "cse": _pass("cse", "CommonSubexpressionElimination"),
    "dce": _pass("dce", "DeadCodeElimination"),
    "decompose": _pass("decompose", "Decompose"),
    "equalize-weights": _pass("equalize_weights", "EqualizeWeights"),
    "fixpipe-scales": _pass("fixpipe_scales", "FixpipeScales"),
    "fractal-weights": _pass("fractal_weights", "FractalWeights"),
    "fuse": _pass("fuse", "Fuse"),
    "gather-log-softmax": _pass("gather_log_softmax", "GatherLogSoftmax"),
    "infer-quantized-types": _pass("infer_quantized_types", "InferQuantizedTypes"),
    "integer-products": _pass("integer_products", "IntegerProducts"),
    "lower-quantization": _pass("lower_quantization", "LowerQuantization"),
    "lower-to-tile": _pass("lower_to_tile", "LowerToTile"),
    "merge-matmuls": _pass("merge_matmuls", "MergeMatMuls"),
    "narrow-products": _pass("narrow_products", "NarrowProducts"),
    "fit-tiles": _pass("fit_tiles", "FitTiles"),
    "pad-images": _pass("pad_images", "PadImages"),
    "pack-weights": _pass("pack_weights", "PackWeights"),
    "place-tiles": _pass("place_tiles", "PlaceTiles"),
    "plan-memory": _pass("plan_memory", "PlanMemory"),
    "quantize-activations": _pass("quantize_activations", "QuantizeActivations"),
    "quantize-biases": _pass("quantize_biases", "QuantizeBiases"),
    "quantize-dynamically": _pass("quantize_dynamically", "QuantizeDynamically"),
    "quantize-weights": _pass("quantize_weights", "QuantizeWeights"),
    "raise-composites": _pass("raise_composites", "RaiseComposites"),
    "scale-fold": _pass("scale_fold", "ScaleFold"),
    "scale-salient-channels": _pass("scale_salient_channels", "ScaleSalientChannels"),
    "scatter-to-select": _pass("scatter_to_select", "ScatterToSelect"),
    "schedule": _pass("schedule", "Schedule"),
    "schedule-cpu": _pass("schedule_cpu", "ScheduleCpu"),
    "shape-simplify": _pass("shape_simplify", "ShapeSimplify"),
    "simplify-masks": _pass("simplify_masks", "SimplifyMasks"),
    "smooth-activations": _pass("smooth_activations", "SmoothActivations"),
    "sink-norm": _pass("sink_norm", "SinkNorms"),
    "split-products": _pass("split_products", "SplitProducts"),
    "split-reductions": _pass("split_reductions", "SplitReductions"),
    "strip-quantized-types": _pass("strip_quantized_types", "StripQuantizedTypes"),
    "turn-weights": _pass("turn_weights", "TurnWeights"),
    "winograd": _pass("winograd", "Winograd"),
}
