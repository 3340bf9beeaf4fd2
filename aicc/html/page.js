"use strict";
// The parts of the report, each drawn when it is looked at. What is shown stands in the address
// (#passes/7), so that it can be linked to.

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main"), trace = document.getElementById("trace");
const ROW = 18;

function html(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

async function unpack(text) {
  const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const texts = new Map();
async function irAfter(index) {
  while (data.passes[index].ir === null) index--; // a pass that changed nothing
  if (!texts.has(index)) texts.set(index, (await unpack(data.passes[index].ir)).trimEnd().split("\n"));
  return texts.get(index);
}

function bytes(n) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB") return `${n.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    n /= 1024;
  }
}

const count = (n) => n.toLocaleString("en");

function table(head, rows) {
  const numeric = (v) => (typeof v === "number" ? "number" : null);
  const cell = (v) => html("td", { class: numeric(v) }, v instanceof Node ? v : typeof v === "number" ? count(v) : String(v ?? ""));
  return html("table", {},
    html("thead", {}, html("tr", {}, ...head.map((h) => html("th", {}, h)))),
    html("tbody", {}, ...rows.map((r) => html("tr", {}, ...r.map(cell)))));
}

// ------------------------------------------------------------------ lines

const placesIn = (line) => {
  const at = line.lastIndexOf(" loc(");
  if (at < 0) return null;
  const parts = [...line.slice(at).matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((m) => m[1]);
  return parts.join("/") || null;
};

// A list of many lines of which only those in sight are in the document. Arrow keys move, Enter and
// a click trace the line's op.
function lineList(rows, draw, lineOf, className = "") {
  let current = 0;
  const inner = html("div", { style: `height:${rows.length * ROW}px` });
  const box = html("div", { class: `lines ${className}`, tabindex: 0, role: "listbox",
    "aria-label": "IR: arrow keys move, Enter follows an op" }, inner);
  const show = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 20);
    const last = Math.min(rows.length, first + Math.ceil((box.clientHeight || 700) / ROW) + 40);
    inner.replaceChildren();
    for (let i = first; i < last; i++) {
      const row = draw(rows[i]);
      row.classList.add("row");
      row.setAttribute("role", "option");
      row.style.top = `${i * ROW}px`;
      if (i === current) row.classList.add("current");
      row.addEventListener("click", () => { current = i; show(); follow(); });
      inner.append(row);
    }
  };
  const follow = () => {
    const place = placesIn(lineOf(rows[current]) ?? "");
    if (place) tracePlace(place);
  };
  box.addEventListener("scroll", show);
  box.addEventListener("keydown", (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 30, PageUp: -30 }[e.key];
    if (step) {
      e.preventDefault();
      current = Math.min(Math.max(current + step, 0), rows.length - 1);
      const top = current * ROW;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top > box.scrollTop + box.clientHeight - 2 * ROW) box.scrollTop = top - box.clientHeight + 2 * ROW;
      show();
    } else if (e.key === "Enter") follow();
  });
  requestAnimationFrame(show);
  show();
  return box;
}

// ------------------------------------------------------------------ one op, all the way down

async function tracePlace(place) {
  trace.hidden = false;
  trace.replaceChildren(
    html("button", { onclick: closeTrace }, "Close (Esc)"),
    html("h2", {}, place), html("p", { class: "soft" }, "What this layer is after each pass that changed it, and the kernels it ended in."));
  trace.focus();
  let before = "";
  for (let i = 0; i < data.passes.length; i++) {
    if (data.passes[i].ir === null) continue;
    const lines = (await irAfter(i)).filter((l) => placesIn(l) === place);
    const text = lines.map((l) => l.trim().replace(/ loc\(.*\)$/, "")).join("\n");
    if (comparable(text) === comparable(before)) continue;
    before = text;
    trace.append(html("h2", {}, i ? `after ${data.passes[i].name}` : data.passes[i].name),
      html("pre", {}, shorter(text, 6000) || "(gone, or inside a kernel)"));
  }
  for (const k of data.kernels.filter((k) => k.places.includes(place))) {
    trace.append(html("h2", {}, `kernel ${k.name}`),
      html("pre", {}, shorter((await unpack(k.source)) || (await unpack(k.ir)), 8000)));
  }
}

function closeTrace() {
  trace.hidden = true;
  main.focus();
}

// ------------------------------------------------------------------ parts

