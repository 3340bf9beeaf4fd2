"""The HTML report: its data, and the page in a browser where Chromium is installed."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import aicc
from aicc.cli import main
from aicc.html.collect import Recorder, divided, report_data, source_of
from aicc.html.page import HERE, page
from tests.driver.firefox import COMMAND, Firefox

SMALL = "tests/regressions/sigmoid-tails.mlir"
DIGITS = "examples/digits/digits.onnx"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium isn't installed")


@pytest.fixture(scope="module")
def data():
    recorder, remarks = Recorder(), list[str]()
    compiled = aicc.compile(DIGITS, target="cpp", observer=recorder, remarks=remarks)
    return report_data(compiled, "digits", recorder, remarks)


def unpacked(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def test_passes(data):
    names = [p["name"] for p in data["passes"]]
    assert names[0] == "import" and names[4] == "batch-norm-fold" and names[-1] == "plan-memory"
    assert "graph.batch_norm" in unpacked(data["passes"][0]["ir"])
    assert "graph.batch_norm" not in unpacked(data["passes"][4]["ir"])
    assert data["passes"][1]["ir"] is None  # it changed nothing
    assert all(p["seconds"] > 0 for p in data["passes"][1:])


def test_a_layer_is_followed_to_its_kernel(data):
    kernel = next(k for k in data["kernels"] if k["name"] == "conv_relu")
    assert {"/block1/conv/Conv", "/block1/relu/Relu"} <= set(kernel["places"])
    assert 'extern "C" void conv_relu_kernel' in unpacked(kernel["source"])
    assert "tile.kernel" in unpacked(kernel["ir"]) and kernel["flops"] > 0


def test_graph_memory_and_fusion(data):
    node = next(n for n in data["graph"] if n["op"] == "relu")
    assert node["path"] == ["block1", "relu"] and len(node["reads"]) == 1
    assert all(r < i for i, n in enumerate(data["graph"]) for r in n["reads"])
    plan = data["memory"]
    assert plan["arena"] == max(b["offset"] + b["bytes"] for b in plan["buffers"])
    assert any("fused" in line or "fuse" in line for line in data["fusion"])


def test_many_ops_of_a_module_are_divided():
    nodes = [{"path": ["a"]} for _ in range(200)] + [{"path": ["b"]}]
    divided(nodes)
    assert nodes[0]["path"] == ["a", "ops 0 to 149"] and nodes[199]["path"] == [
        "a",
        "ops 150 to 199",
    ]
    assert nodes[200]["path"] == ["b"]


def test_source_of_a_triton_kernel():
    text = "import x\n\n@triton.jit\ndef a(x):\n    pass\n\n\n@triton.jit\ndef a_b(x):\n    y\n"
    assert source_of(text, "a") == "@triton.jit\ndef a(x):\n    pass\n"
    assert source_of(text, "a_b") == "@triton.jit\ndef a_b(x):\n    y\n"
    assert source_of(text, "none") == ""


def test_nothing_in_the_data_ends_its_element(data):
    made = page({**data, "title": "</script><script>alert(1)</script>"})
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', made, re.S)
    assert found is not None
    assert json.loads(found[1])["title"] == "</script><script>alert(1)</script>"
    assert "<script>alert" not in made
    assert "http" not in re.sub(r"http://www\.w3\.org/\d+/svg", "", made.replace(found[1], ""))


@pytest.mark.parametrize("target", ["numpy", "ascendc"])
def test_targets_without_sources_of_their_own(target, tmp_path):
    out = tmp_path / "r.html"
    with pytest.raises(SystemExit) as e:
        main(["report", DIGITS, "--target", target, "-o", str(out)])
    assert e.value.code == 0 and out.stat().st_size > 20_000


def test_of_an_artifact_and_while_compiling(tmp_path):
    a, b = tmp_path / "a.html", tmp_path / "b.html"
    with pytest.raises(SystemExit) as e:
        main(
            ["compile", DIGITS, "--target", "cpp", "-o", str(tmp_path / "art"), "--report", str(a)]
        )
    assert e.value.code == 0 and a.is_file()
    with pytest.raises(SystemExit) as e:
        main(["report", str(tmp_path / "art"), "-o", str(b)])
    assert e.value.code == 0 and '"name":"final"' in b.read_text()


# ---------------------------------------------------------------------- in a browser


def dom(text: str, tmp_path, part: str = "", script: str = "") -> str:
    """The document after its scripts have run."""
    path = tmp_path / "page.html"
    path.write_text(text + (f"<script>{script}</script>" if script else ""))
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=9000",
         f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{path}#{part}"],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    return done.stdout


PARTS = [
    ("overview", "FLOPs"),
    ("graph", "block1"),
    ("graph/block1", "block1"),
    ("passes/4", "batch-norm-fold: "),
    ("passes/5", "changed nothing"),
    ("kernels/conv_relu", "conv_relu_kernel"),
    ("memory", "what lives at once"),
    ("fusion", "share a kernel"),
]


@in_browser
@pytest.mark.parametrize("part, text", PARTS)
def test_parts_show(part, text, data, tmp_path):
    shown = dom(page(data), tmp_path, part)
    assert f'data-ready="#{part}"' in shown
    assert text in shown[shown.index("<main") : shown.index("</main>")]


KEYS = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  await wait(500);
  const key = (at, name) =>
    at.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const tabs = document.querySelectorAll("[role=tab]");
  tabs[1].focus(); key(tabs[1], "ArrowRight"); await wait(500);
  document.body.dataset.went = location.hash;
  const lines = document.querySelector(".lines");
  const here = () => document.querySelector(".row.current").textContent;
  for (let i = 0; i < 40 && !here().includes("graph.conv "); i++) key(lines, "ArrowDown");
  key(lines, "Enter"); await wait(1500);
  document.body.dataset.traced = document.getElementById("trace").innerText;
  key(document.body, "Escape");
  document.body.dataset.closed = document.getElementById("trace").hidden;
})();"""


