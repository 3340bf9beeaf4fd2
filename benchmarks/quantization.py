"""Quantization beside other quantizers: accuracy, size and time on three trained models.

    python benchmarks/quantization.py [MODEL …] [--runs 20]

The models of examples/quantization, the same calibration samples and the same held-out samples for
all. Peers take part where they are installed (onnxruntime, torchao, neural-compressor); what one
can't do is recorded with its reason. Results go to results/quantization.json.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aicc
from aicc.quantization import metrics
from aicc.quantization.samples import Samples
from examples.quantization.models import PLANS, Trained, trained

THREADS = 2
GROUP = 32
BATCH = 16

MATMULS_ONLY = f"quantize-weights{{dtype=i4 group={GROUP} search=true kinds=matmul}}"
"""Convolutions stay in float, as they do with the peers."""

Run = Callable[[np.ndarray], np.ndarray]


@dataclass
class Made:
    """A quantized model: how it runs, and the bytes of what it keeps."""

    run: Run
    size: int


Maker = Callable[[Trained], Made]


def exported(model: Trained) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=4096)
    return torch.export.export(model.model, model.example, dynamic_shapes=({0: batch},))


def float_onnx(model: Trained) -> Any:
    compiled = aicc.compile(exported(model), target="onnx")
    return compiled._program.model  # type: ignore[attr-defined]


def in_onnxruntime(proto: Any) -> Made:
    import onnxruntime

    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Made(lambda x: np.asarray(session.run(None, {name: x})[0]), len(data))


def in_torch(model: torch.nn.Module) -> Run:
    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()

    return run


def peer(name: str) -> Any:
    """A module of another quantizer, if it is installed."""
    return import_module(name)


def torch_size(model: torch.nn.Module) -> int:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.tell()


# ---------------------------------------------------------------------- aicc


def ours(recipe: str) -> Maker:
    def make(model: Trained) -> Made:
        made = aicc.quantize(exported(model), recipe, model.samples)
        compiled = made.compile(target="cpp")
        return Made(lambda x: compiled.run([x])[0], made.report.bytes_after)

    return make


def ours_in_float(model: Trained) -> Made:
    compiled = aicc.compile(exported(model), target="cpp")
    size = sum(p.numel() * 4 for p in model.model.parameters())
    return Made(lambda x: compiled.run([x])[0], size)


def ours_in_onnxruntime(recipe: str) -> Maker:
    """aicc's quantized model, written as ONNX and run by onnxruntime."""
    return lambda model: in_onnxruntime(
        aicc.quantize(exported(model), recipe, model.samples).onnx()
    )


# ---------------------------------------------------------------------- onnxruntime


def ort_float(model: Trained) -> Made:
    return in_onnxruntime(float_onnx(model))


def ort_file(model: Trained, folder: str) -> str:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = os.path.join(folder, "float.onnx")
    Path(path).write_bytes(float_onnx(model).SerializeToString())
    prepared = os.path.join(folder, "prepared.onnx")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    return prepared


