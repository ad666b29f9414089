// The canvas: lanes, marks, arrows, spans, the overview; what lies under the pointer.

const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const GUTTER = 96, AXIS = 24, OVERVIEW = 46, ROW = 9;
const state = {
  from: 0, to: END, scroll: 0, selected: -1, cone: null, coneSize: 0, hover: -1,
  kinds: RUN.kinds.map(() => true), hosts: HOSTS.map(() => true), matches: [], match: -1,
  isMatch: null, only: false, alone: false, dark: false,
};
let W = 100, H = 100, LANES = [], COLOURS = {}, DRAWN_MS = 0;

// What is drawn above what, where marks share a pixel.
const RANK = {
  turn: 1, disk: 2, "disk-done": 3, send: 4, deliver: 5, connect: 5, story: 6, step: 7, begin: 7,
  end: 7, held: 8, lost: 9, synced: 10, resume: 11, boot: 12, pause: 13, fault: 14, crash: 15,
  broken: 16,
};
const COLOUR_OF = {
  turn: "turn", disk: "disk", "disk-done": "disk", send: "message", deliver: "message",
  connect: "message", story: "story", step: "story", begin: "opline", end: "opline", held: "pause",
  lost: "crash", synced: "sync", resume: "boot", boot: "boot", pause: "pause", fault: "fault",
  crash: "crash", broken: "broken",
};
const RANKS = Uint8Array.from(RUN.kinds, (name) => RANK[name] || 1);

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "card", "ink", "faint", "line", "lane", "accent", "message", "turn",
    "story", "op", "opline", "lost", "disk", "sync", "fault", "crash", "boot", "broken", "pause",
    "down", "held", "match", "good"];
  COLOURS = {};
  for (const name of names) COLOURS[name] = style.getPropertyValue(`--${name}`).trim();
}
const colourOf = (kind) => COLOURS[COLOUR_OF[RUN.kinds[kind]]] || COLOURS.story;

function layOut() {
  const box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
  W = Math.max(200, Math.floor(box.width)); H = Math.max(120, Math.floor(box.height));
  canvas.width = W * scale; canvas.height = H * scale;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  LANES = [];
  let shown = 0, least = 0;
  HOSTS.forEach((_, host) => {
    if (!state.hosts[host]) return;
    shown++;
    least += 26 + ROW * (OP_ROWS[host] + DISK_ROWS[host]);
  });
  const spare = Math.max(0, Math.min(90, (H - AXIS - OVERVIEW - least - 4) / Math.max(1, shown)));
  let y = AXIS + 2;
  HOSTS.forEach((_, host) => {
    if (!state.hosts[host]) { LANES.push(null); return; }
    const ops = OP_ROWS[host] * ROW, disks = DISK_ROWS[host] * ROW;
    const height = 26 + ops + disks + spare;
    const middle = y + ops + 3 + (height - ops - disks - 6) / 2;
    LANES.push({ top: y, height, ops: y + 3, middle, disks: y + height - disks - 3 });
    y += height;
  });
  state.tall = y - AXIS;
  state.scroll = Math.max(0, Math.min(state.scroll, state.tall - (H - AXIS - OVERVIEW)));
}

const xOf = (ns) => GUTTER + ((ns - state.from) / (state.to - state.from)) * (W - GUTTER);
const nsOf = (x) => state.from + ((x - GUTTER) / (W - GUTTER)) * (state.to - state.from);