function overview() {
  const s = data.summary;
  const signature = (list) => list.map((v) => html("div", {}, html("code", {}, `${v.name}: ${v.type}`)));
  const rows = [["inputs", html("div", {}, ...signature(s.inputs))], ["outputs", html("div", {}, ...signature(s.outputs))]];
  for (const key of ["parameters", "parameter bytes", "FLOPs", "bytes read and written", "arena bytes"]) rows.push([key, s[key]]);
  for (const [name, [low, high]] of Object.entries(s.dims)) rows.push([`dim ${name}`, `${low} to ${high ?? "any"}`]);
  const total = data.passes.reduce((t, p) => t + p.seconds, 0);
  const timed = data.passes.slice(1).map((p, i) => [i + 1, html("code", {}, p.spec),
    `${(p.seconds * 1e3).toFixed(2)} ms`, total ? `${((100 * p.seconds) / total).toFixed(0)}%` : "", p.ops ?? "", p.ir === null ? "changed nothing" : ""]);
  return html("div", {}, html("h2", {}, "Model"), table(["", ""], rows),
    timed.length ? html("h2", { style: "margin-top:20px" }, `Passes: ${(total * 1e3).toFixed(0)} ms`) : null,
    timed.length ? table(["", "pass", "time", "share", "ops after", ""], timed) : null);
}

function graphPart(argument) {
  const path = argument ? argument.split("/").map(decodeURIComponent) : [];
  const go = (p) => show("graph", p.map(encodeURIComponent).join("/"));
  const trail = html("p", { class: "path" }, html("button", { onclick: () => go([]) }, "model"));
  path.forEach((part, i) => trail.append(html("button", { onclick: () => go(path.slice(0, i + 1)) }, part)));
  const canvas = html("div", { class: "canvas" },
    drawGraph(data.graph, path, (m) => go([...path, m]), (node) => node.place && tracePlace(node.place)));
  return html("div", {}, html("h2", {}, `${data.graph.length} ops as imported: a module opens, an op is followed to its kernel`), trail, canvas);
}

async function passesPart(argument) {
  const index = Math.min(Math.max(parseInt(argument || "0", 10) || 0, 0), data.passes.length - 1);
  const list = html("nav", { class: "side", "aria-label": "Passes" }, ...data.passes.map((p, i) =>
    html("button", { onclick: () => show("passes", i), "aria-current": i === index ? "true" : null,
      class: p.ir === null ? "soft" : null }, `${i} ${p.name}`)));
  const now = await irAfter(index);
  const fill = html("div", { class: "fill" });
  if (index === 0 || data.passes[index].ir === null) {
    fill.append(html("h2", {}, index ? `${data.passes[index].spec} changed nothing` : data.passes[index].name),
      lineList(now, (l) => html("div", {}, l), (l) => l));
  } else {
    const rows = diffLines(await irAfter(index - 1), now);
    const changed = rows.filter(([a, b]) => a === null || b === null || comparable(a) !== comparable(b)).length;
    const half = (text, other, kind) => html("span", { title: text, class: text !== null && (other === null || comparable(text) !== comparable(other)) ? kind : null }, text ?? "");
    fill.append(html("h2", {}, `${data.passes[index].spec}: ${changed} of ${rows.length} lines changed`),
      lineList(rows, ([a, b]) => html("div", {}, half(a, b, "gone"), half(b, a, "new")), ([a, b]) => b ?? a, "two"));
  }
  return html("div", { class: "columns" }, list, fill);
}

function taken(resources) {
  return Object.entries(resources).map(([chip, r]) =>
    `${chip}: ${r.registers} registers, ${bytes(r.spilled)} spilled, ${bytes(r.shared)} shared${r.tensor_cores ? (r.wgmma ? ", wgmma" : ", mma") : ""}`).join("; ");
}

