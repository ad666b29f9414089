// What a person does: zoom, pan, choose, search, filter, read.

const $ = (id) => document.getElementById(id);

// An element with a class and children; text is only ever text.
function el(tag, classes, ...children) {
  const node = document.createElement(tag);
  if (classes) node.className = classes;
  for (const child of children) node.append(child);
  return node;
}

// --- the view

const LEAST = 200;
function view(from, to) {
  let width = Math.min(END * 1.04, Math.max(LEAST, to - from));
  const middle = (from + to) / 2;
  from = Math.max(-END * .02, Math.min(END * 1.02 - width, middle - width / 2));
  state.from = from; state.to = from + width;
  redraw(); remember();
}
function zoom(by, x) {
  const at = x === undefined ? (state.from + state.to) / 2 : nsOf(x);
  view(at - (at - state.from) * by, at + (state.to - at) * by);
}
function fit() { view(-END * .005, END * 1.01); }
function centre(ns, width) {
  const half = (width || state.to - state.from) / 2;
  view(ns - half, ns + half);
}

// --- choosing an event, and its cone

function select(i, go) {
  state.selected = i;
  if (i >= 0) {
    state.cone = coneOf([i]);
    if (go && (AT[i] < state.from || AT[i] > state.to)) centre(AT[i]);
    showLane(HOST[i]);
    tab("event");
  } else {
    state.cone = null;
    tab(current);
  }
  redraw(); remember();
}

function showLane(host) {
  const lane = LANES[host];
  if (!lane) return;
  const high = H - AXIS - OVERVIEW;
  if (lane.top - AXIS < state.scroll) state.scroll = lane.top - AXIS;
  if (lane.top - AXIS + lane.height > state.scroll + high) {
    state.scroll = lane.top - AXIS + lane.height - high;
  }
}

// --- the panel

let current = "violation";
const TABS = [["violation", "Violation"], ["event", "Event"], ["passing", "Passing run"]];

function tab(name) {
  current = name;
  $("tabs").replaceChildren(...TABS.map(([id, title]) => {
    const button = el("button", id === name ? "on" : "", title);
    button.onclick = () => tab(id);
    return button;
  }));
  const panel = $("panel");
  const fill = { violation: showViolation, event: showEvent, passing: showPassing }[name];
  panel.replaceChildren(...fill());
  panel.scrollTop = 0;
}

// One line about an event; a click goes there.
function eventLine(i, extra) {
  const dot = el("i");
  dot.style.background = colourOf(KIND[i]);
  const text = textOf(i) || (KIND[i] === K.turn ? `${actorOf(i)} runs` : "");
  const words = KIND[i] === K.turn ? `${actorOf(i)} runs${textOf(i) ? `: ${textOf(i)}` : ""}`
    : `${kindOf(i)} ${text}`;
  const line = el("div", i === state.selected ? "event here" : "event", dot,
    el("span", "when", time(AT[i])), el("b", "", hostOf(i)), el("span", "", words));
  if (extra) line.append(el("span", "when", extra));
  line.tabIndex = 0;
  line.onclick = () => select(i, true);
  line.onkeydown = (event) => { if (event.key === "Enter") select(i, true); };
  line.onmouseenter = () => { state.hover = i; redraw(); };
  line.onmouseleave = () => { state.hover = -1; redraw(); };
  return line;
}

