// Which records make which line: means over the sequences that all chosen codecs have, or one line for each sequence.

/** The rows of the chosen series on the chosen sequences that have both values. */
function chosenRows(x, y) {
  const series = new Set(state.series);
  const sequences = new Set([...state.sequences, AVERAGE]);
  const [xs, ys] = [column(x), column(y)];
  return curveRows(state.group).filter(
    (row) => xs[row] !== null && ys[row] !== null && series.has(cell(row, "series")) && sequences.has(cell(row, "sequence")),
  );
}

/**
 * The sequences that every measured series of the rows has. Published series do not narrow it, nor does a series that
 * has a single sequence where others have several: that one has no mean.
 */
function commonSequences(rows) {
  const named = rows.filter((row) => cell(row, "sequence") !== AVERAGE);
  const measured = named.filter((row) => !SERIES[cell(row, "series")].published);
  const sets = [...groupBy(measured.length ? measured : named, (row) => cell(row, "series")).values()].map(
    (own) => new Set(own.map((row) => cell(row, "sequence"))),
  );
  const most = Math.max(0, ...sets.map((set) => set.size));
  const kept = sets.filter((set) => set.size > 1 || most === 1);
  return state.sequences.filter((name) => kept.length && kept.every((set) => set.has(name)));
}

/**
 * The lines of a plot of y over x, and notes on what they leave out.
 * A line: `{series, name, points}`; a point: `{x, y, low, high, rows, label}`, in order of x.
 */
function lines(x, y) {
  const rows = chosenRows(x, y);
  return state.view === "each" ? eachLines(rows, x, y) : meanLines(rows, x, y);
}

function eachLines(rows, x, y) {
  const groups = groupBy(rows, (row) => `${cell(row, "series")}\t${cell(row, "sequence")}`);
  const found = [...groups.values()].map((own) => {
    const [series, sequence] = [cell(own[0], "series"), cell(own[0], "sequence")];
    return { series, name: `${SERIES[series].label}, ${sequence}`, points: points(own, 1, x, y) };
  });
  return { lines: found, notes: [], sequences: state.sequences };
}

function meanLines(rows, x, y) {
  const common = commonSequences(rows);
  const notes = [];
  const found = [];
  for (const [series, own] of groupBy(rows, (row) => cell(row, "series"))) {
    const label = SERIES[series].label;
    const named = own.filter((row) => common.includes(cell(row, "sequence")));
    const averaged = own.filter((row) => cell(row, "sequence") === AVERAGE);
    const complete = new Set(named.map((row) => cell(row, "sequence"))).size === common.length && common.length > 0;
    const [used, count] = complete ? [named, common.length] : [averaged, 1];
    const curve = used.length ? points(used, count, x, y) : [];
    if (curve.length) found.push({ series, name: label + (complete ? "" : " (published average)"), points: curve });
    else notes.push(`${label} is not shown: it lacks some of the sequences that the others have; \u201ceach sequence\u201d shows it.`);
  }
  if (rows.length && !common.length && !found.length) {
    notes.splice(0, notes.length, "The chosen codecs share no sequence; choose \u201ceach sequence\u201d, or other codecs.");
  }
  return { lines: found, notes, sequences: common };
}

/** Of points in order of x, those on their upper convex hull, from the smallest x to the largest y. */
function upperHull(points) {
  const hull = [];
  const below = (left, middle, right) => (middle.y - left.y) * (right.x - left.x) < (right.y - left.y) * (middle.x - left.x);
  for (const point of points) {
    if (hull.length && point.y <= hull.at(-1).y) continue;
    while (hull.length > 1 && below(hull.at(-2), hull.at(-1), point)) hull.pop();
    hull.push(point);
  }
  return hull;
}

/**
 * The points of one line: the mean at each rate point that every sequence and seed has, with the ends over seeds; of
 * quality over bits, where the series has several sizes and lambdas, those on the hull.
 */
function points(rows, sequences, x, y) {
  const bySeed = [...groupBy(rows, (row) => cell(row, "seed") ?? 0).values()];
  const whole = bySeed.filter((own) => new Set(own.map((row) => cell(row, "sequence"))).size === sequences).flat();
  const seeds = new Set(whole.map((row) => cell(row, "seed"))).size;
  const found = [];
  for (const [label, own] of groupBy(whole, pointLabels(whole))) {
    if (own.length !== sequences * seeds) continue;
    const [xs, ys] = [x, y].map((name) => own.map((row) => cell(row, name)));
    const means = [...groupBy(own, (row) => cell(row, "seed")).values()].map((part) => mean(part.map((row) => cell(row, y))));
    const [low, high] = extent(means);
    found.push({ x: mean(xs), y: mean(ys), low, high, rows: own, label, seeds });
  }
  found.sort((a, b) => a.x - b.x || b.y - a.y);
  return rows.length && x === "bpp" && y in METRICS && SERIES[cell(rows[0], "series")].hull ? upperHull(found) : found;
}

/** A function that names the rate point of a row; a name that a published curve has twice gets a number. */
function pointLabels(rows) {
  const seen = new Map();
  const names = new Map();
  for (const row of rows) {
    const key = ["sequence", "seed", "rate_point"].map((name) => cell(row, name)).join("\t");
    const again = seen.get(key) ?? 0;
    seen.set(key, again + 1);
    names.set(row, cell(row, "rate_point") + (again ? ` (${again})` : ""));
  }
  return (row) => names.get(row);
}

/** What the view says of the sequences behind a mean. */
function extentText(common) {
  if (state.view === "each") return `each of ${plural(state.sequences.length, "sequence")}`;
  const left = state.sequences.filter((name) => !common.includes(name));
  const what = common.length === 1 ? common[0] : `mean of ${plural(common.length, "sequence")}`;
  return left.length && common.length ? `${what}, without ${left.slice(0, 3).join(", ")}${left.length > 3 ? ", \u2026" : ""}` : what;
}
