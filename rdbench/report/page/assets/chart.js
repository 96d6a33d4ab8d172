// One plot: axes, lines, markers, labels at the ends of curves; points that the pointer and the keyboard reach.

const TICK_STEPS = [1, 2, 5, 10];
const NEAR = 28;

/** Round numbers that divide the range into about `count` parts. */
function linearTicks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * TICK_STEPS.find((factor) => factor * power >= raw * 0.999);
  const ticks = [];
  for (let place = Math.ceil(low / step - 1e-9); place * step <= high * (1 + 1e-12) + 1e-12; place += 1) {
    ticks.push(Number((place * step).toPrecision(12)));
  }
  return ticks;
}

/** 1, 2 and 5 times powers of ten; the powers alone over many decades, more of them within one. */
function logTicks(low, high, count) {
  const decades = Math.log10(high / low);
  if (decades < 0.5) return linearTicks(low, high, count);
  const factors = decades < 1 ? [1, 1.5, 2, 3, 4, 5, 7] : decades > count / 2.5 ? [1] : decades > count / 4 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(6));
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  const step = Math.ceil(ticks.length / (count + 3));
  return ticks.filter((_, place) => place % step === 0);
}

/** A scale from values to pixels: `to(value)`, and its `ticks`. */
function scale(values, log, start, end, count) {
  let [low, high] = extent(values.filter((value) => !log || value > 0));
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  const by = log ? Math.log10 : (value) => value;
  const pad = (by(high) - by(low)) * 0.04;
  const [from, until] = [by(low) - pad, by(high) + pad];
  const to = (value) => start + ((by(value) - from) / (until - from)) * (end - start);
  const ends = log ? [10 ** from, 10 ** until] : [from, until];
  return { to, ticks: log ? logTicks(...ends, count) : linearTicks(...ends, count), ends };
}