// Whether filters let an event be seen.
function isShown(i) {
  return state.kinds[KIND[i]] && state.hosts[HOST[i]]
    && (!state.only || !state.isMatch || state.isMatch[i] === 1)
    && (!state.alone || !state.cone || state.cone[i] > 0);
}
const inCone = (i) => !state.cone || state.cone[i] > 0;

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function draw() {
  const began = performance.now();
  pen.fillStyle = COLOURS.ground;
  pen.fillRect(0, 0, W, H);
  pen.save();
  pen.beginPath(); pen.rect(0, AXIS, W, H - AXIS - OVERVIEW); pen.clip();
  pen.translate(0, -state.scroll);
  drawLanes();
  pen.save();
  pen.beginPath(); pen.rect(GUTTER, 0, W - GUTTER, H + state.scroll); pen.clip();
  drawBands(); drawSpans(DISKS, "disks", "disk"); drawSpans(OPS, "ops", "op");
  drawMessages(); drawMarks(); drawChosen();
  pen.restore();
  pen.restore();
  drawAxis();
  drawOverview();
  DRAWN_MS = performance.now() - began;
  const seen = firstAt(state.to) - firstAt(state.from);
  document.getElementById("range").textContent =
    `${time(state.from)} to ${time(state.to)} s (${span(state.to - state.from)}), ${seen} of ${N} events`;
  document.getElementById("drawn").textContent = `drawn in ${DRAWN_MS.toFixed(1)} ms`;
}

function drawLanes() {
  pen.textBaseline = "middle"; pen.textAlign = "left";
  LANES.forEach((lane, host) => {
    if (!lane) return;
    pen.fillStyle = host % 2 ? COLOURS.ground : COLOURS.lane;
    pen.fillRect(0, lane.top, W, lane.height);
    pen.strokeStyle = COLOURS.line;
    pen.beginPath();
    pen.moveTo(GUTTER, lane.middle + .5); pen.lineTo(W, lane.middle + .5); pen.stroke();
    pen.fillStyle = COLOURS.ink; pen.font = "600 12px system-ui, DejaVu Sans, sans-serif";
    pen.fillText(HOSTS[host], 8, lane.middle, GUTTER - 14);
    pen.fillStyle = COLOURS.faint; pen.font = "10px system-ui, DejaVu Sans, sans-serif";
    if (OP_ROWS[host]) pen.fillText("operations", 8, lane.ops + ROW / 2, GUTTER - 14);
    if (DISK_ROWS[host]) pen.fillText("disk", 8, lane.disks + ROW / 2, GUTTER - 14);
  });
}

function drawBands() {
  for (const band of within(BANDS, state.from, state.to)) {
    const lane = LANES[band.lane];
    if (!lane) continue;
    const x = xOf(band.from), width = Math.max(1, xOf(band.to) - x);
    pen.fillStyle = band.down ? COLOURS.down : COLOURS.held;
    pen.fillRect(x, lane.top, width, lane.height);
    if (width > 60) {
      pen.fillStyle = band.down ? COLOURS.crash : COLOURS.pause;
      pen.font = "10px system-ui, DejaVu Sans, sans-serif"; pen.textAlign = "left";
      pen.fillText(band.down ? "down" : "paused", Math.max(x, GUTTER) + 4, lane.middle - 8);
    }
  }
}

function drawSpans(list, part, colour) {
  const drawn = new Set();
  pen.font = "9px ui-monospace, DejaVu Sans Mono, monospace"; pen.textAlign = "left";
  for (const one of within(list, state.from, state.to)) {
    const lane = LANES[one.lane];
    if (!lane || !(isShown(one.i) || isShown(one.of))) continue;
    const x = Math.max(GUTTER - 2, xOf(one.from)), right = Math.min(W + 2, xOf(one.to));
    const width = Math.max(1, right - x), y = lane[part] + one.row * ROW;
    const lit = inCone(one.i) || inCone(one.of);
    if (width <= 1.5) {
      const key = ((one.lane * 8 + one.row) * 16384 + Math.round(x)) * 2 + (lit ? 1 : 0);
      if (drawn.has(key)) continue;
      drawn.add(key);
    }
    pen.globalAlpha = lit ? 1 : .18;
    const sync = part === "disks" && KIND[one.i] === K.synced;
    const lost = one.open || (part === "ops" && textOf(one.i).includes(" lost its connection"));
    pen.fillStyle = sync ? COLOURS.sync : lost ? COLOURS.lost : COLOURS[colour];
    pen.fillRect(x, y, width, ROW - 2);
    if (part === "ops" && width > 6) {
      pen.fillStyle = lost ? COLOURS.crash : COLOURS.opline;
      pen.fillRect(x, y, 1, ROW - 2); pen.fillRect(x + width - 1, y, 1, ROW - 2);
    }
    if (width > 50 && !one.crowded) {
      pen.fillStyle = sync ? COLOURS.ground : COLOURS.ink;
      const text = textOf(one.of);
      const label = part === "ops" ? text.replace(/^client \d+, request /, "") : text;
      pen.fillText(label.slice(0, Math.floor(width / 5.5) - 1), x + 3, y + (ROW - 2) / 2 + .5);
    }
  }
  pen.globalAlpha = 1;
}

