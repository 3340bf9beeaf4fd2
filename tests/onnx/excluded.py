"""Cases of ONNX's backend suite that aicc doesn't aim to pass, each with its reason.

Keys are case names, or prefixes of them that end in ``*``.
"""

from __future__ import annotations

STRINGS = "tensors of strings: aicc compiles numeric models"
TEXT = "text features: aicc compiles numeric models"
IMAGES = "decodes compressed image files"
CLASSIC = "ai.onnx.ml: classic machine learning, not tensor programs"
RANDOM = "draws random numbers without a fixed answer"
GRADIENT = "ai.onnx.preview.training.Gradient asks the runtime for automatic differentiation"
DYNAMIC_SEQUENCE = "the number of elements of a sequence depends on an input's size"

EXCLUDED: dict[str, str] = {
    "test_equal_string": STRINGS,
    "test_equal_string_broadcast": STRINGS,
    "test_regex_full_match_*": STRINGS,
    "test_string_concat*": STRINGS,
    "test_string_split_*": STRINGS,
    "test_strnormalizer_*": STRINGS,
    "test_strnorm_model_*": STRINGS,
    "test_tfidfvectorizer_*": TEXT,
    "test_image_decoder_*": IMAGES,
    "test_ai_onnx_ml_*": CLASSIC,
    "test_bernoulli": RANDOM,
    "test_bernoulli_double": RANDOM,
    "test_bernoulli_double_expanded": RANDOM,
    "test_bernoulli_expanded": RANDOM,
    "test_bernoulli_seed": RANDOM,
    "test_bernoulli_seed_expanded": RANDOM,
    "test_gradient_of_*": GRADIENT,
    "test_sequence_model8": DYNAMIC_SEQUENCE,
}


def reason(name: str) -> str | None:
    """Why a case is excluded, or None."""
    for key, why in EXCLUDED.items():
        if name == key or (key.endswith("*") and name.startswith(key[:-1])):
            return why
    return None
