// The page: one choice, and everything that shows it.

const DRAWINGS = {
  controls: drawControls, findings: drawFindings, rd: drawRd, matrix: drawMatrix, difference: drawDifference, time: drawTime,
  speed: drawSpeed, cost: drawCost, fails: drawFails, table: drawTable, record: drawRecord,
};
/** What shows a change of this kind; all of it where a kind is not named. */
const CONCERNED = {
  record: ["record"], theme: ["controls"], sort: ["table"], find: ["table"], scale: ["controls", "rd"], cost: ["controls", "cost"],
  anchor: ["controls", "findings", "matrix", "difference"],
  pair: ["fails"], shot: ["fails"], look: ["fails"],
};

function draw(names) {
  const wanted = new Set(names.flatMap((name) => CONCERNED[name] ?? Object.keys(DRAWINGS).filter((other) => other !== "record")));
  for (const [name, show] of Object.entries(DRAWINGS)) if (wanted.has(name)) show();
}

function drawHead() {
  const own = new Set(SERIES.filter((one) => !one.published).map((one) => one.codec)).size;
  const records = plural(DATA.count, "record");
  byId("counts").textContent = [plural(own, "codec"), plural(new Set(column("sequence")).size, "sequence"), records, DATA.made]
    .filter(Boolean).join(" \u00b7 ");
  byId("notes").replaceChildren(...DATA.notes.map((text) => el("li", {}, text)));
}

/** Draws the plots anew when the page gets another width. */
function watchWidth() {
  let width = document.documentElement.clientWidth;
  window.addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    draw(["group"]);
  });
}

Object.assign(state, fromAddress(location.hash));
wireControls();
wireTable();
wireRecord();
wireFails();
onChange(draw);
window.addEventListener("hashchange", () => { Object.assign(state, fromAddress(location.hash)); draw(["group", "record"]); });
drawHead();
draw(["group", "record"]);
watchWidth();