// Events in view from which on messages are drawn as columns.
const DENSE = 30000;
function drawMessages() {
  const drawn = new Set(), faint = [], bright = [];
  // Where very many stand upright in a column of pixels, what they span is drawn as one bar.
  const dense = firstAt(state.to) - firstAt(state.from) > DENSE;
  const bars = [new Float32Array(2 * W), new Float32Array(2 * W)];
  for (const one of within(MESSAGES, state.from, state.to)) {
    const a = LANES[HOST[one.of]], b = LANES[HOST[one.i]];
    if (!a || !b || !(isShown(one.i) && isShown(one.of))) continue;
    const lit = inCone(one.i);
    const x0 = xOf(one.from), x1 = xOf(one.to);
    if (dense && x1 - x0 < 3 && !one.lost) {
      const bar = bars[lit ? 1 : 0], x = 2 * Math.max(0, Math.min(W - 1, Math.floor(x0)));
      const low = Math.min(a.middle, b.middle), high = Math.max(a.middle, b.middle);
      if (!bar[x] || low < bar[x]) bar[x] = low;
      if (high > bar[x + 1]) bar[x + 1] = high;
      continue;
    }
    const key = ((HOST[one.of] * 256 + HOST[one.i]) * 32768 + Math.round(x0) + 8192) * 32768
      + Math.round(x1) + 8192;
    if (drawn.has(lit ? key : -key)) continue;
    drawn.add(lit ? key : -key);
    (lit ? bright : faint).push([x0, a.middle, x1, b.middle, one.lost]);
  }
  for (const [bar, alpha] of [[bars[0], .08], [bars[1], .3]]) {
    pen.fillStyle = COLOURS.message; pen.globalAlpha = alpha;
    for (let x = 0; dense && x < W; x++) {
      if (bar[2 * x]) pen.fillRect(x, bar[2 * x], 1, bar[2 * x + 1] - bar[2 * x]);
    }
  }
  const heads = bright.length + faint.length < 1500;
  const stroke = (list, alpha) => {
    for (const lost of [false, true]) {
      pen.strokeStyle = lost ? COLOURS.crash : COLOURS.message;
      pen.fillStyle = pen.strokeStyle;
      pen.globalAlpha = alpha;
      pen.setLineDash(lost ? [3, 3] : []);
      pen.beginPath();
      for (const [x0, y0, x1, y1, isLost] of list) {
        if (isLost !== lost) continue;
        pen.moveTo(x0, y0); pen.lineTo(x1, y1);
      }
      pen.stroke();
      pen.setLineDash([]);
      if (!heads) continue;
      pen.beginPath();
      for (const [x0, y0, x1, y1, isLost] of list) {
        if (isLost !== lost) continue;
        const length = Math.hypot(x1 - x0, y1 - y0);
        if (length < 12) continue;
        const ux = (x1 - x0) / length, uy = (y1 - y0) / length;
        pen.moveTo(x1, y1);
        pen.lineTo(x1 - 7 * ux + 3 * uy, y1 - 7 * uy - 3 * ux);
        pen.lineTo(x1 - 7 * ux - 3 * uy, y1 - 7 * uy + 3 * ux);
      }
      pen.fill();
    }
    pen.globalAlpha = 1;
  };
  const many = Math.min(1, 600 / Math.max(1, bright.length));
  stroke(faint, .08);
  stroke(bright, .25 + .5 * many);
}

