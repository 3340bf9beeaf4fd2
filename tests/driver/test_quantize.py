"""`aicc.quantize` and the command line: recipes, samples, budgets, reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import aicc
from aicc.cli import main
from aicc.errors import InputError
from aicc.ir import graph
from aicc.quantization import RECIPES

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.onnx"


@pytest.fixture(scope="module")
def digits() -> dict[str, np.ndarray]:
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    return {"image": images, "labels": labels}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_keep_the_accuracy(recipe, digits):
    made = aicc.quantize(DIGITS, recipe, {k: v[:200] for k, v in digits.items()})
    compiled = made.compile(target="numpy")
    right = compiled.run([digits["image"]])[0].argmax(-1) == digits["labels"]
    float_right = (
        aicc.compile(DIGITS, target="numpy").run([digits["image"]])[0].argmax(-1)
        == digits["labels"]
    )
    assert right.mean() >= float_right.mean() - 0.005
    assert min(v.cosine for v in made.report.layers) > 0.9
    bits = 4 if "fp4" in recipe else 8
    assert made.report.bytes_after < made.report.bytes_before * bits / 32 * 1.2


def test_sizes_are_those_of_theory(digits):
    made = aicc.quantize(DIGITS, "int4-rtn")
    layer = made.report.layers[-1]  # 64 × 10, two groups of rows with a scale for each of 10
    assert (layer.bytes_before, layer.bytes_after) == (64 * 10 * 4, 64 * 10 // 2 + 2 * 10 * 4)


def test_a_budget_keeps_fragile_layers_in_float(digits):
    samples = {k: v[:100] for k, v in digits.items()}
    settings = {"dtype": "i4", "per_channel": False, "search": False}
    bad = aicc.quantize(DIGITS, "quantize-weights", samples, settings=settings)
    made = aicc.quantize(DIGITS, "quantize-weights", samples, settings=settings, max_drop=0.0)
    scores = {(s.measure, s.samples): s for s in made.report.scores}
    score = scores["accuracy", "calibration"]
    assert score.after >= score.before
    kept = {v.name for v in made.report.layers if v.weights == "f32"}
    assert kept == set(made.report.kept)
    assert bad.report.kept == []


def test_a_torch_module(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(32, 48), torch.nn.GELU(), torch.nn.Linear(48, 5))
    x = torch.randn(64, 32)
    made = aicc.quantize(
        model.eval(), "int8", [x[i : i + 4] for i in range(0, 64, 4)], inputs=(x[:4],)
    )
    assert min(v.signal_to_noise for v in made.report.layers) > 30
    found = made.compile(target="numpy")(x[:4])
    assert torch.allclose(found, model(x[:4]), atol=0.05)
    assert torch.equal(aicc.compile(made, target="numpy")(x[:4]), found)


def test_recipes_are_listed_without_a_model(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["quantize", "--list"])
    assert not stopped.value.code
    told = capsys.readouterr().out
    assert all(name in told and recipe.what in told for name, recipe in RECIPES.items())


def test_the_command_line(tmp_path, digits, capsys):
    np.savez(tmp_path / "samples.npz", **{k: v[:100] for k, v in digits.items()})
    calib = ["--calib", str(tmp_path / "samples.npz")]
    out = tmp_path / "digits.q"
    with pytest.raises(SystemExit) as stopped:
        main(["quantize", str(DIGITS), *calib, "-o", str(out), "--set", "observer=percentile"])
    assert not stopped.value.code
    told = capsys.readouterr().out
    assert "accuracy, held out" in told and "/block1/conv/Conv" in told
    report = json.loads((out / "report.json").read_text())
    assert 'observer="percentile"' in report["recipe"]
    assert (out / "worst_layers.svg").is_file()
    for model, extra in ((out, []), (DIGITS, ["--quantize", "int8", *calib])):
        where = tmp_path / "artifact"
        with pytest.raises(SystemExit) as stopped:
            main(["compile", str(model), *extra, "-o", str(where), "--target", "numpy"])
        assert not stopped.value.code
        module = aicc.load(where).module
        products = [o for o in module.walk() if isinstance(o, (graph.MatMul, graph.Conv))]
        assert all(o.out_dtype is not None for o in products)


def image(**changes) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).random((40, 1, 8, 8)).astype(np.float32)
    return {"image": changes.get("image", x)}


BAD = {
    "nothing": (None, "needs calibration samples"),
    "few": (np.ones((3, 1, 8, 8), np.float32), "3 calibration samples are too few"),
    "constant": (np.ones((40, 1, 8, 8), np.float32), "is 1 everywhere"),
    "nan": (np.full((40, 1, 8, 8), np.nan, np.float32), "NaN or infinite"),
    "shape": (np.ones((40, 8, 8), np.float32), r"shape \[40, 8, 8\], the model takes"),
    "integers": (np.ones((40, 1, 8, 8), np.int64), "are int64, not f32"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_samples(case):
    array, message = BAD[case]
    samples = None if array is None else {"image": array}
    with pytest.raises(aicc.errors.AiccError, match=message):
        aicc.quantize(DIGITS, "int8", samples)


@pytest.mark.parametrize(
    "recipe, settings, message",
    [
        ("int9", {}, "no recipe 'int9'"),
        ("cse", {}, "quantizes nothing"),
        ("int4-rtn", {"group": 20}, "groups of 20"),
        ("int4-rtn", {"grp": 32}, "no setting 'grp'"),
        ("int8", {"symmetric": 3}, "symmetric can't be 3"),
    ],
)
def test_bad_recipes(recipe, settings, message):
    with pytest.raises(InputError, match=message):
        aicc.quantize(DIGITS, recipe, image(), settings=settings)


def test_names_of_samples():
    with pytest.raises(InputError, match="none of 'image'"):
        aicc.quantize(DIGITS, "int8", {"picture": image()["image"]})
    with pytest.raises(InputError, match="no input 'mask'"):
        aicc.quantize(DIGITS, "int8", {**image(), "mask": np.ones(40)})
    with pytest.raises(InputError, match="40 calibration samples, but 3 labels"):
        aicc.quantize(DIGITS, "int8", image(), labels=np.zeros(3, int))


def test_a_model_without_weights_is_refused():
    class Nothing(torch.nn.Module):
        def forward(self, x):
            return x + 1

    with pytest.raises(aicc.errors.CompileError, match="nothing to quantize"):
        aicc.quantize(Nothing(), "int8-dynamic", inputs=(torch.ones(2, 2),))


def test_another_folder_is_left_alone(tmp_path):
    made = aicc.quantize(DIGITS, "int8-weights")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="left alone"):
        made.save(tmp_path)
    again = made.save(made.save(tmp_path / "new.q"))
    assert (again / "model.mlir").is_file()
