"""What `aicc bench` reports; nothing is asserted of how long things take."""

from __future__ import annotations

import json

import pytest

from aicc.bench import Roofline, Timing, bench
from aicc.cli import main
from aicc.errors import InputError

DIGITS = "examples/digits/digits.onnx"


def test_intervals_come_from_order_statistics():
    t = Timing.of([float(i) for i in range(1, 101)], batch=5, peak=None)
    assert (t.median, t.best, t.runs) == (50.5, 1, 100)
    assert t.low == 41 and t.high == 61  # ranks n/2 ∓ 1.96·√n/2
    assert t.per_second == pytest.approx(5 / 50.5)
    one = Timing.of([2.0], batch=1, peak=3)
    assert one.low == one.high == one.median == 2


def test_roofline():
    r = Roofline(bandwidth=10, flops=100)
    assert r.seconds(1000, 10) == 10 and r.seconds(10, 1000) == 100


def test_an_onnx_model_beside_onnxruntime():
    found = bench(DIGITS, target="cpp", seconds=0.2)
    assert list(found.timings) == ["aicc", "onnxruntime"]
    for t in found.timings.values():
        assert t.low <= t.median <= t.high and t.runs >= 5
    names = [k.name for k in found.kernels]
    assert "conv_relu" in names
    conv = next(k for k in found.kernels if k.name == "conv_relu")
    assert conv.flops == 3 * 16 * 64 * (2 * 9 + 1)  # the products and the relu
    again = json.loads(found.to_json())
    assert again["timings"]["aicc"]["runs"] == found.timings["aicc"].runs
    assert again["machine"]["versions"]["onnxruntime"]
    events = json.loads(found.trace())["traceEvents"]
    assert [e["ph"] for e in events] == ["X"] * len(events) and events[0]["ts"] == 0
    assert {e["name"] for e in events} == set(names)
    assert "of a copy" in str(found) and "conv_relu" in str(found)


def test_a_torch_model_beside_eager():
    found = bench(
        "tests.driver.test_bisect:tanh_model", target="numpy", seconds=0.1, peers=["eager"]
    )
    assert list(found.timings) == ["aicc", "eager"] and found.kernels == []


def test_an_unknown_peer():
    with pytest.raises(InputError, match=r"no peer 'tvm' .*onnxruntime"):
        bench(DIGITS, target="numpy", peers=["tvm"])


def test_command_line(tmp_path, capsys):
    out, trace = tmp_path / "b.json", tmp_path / "t.json"
    with pytest.raises(SystemExit) as e:
        main(["bench", DIGITS, "--target", "cpp", "--seconds", "0.1", "-o", str(out),
              "--trace", str(trace)])  # fmt: skip
    assert e.value.code == 0
    assert "95% interval" in capsys.readouterr().out
    assert json.loads(out.read_text())["target"] == "cpp" and trace.is_file()