function drawMarks() {
  const low = firstAt(state.from), high = firstAt(state.to);
  const width = W - GUTTER + 1;
  const best = new Int32Array(HOSTS.length * width).fill(-1);
  const count = new Uint32Array(HOSTS.length * width);
  for (let i = low; i < high; i++) {
    if (!isShown(i)) continue;
    const x = Math.floor(xOf(AT[i])) - GUTTER;
    if (x < 0 || x >= width) continue;
    const place = HOST[i] * width + x;
    count[place]++;
    const rank = RANKS[KIND[i]] + (state.cone && state.cone[i] ? 32 : 0)
      + (state.isMatch && state.isMatch[i] ? 64 : 0);
    const other = best[place];
    if (other < 0 || rank >= ranked(other)) best[place] = i;
  }
  // How many share a pixel, as a bar behind the marks.
  pen.fillStyle = COLOURS.turn;
  pen.globalAlpha = state.cone ? .25 : .6;
  LANES.forEach((lane, host) => {
    if (!lane) return;
    for (let x = 0; x < width; x++) {
      const n = count[host * width + x];
      if (n < 2) continue;
      const tall = Math.min(14, 2 + 2 * Math.log2(n));
      pen.fillRect(GUTTER + x, lane.middle - tall / 2, 1, tall);
    }
  });
  pen.globalAlpha = 1;
  let free = -1e9, lane = -1;
  for (let place = 0; place < best.length; place++) {
    const i = best[place];
    if (i < 0) continue;
    if (HOST[i] !== lane) { lane = HOST[i]; free = -1e9; }
    const x = xOf(AT[i]);
    mark(i, x);
    if (high - low < 4000 && x > free) free = label(i, x, place, best, width);
  }
}

function ranked(i) {
  return RANKS[KIND[i]] + (state.cone && state.cone[i] ? 32 : 0)
    + (state.isMatch && state.isMatch[i] ? 64 : 0);
}

// Words beside a mark, if there is room until the next one; where they end.
function label(i, x, place, best, width) {
  const kind = kindOf(i);
  if (kind === "turn" || kind === "disk" || kind === "disk-done") return -1e9;
  let room = 0;
  for (let n = place + 4; n < (HOST[i] + 1) * width && room < 240; n++, room++) {
    if (best[n] >= 0 && KIND[best[n]] !== K.turn) break;
  }
  if (room < 46) return -1e9;
  pen.font = "10px ui-monospace, DejaVu Sans Mono, monospace"; pen.textAlign = "left";
  pen.globalAlpha = inCone(i) ? 1 : .25;
  pen.fillStyle = COLOURS.faint;
  pen.fillText(textOf(i).slice(0, Math.floor(room / 6.1)), x + 6, LANES[HOST[i]].middle - 7);
  pen.globalAlpha = 1;
  return x + room;
}

function mark(i, x) {
  const y = LANES[HOST[i]].middle, kind = kindOf(i);
  pen.globalAlpha = inCone(i) ? 1 : .2;
  pen.fillStyle = pen.strokeStyle = colourOf(KIND[i]);
  pen.beginPath();
  switch (kind) {
    case "turn": pen.fillRect(x - .5, y - 3, 1, 6); break;
    case "send": case "deliver": case "connect": pen.arc(x, y, 2, 0, 7); pen.fill(); break;
    case "disk": case "disk-done": pen.fillRect(x - 1, y - 2, 2, 4); break;
    case "synced":
      pen.moveTo(x, y - 5); pen.lineTo(x + 4, y); pen.lineTo(x, y + 5); pen.lineTo(x - 4, y);
      pen.fill(); break;
    case "fault":
      pen.moveTo(x, y - 6); pen.lineTo(x + 5, y + 4); pen.lineTo(x - 5, y + 4); pen.fill(); break;
    case "boot": case "resume":
      pen.moveTo(x - 4, y - 5); pen.lineTo(x + 5, y); pen.lineTo(x - 4, y + 5); pen.fill(); break;
    case "pause": pen.fillRect(x - 4, y - 5, 3, 10); pen.fillRect(x + 1, y - 5, 3, 10); break;
    case "crash": case "broken": case "lost": {
      const r = kind === "lost" ? 3 : 6;
      pen.lineWidth = kind === "lost" ? 1.5 : 2.5;
      pen.moveTo(x - r, y - r); pen.lineTo(x + r, y + r);
      pen.moveTo(x + r, y - r); pen.lineTo(x - r, y + r); pen.stroke(); pen.lineWidth = 1; break;
    }
    case "held": pen.arc(x, y, 3.5, 0, 7); pen.stroke(); break;
    default: pen.arc(x, y, 2.5, 0, 7); pen.fill();
  }
  pen.globalAlpha = 1;
  if (state.isMatch && state.isMatch[i]) {
    pen.strokeStyle = COLOURS.match; pen.lineWidth = 1.5;
    pen.beginPath(); pen.arc(x, y, 6.5, 0, 7); pen.stroke(); pen.lineWidth = 1;
  }
}

