// Where the bytes of a bitstream go, and where the time went: bars with their names and numbers.

/** A list of bars for `{name: value}`, the largest first; small ones together where there are many. */
function bars(values, unit) {
  const entries = Object.entries(values).sort((a, b) => b[1] - a[1]);
  const total = entries.reduce((sum, entry) => sum + entry[1], 0);
  const shown = entries.slice(0, 12);
  const rest = entries.slice(12).reduce((sum, entry) => sum + entry[1], 0);
  if (rest > 0) shown.push([`${entries.length - 12} others`, rest]);
  return el("dl", { class: "bars" }, ...shown.flatMap(([name, value]) => {
    const share = total > 0 ? (100 * value) / total : 0;
    const bar = svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { width: 100, height: 6, class: "trough" }), svg("rect", { width: share.toFixed(2), height: 6, class: "amount" }));
    return [el("dt", {}, name), el("dd", {}, bar, el("span", {}, `${sig(value)} ${unit}, ${share.toFixed(share < 10 ? 1 : 0)} %`))];
  }));
}
