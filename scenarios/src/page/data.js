// The run as arrays, and the questions that are asked of it.

const RUN = JSON.parse(document.getElementById("run").textContent);
const N = RUN.host.length;
const AT = new Float64Array(N);
for (let i = 0, t = 0; i < N; i++) AT[i] = t += RUN.at[i];
const HOST = Int32Array.from(RUN.host);
const KIND = Uint8Array.from(RUN.kind);
const ACTOR = Uint16Array.from(RUN.actor);
const TEXT = Uint32Array.from(RUN.text);
// Distances back: 0 is none.
const OF = new Int32Array(N).map((_, i) => (RUN.of[i] ? i - RUN.of[i] : -1));
const BEFORE = new Int32Array(N).map((_, i) => (RUN.before[i] ? i - RUN.before[i] : -1));
const CAUSE_START = new Uint32Array(N + 1);
for (let i = 0; i < N; i++) CAUSE_START[i + 1] = CAUSE_START[i] + RUN.counts[i];
const CAUSES = new Uint32Array(CAUSE_START[N]);
for (let i = 0; i < N; i++) {
  for (let k = CAUSE_START[i]; k < CAUSE_START[i + 1]; k++) CAUSES[k] = i - RUN.causes[k];
}
const K = {};
RUN.kinds.forEach((name, number) => { K[name] = number; });
const END = Math.max(RUN.end, N ? AT[N - 1] : 0, 1);
// The world's own lane is the last one, if anything happened on it.
const HOSTS = RUN.hosts.slice();
const WORLD = HOSTS.length;
if (HOST.includes(-1)) HOSTS.push("world");
for (let i = 0; i < N; i++) if (HOST[i] < 0) HOST[i] = WORLD;

const textOf = (i) => RUN.texts[TEXT[i]];
const actorOf = (i) => RUN.actors[ACTOR[i]];
const kindOf = (i) => RUN.kinds[KIND[i]];
const hostOf = (i) => HOSTS[HOST[i]];

// Seconds, milliseconds, microseconds; nanoseconds when they matter.
function time(ns, fine) {
  ns = Math.max(0, ns);
  const us = Math.floor(ns / 1000);
  const part = (n, width) => String(n).padStart(width, "0");
  const s = `${Math.floor(us / 1e6)}.${part(Math.floor(us / 1000) % 1000, 3)} ${part(us % 1000, 3)}`;
  return fine ? `${s} ${part(Math.floor(ns % 1000), 3)}` : s;
}

function span(ns) {
  const [by, unit] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"] : ns >= 1e3 ? [1e3, "us"]
    : [1, "ns"];
  return `${(ns / by).toPrecision(3)} ${unit}`;
}

// The first event at or after a time.
function firstAt(ns) {
  let low = 0, high = N;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (AT[middle] < ns) low = middle + 1; else high = middle;
  }
  return low;
}

// What a step back to an earlier turn of the same task counts, in a cone; any other counts 1.
const OWN = 8;

// How far each event that some others rest on is away from them, plus 1; 0 for all others.
function coneOf(roots) {
  const far = new Uint32Array(N);
  let buckets = [roots.slice()];
  for (let d = 0; d < buckets.length; d++) {
    for (const i of buckets[d] || []) {
      if (far[i] && far[i] <= d + 1) continue;
      far[i] = d + 1;
      for (let k = CAUSE_START[i]; k < CAUSE_START[i + 1]; k++) {
        const cause = CAUSES[k];
        const step = d + (KIND[i] === K.turn && BEFORE[i] === cause ? OWN : 1);
        if (!far[cause] || far[cause] > step + 1) (buckets[step] = buckets[step] || []).push(cause);
      }
    }
    buckets[d] = null;
  }
  return far;
}

// What rests directly on each event.
let EFFECTS = null;
function effectsOf(i) {
  if (!EFFECTS) {
    const start = new Uint32Array(N + 2);
    for (const cause of CAUSES) start[cause + 2]++;
    for (let n = 2; n < N + 2; n++) start[n] += start[n - 1];
    const list = new Uint32Array(CAUSES.length);
    for (let n = 0; n < N; n++) {
      for (let k = CAUSE_START[n]; k < CAUSE_START[n + 1]; k++) list[start[CAUSES[k] + 1]++] = n;
    }
    EFFECTS = { start, list };
  }
  return EFFECTS.list.subarray(EFFECTS.start[i], EFFECTS.start[i + 1]);
}

// Things that last: from an event to its other half. Sorted by their beginning; `reach` is the
// latest end so far, so that those which reach into view are found by two binary searches.
function spans(list) {
  list.sort((a, b) => a.from - b.from);
  let reach = 0;
  for (const one of list) one.reach = reach = Math.max(reach, one.to);
  return list;
}

function* within(list, from, to) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].reach < from) low = middle + 1; else high = middle;
  }
  for (let n = low; n < list.length && list[n].from <= to; n++) {
    if (list[n].to >= from) yield list[n];
  }
}

// Messages, operations and disk operations; and the times a host was down, paused or cut off.
const MESSAGES = [], OPS = [], DISKS = [], BANDS = [];
{
  const open = new Map(), down = new Map(), paused = new Map();
  for (let i = 0; i < N; i++) {
    const kind = KIND[i], of = OF[i];
    if ((kind === K.deliver || kind === K.lost) && of >= 0 && HOST[of] !== HOST[i]) {
      MESSAGES.push({ from: AT[of], to: AT[i], i, of, lost: kind === K.lost });
    } else if (kind === K.begin) {
      open.set(i, i);
    } else if (kind === K.end && of >= 0) {
      open.delete(of);
      OPS.push({ from: AT[of], to: AT[i], i, of, lane: HOST[of], row: 0 });
    } else if ((kind === K["disk-done"] || kind === K.synced) && of >= 0) {
      DISKS.push({ from: AT[of], to: AT[i], i, of, lane: HOST[of], row: 0 });
    } else if (kind === K.crash) {
      if (!down.has(HOST[i])) down.set(HOST[i], i);
      paused.delete(HOST[i]);
    } else if (kind === K.boot && down.has(HOST[i])) {
      const since = down.get(HOST[i]);
      BANDS.push({ from: AT[since], to: AT[i], i: since, of: since, lane: HOST[i], down: true });
      down.delete(HOST[i]);
    } else if (kind === K.pause) {
      paused.set(HOST[i], i);
    } else if (kind === K.resume && paused.has(HOST[i])) {
      const since = paused.get(HOST[i]);
      BANDS.push({ from: AT[since], to: AT[i], i: since, of: since, lane: HOST[i] });
      paused.delete(HOST[i]);
    }
  }
  for (const i of open.keys()) {
    OPS.push({ from: AT[i], to: END, i, of: i, lane: HOST[i], row: 0, open: true });
  }
  for (const [lane, i] of down) {
    BANDS.push({ from: AT[i], to: END, i, of: i, lane, down: true });
  }
}
spans(MESSAGES); spans(OPS); spans(DISKS); spans(BANDS);

// Spreads what overlaps over rows, and says how many each lane has.
function rows(list, most) {
  const ends = HOSTS.map(() => []);
  for (const one of list) {
    const lane = ends[one.lane];
    let row = lane.findIndex((end) => end <= one.from);
    one.crowded = row < 0 && lane.length === most;
    if (row < 0) row = one.crowded ? most - 1 : lane.length;
    lane[row] = one.to;
    one.row = row;
  }
  return ends.map((lane) => lane.length);
}
const OP_ROWS = rows(OPS, 4), DISK_ROWS = rows(DISKS, 3);
