"""Quantization as the driver offers it: recipes, calibration samples, reports.

What changes the IR are passes (`aicc.passes.quantize_weights` and others); a recipe is a pipeline
of them.
"""

from aicc.quantization.quantize import Quantized, quantize
from aicc.quantization.recipes import RECIPES

__all__ = ["RECIPES", "Quantized", "quantize"]
