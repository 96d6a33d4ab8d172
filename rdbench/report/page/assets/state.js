// What the reader has chosen. It lives in the address after `#`, so that a link shows the same view.

const listeners = [];
const state = {};

/** The view of a group before anything is chosen. */
function defaults(group) {
  const metrics = metricsOf(group);
  const metric = metrics[0] ?? "psnr_rgb";
  const anchors = matrixColumns(group, metric).map((one) => one.anchor);
  return {
    group, metric, scale: "log", view: "mean", theme: "auto",
    anchor: anchors.includes(DATA.anchor) ? DATA.anchor : anchors[0] ?? DATA.anchor,
    series: seriesOf(group).filter((number) => !SERIES[number].published),
    sequences: sequencesOf(group),
    cost: costsOf(group)[0] ?? "kilobytes",
    record: null, sort: "", find: "", pair: "", shot: "", look: "side",
  };
}

const firstGroup = () => GROUPS.keys().next().value;

/** The view that an address names; what it names and is not here is left at its default. */
function fromAddress(text) {
  const given = new URLSearchParams(text.replace(/^#/, ""));
  const group = GROUPS.has(given.get("group")) ? given.get("group") : firstGroup();
  const found = defaults(group);
  const choose = (name, allowed) => {
    if (allowed.includes(given.get(name))) found[name] = given.get(name);
  };
  choose("metric", metricsOf(group));
  choose("scale", ["log", "linear"]);
  choose("view", ["mean", "each"]);
  choose("theme", ["auto", "light", "dark"]);
  choose("look", LOOKS.map(([name]) => name));
  choose("cost", costsOf(group));
  const own = seriesOf(group);
  const anchor = own.find((number) => SERIES[number].label === given.get("anchor"));
  if (anchor !== undefined) found.anchor = anchor;
  if (given.has("codec")) {
    const labels = given.getAll("codec");
    found.series = own.filter((number) => labels.includes(SERIES[number].label));
  }
  if (given.has("sequence")) {
    const names = given.getAll("sequence");
    found.sequences = found.sequences.filter((name) => names.includes(name));
  }
  for (const name of ["record", "sort", "find", "pair", "shot"]) found[name] = given.get(name) ?? found[name];
  return found;
}

function sameList(a, b) {
  return a.length === b.length && a.every((value, place) => value === b[place]);
}

/** The address of the view: what differs from the defaults. */
function toAddress(view) {
  const usual = defaults(view.group);
  const out = new URLSearchParams();
  if (view.group !== firstGroup()) out.set("group", view.group);
  for (const name of ["metric", "scale", "view", "theme", "cost", "record", "sort", "find", "pair", "shot", "look"]) {
    if (view[name] !== usual[name]) out.set(name, view[name] ?? "");
  }
  if (view.anchor !== usual.anchor) out.set("anchor", SERIES[view.anchor].label);
  const lists = [
    ["codec", view.series.map((number) => SERIES[number].label), usual.series.map((number) => SERIES[number].label)],
    ["sequence", view.sequences, usual.sequences],
  ];
  for (const [name, chosen, all] of lists) {
    if (sameList(chosen, all)) continue;
    for (const text of chosen.length ? chosen : [""]) out.append(name, text);
  }
  const text = out.toString();
  return text ? `#${text}` : "#";
}

/** Changes the view and the address, and shows it; `names` are what changed. */
function update(changes) {
  const next = "group" in changes && changes.group !== state.group ? { ...defaults(changes.group), theme: state.theme } : {};
  Object.assign(state, next, changes);
  state.series.sort((a, b) => a - b);
  state.sequences.sort();
  const address = toAddress(state);
  if (address !== (location.hash || "#")) history.replaceState(null, "", address);
  notify(Object.keys({ ...next, ...changes }));
}

function notify(names) {
  for (const listener of listeners) listener(names);
}

/** Calls the listener with the names of what changed, after each change. */
function onChange(listener) {
  listeners.push(listener);
}

/** Adds a value to a list, or takes it out. */
function toggled(list, value) {
  return list.includes(value) ? list.filter((other) => other !== value) : [...list, value];
}
