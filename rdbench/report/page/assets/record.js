// One record: what was asked for, what came out, and how to make it again.

const SHOWN_RESULTS = [
  ["bpp", "bits per pixel"], ["kbps", "kbit/s"], ["bits", "bits"], ["psnr_rgb", "PSNR RGB (dB)"], ["psnr_yuv", "PSNR YUV (dB)"],
  ["psnr_y", "PSNR Y (dB)"], ["ms_ssim", "MS-SSIM"], ["ms_ssim_db", "MS-SSIM (dB)"], ["vmaf", "VMAF"],
  ["encode_seconds", "encode (s)"], ["decode_seconds", "decode (s)"], ["decode_fps", "decoded frames/s"],
  ["render_fps", "rendered frames/s"], ["first_frame_seconds", "first frame (s)"], ["parameters", "parameters"],
  ["kmacs_per_pixel", "kMAC/pixel"], ["peak_memory_mb", "peak memory (MB)"], ["energy_joules", "energy (J)"],
];
const SHOWN_ORIGIN = [
  ["id", "id"], ["conditions", "test conditions"], ["preset", "preset"], ["seed", "seed"], ["frames", "frames"],
  ["width", "width"], ["height", "height"], ["frame_rate", "frames per second"], ["bit_depth", "bit depth"],
  ["started", "started"], ["host", "host"], ["cpu", "CPU"], ["gpu", "GPU"], ["gpu_driver", "GPU driver"], ["device", "device"],
  ["threads", "threads"], ["cpu_cores", "cores"], ["jobs", "jobs side by side"], ["load", "load before"], ["source", "published in"],
  ["clip_sha256", "SHA-256 of the clip"], ["bitstream_sha256", "SHA-256 of the bitstream"], ["frames_sha256", "SHA-256 of the frames"],
];

/** Opens the record behind a point; of several, a list to choose from. */
function openPoint(rows) {
  if (rows.length === 1) update({ record: recordKey(rows[0]) });
  else showDialog(`${plural(rows.length, "record")} behind this point`, [recordList(rows)]);
}

/** What names a row in the address: its id, or its number for a published point. */
function recordKey(row) {
  return cell(row, "id") ?? `row-${row}`;
}

function rowOf(key) {
  const row = column("id").indexOf(key);
  const number = /^row-(\d+)$/.exec(key);
  return row >= 0 ? row : number && Number(number[1]) < DATA.count ? Number(number[1]) : -1;
}

function recordList(rows) {
  return el("ul", { class: "records" }, ...rows.map((row) => el("li", {},
    el("button", { type: "button", click: () => update({ record: recordKey(row) }) }, swatch(cell(row, "series")),
      `${cell(row, "sequence")}, ${cell(row, "rate_point")}, seed ${cell(row, "seed") ?? 0}`),
    ` ${sig(cell(row, "bpp"))} bpp, ${sig(cell(row, state.metric))} ${METRIC_NAMES[state.metric]}`)));
}

/** Shows the record that the state names, or closes the dialog. */
function drawRecord() {
  const row = state.record === null ? -1 : rowOf(state.record);
  if (row < 0) {
    if (byId("record").open && state.record === null) byId("record").close();
    return;
  }
  const title = `${SERIES[cell(row, "series")].label}, ${cell(row, "sequence")}, ${cell(row, "rate_point")}`;
  const parts = [facts(row), commandPart(row), ledgerPart(row), el("figure", { class: "chart", id: "by-frame" }),
    el("figure", { class: "chart", id: "by-epoch" }), originPart(row), settingsPart(row, "settings", "Settings"),
    settingsPart(row, "versions", "Versions"), folderPart(row)];
  showDialog(title, parts.filter((part) => part !== null));
  drawRecordCharts(row);
}

function showDialog(title, parts) {
  const dialog = byId("record");
  byId("record-title").textContent = title;
  byId("record-body").replaceChildren(...parts);
  if (!dialog.open) dialog.showModal();
  byId("record-body").scrollTop = 0;
}

/** Names and values as a list of terms; what is empty is left out. */
function terms(entries, className) {
  const known = entries.filter((entry) => entry[1] !== null && entry[1] !== undefined && entry[1] !== "");
  return el("dl", { class: className }, ...known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

function facts(row) {
  const failed = cell(row, "status") === "failed" ? el("p", { class: "failed" }, `Failed: ${cell(row, "error") ?? "no reason is recorded."}`) : null;
  const paper = SERIES[cell(row, "series")].published ? el("p", { class: "paper" }, "Not run here: a published number.") : null;
  return el("div", {}, failed, paper, terms(SHOWN_RESULTS.map(([name, text]) => [text, sig(cell(row, name), 6)]), "facts"));
}

function commandPart(row) {
  const command = cell(row, "command");
  if (command === null) return null;
  return el("section", {}, el("h3", {}, "Command"), codeBox(command), ...(cell(row, "encoder_command") === null ? [] :
    [el("h3", {}, "Command of the encoder"), codeBox(cell(row, "encoder_command"))]));
}

/** A text with a button that copies it. */
function codeBox(text) {
  const button = el("button", { type: "button", class: "copy", click: () => copy(text, button) }, "Copy");
  return el("div", { class: "code" }, el("pre", { tabindex: "0" }, text), button);
}

/** Copies through the clipboard, or where a file may not use it through a selection. */
async function copy(text, button) {
  const area = el("textarea", { class: "offscreen" });
  area.value = text;
  button.after(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  button.focus();
  button.textContent = done ? "Copied" : "Select it and press Ctrl+C";
}

function ledgerPart(row) {
  const [ledger, times] = [parsed(row, "ledger"), parsed(row, "parts")];
  if (ledger === null && times === null) return null;
  return el("div", { class: "two" },
    ledger && el("section", {}, el("h3", {}, "Where the bytes go"), bars(ledger, "B")),
    times && el("section", {}, el("h3", {}, "Where the time went"), bars(times, "s")));
}

function originPart(row) {
  return el("section", {}, el("h3", {}, "Origin"), terms(SHOWN_ORIGIN.map(([name, text]) => [text, cell(row, name)]), "origin"));
}

function settingsPart(row, name, title) {
  const values = parsed(row, name);
  if (values === null) return null;
  const entries = Object.entries(values).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]);
  return el("details", {}, el("summary", {}, title), terms(entries, "origin"));
}

function folderPart(row) {
  const folder = cell(row, "folder");
  return folder && el("p", {}, el("a", { href: folder }, "Folder of this record"), ` (${decodeURIComponent(folder)})`);
}

function drawRecordCharts(row) {
  const series = cell(row, "series");
  const frames = DATA.frames[row];
  if (frames) {
    const points = frames.values.map((y, x) => ({ x, y, text: [`frame ${x}: ${sig(y)} dB`] }));
    drawChart(byId("by-frame"), { name: "Quality by frame", height: 220, lines: [{ series, points, bare: true }],
      x: { label: "frame" }, y: { label: METRICS[frames.metric] } });
  } else byId("by-frame").remove();
  const training = DATA.training[row];
  if (training) {
    const points = training.seconds.map((x, place) => ({ x, y: training.psnr[place], text: [`${sig(x)} s: ${sig(training.psnr[place])} dB`] }));
    drawChart(byId("by-epoch"), { name: "Course of the training", height: 220, lines: [{ series, points, bare: true }],
      x: { label: "seconds of training" }, y: { label: "PSNR before compression (dB)" } });
  } else byId("by-epoch").remove();
}

function wireRecord() {
  byId("record").addEventListener("close", () => { if (state.record !== null) update({ record: null }); });
  byId("record-close").addEventListener("click", () => byId("record").close());
}