async function kernelsPart(argument) {
  const index = data.kernels.findIndex((k) => k.name === decodeURIComponent(argument || ""));
  const one = data.kernels[index], measured = data.kernels.some((k) => Object.keys(k.resources).length);
  const rows = data.kernels.map((k) => [
    html("button", { onclick: () => show("kernels", encodeURIComponent(k.name)) }, k.name), k.launches, k.flops, k.bytes,
    k.bytes ? (k.flops / k.bytes).toFixed(2) : "", Object.entries(k.schedule).map(([a, b]) => `${a}=${b}`).join(" "), k.origin, ...(measured ? [taken(k.resources)] : [])]);
  const chips = Object.keys(data.rooflines), slot = html("div");
  const draw = (name) => slot.replaceChildren(drawRoofline(data.kernels, data.rooflines[name]));
  const select = html("select", { "aria-label": "Chip", onchange: (e) => draw(e.target.value) }, ...chips.map((c) => html("option", {}, c)));
  draw(chips[0]);
  const found = html("div", {});
  if (one) {
    const places = one.places.map((p) => html("button", { onclick: () => tracePlace(p) }, p));
    found.append(html("h2", {}, one.name), html("p", { class: "path" }, ...places),
      html("pre", {}, (await unpack(one.source)) || "(no source of its own)"), html("h2", {}, "in the tile dialect"), html("pre", {}, await unpack(one.ir)));
  }
  if (!data.kernels.length) return html("p", {}, `The ${data.target} target has no kernels: it runs the graph op by op.`);
  return html("div", {}, found, html("h2", {}, `${data.kernels.length} kernels; FLOPs and bytes of one launch, symbols being typical`),
    table(["kernel", "launches", "FLOPs", "bytes", "FLOPs/byte", "schedule", "chosen by", ...(measured ? ["on the chip"] : [])], rows),
    html("h2", { style: "margin-top:20px" }, "Where they would lie under a chip's roof "), select, slot);
}

function memoryPart() {
  const plan = data.memory;
  if (!plan.buffers.length) return html("p", {}, "No buffers share an arena in this compile.");
  const ratio = plan.arena / Math.max(plan["most live"], 1);
  return html("div", {}, html("h2", {}, `Arena of ${bytes(plan.arena)}, ${ratio.toFixed(3)} × what lives at once`), drawMemory(plan, bytes),
    table(["buffer", "type", "offset", "bytes", "steps"], plan.buffers.map((b) => [b.name, html("code", {}, b.type), b.offset, b.bytes, `${b.first} to ${b.last}`])));
}

function fusionPart() {
  if (!data.fusion.length) return html("p", {}, "No fusion decisions were recorded.");
  return html("div", {}, html("h2", {}, "Why neighbours share a kernel, or don't"),
    lineList(data.fusion, (l) => html("div", {}, l), () => ""));
}

function quantizationPart() {
  const q = data.quantization;
  const rows = q.layers.map((l) => [l.name, l.weights, l.activations, `${l.signal_to_noise.toFixed(1)} dB`, l.largest_error.toExponential(2), l.cosine.toFixed(6), l.bytes_before, l.bytes_after]);
  return html("div", {}, html("h2", {}, `Recipe ${q.recipe}`),
    table(["measure", "samples", "before", "after"], q.scores.map((s) => [s.measure, s.samples, s.before.toFixed(4), s.after.toFixed(4)])),
    html("h2", { style: "margin-top:20px" }, "Layers"), table(["layer", "weights", "activations", "signal to noise", "largest error", "cosine", "bytes before", "after"], rows));
}

// ------------------------------------------------------------------ tabs

const PARTS = { overview, graph: graphPart, passes: passesPart, kernels: kernelsPart, memory: memoryPart, fusion: fusionPart };
if (data.quantization) PARTS.quantization = quantizationPart;

function show(part, argument = "") {
  location.hash = argument === "" ? part : `${part}/${argument}`;
}

async function render() {
  const [part, ...rest] = location.hash.slice(1).split("/");
  const chosen = PARTS[part] ? part : "overview";
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const selected = tab.dataset.part === chosen;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
  }
  main.replaceChildren(await PARTS[chosen](rest.join("/")));
  document.body.dataset.ready = location.hash || "#";
}

const tabs = document.getElementById("tabs");
for (const part of Object.keys(PARTS)) {
  const tab = html("button", { role: "tab", onclick: () => show(part) }, part[0].toUpperCase() + part.slice(1));
  tab.dataset.part = part;
  tabs.append(tab);
}
tabs.addEventListener("keydown", (e) => {
  const all = [...tabs.children], step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  if (!step) return;
  const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
  next.focus();
  next.click();
});
document.addEventListener("keydown", (e) => { if (e.key === "Escape" && !trace.hidden) closeTrace(); });
window.addEventListener("hashchange", () => { trace.hidden = true; render(); });
document.getElementById("facts").textContent =
  `aicc ${data.version}, ${data.target} target: ${data.graph.length} ops, ${data.passes.length - 1} passes, ${data.kernels.length} kernels`;
render();
