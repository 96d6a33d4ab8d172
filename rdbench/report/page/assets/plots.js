// The plots of the page, each from the same choice.

const MOST_COURSES = 60;

/** The words beside a point of one or several records. */
function pointText(point, x, y) {
  const rows = point.rows;
  const sequences = new Set(rows.map((row) => cell(row, "sequence"))).size;
  const parts = [`${point.label} \u00b7 ${sequences === 1 ? cell(rows[0], "sequence") : `mean of ${sequences} sequences`}`];
  parts.push(`${x} ${sig(point.x)} \u00b7 ${y} ${sig(point.y)}`);
  if (point.seeds > 1) parts.push(`${point.seeds} seeds, ${sig(point.low)} to ${sig(point.high)}`);
  if (SERIES[cell(rows[0], "series")].published) parts.push("not run here: published");
  return parts;
}

/** The lines of y over x as a plot takes them. */
function plotted(x, y, names, options = {}) {
  const found = lines(x, y);
  const one = state.view === "mean" || state.sequences.length === 1;
  for (const line of found.lines) {
    line.end = one ? SERIES[line.series].label : null;
    Object.assign(line, options);
    line.thin = !one;
    for (const point of line.points) {
      point.text = pointText(point, ...names);
      point.open = () => openPoint(point.rows);
    }
  }
  return found;
}

function note(id, texts) {
  byId(id).replaceChildren(...texts.map((text) => el("p", {}, text)));
}

function drawRd() {
  const found = plotted("bpp", state.metric, ["bpp", METRIC_NAMES[state.metric]]);
  drawChart(byId("rd"), {
    name: "Quality over rate", lines: found.lines, height: Math.round(Math.min(520, Math.max(320, byId("rd").clientWidth * 0.52))),
    x: { label: `bits per pixel${state.scale === "log" ? " (log)" : ""}`, log: state.scale === "log" },
    y: { label: METRICS[state.metric] },
  });
  byId("rd-what").textContent = extentText(found.sequences);
  note("rd-notes", found.notes);
}

/** log10 of the rate by quality of a series on a sequence; null where it has no curve there. */
function sampledCurve(series, sequence) {
  const dataset = cell(GROUPS.get(state.group)[0], "dataset");
  return (DATA.curves[state.metric] ?? []).find(
    (curve) => curve.series === series && curve.sequence === sequence && curve.dataset === dataset) ?? null;
}

/** The difference in bits of two curves in percent, by quality; empty where they do not overlap. */
function difference(test, base) {
  const step = DATA.grid[state.metric];
  const found = new Map();
  test.log_rate.forEach((value, place) => {
    const other = base.log_rate[test.first + place - base.first];
    if (other !== undefined) found.set((test.first + place) * step, (10 ** (value - other) - 1) * 100);
  });
  return found;
}

/** The mean of differences where all of them have one. */
function meanDifference(parts) {
  const [first, ...others] = parts;
  const shared = [...first.keys()].filter((quality) => others.every((part) => part.has(quality)));
  return new Map(shared.map((quality) => [quality, mean(parts.map((part) => part.get(quality)))]));
}

function differenceLine(series, values, name, extra) {
  const points = [...values].map(([quality, percent]) => ({
    x: quality, y: percent, text: [`${signed(percent)} % bits at ${sig(quality)}`],
  }));
  return { series, name, points: points.sort((a, b) => a.x - b.x), bare: true, ...extra };
}