/** A tick's text: with a unit like k or M where numbers are large. */
function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${sig(value / 1e6, 3)}M`;
  return size >= 1e4 ? `${sig(value / 1e3, 3)}k` : sig(value, 4);
}

/** Room at the right for labels, as many pixels as the longest needs; none in a narrow plot. */
function labelRoom(spec, width) {
  const labels = spec.lines.filter((line) => line.end);
  if (width < 460 || !labels.length || labels.length > 12) return 0;
  return Math.min(210, 18 + 7.6 * Math.max(...labels.map((line) => shortened(line.end, 24).length)));
}

/**
 * Draws a plot into a figure, in place of what it shows.
 * `spec`: `{name, x: {label, log}, y: {label, log}, lines, zero, height}`; a line: `{series, points, end, bare, thin, band}`;
 * a point: `{x, y, low, high, text, open}`, where `open()` is what a click or Enter does.
 */
function drawChart(host, spec) {
  const width = Math.max(260, host.clientWidth || 640);
  const height = spec.height ?? Math.round(Math.min(430, Math.max(270, width * 0.6)));
  const all = spec.lines.flatMap((line) => line.points);
  if (!all.length) {
    host.replaceChildren(el("p", { class: "empty" }, spec.empty ?? "Nothing to show for this choice."));
    return;
  }
  const room = labelRoom(spec, width);
  const box = { left: 46, right: width - 12 - room, top: 26, bottom: height - 40 };
  const bounds = all.flatMap((point) => [point.y, ...(point.low === undefined ? [] : [point.low, point.high])]);
  const x = scale(all.map((point) => point.x), spec.x.log, box.left, box.right, Math.max(3, (box.right - box.left) / 75));
  const y = scale(spec.zero ? [...bounds, 0] : bounds, spec.y.log, box.bottom, box.top, Math.max(3, (box.bottom - box.top) / 44));
  const root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, tabindex: "0", role: "group", class: "plot",
    "aria-label": `${spec.name}. Arrow keys go from point to point, Enter opens one.`,
  });
  root.append(axes(spec, x, y, box, width, height));
  for (const line of spec.lines) root.append(lineNode(line, x, y));
  if (spec.front) root.append(svg("path", { class: "front", d: path(spec.front, x, y) }));
  if (room) root.append(endLabels(spec.lines, x, y, box));
  host.replaceChildren(root);
  makeReachable(host, root, spec, x, y);
}

function axes(spec, x, y, box, width, height) {
  const group = svg("g", { class: "axes" });
  for (const tick of y.ticks) {
    const at = y.to(tick);
    group.append(svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: spec.zero && tick === 0 ? "zero" : "grid" }));
    group.append(svg("text", { x: box.left - 7, y: at + 3.5, class: "tick end" }, tickText(tick)));
  }
  for (const tick of x.ticks) {
    const at = x.to(tick);
    group.append(svg("line", { x1: at, x2: at, y1: box.top, y2: box.bottom, class: "grid" }));
    group.append(svg("text", { x: at, y: box.bottom + 16, class: "tick middle" }, tickText(tick)));
  }
  group.append(svg("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "axis" }));
  group.append(svg("text", { x: 4, y: 14, class: "label" }, spec.y.label));
  group.append(svg("text", { x: box.right, y: height - 6, class: "label end" }, spec.x.label));
  return group;
}

function path(points, x, y, name = "y") {
  return points.map((point, place) => `${place ? "L" : "M"}${x.to(point.x).toFixed(1)},${y.to(point[name]).toFixed(1)}`).join("");
}

/** The line, its band over seeds, and its markers. */
function lineNode(line, x, y) {
  const { color, marker, published } = SERIES[line.series];
  const group = svg("g", { class: `line c${color}${published ? " hollow" : ""}${line.thin ? " thin" : ""}`, "data-series": SERIES[line.series].label });
  if (!line.scattered && line.points.some((point) => point.high > point.low)) {
    const back = path([...line.points].reverse(), x, y, "low").replace("M", "L");
    group.append(svg("path", { class: "band", d: `${path(line.points, x, y, "high")}${back}Z` }));
  }
  if (!line.scattered) group.append(svg("path", { class: "stroke", d: path(line.points, x, y) }));
  if (line.bare) return group;
  for (const point of line.points) {
    const place = `translate(${x.to(point.x).toFixed(1)},${y.to(point.y).toFixed(1)})`;
    group.append(svg("path", { class: "mark", d: MARKERS[marker], transform: place }));
  }
  return group;
}

/** Names at the ends of curves, moved apart where they would overlap. */
function endLabels(lines, x, y, box) {
  const ends = lines.filter((line) => line.end && line.points.length).map((line) => {
    const last = line.points[line.points.length - 1];
    return { line, from: [x.to(last.x), y.to(last.y)], at: y.to(last.y) };
  });
  ends.sort((a, b) => a.at - b.at);
  for (let place = 1; place < ends.length; place += 1) ends[place].at = Math.max(ends[place].at, ends[place - 1].at + 15);
  let limit = box.bottom;
  for (let place = ends.length - 1; place >= 0; place -= 1) {
    ends[place].at = Math.min(ends[place].at, limit);
    limit = ends[place].at - 15;
  }
  const group = svg("g", { class: "ends" });
  for (const { line, from, at } of ends) {
    const color = `c${SERIES[line.series].color}`;
    const near = !line.scattered || box.right - from[0] < 90; // a leader across the whole plot would look like a curve
    if (near) group.append(svg("path", { class: `leader ${color}`, d: `M${from[0] + 7},${from[1]}L${box.right + 4},${at}` }));
    const text = svg("text", { x: box.right + 8, y: at + 4, class: color }, shortened(line.end, 24));
    text.append(svg("title", {}, line.end));
    group.append(text);
  }
  return group;
}

/** Lets the pointer and the keyboard go to points: a ring, a label beside it, and what opening it does. */
function makeReachable(host, root, spec, x, y) {
  const targets = spec.lines.filter((line) => !line.mute).flatMap((line) =>
    line.points.map((point) => ({ point, line, at: [x.to(point.x), y.to(point.y)] })));
  const ring = svg("circle", { r: 8.5, class: "ring", visibility: "hidden" });
  const tip = el("div", { class: "tip", role: "status", hidden: true });
  root.append(ring);
  host.append(tip);
  let current = -1;
  const show = (place) => {
    current = place;
    const target = targets[place];
    ring.setAttribute("visibility", target ? "visible" : "hidden");
    tip.hidden = !target;
    if (!target) return;
    ring.setAttribute("cx", target.at[0]);
    ring.setAttribute("cy", target.at[1]);
    fillTip(tip, target, host.clientWidth);
  };
  const open = () => targets[current]?.point.open?.();
  root.addEventListener("pointermove", (event) => show(nearest(targets, event, root)));
  root.addEventListener("pointerleave", () => show(-1));
  root.addEventListener("click", (event) => { show(nearest(targets, event, root)); open(); });
  root.addEventListener("blur", () => show(-1));
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show((current + step + targets.length) % targets.length);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") show(otherLine(targets, current, event.key === "ArrowDown" ? 1 : -1));
    else if (event.key === "Escape") show(-1);
    else if (event.key === "Enter" || event.key === " ") open();
    else return;
    event.preventDefault();
  });
}

/** The place of the target next to the pointer; -1 where none is near. */
function nearest(targets, event, root) {
  const frame = root.getBoundingClientRect();
  const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
  let best = -1;
  let least = NEAR * NEAR;
  targets.forEach(({ at }, place) => {
    const distance = (at[0] - px) ** 2 + (at[1] - py) ** 2;
    if (distance < least) [best, least] = [place, distance];
  });
  return best;
}

/** The first point of the line after the current one, or of the one before it. */
function otherLine(targets, current, step) {
  if (current < 0) return 0;
  const all = [...new Set(targets.map((target) => target.line))];
  const next = all[(all.indexOf(targets[current].line) + step + all.length) % all.length];
  return targets.findIndex((target) => target.line === next);
}

function fillTip(tip, target, width) {
  tip.replaceChildren(
    el("strong", {}, swatch(target.line.series), target.line.name ?? SERIES[target.line.series].label),
    ...target.point.text.map((text) => el("span", {}, text)),
  );
  const left = target.at[0] > width / 2;
  tip.style.left = left ? "auto" : `${target.at[0] + 14}px`;
  tip.style.right = left ? `${width - target.at[0] + 14}px` : "auto";
  tip.style.top = `${Math.max(0, target.at[1] - 20)}px`;
}