function showViolation() {
  const v = RUN.violation;
  if (!v) {
    return [el("h2", "", "Every promise held"), el("p", "muted",
      "Click an event to see what it rests on. The keys are behind the question mark."),
    ...faults()];
  }
  const parts = [el("h2", "", "Broken"), el("p", "law", v.law), el("p", "", v.promise),
    el("h2", "", "Evidence"), el("p", "", v.evidence),
    el("p", "muted", `simulated ${time(v.when)} s of ${time(END)} s`)];
  if (v.also.length) parts.push(el("p", "muted", `the run also breaks ${v.also.join(", ")}`));
  for (const ledger of v.ledger) {
    parts.push(el("h2", "", `Key ${ledger.key}: the engine beside the model`));
    const table = el("table", "", el("tr", "", el("th", "", "when, who"), el("th", "", "what"),
      el("th", "", "engine"), el("th", "", "model")));
    const upto = ledger.rows.filter((row) => row.at <= v.when).length;
    const shown = ledger.rows.slice(Math.max(0, upto - 10), upto + 6);
    const fill = (rows) => rows.forEach((row) => {
      const line = el("tr", row.wrong ? "wrong to" : "to",
        el("td", "", el("span", "when", time(row.at)), el("br"), row.who), el("td", "", row.what),
        el("td", "", row.seen), el("td", "", row.expected));
      line.onclick = () => centre(row.at);
      table.append(line);
    });
    fill(shown);
    parts.push(table);
    if (shown.length < ledger.rows.length) {
      const all = el("button", "", `all ${ledger.rows.length} rows`);
      all.onclick = () => {
        while (table.rows.length > 1) table.deleteRow(1);
        fill(ledger.rows);
        all.remove();
      };
      parts.push(all);
    }
  }
  if (v.events.length) {
    parts.push(el("h2", "", "Events that it touches"), ...v.events.map((i) => eventLine(i)));
    const button = el("button", "", "causal cone of all of them");
    button.onclick = () => { state.selected = -1; state.cone = coneOf(v.events); redraw(); };
    parts.push(button);
    parts.push(el("h2", "", "What they rest on, nearest first"), ...nearest(v.events));
  }
  if (v.backtrace) parts.push(el("h2", "", "Backtrace"), el("p", "mono", v.backtrace));
  return [...parts, ...faults()];
}

function faults() {
  if (!RUN.faults.length) return [];
  const table = el("table");
  for (const [name, times] of RUN.faults) {
    const row = el("tr", "to", el("td", "", name), el("td", "", String(times)));
    row.onclick = () => search(name);
    table.append(row);
  }
  return [el("h2", "", "Faults injected"), table];
}

// Of a cone, the forty lines that are nearest, told in order.
const TELLING = new Set(["lost", "synced", "fault", "crash", "boot", "pause", "resume", "story",
  "begin", "step", "end", "broken", "deliver", "disk-done"]);
function nearest(roots) {
  const far = coneOf(roots);
  const list = [];
  for (let i = 0; i < N; i++) if (far[i] > 1 && TELLING.has(kindOf(i))) list.push(i);
  list.sort((a, b) => far[a] - far[b] || b - a);
  const shown = list.slice(0, 40).sort((a, b) => a - b);
  const rest = list.length - shown.length;
  const lines = shown.map((i) => eventLine(i, `${far[i] - 1}`));
  if (rest > 0) lines.push(el("p", "muted", `and ${rest} that are farther away`));
  if (!list.length) lines.push(el("p", "muted", "nothing that was recorded"));
  return lines;
}

function showEvent() {
  const i = state.selected;
  if (i < 0) return [el("p", "muted", "Click an event: it is told here, with what it rests on.")];
  let size = 0;
  for (let n = 0; n < N; n++) if (state.cone[n]) size++;
  const causes = [...CAUSES.subarray(CAUSE_START[i], CAUSE_START[i + 1])];
  const effects = [...effectsOf(i)];
  const facts = el("table", "");
  const fact = (name, value) => facts.append(el("tr", "", el("th", "", name), el("td", "", value)));
  fact("what", `${kindOf(i)}${textOf(i) ? ` ${textOf(i)}` : ""}`);
  fact("when", `${time(AT[i], true)} s`);
  fact("host", hostOf(i));
  if (actorOf(i)) fact("task", actorOf(i));
  if (OF[i] >= 0) fact("after", `${span(AT[i] - AT[OF[i]])}, since ${time(AT[OF[i]], true)} s`);
  fact("number", `event ${i} of ${N}; ${RUN.choices[i]} choices before it`);
  fact("cone", `${size} events`);
  const parts = [el("h2", "", "Event"), facts];
  if (RUN.inspect) {
    const code = el("code", "", `${RUN.inspect} --at-event ${i}`);
    parts.push(el("p", "muted", "the actors at this instant: "), code);
  }
  parts.push(el("h2", "", "Rests directly on"));
  parts.push(...(causes.length ? causes.map((n) => eventLine(n)) : [el("p", "muted", "nothing")]));
  parts.push(el("h2", "", "What rests directly on it"));
  parts.push(...(effects.length ? effects.slice(0, 40).map((n) => eventLine(n))
    : [el("p", "muted", "nothing")]));
  parts.push(el("h2", "", "Its causes, the nearest 40, in order"), ...nearest([i]));
  return parts;
}

