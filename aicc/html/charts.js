"use strict";
// Drawings as SVG: the graph of one module, the memory plan, the roofline.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function label(x, y, text, more = {}) {
  const made = svg("text", { x, y, ...more });
  made.textContent = text;
  return made;
}

// tensor<?x4xf32, #graph.dims<n>> as n×4 f32.
function plainType(type) {
  const found = /^tensor<(.*?)(?:, #graph\.dims<(.*)>)?>$/.exec(type);
  if (!found) return type;
  const parts = found[1].split("x"), names = (found[2] ?? "").split(", ");
  const dims = parts.slice(0, -1).map((d) => (d === "?" ? names.shift() || "?" : d));
  return `${dims.join("×")} ${parts.at(-1)}`;
}

const shorter = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);

// What is seen of a module: its own ops, and its submodules as one box each.
function boxesOf(nodes, path) {
  const boxes = new Map(), boxOf = new Map();
  nodes.forEach((node, i) => {
    if (!path.every((part, d) => node.path[d] === part)) return;
    const inner = node.path.length > path.length;
    const key = inner ? "m:" + node.path[path.length] : "o:" + i;
    if (!boxes.has(key)) {
      const title = inner ? node.path[path.length] : node.op;
      boxes.set(key, { key, title, node: inner ? null : i, count: 0, reads: new Set() });
    }
    boxes.get(key).count++;
    boxOf.set(i, key);
  });
  for (const [i, key] of boxOf)
    for (const r of nodes[i].reads)
      if (boxOf.has(r) && boxOf.get(r) !== key) boxes.get(key).reads.add(boxOf.get(r));
  return [...boxes.values()];
}

// Boxes in rows: each below all that it reads.
function drawGraph(nodes, path, onModule, onOp) {
  const W = 190, H = 40, X = 214, Y = 66;
  const boxes = boxesOf(nodes, path), at = new Map(boxes.map((b) => [b.key, b]));
  const rows = [];
  for (const box of boxes) {
    box.row = 0;
    for (const r of box.reads) box.row = Math.max(box.row, (at.get(r).row ?? 0) + 1);
    box.column = (rows[box.row] ??= []).push(box) - 1;
  }
  const widest = Math.max(...rows.map((r) => r.length), 1);
  for (const box of boxes) {
    box.x = 10 + (box.column + (widest - rows[box.row].length) / 2) * X;
    box.y = 10 + box.row * Y;
  }
  const width = widest * X, height = rows.length * Y + 10;
  const drawing = svg("svg", { width, height, role: "group", "aria-label": "Graph" });
  for (const box of boxes)
    for (const r of box.reads) {
      const from = at.get(r), x = from.x + W / 2, y = from.y + H, p = box.x + W / 2, q = box.y;
      const d = `M${x},${y} C${x},${y + 20} ${p},${q - 20} ${p},${q}`;
      drawing.append(svg("path", { class: "edge", d }));
    }
  for (const box of boxes) {
    const node = box.node === null ? null : nodes[box.node];
    const under = node ? plainType(node.type) : `${box.count} op${box.count > 1 ? "s" : ""}`;
    const kind = node ? "node" : "node module", name = `${box.title}: ${under}`;
    const group = svg("g", { class: kind, tabindex: 0, role: "button", "aria-label": name },
      svg("rect", { x: box.x, y: box.y, width: W, height: H, rx: 6 }),
      label(box.x + 9, box.y + 17, shorter(box.title, 26)),
      label(box.x + 9, box.y + 33, shorter(under, 27), { class: "soft" }));
    const act = () => (node ? onOp(node) : onModule(box.title));
    group.addEventListener("click", act);
    group.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") { e.preventDefault(); act(); }
    });
    drawing.append(group);
  }
  return drawing;
}

// Buffers as boxes: steps to the right, offsets upward.
function drawMemory(plan, bytes) {
  const W = 960, H = 380, left = 90, bottom = 30;
  const x = (step) => left + (step / plan.steps) * (W - left - 10);
  const y = (offset) => H - bottom - (offset / Math.max(plan.arena, 1)) * (H - bottom - 10);
  const drawing = svg("svg", { width: W, height: H, role: "img", "aria-label": "Memory over time" });
  for (let i = 0; i <= 4; i++) {
    const at = (plan.arena * i) / 4;
    drawing.append(svg("line", { class: "axis", x1: left, x2: W - 10, y1: y(at), y2: y(at) }));
    drawing.append(label(4, y(at) + 4, bytes(at), { class: "soft" }));
  }
  for (const b of plan.buffers) {
    const box = svg("rect", { class: "bar", x: x(b.first), y: y(b.offset + b.bytes), rx: 2,
      width: Math.max(x(b.last + 1) - x(b.first) - 1, 1),
      height: Math.max(y(b.offset) - y(b.offset + b.bytes) - 1, 1) });
    const title = svg("title", {});
    title.textContent = `${b.name} ${b.type}: ${bytes(b.bytes)} at ${b.offset}, ` +
      `steps ${b.first} to ${b.last}`;
    box.append(title);
    drawing.append(box);
  }
  drawing.append(label(left, H - 8, `step 0 to ${plan.steps - 1}`, { class: "soft" }));
  return drawing;
}

// Kernels by FLOPs a byte, below the roof of a chip; both axes are logarithmic.
function drawRoofline(kernels, chip) {
  const W = 760, H = 330, left = 60, bottom = 40;
  const low = -2, high = 4, top = Math.ceil(Math.log10(chip.dots)), floor = top - 6;
  const x = (v) => left + ((Math.log10(v) - low) / (high - low)) * (W - left - 10);
  const y = (v) => H - bottom - ((Math.log10(v) - floor) / (top - floor)) * (H - bottom - 12);
  const drawing = svg("svg", { width: W, height: H, role: "img", "aria-label": "Roofline" });
  for (let d = low; d <= high; d++) {
    drawing.append(svg("line", { class: "axis", x1: x(10 ** d), x2: x(10 ** d), y1: 12, y2: H - bottom }));
    drawing.append(label(x(10 ** d) - 8, H - 22, String(10 ** d), { class: "soft" }));
  }
  for (let d = floor; d <= top; d++)
    drawing.append(label(4, y(10 ** d) + 4, `1e${d}`, { class: "soft" }));
  drawing.append(label(W / 2 - 60, H - 5, "FLOPs a byte", { class: "soft" }));
  for (const rate of [chip.flops, chip.dots]) {
    const ridge = rate / chip.bandwidth;
    const start = Math.max(10 ** low, 10 ** floor / chip.bandwidth);
    const points = [[start, start * chip.bandwidth], [ridge, rate], [10 ** high, rate]];
    const d = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a)},${y(b)}`).join(" ");
    drawing.append(svg("path", { class: "roof", d }));
  }
  for (const k of kernels) {
    if (!k.flops || !k.bytes) continue;
    const intensity = k.flops / k.bytes, rate = Math.min(intensity * chip.bandwidth, chip.dots);
    const inside = Math.min(Math.max(intensity, 10 ** low), 10 ** high);
    const dot = svg("circle", { class: "bar", cx: x(inside), cy: y(Math.max(rate, 10 ** floor)), r: 5 });
    const title = svg("title", {});
    title.textContent = `${k.name}: ${intensity.toFixed(2)} FLOPs a byte`;
    dot.append(title);
    drawing.append(dot);
  }
  return drawing;
}