// The violation, the first difference, and the event that is selected.
function drawChosen() {
  const bottom = state.tall + AXIS;
  const upright = (ns, colour, text, dash) => {
    const x = xOf(ns);
    if (x < GUTTER - 1 || x > W + 1) return;
    pen.strokeStyle = colour; pen.setLineDash(dash);
    pen.beginPath(); pen.moveTo(x, AXIS); pen.lineTo(x, bottom); pen.stroke();
    pen.setLineDash([]);
    pen.font = "600 11px system-ui, DejaVu Sans, sans-serif";
    const left = x + 6 + pen.measureText(text).width > W;
    pen.textAlign = left ? "right" : "left";
    pen.fillStyle = colour;
    pen.fillText(text, x + (left ? -5 : 5), AXIS + state.scroll + 8);
  };
  if (RUN.passing && RUN.passing.at !== null) {
    upright(RUN.passing.at, COLOURS.good, "first difference", [2, 4]);
  }
  if (RUN.violation) upright(RUN.violation.when, COLOURS.broken, RUN.violation.law, [6, 3]);
  for (const i of [state.hover, state.selected]) {
    if (i < 0 || !LANES[HOST[i]]) continue;
    pen.strokeStyle = COLOURS.accent; pen.lineWidth = 2;
    pen.beginPath(); pen.arc(xOf(AT[i]), LANES[HOST[i]].middle, 8, 0, 7); pen.stroke();
    pen.lineWidth = 1;
  }
}

function drawAxis() {
  pen.fillStyle = COLOURS.card; pen.fillRect(0, 0, W, AXIS);
  pen.strokeStyle = COLOURS.line;
  pen.beginPath(); pen.moveTo(0, AXIS - .5); pen.lineTo(W, AXIS - .5); pen.stroke();
  const room = (state.to - state.from) / Math.max(1, (W - GUTTER) / 120);
  const power = 10 ** Math.floor(Math.log10(Math.max(1, room)));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= room);
  pen.font = "11px system-ui, DejaVu Sans, sans-serif"; pen.textAlign = "center";
  pen.textBaseline = "middle"; pen.fillStyle = COLOURS.faint;
  const digits = Math.max(0, Math.min(9, 9 - Math.floor(Math.log10(step))));
  for (let ns = Math.ceil(state.from / step) * step; ns <= state.to; ns += step) {
    const x = xOf(ns);
    pen.beginPath(); pen.moveTo(x, AXIS - 5); pen.lineTo(x, AXIS); pen.stroke();
    if (x > GUTTER + 20 && x < W - 20) pen.fillText((ns / 1e9).toFixed(digits), x, AXIS / 2);
  }
  pen.textAlign = "left";
  pen.fillText("seconds", 8, AXIS / 2);
}