function drawDifference() {
  const found = [];
  const missing = [];
  for (const series of state.series.filter((number) => number !== state.anchor)) {
    const label = SERIES[series].label;
    const parts = [];
    for (const sequence of [...state.sequences, ...(SERIES[series].published ? [AVERAGE] : [])]) {
      const [test, base] = [sampledCurve(series, sequence), sampledCurve(state.anchor, sequence)];
      const values = test && base ? difference(test, base) : new Map();
      if (values.size > 1) parts.push([sequence, values]);
    }
    if (!parts.length) missing.push(label);
    const shared = parts.length > 1 && state.view === "mean" ? meanDifference(parts.map((part) => part[1])) : new Map();
    if (shared.size > 1) found.push(differenceLine(series, shared, `${label}, mean of ${parts.length} sequences`, { end: label }));
    const only = parts.length === 1;
    for (const [sequence, values] of parts) {
      found.push(differenceLine(series, values, `${label}, ${sequence}`, only ? { end: label } : { thin: true }));
    }
  }
  const anchor = SERIES[state.anchor]?.label ?? "";
  drawChart(byId("difference"), {
    name: "Difference in bits over quality", lines: found, zero: true, x: { label: METRICS[state.metric] },
    y: { label: `bits against ${shortened(anchor, 30)} (%)` }, empty: `No chosen codec overlaps with ${anchor} in quality.`,
  });
  const notes = missing.length ? [`Without ${missing.join(", ")}: no common quality with ${anchor}.`] : [];
  if (found.some((line) => SERIES[line.series].published)) notes.push("Dashed: published numbers, whose test conditions may differ; the matrix leaves them out.");
  note("difference-notes", notes);
}

/** The courses of the trainings of the chosen records: of all, or evenly of as many as can be distinguished. */
function courses() {
  if (state.metric !== "psnr_rgb") return { shown: [], known: 0 };
  const rows = chosenRows("encode_seconds", state.metric).filter((row) => DATA.training[row]);
  const step = Math.max(1, rows.length / MOST_COURSES);
  const kept = rows.filter((_, place) => Math.floor(place / step) !== Math.floor((place - 1) / step) || step === 1);
  const shown = kept.map((row) => {
    const { seconds, psnr } = DATA.training[row];
    const series = cell(row, "series");
    const points = seconds.map((value, place) => ({ x: Math.max(value, 1e-3), y: psnr[place] }));
    return { series, points, bare: true, thin: true, mute: true };
  });
  return { shown, known: rows.length };
}

/** The points that no other one beats in both time and quality, in order of time. */
function paretoFront(lines) {
  let best = -Infinity;
  return lines.flatMap((line) => line.points).sort((a, b) => a.x - b.x || b.y - a.y).filter((point) => {
    if (point.y <= best) return false;
    best = point.y;
    return true;
  });
}

/** Shows the section of a plot only where some record of the group has the value; whether it does. */
function shownFor(id, name) {
  const known = hasAny(curveRows(state.group), name);
  byId(id).closest("section").hidden = !known;
  return known;
}

function drawTime() {
  if (!shownFor("time", "encode_seconds")) return;
  const found = plotted("encode_seconds", state.metric, ["encode s", METRIC_NAMES[state.metric]], { scattered: true });
  const { shown, known } = courses();
  drawChart(byId("time"), {
    name: "Quality over encode time", lines: [...shown, ...found.lines], front: paretoFront(found.lines),
    x: { label: "encode time (s, log)", log: true }, y: { label: METRICS[state.metric] },
  });
  const texts = found.lines.length ? ["Dotted: the best quality within each time."] : [];
  if (known) texts.push("Thin lines: the course of each training, PSNR of the frames that the network renders, before compression.");
  if (shown.length < known) texts.push(`${shown.length} of ${known} courses are shown; choose fewer codecs or sequences for the others.`);
  note("time-notes", texts);
}

function drawSpeed() {
  if (!shownFor("speed", "decode_fps")) return;
  const found = plotted("bpp", "decode_fps", ["bpp", "frames/s"]);
  drawChart(byId("speed"), {
    name: "Decoding speed over rate", lines: found.lines, x: { label: "bits per pixel (log)", log: true },
    y: { label: "decoded frames per second (log)", log: true },
  });
}

function drawCost() {
  if (!shownFor("cost", state.cost)) return;
  const found = plotted("bpp", state.cost, ["bpp", COSTS[state.cost]]);
  drawChart(byId("cost"), {
    name: `${COSTS[state.cost]} over rate`, lines: found.lines, x: { label: "bits per pixel (log)", log: true },
    y: { label: `${COSTS[state.cost]}, log`, log: true },
  });
}
