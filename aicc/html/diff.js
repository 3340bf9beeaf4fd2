"use strict";
// Two texts line by line (Myers, "An O(ND) difference algorithm", 1986). Values without names are
// numbered anew by every pass, so lines are compared without those numbers.

const MOST_EDITS = 3000;

const comparable = (line) => line.replace(/%\d+/g, "%");

// Rows [old line or null, new line or null], equal ones with both.
function diffLines(before, after) {
  const a = before.map(comparable), b = after.map(comparable);
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start++;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
  const rows = [];
  for (let i = 0; i < start; i++) rows.push([before[i], after[i]]);
  rows.push(...middleRows(before, after, a, b, start, endA, endB));
  for (let i = endA, j = endB; i < a.length; i++, j++) rows.push([before[i], after[j]]);
  return rows;
}

function middleRows(before, after, a, b, start, endA, endB) {
  const edits = shortestEdit(a, b, start, endA, endB);
  const rows = [];
  let i = start, j = start, gone = [], fresh = [];
  const flush = () => {
    for (let k = 0; k < Math.max(gone.length, fresh.length); k++)
      rows.push([gone[k] ?? null, fresh[k] ?? null]);
    gone = []; fresh = [];
  };
  for (const edit of edits) {
    if (edit === 0) { flush(); rows.push([before[i++], after[j++]]); }
    else if (edit < 0) gone.push(before[i++]);
    else fresh.push(after[j++]);
  }
  flush();
  return rows;
}

// 0 for a line that both have, −1 for one that goes, 1 for one that comes.
function shortestEdit(a, b, start, endA, endB) {
  const n = endA - start, m = endB - start, most = Math.min(n + m, MOST_EDITS);
  const trace = [];
  let reach = new Map([[1, 0]]);
  for (let d = 0; d <= most; d++) {
    trace.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let x = down ? reach.get(k + 1) ?? 0 : (reach.get(k - 1) ?? 0) + 1, y = x - k;
      while (x < n && y < m && a[start + x] === b[start + y]) { x++; y++; }
      reach.set(k, x);
      if (x >= n && y >= m) return walkBack(trace, n, m);
    }
  }
  return [...Array(n).fill(-1), ...Array(m).fill(1)];
}

function walkBack(trace, n, m) {
  const edits = [];
  let x = n, y = m;
  for (let d = trace.length - 1; d >= 0; d--) {
    const reach = trace[d], k = x - y;
    const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
    const from = down ? k + 1 : k - 1, px = reach.get(from) ?? 0, py = px - from;
    while (x > px && y > py) { edits.push(0); x--; y--; }
    if (d > 0) edits.push(down ? 1 : -1);
    x = px; y = py;
  }
  return edits.reverse();
}