// Where in the run the view is, where much happens, and where something struck.
let DENSITY = null;
function drawOverview() {
  const top = H - OVERVIEW, width = W - GUTTER;
  pen.fillStyle = COLOURS.card; pen.fillRect(0, top, W, OVERVIEW);
  pen.strokeStyle = COLOURS.line;
  pen.beginPath(); pen.moveTo(0, top + .5); pen.lineTo(W, top + .5); pen.stroke();
  if (!DENSITY || DENSITY.length !== width) {
    DENSITY = new Float32Array(width);
    for (let i = 0; i < N; i++) DENSITY[Math.min(width - 1, Math.floor((AT[i] / END) * width))]++;
    const most = DENSITY.reduce((a, b) => Math.max(a, b), 1);
    DENSITY = DENSITY.map((n) => (n ? (4 + 24 * Math.log(1 + n) / Math.log(1 + most)) : 0));
  }
  pen.fillStyle = COLOURS.turn;
  for (let x = 0; x < width; x++) pen.fillRect(GUTTER + x, H - 6 - DENSITY[x], 1, DENSITY[x]);
  const at = (ns) => GUTTER + (ns / END) * width;
  for (const i of STRIKES) {
    pen.fillStyle = colourOf(KIND[i]); pen.fillRect(at(AT[i]) - .5, top + 4, 1.5, 8);
  }
  pen.fillStyle = COLOURS.match;
  for (const i of state.matches.length > 5000 ? [] : state.matches) {
    pen.fillRect(at(AT[i]) - .5, H - 5, 1.5, 4);
  }
  if (RUN.violation) {
    pen.fillStyle = COLOURS.broken; pen.fillRect(at(RUN.violation.when) - 1, top + 2, 2, OVERVIEW);
  }
  pen.strokeStyle = COLOURS.accent; pen.lineWidth = 1.5;
  const x = at(state.from), right = Math.max(x + 3, at(state.to));
  pen.strokeRect(x, top + 2, right - x, OVERVIEW - 4);
  pen.lineWidth = 1;
  pen.fillStyle = COLOURS.faint; pen.textAlign = "left"; pen.textBaseline = "middle";
  pen.font = "10px system-ui, DejaVu Sans, sans-serif";
  pen.fillText("whole run", 8, top + OVERVIEW / 2);
}
const STRIKES = [];
for (let i = 0; i < N; i++) {
  if (["crash", "boot", "pause", "fault", "broken"].includes(kindOf(i))) STRIKES.push(i);
}

// The event under a point, or -1.
function under(x, y) {
  if (x < GUTTER || y < AXIS || y > H - OVERVIEW) return -1;
  y += state.scroll;
  const host = LANES.findIndex((lane) => lane && y >= lane.top && y < lane.top + lane.height);
  if (host < 0) return -1;
  const lane = LANES[host], ns = nsOf(x);
  for (const [list, part, count] of [[OPS, "ops", OP_ROWS], [DISKS, "disks", DISK_ROWS]]) {
    const row = Math.floor((y - lane[part]) / ROW);
    if (row < 0 || row >= count[host]) continue;
    const slack = nsOf(x + 2) - ns;
    for (const one of within(list, ns - slack, ns + slack)) {
      if (one.lane === host && one.row === row && isShown(one.i)) return one.i;
    }
  }
  let best = -1, value = -1e9;
  if (Math.abs(y - lane.middle) <= 10) {
    const to = firstAt(nsOf(x + 7));
    for (let i = firstAt(nsOf(x - 7)); i < to; i++) {
      if (HOST[i] !== host || !isShown(i)) continue;
      const near = RANKS[KIND[i]] * .6 - Math.abs(xOf(AT[i]) - x) * 2;
      if (near > value) { best = i; value = near; }
    }
  }
  if (best >= 0) return best;
  let looked = 0, nearest = 5;
  for (const one of within(MESSAGES, nsOf(x - 4), nsOf(x + 4))) {
    if (looked++ > 4000) break;
    const a = LANES[HOST[one.of]], b = LANES[HOST[one.i]];
    if (!a || !b || !isShown(one.i)) continue;
    const x0 = xOf(one.from), x1 = xOf(one.to), dx = x1 - x0, dy = b.middle - a.middle;
    const along = Math.max(0, Math.min(1,
      ((x - x0) * dx + (y - a.middle) * dy) / (dx * dx + dy * dy || 1)));
    const far = Math.hypot(x - x0 - along * dx, y - a.middle - along * dy);
    if (far < nearest) { nearest = far; best = one.i; }
  }
  return best;
}