function showPassing() {
  const p = RUN.passing;
  if (!p) return [el("p", "muted", "This run broke nothing, so there is none to compare it with.")];
  const parts = [el("h2", "", "Nearest passing run"), el("p", "", p.rule),
    el("p", "", el("code", "", p.command))];
  if (!p.found) return parts;
  if (p.at === null) return [...parts, el("p", "", "No event differs.")];
  parts.push(el("p", "", `The runs are the same for ${p.same} events, until ${time(p.at)} s.`));
  if (p.choice) parts.push(el("p", "", `The choice before: ${p.choice}`));
  const go = el("button", "", "go to the first difference");
  go.onclick = () => difference();
  parts.push(go, el("h2", "", "Side by side"));
  const pair = el("div", "pair", el("div", "head", "this run"), el("div", "head", "passing run"));
  const cell = (row, differs, here) => {
    if (!row) return el("div", "");
    const node = el("div", differs ? "differs mono" : "mono", el("span", "when", time(row[0])), " ",
      el("b", "", row[1]), ` ${row[2]}`);
    if (here) node.onclick = () => centre(row[0]);
    return node;
  };
  for (let n = 0; n < Math.max(p.mine.length, p.theirs.length); n++) {
    const [a, b] = [p.mine[n], p.theirs[n]];
    const differs = !a || !b || a[1] !== b[1] || a[2] !== b[2] || a[0] !== b[0];
    pair.append(cell(a, differs, true), cell(b, differs, false));
  }
  parts.push(pair);
  return parts;
}

// --- search and filters

function search(words) {
  if ($("search").value !== words) $("search").value = words;
  const wanted = words.trim().toLowerCase();
  state.matches = []; state.match = -1; state.isMatch = null;
  if (wanted) {
    const has = (text) => text.toLowerCase().includes(wanted);
    const texts = RUN.texts.map(has), hosts = HOSTS.map(has);
    const kinds = RUN.kinds.map((name) => name === wanted), actors = RUN.actors.map(has);
    state.isMatch = new Uint8Array(N);
    for (let i = 0; i < N; i++) {
      if (texts[TEXT[i]] || kinds[KIND[i]] || hosts[HOST[i]] || actors[ACTOR[i]]) {
        state.isMatch[i] = 1;
        state.matches.push(i);
      }
    }
  }
  tellMatches(); redraw(); remember();
}

function tellMatches() {
  const n = state.matches.length;
  $("matches").textContent = !state.isMatch ? "" : state.match >= 0 ? `${state.match + 1} of ${n}`
    : `${n} found`;
  $("next").disabled = $("previous").disabled = !n;
}

function match(step) {
  const list = state.matches;
  if (!list.length) return;
  if (state.match < 0) {
    const after = list.findIndex((i) => AT[i] >= (state.from + state.to) / 2);
    state.match = step > 0 ? (after < 0 ? 0 : after) : (after <= 0 ? list.length : after) - 1;
  } else {
    state.match = (state.match + step + list.length) % list.length;
  }
  tellMatches();
  select(list[state.match], true);
}

function chips() {
  const counts = new Uint32Array(RUN.kinds.length), perHost = new Uint32Array(HOSTS.length);
  for (let i = 0; i < N; i++) { counts[KIND[i]]++; perHost[HOST[i]]++; }
  const all = [];
  const chip = (name, n, list, at, colour) => {
    const dot = el("i");
    if (colour) dot.style.background = colour;
    const button = el("button", list[at] ? "chip" : "chip off", ...(colour ? [dot] : []),
      `${name} ${n}`);
    button.title = "click: show or hide; double click: show this one alone";
    button.setAttribute("aria-pressed", String(list[at]));
    button.onclick = () => { list[at] = !list[at]; chips(); layOut(); redraw(); remember(); };
    button.ondblclick = () => {
      list.forEach((_, k) => { list[k] = k === at; });
      chips(); layOut(); redraw(); remember();
    };
    all.push(button);
  };
  HOSTS.forEach((name, host) => { if (perHost[host]) chip(name, perHost[host], state.hosts, host); });
  all.push(el("span", "chips-gap"));
  RUN.kinds.forEach((name, kind) => {
    if (counts[kind]) chip(name, counts[kind], state.kinds, kind, colourOf(kind));
  });
  const reset = el("button", "chip", "all");
  reset.onclick = () => {
    state.kinds.fill(true); state.hosts.fill(true);
    chips(); layOut(); redraw(); remember();
  };
  $("chips").replaceChildren(...all, reset);
}

