// The matrix of BD-rates, and the sentence that says what was found.

/** The mean of a cell over the chosen sequences: the computed one where it is over the same, else averaged here. */
function chosenMean(own, common) {
  if (sameList([...own.sequences], common) && own.bd_rate !== undefined) {
    return { rate: own.bd_rate, low: own.low, high: own.high, count: common.length };
  }
  const rates = common.map((name) => own.each[name]?.bd_rate).filter((rate) => rate !== undefined);
  return rates.length === common.length && rates.length ? { rate: mean(rates), count: rates.length } : null;
}

/** The chosen sequences on which every chosen series with any BD-rate has one against this anchor. */
function sharedSequences(cells) {
  const having = cells.map((own) => state.sequences.filter((name) => own.each[name]?.bd_rate !== undefined));
  const some = having.filter((names) => names.length);
  return state.sequences.filter((name) => some.length && some.every((names) => names.includes(name)));
}

function chosenCells(one) {
  return one.cells.filter((own) => state.series.includes(own.series));
}

/** Whether a BD-rate rests on little overlap, or on the choice of method, or on few points. */
function doubtful(own) {
  return (own.overlap ?? 1) < 0.75 || (own.spread ?? 0) > 1;
}

function drawMatrix() {
  const all = matrixColumns(state.group, state.metric);
  const columns = all.filter((one) => state.series.includes(one.anchor));
  const rows = state.series.filter((series) => columns.some((one) => chosenCells(one).some((own) => own.series === series)));
  const host = byId("matrix");
  if (!columns.length || !rows.length) {
    host.replaceChildren(el("p", { class: "empty" }, "No two chosen codecs can be compared."));
    byId("sequences-table").replaceChildren();
    return;
  }
  const head = el("tr", {}, el("th", { scope: "col", class: "corner" }, "bits of \u2193 against \u2192"),
    ...columns.map((one) => el("th", { scope: "col", class: one.anchor === state.anchor ? "chosen" : null },
      el("button", { type: "button", class: "plain", title: `Make ${SERIES[one.anchor].label} the anchor`, click: () => update({ anchor: one.anchor }) },
        swatch(one.anchor), SERIES[one.anchor].label))));
  const body = rows.map((series) => el("tr", {}, el("th", { scope: "row" }, swatch(series), SERIES[series].label),
    ...columns.map((one) => matrixCell(one, series))));
  host.replaceChildren(el("table", { class: "matrix" }, el("thead", {}, head), el("tbody", {}, ...body)));
  drawSequences(columns.find((one) => one.anchor === state.anchor) ?? columns[0]);
}

function matrixCell(one, series) {
  if (series === one.anchor) return el("td", { class: "self" }, "\u2014");
  const cells = chosenCells(one);
  const own = cells.find((other) => other.series === series);
  const found = own && chosenMean(own, sharedSequences(cells));
  if (!found) return el("td", { class: "none", title: own?.notes ?? "They share no sequence." }, "n/a");
  const interval = found.low === undefined ? `${plural(found.count, "sequence")}, no interval` : range(found.low, found.high);
  const node = el("td", { class: shade(found.rate), title: healthText(own) },
    el("span", { class: "rate" }, `${signed(found.rate)} %`, doubtful(own) ? el("span", { class: "flag" }, " \u26a0") : null),
    el("small", {}, interval));
  return node;
}

/** The ends of an interval, whole where one is 10 or more, but for an end that would then be zero. */
function range(low, high) {
  const whole = Math.max(Math.abs(low), Math.abs(high)) >= 9.95;
  const digits = (value) => (whole && Math.abs(value) >= 0.5 ? 0 : 1);
  const text = (value) => (value > 0 ? "+" : MINUS) + Math.abs(value).toFixed(digits(value));
  return [low, high].map((value) => (Math.abs(value) < 0.05 ? "0.0" : text(value))).join(" to ");
}

/** The class of a cell's color: fewer bits or more, in three steps. */
function shade(rate) {
  const step = Math.abs(rate) < 5 ? 0 : Math.abs(rate) < 20 ? 1 : Math.abs(rate) < 50 ? 2 : 3;
  return step === 0 ? "even" : `${rate < 0 ? "less" : "more"}${step}`;
}

/** The health of a BD-rate in words. */
function healthText(own) {
  const parts = [];
  if (own.overlap !== undefined) parts.push(`Qualities overlap by ${(100 * own.overlap).toFixed(0)} %.`);
  if (own.spread !== undefined) parts.push(`Methods differ by ${sig(own.spread, 2)} points.`);
  if (own.leave_one_out !== undefined) parts.push(`Without one rate point it changes by up to ${sig(own.leave_one_out, 2)} points.`);
  if (own.seeds) parts.push(`Seeds: ${own.seeds}.`);
  if (own.points) parts.push(`Rate points: ${own.points}.`);
  if (own.notes) parts.push(own.notes);
  return parts.join(" ");
}

/** BD-rates of each sequence against the chosen anchor. */
function drawSequences(one) {
  const names = state.sequences.filter((name) => one.cells.some((own) => own.each[name]));
  const cells = chosenCells(one);
  const head = el("tr", {}, el("th", { scope: "col" }, `against ${SERIES[one.anchor].label}`),
    ...names.map((name) => el("th", { scope: "col" }, name)));
  const body = cells.map((own) => el("tr", {}, el("th", { scope: "row" }, swatch(own.series), SERIES[own.series].label),
    ...names.map((name) => sequenceCell(own.each[name]))));
  byId("sequences-table").replaceChildren(el("table", { class: "matrix small" }, el("thead", {}, head), el("tbody", {}, ...body)));
}

function sequenceCell(own) {
  if (!own || own.bd_rate === undefined) return el("td", { class: "none", title: own?.notes ?? "No curve here." }, "n/a");
  return el("td", { class: shade(own.bd_rate), title: healthText(own) }, `${signed(own.bd_rate)} %`,
    doubtful(own) ? el("span", { class: "flag" }, " \u26a0") : null);
}

const MOST_SENTENCES = 6;

/** The sentences about the chosen codecs against the anchor, the first one large, and the caveats. */
function drawFindings() {
  const one = matrixColumns(state.group, state.metric).find((other) => other.anchor === state.anchor);
  const found = (one?.findings ?? []).filter((finding) => state.series.includes(finding.series));
  const host = byId("findings");
  if (!found.length) {
    host.replaceChildren(el("p", { class: "lead" }, "Nothing is compared in this choice."));
  } else {
    const [first, ...others] = found;
    const items = others.map((finding) => el("li", { class: finding.claim ? null : "weak" }, swatch(finding.series), finding.text));
    host.replaceChildren(el("p", { class: "lead" }, first.text), el("ul", {}, ...items.slice(0, MOST_SENTENCES)));
    if (items.length > MOST_SENTENCES) {
      const rest = items.slice(MOST_SENTENCES);
      host.append(el("details", {}, el("summary", {}, `${rest.length} more`), el("ul", {}, ...rest)));
    }
    const narrowed = state.sequences.length < sequencesOf(state.group).length;
    if (narrowed) host.append(el("p", { class: "hint" }, "These sentences are over all common sequences; the matrix follows the choice below."));
    if (!DATA.anchor_chosen && state.anchor === DATA.anchor) {
      host.append(el("p", { class: "hint" }, `${SERIES[state.anchor].label} is the anchor since no other has more curves and points; choose another one below.`));
    }
  }
  const caveats = DATA.caveats[state.group] ?? [];
  byId("caveats").replaceChildren(...caveats.map((text) => el("li", {}, text)));
  byId("caveats-box").hidden = !caveats.length;
}
