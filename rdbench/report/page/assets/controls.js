// What is chosen: results, metric, scale, view, codecs, sequences, light or dark.

/** A list to choose one of; it is hidden where there is nothing to choose. */
function fillSelect(id, entries, value) {
  const select = byId(id);
  select.replaceChildren(...entries.map(([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text)));
  select.closest("label").hidden = entries.length < 2;
}

function chip(text, pressed, toggle, picture) {
  return el("button", { type: "button", class: "chip", "aria-pressed": String(pressed), click: toggle }, picture, el("span", {}, text));
}

function drawControls() {
  fillSelect("group", [...GROUPS.keys()].map((name) => [name, name]), state.group);
  fillSelect("metric", metricsOf(state.group).map((name) => [name, METRIC_NAMES[name]]), state.metric);
  fillSelect("anchor", matrixColumns(state.group, state.metric).map((one) => [one.anchor, SERIES[one.anchor].label]), state.anchor);
  fillSelect("cost-name", costsOf(state.group).map((name) => [name, COSTS[name]]), state.cost);
  byId("scale").value = state.scale;
  byId("view").value = state.view;
  byId("view").closest("label").hidden = sequencesOf(state.group).length < 2;
  byId("theme").value = state.theme;
  if (byId("find").value !== state.find) byId("find").value = state.find;
  document.documentElement.dataset.theme = state.theme;
  drawChips();
}

function drawChips() {
  const focused = document.activeElement?.closest(".chips") ? document.activeElement.textContent : null;
  const all = seriesOf(state.group);
  const make = (number) => chip(SERIES[number].label, state.series.includes(number),
    () => update({ series: toggled(state.series, number) }), swatch(number));
  const own = all.filter((number) => !SERIES[number].published);
  const papers = all.filter((number) => SERIES[number].published);
  byId("codecs").replaceChildren(...own.map(make), ...allOrNone("series", own));
  byId("papers").replaceChildren(...papers.map(make));
  byId("papers-box").hidden = !papers.length;
  byId("papers-count").textContent = `Published curves, not run here (${papers.filter((n) => state.series.includes(n)).length} of ${papers.length} shown)`;
  const names = sequencesOf(state.group);
  byId("sequences").replaceChildren(...names.map((name) => chip(name, state.sequences.includes(name),
    () => update({ sequences: toggled(state.sequences, name) }), null)), ...allOrNone("sequences", names));
  byId("sequences").closest(".choice").hidden = names.length < 2;
  if (focused) [...document.querySelectorAll(".chips button")].find((button) => button.textContent === focused)?.focus();
}

/** Buttons that choose all of a long list, or none. */
function allOrNone(name, values) {
  if (values.length < 4) return [];
  const others = state[name].filter((value) => !values.includes(value));
  return [["all", [...others, ...values]], ["none", others]].map(([text, chosen]) =>
    el("button", { type: "button", class: "plain", click: () => update({ [name]: chosen }) }, text));
}

/** A metric may have other anchors: the one that was chosen where it has it, else its first. */
function anchorFor(metric) {
  const anchors = matrixColumns(state.group, metric).map((one) => one.anchor);
  return anchors.includes(state.anchor) ? state.anchor : anchors[0] ?? state.anchor;
}

function wireControls() {
  const choose = (id, change) => byId(id).addEventListener("change", () => update(change(byId(id).value)));
  choose("group", (value) => ({ group: value }));
  choose("metric", (value) => ({ metric: value, anchor: anchorFor(value) }));
  choose("anchor", (value) => ({ anchor: Number(value) }));
  choose("scale", (value) => ({ scale: value }));
  choose("view", (value) => ({ view: value }));
  choose("theme", (value) => ({ theme: value }));
  choose("cost-name", (value) => ({ cost: value }));
}