// --- places to go

function violation() {
  if (!RUN.violation) return;
  state.selected = -1;
  state.cone = RUN.violation.events.length ? coneOf(RUN.violation.events) : null;
  tab("violation");
  centre(RUN.violation.when, Math.min(END, Math.max(2e7, Math.min(state.to - state.from, END / 20))));
}
function difference() {
  const p = RUN.passing;
  if (!p || p.at === null || !p.found) return;
  centre(p.at, Math.min(state.to - state.from, 2e6));
  tab("passing");
}

function dark(on) {
  state.dark = on;
  document.documentElement.classList.toggle("dark", on);
  readColours(); chips(); tab(current); redraw();
}

// --- what is kept in the address, so that a place in a run can be sent to somebody

let remembering = 0;
function remember() {
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    const parts = [`t=${Math.round(state.from)}-${Math.round(state.to)}`];
    if (state.selected >= 0) parts.push(`e=${state.selected}`);
    if ($("search").value) parts.push(`q=${encodeURIComponent($("search").value)}`);
    const off = (list, names) => names.filter((_, n) => !list[n]).map(encodeURIComponent).join(",");
    if (state.kinds.includes(false)) parts.push(`nokind=${off(state.kinds, RUN.kinds)}`);
    if (state.hosts.includes(false)) parts.push(`nohost=${off(state.hosts, HOSTS)}`);
    try { history.replaceState(null, "", `#${parts.join("&")}`); } catch { /* not here */ }
  }, 200);
}

function recall() {
  const wanted = new Map(location.hash.slice(1).split("&").map((part) => {
    const at = part.indexOf("=");
    return [part.slice(0, at), decodeURIComponent(part.slice(at + 1))];
  }));
  const without = (key, list, names) => {
    for (const name of (wanted.get(key) || "").split(",")) {
      if (names.includes(name)) list[names.indexOf(name)] = false;
    }
  };
  without("nokind", state.kinds, RUN.kinds);
  without("nohost", state.hosts, HOSTS);
  if (wanted.get("theme")) dark(wanted.get("theme") === "dark");
  layOut(); chips();
  const times = /^(-?\d+)-(\d+)$/.exec(wanted.get("t") || "");
  if (times) view(Number(times[1]), Number(times[2])); else fit();
  if (wanted.get("q")) search(wanted.get("q"));
  const event = Number.parseInt(wanted.get("e") || "", 10);
  if (event >= 0 && event < N) select(event, !times);
  if (wanted.get("go") === "violation") violation();
  if (wanted.get("go") === "difference") difference();
}

// --- the pointer

let drag = null;
canvas.addEventListener("pointerdown", (event) => {
  const overview = event.offsetY > H - OVERVIEW;
  drag = { x: event.offsetX, y: event.offsetY, from: state.from, to: state.to,
    scroll: state.scroll, moved: false, overview };
  canvas.setPointerCapture(event.pointerId);
  if (overview) centre(((event.offsetX - GUTTER) / (W - GUTTER)) * END);
});
canvas.addEventListener("pointermove", (event) => {
  if (!drag) return hover(event);
  const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
  if (drag.overview) return centre(((event.offsetX - GUTTER) / (W - GUTTER)) * END);
  if (Math.abs(dx) + Math.abs(dy) > 4) drag.moved = true;
  if (!drag.moved) return undefined;
  const by = (dx / (W - GUTTER)) * (drag.to - drag.from);
  state.scroll = drag.scroll - dy;
  layOut();
  view(drag.from - by, drag.to - by);
  $("tip").hidden = true;
  return undefined;
});
canvas.addEventListener("pointerup", (event) => {
  const clicked = drag && !drag.moved && !drag.overview;
  drag = null;
  if (!clicked) return;
  const i = under(event.offsetX, event.offsetY);
  select(i, false);
});
canvas.addEventListener("pointerleave", () => {
  state.hover = -1; $("tip").hidden = true; redraw();
});
canvas.addEventListener("dblclick", (event) => zoom(.2, event.offsetX));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.shiftKey) {
    state.scroll += event.deltaY; layOut(); redraw();
  } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    const by = (event.deltaX / (W - GUTTER)) * (state.to - state.from);
    view(state.from + by, state.to + by);
  } else {
    zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240))), event.offsetX);
  }
}, { passive: false });

