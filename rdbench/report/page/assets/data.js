// The data of the page: columns of records, decoded when they are first asked for.

const DATA = JSON.parse(byId("data").textContent);
const SERIES = DATA.series;
const AVERAGE = "Average";
const METRICS = { psnr_rgb: "PSNR RGB (dB)", psnr_yuv: "PSNR YUV 6:1:1 (dB)", ms_ssim_db: "MS-SSIM (dB)", vmaf: "VMAF" };
const METRIC_NAMES = { psnr_rgb: "PSNR RGB", psnr_yuv: "PSNR YUV", ms_ssim_db: "MS-SSIM", vmaf: "VMAF" };
const COSTS = {
  parameters: "parameters", kilobytes: "size of the bitstream (kB)", encode_fps: "encoded frames per second",
  encode_seconds: "encode time (s)", render_fps: "rendered frames per second (network alone)",
  first_frame_seconds: "time to the first frame (s)", seek_seconds: "time to a frame in the middle (s)",
  kmacs_per_pixel: "kMAC per pixel", peak_memory_mb: "peak memory (MB)", energy_joules: "energy (J)",
};
const decoded = new Map();

/** All values of a column, null where a record has none. */
function column(name) {
  if (!decoded.has(name)) decoded.set(name, decode(name));
  return decoded.get(name);
}

function decode(name) {
  if (name === "kilobytes") return column("bits").map((bits) => (bits === null ? null : bits / 8000));
  const packed = DATA.columns[name];
  if (packed === undefined) return new Array(DATA.count).fill(null);
  return packed.codes ? packed.codes.map((code) => packed.values[code]) : packed.values;
}

function cell(row, name) {
  return column(name)[row];
}

/** The mapping or list that a detail holds as JSON; null where there is none. */
function parsed(row, name) {
  const text = cell(row, name);
  return text === null ? null : JSON.parse(text);
}

const ROWS = Array.from({ length: DATA.count }, (_, row) => row);
const GROUPS = groupBy(ROWS, (row) => cell(row, "group"));

/** The rows of a group from which curves are made: finished, and the latest of each rate point. */
const curveRows = (() => {
  const known = new Map();
  return (group) => {
    if (!known.has(group)) known.set(group, GROUPS.get(group).filter((row) => cell(row, "in_curve") === 1));
    return known.get(group);
  };
})();

function seriesOf(group) {
  return [...new Set(GROUPS.get(group).map((row) => cell(row, "series")))].sort((a, b) => a - b);
}

function sequencesOf(group) {
  const names = new Set(GROUPS.get(group).map((row) => cell(row, "sequence")));
  names.delete(AVERAGE);
  return [...names].sort();
}

function hasAny(rows, name) {
  const values = column(name);
  return rows.some((row) => values[row] !== null);
}

function metricsOf(group) {
  return Object.keys(METRICS).filter((name) => hasAny(curveRows(group), name));
}

function costsOf(group) {
  return Object.keys(COSTS).filter((name) => hasAny(curveRows(group), name));
}

/** The columns of the matrix of a group by a metric. */
function matrixColumns(group, metric) {
  return DATA.bd.filter((one) => one.group === group && one.metric === metric && one.cells.length);
}