def ort_static(method: str) -> Maker:
    def make(model: Trained) -> Made:
        from onnxruntime import quantization as q

        class Reader(q.CalibrationDataReader):
            def __init__(self, name: str):
                parts = np.array_split(model.samples, max(len(model.samples) // 32, 1))
                self.left = iter([{name: part} for part in parts])

            def get_next(self) -> Any:
                return next(self.left, None)

        with tempfile.TemporaryDirectory() as folder:
            source, made = ort_file(model, folder), os.path.join(folder, "int8.onnx")
            name = float_onnx(model).graph.input[0].name
            q.quantize_static(
                source,
                made,
                Reader(name),
                quant_format=q.QuantFormat.QDQ,
                per_channel=True,
                activation_type=q.QuantType.QInt8,
                weight_type=q.QuantType.QInt8,
                calibrate_method=q.CalibrationMethod[method],
            )
            return in_onnxruntime(Path(made).read_bytes())

    return make


def ort_dynamic(model: Trained) -> Made:
    from onnxruntime import quantization as q

    with tempfile.TemporaryDirectory() as folder:
        source, made = ort_file(model, folder), os.path.join(folder, "int8.onnx")
        q.quantize_dynamic(source, made, per_channel=True, weight_type=q.QuantType.QInt8)
        return in_onnxruntime(Path(made).read_bytes())


def ort_int4(model: Trained) -> Made:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(float_onnx(model), bits=4, block_size=GROUP, is_symmetric=True)
    quantizer.process()
    made: Any = quantizer.model
    return in_onnxruntime(made.model)


# ---------------------------------------------------------------------- torchao


def torchao_of(config: Callable[[], Any]) -> Maker:
    def make(model: Trained) -> Made:
        copied = copy.deepcopy(model.model)
        peer("torchao.quantization").quantize_(copied, config())
        return Made(in_torch(copied), torch_size(copied))

    return make


def torchao_dynamic() -> Any:
    return peer("torchao.quantization").Int8DynamicActivationInt8WeightConfig()


def torchao_weights() -> Any:
    return peer("torchao.quantization").Int8WeightOnlyConfig()


def torchao_int4() -> Any:
    group = peer("torchao.quantization.granularity").PerGroup(GROUP)
    config = peer("torchao.quantization").IntxWeightOnlyConfig
    return config(weight_dtype=getattr(torch, "int4"), granularity=group)  # noqa: B009


# ---------------------------------------------------------------------- neural-compressor


def inc(kind: str) -> Maker:
    def make(model: Trained) -> Made:
        q = peer("neural_compressor.torch.quantization")
        configs = {"rtn": q.RTNConfig, "gptq": q.GPTQConfig, "awq": q.AWQConfig}
        config = configs[kind](bits=4, group_size=GROUP, use_sym=True, dtype="int")
        example = torch.from_numpy(model.samples[:1])
        prepared = q.prepare(copy.deepcopy(model.model), config, example_inputs=example)
        with torch.no_grad():
            for i in range(0, len(model.samples), 32):
                prepared(torch.from_numpy(model.samples[i : i + 32]))
        converted = q.convert(prepared)
        return Made(in_torch(converted), torch_size(converted))

    return make


ROWS: dict[str, dict[str, Maker]] = {
    "float": {"aicc": ours_in_float, "onnxruntime": ort_float},
    "int8 static": {
        "aicc": ours("int8"),
        "aicc (SmoothQuant)": ours("int8-smooth"),
        "aicc's model in onnxruntime": ours_in_onnxruntime("int8"),
        "onnxruntime, min-max": ort_static("MinMax"),
        "onnxruntime, entropy": ort_static("Entropy"),
        "onnxruntime, percentile": ort_static("Percentile"),
    },
    "int8 dynamic": {
        "aicc": ours("int8-dynamic"),
        "onnxruntime": ort_dynamic,
        "torchao": torchao_of(torchao_dynamic),
    },
    "int8 weights": {"aicc": ours("int8-weights"), "torchao": torchao_of(torchao_weights)},
    "int4 weights, nearest": {
        "aicc": ours("int4-rtn"),
        "aicc, matmuls only as peers": ours(MATMULS_ONLY),
        "onnxruntime": ort_int4,
        "torchao": torchao_of(torchao_int4),
        "neural-compressor": inc("rtn"),
    },
    "int4 weights, GPTQ": {"aicc": ours("int4-gptq"), "neural-compressor": inc("gptq")},
    "int4 weights, AWQ": {"aicc": ours("int4-awq"), "neural-compressor": inc("awq")},
}
"""Kinds of quantization, and who does them."""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what peers print."""
    logging.disable(logging.WARNING)
    out = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def judged(model: Trained, made: Made) -> dict[str, float]:
    parts = [slice(i, i + BATCH) for i in range(0, len(model.test_samples), BATCH)]
    results = [[made.run(model.test_samples[p])] for p in parts]
    samples = Samples([], [model.test_labels[p] for p in parts], len(model.test_samples))
    return {
        "accuracy": metrics.accuracy(results, samples),
        "perplexity": metrics.perplexity(results, samples),
        "bytes": made.size,
    }


def measured(name: str, runs: int) -> dict[str, Any]:
    model = trained(name)
    found: dict[str, Any] = {}
    ready: dict[str, Made] = {}
    for kind, makers in ROWS.items():
        for who, make in makers.items():
            key = f"{kind}: {who}"
            try:
                with quietly():
                    made = make(model)
                    found[key] = judged(model, made)
                ready[key] = made
            except Exception as e:  # peers fail in many ways
                why = str(e).strip().splitlines()
                found[key] = {"failed": f"{type(e).__name__}: {why[0] if why else ''}"[:200]}
            print(name, key, found[key], flush=True)
    x = np.ascontiguousarray(model.test_samples[:BATCH])
    with quietly():
        times = harness.interleaved(
            {k: (lambda m=m: m.run(x)) for k, m in ready.items()}, runs, settle=True
        )
    for key, t in times.items():
        found[key]["seconds"] = {"median": t.median, "min": t.min, "max": t.max, "runs": t.runs}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(PLANS))
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    results = {name: measured(name, args.runs) for name in args.models}
    for name, rows in results.items():
        print(f"\n{name:48} accuracy  perplexity      bytes        ms")
        for key, row in rows.items():
            if "failed" in row:
                print(f"  {key:46} {row['failed'][:60]}")
                continue
            print(
                f"  {key:46} {row['accuracy']:8.2f}  {row['perplexity']:10.4f}  "
                f"{row['bytes']:9}  {row['seconds']['median'] * 1e3:8.2f}"
            )
    harness.write("quantization", models=results)


if __name__ == "__main__":
    main()