function hover(event) {
  const i = under(event.offsetX, event.offsetY);
  if (i !== state.hover) { state.hover = i; redraw(); }
  const tip = $("tip");
  tip.hidden = i < 0;
  canvas.style.cursor = i < 0 ? "crosshair" : "pointer";
  if (i < 0) return;
  const other = OF[i] >= 0 ? [el("div", "muted", `${span(AT[i] - AT[OF[i]])} after: ${textOf(OF[i])}`)]
    : [];
  tip.replaceChildren(el("div", "when", `${time(AT[i], true)} s  ${hostOf(i)}  ${actorOf(i)}`),
    el("div", "mono", `${kindOf(i)} ${textOf(i)}`), ...other);
  const right = event.offsetX > W / 2;
  tip.style.left = right ? "" : `${event.offsetX + 14}px`;
  tip.style.right = right ? `${W - event.offsetX + 14}px` : "";
  tip.style.top = `${Math.min(event.offsetY + 14, H - 90)}px`;
}

// --- the keyboard

// The next event on the same host that filters let be seen.
function neighbour(step) {
  let i = state.selected;
  if (i < 0) return;
  const host = HOST[i];
  do i += step; while (i >= 0 && i < N && (HOST[i] !== host || !isShown(i)));
  if (i >= 0 && i < N) select(i, true);
}

const KEYS = [
  ["wheel, + -", "zoom", null], ["drag, \u2190 \u2192", "pan; \u2191 \u2193 scroll", null],
  ["click", "the causal cone of an event", null], ["Esc", "let go of it", () => select(-1)],
  ["[ ]", "the event before and after it, on its host", null],
  ["p", "go back to its nearest cause", () => {
    const i = state.selected;
    if (i >= 0 && CAUSE_START[i + 1] > CAUSE_START[i]) select(CAUSES[CAUSE_START[i + 1] - 1], true);
  }],
  ["/", "search", () => $("search").focus()], ["n N", "next and previous match", null],
  ["v", "the violation", violation], ["d", "the first difference", difference],
  ["c", "only the cone", () => $("alone").click()], ["m", "only matches", () => $("only").click()],
  ["0", "the whole run", fit], ["t", "light or dark", () => dark(!state.dark)],
  ["?", "this list", () => $("help").showModal()],
];
document.addEventListener("keydown", (event) => {
  if (event.target === $("search")) {
    if (event.key === "Enter") match(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { search(""); canvas.focus(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const pan = (by) => view(state.from + by * (state.to - state.from),
    state.to + by * (state.to - state.from));
  const scroll = (by) => { state.scroll += by; layOut(); redraw(); };
  const does = {
    "+": () => zoom(.6), "=": () => zoom(.6), "-": () => zoom(1.7), ArrowLeft: () => pan(-.2),
    ArrowRight: () => pan(.2), ArrowUp: () => scroll(-40), ArrowDown: () => scroll(40),
    n: () => match(1), N: () => match(-1), "[": () => neighbour(-1), "]": () => neighbour(1),
    Escape: () => select(-1),
  }[event.key] || (KEYS.find(([key]) => key === event.key) || [])[2];
  if (does) { event.preventDefault(); does(); }
});

// --- the beginning

$("search").addEventListener("input", () => search($("search").value));
$("next").onclick = () => match(1);
$("previous").onclick = () => match(-1);
$("only").onchange = () => { state.only = $("only").checked; redraw(); };
$("alone").onchange = () => { state.alone = $("alone").checked; redraw(); };
$("violation").onclick = violation;
$("violation").disabled = !RUN.violation;
$("difference").onclick = difference;
$("difference").disabled = !(RUN.passing && RUN.passing.found && RUN.passing.at !== null);
$("fit").onclick = fit;
$("theme").onclick = () => dark(!state.dark);
$("ask").onclick = () => $("help").showModal();
$("help").append(el("h2", "", "Keys"), ...KEYS.map(([key, what]) => el("div", "",
  el("kbd", "", key), ` ${what}`)), el("p", "muted", "Esc closes this."));
$("title").append(el("h1", "", RUN.title),
  el("span", RUN.violation ? "badge bad" : "badge good",
    RUN.violation ? `broken: ${RUN.violation.law}` : "every promise held"),
  el("span", "facts", RUN.facts), el("code", "muted", RUN.command));
new ResizeObserver(() => { layOut(); redraw(); }).observe($("stage"));
state.dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.classList.toggle("dark", state.dark);
readColours(); tellMatches(); tab("violation"); recall();
