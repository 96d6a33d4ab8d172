// Elements, numbers and words. Text reaches the page through text nodes only, so names are never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const MINUS = "\u2212";

/** Sets attributes; those without a value are left out, and functions become listeners of the event they name. */
function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
}

/** An HTML element with attributes and children, which are nodes or texts. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  setAttributes(node, attributes);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The same in SVG. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

/** The number with so many significant digits, without an exponent from 0.0001 to 10 million; empty for null. */
function sig(value, digits = 4) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toPrecision(3).replace("-", MINUS);
  const places = size === 0 ? 0 : Math.max(0, Math.min(8, digits - 1 - Math.floor(Math.log10(size))));
  return String(Number(value.toFixed(places))).replace("-", MINUS);
}

/** A signed percentage: whole from 10 on, else with one decimal. */
function signed(value) {
  const text = Math.abs(value).toFixed(Math.abs(value) >= 9.95 ? 0 : 1);
  return text === "0.0" ? text : (value > 0 ? "+" : MINUS) + text;
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function shortened(text, letters) {
  return text.length > letters ? `${text.slice(0, letters - 1)}\u2026` : text;
}

/** The values by key, in the order of their first appearance. */
function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) {
    const name = key(value);
    if (groups.has(name)) groups.get(name).push(value);
    else groups.set(name, [value]);
  }
  return groups;
}

/** The ends of numbers; of none, zero to one. */
function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

const MARKERS = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
  "M-3.6,-3.6h7.2v7.2h-7.2Z",
  "M0,-4.8L4.5,3.4H-4.5Z",
  "M0,-5L4.6,0L0,5L-4.6,0Z",
  "M0,4.8L4.5,-3.4H-4.5Z",
  "M-1.6,-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3Z",
  "M-4.6,-2.6L-2.6,-4.6L0,-2L2.6,-4.6L4.6,-2.6L2,0L4.6,2.6L2.6,4.6L0,2L-2.6,4.6L-4.6,2.6L-2,0Z",
  "M0,-5.2L1.4,-1.7L5,-1.6L2.2,0.7L3.1,4.3L0,2.2L-3.1,4.3L-2.2,0.7L-5,-1.6L-1.4,-1.7Z",
];

/** A small picture of a series' marker, for lists and buttons. */
function swatch(series) {
  const { color, marker, published } = SERIES[series];
  const path = svg("path", { d: MARKERS[marker], class: `mark c${color}${published ? " hollow" : ""}` });
  return svg("svg", { class: "swatch", viewBox: "-7 -7 14 14", "aria-hidden": "true" }, path);
}