@in_browser
def test_keys(data, tmp_path):
    """The right arrow goes to the next tab; Enter on a line follows its op; Esc closes."""
    shown = dom(page(data), tmp_path, "graph", KEYS)
    assert 'data-went="#passes"' in shown and 'data-closed="true"' in shown
    traced = re.search(r'data-traced="([^"]*)"', shown)
    assert traced is not None and "/block" in traced[1] and "kernel conv_relu" in traced[1]


@in_browser
def test_differences_of_lines(tmp_path):
    """Both sides of a diff are the two texts, and lines that are paired are equal."""
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(60):
        a = rng.integers(0, 6, rng.integers(0, 30)).tolist()
        b = (
            [x for x in a if rng.random() > 0.3]
            if rng.random() < 0.5
            else rng.integers(0, 6, 20).tolist()
        )
        cases.append(
            [[f"%{i} = {x}" for i, x in enumerate(a)], [f"%{i + 3} = {x}" for i, x in enumerate(b)]]
        )
    script = (
        (HERE / "diff.js").read_text()
        + f"""
    let wrong = 0;
    for (const [a, b] of {json.dumps(cases)}) {{
      const rows = diffLines(a, b);
      const left = rows.map((r) => r[0]).filter((x) => x !== null);
      const right = rows.map((r) => r[1]).filter((x) => x !== null);
      if (left.join() !== a.join() || right.join() !== b.join()) wrong++;
      const same = ([x, y]) => x !== null && y !== null && comparable(x) === comparable(y);
      const lost = a.length + b.length - 2 * rows.filter(same).length;
      if (a.map(comparable).join() === b.map(comparable).join() && lost) wrong++;
    }}
    document.body.dataset.wrong = wrong;"""
    )
    assert 'data-wrong="0"' in dom("<!doctype html><body></body>", tmp_path, "", script)


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    if COMMAND is None:
        pytest.skip("Firefox isn't installed")
    found = Firefox(tmp_path_factory.mktemp("firefox"))
    yield found
    found.close()


def wait_for(firefox: Firefox, test: str) -> None:
    end = time.monotonic() + 30
    while not firefox.script(f"return Boolean({test})"):
        assert time.monotonic() < end, f"not within 30 s: {test}"
        time.sleep(0.1)


@pytest.mark.parametrize("part, text", PARTS)
def test_parts_show_in_firefox(part, text, data, tmp_path, firefox):
    (tmp_path / "page.html").write_text(page(data))
    firefox.open(f"file://{tmp_path}/page.html#{part}")
    wait_for(firefox, f"document.body.dataset.ready === '#{part}'")
    assert text in firefox.script("return document.querySelector('main').textContent")


def test_keys_in_firefox(data, tmp_path, firefox):
    (tmp_path / "page.html").write_text(page(data))
    firefox.open(f"file://{tmp_path}/page.html#graph")
    firefox.script(KEYS)
    wait_for(firefox, "document.body.dataset.closed")
    went, closed, traced = (
        firefox.script(f"return document.body.dataset.{n}") for n in ("went", "closed", "traced")
    )
    assert went == "#passes" and closed == "true"
    assert "/block" in traced and "kernel conv_relu" in traced


def test_what_kernels_take_of_a_chip(tmp_path):
    pytest.importorskip("triton")
    out = tmp_path / "r.html"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "aicc", "report", SMALL, "--target", "triton"]
    done = subprocess.run(
        [*command, "--arch", "sm_90", "-o", str(out)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', out.read_text())
    assert found is not None
    for kernel in json.loads(found[1])["kernels"]:
        taken = kernel["resources"]["sm_90"]
        assert 0 < taken["registers"] <= 255 and taken["spilled"] == 0
