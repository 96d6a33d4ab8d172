// All records of the choice as a table: sorted by any column, searched, and as a CSV file.

const TABLE_COLUMNS = [
  ["label", "codec"], ["sequence", "sequence"], ["rate_point", "rate point"], ["seed", "seed"], ["bpp", "bpp"], ["kbps", "kbit/s"],
  ["psnr_rgb", "PSNR RGB"], ["psnr_yuv", "PSNR YUV"], ["ms_ssim_db", "MS-SSIM dB"], ["vmaf", "VMAF"], ["encode_seconds", "encode s"],
  ["decode_fps", "decode fps"], ["parameters", "parameters"], ["status", "status"],
];
const TEXT_COLUMNS = ["label", "sequence", "rate_point", "status"];
const PAGE_ROWS = 100;
let shownRows = PAGE_ROWS;

function tableValue(row, name) {
  return name === "label" ? SERIES[cell(row, "series")].label : cell(row, name);
}

/** The chosen rows, failed ones included, that hold every word of the search, in the chosen order. */
function tableRows() {
  const [series, sequences] = [new Set(state.series), new Set([...state.sequences, AVERAGE])];
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = GROUPS.get(state.group).filter((row) => series.has(cell(row, "series")) && sequences.has(cell(row, "sequence")));
  const found = words.length ? rows.filter((row) => matches(row, words)) : rows;
  const [name, order] = state.sort.split(":");
  return name ? sorted(found, name, order === "down" ? -1 : 1) : found;
}

function matches(row, words) {
  const text = TABLE_COLUMNS.map(([name]) => tableValue(row, name)).join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** In order of a column; rows without a value are last in both orders. */
function sorted(rows, name, sign) {
  const compare = TEXT_COLUMNS.includes(name) ? (a, b) => String(a).localeCompare(String(b), "en", { numeric: true }) : (a, b) => a - b;
  return [...rows].sort((one, other) => {
    const [a, b] = [tableValue(one, name), tableValue(other, name)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * compare(a, b);
  });
}

function drawTable() {
  const rows = tableRows();
  const columns = TABLE_COLUMNS.filter(([name]) => rows.some((row) => tableValue(row, name) !== null));
  const [sortedBy, order] = state.sort.split(":");
  const head = columns.map(([name, text]) => {
    const mine = name === sortedBy;
    const next = mine && order === "up" ? `${name}:down` : mine ? "" : `${name}:up`;
    return el("th", { scope: "col", "aria-sort": mine ? (order === "up" ? "ascending" : "descending") : null, class: numeric(name) },
      el("button", { type: "button", class: "plain", click: () => update({ sort: next }) }, text + (mine ? (order === "up" ? " \u2191" : " \u2193") : "")));
  });
  const body = rows.slice(0, shownRows).map((row) => tableRow(row, columns));
  byId("table").replaceChildren(el("table", { class: "rows" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body)));
  byId("table-count").textContent = `${plural(rows.length, "record")}${rows.length > shownRows ? `, the first ${shownRows} shown` : ""}`;
  byId("more").hidden = rows.length <= shownRows;
}

function numeric(name) {
  return TEXT_COLUMNS.includes(name) ? null : "number";
}

function tableRow(row, columns) {
  const failed = cell(row, "status") === "failed";
  return el("tr", { class: failed ? "failed" : null }, ...columns.map(([name]) => {
    const value = tableValue(row, name);
    if (name !== "label") return el("td", { class: numeric(name) }, typeof value === "number" ? sig(value, 5) : value ?? "");
    return el("td", {}, el("button", { type: "button", class: "plain", click: () => update({ record: recordKey(row) }) },
      swatch(cell(row, "series")), value));
  }));
}

/** A value as CSV writes it; a text that a spreadsheet would read as a formula gets an apostrophe before it. */
function csvCell(value) {
  if (value === null) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The rows of the table with all of their columns. */
function csvText() {
  const names = ["label", ...Object.keys(DATA.columns).filter((name) => !["series", "in_curve"].includes(name))];
  const rows = tableRows().map((row) => names.map((name) => csvCell(tableValue(row, name))).join(","));
  return [names.join(","), ...rows].join("\r\n") + "\r\n";
}

function download(text, name, type) {
  const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function wireTable() {
  byId("csv").addEventListener("click", () => download(csvText(), "rdbench.csv", "text/csv"));
  byId("more").addEventListener("click", () => { shownRows += 5 * PAGE_ROWS; drawTable(); });
  byId("find").addEventListener("input", () => { shownRows = PAGE_ROWS; update({ find: byId("find").value }); });
}
