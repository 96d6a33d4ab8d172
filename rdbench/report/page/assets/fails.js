// Where two codecs fail: a part of a frame as it is in the clip and as both show it, at nearly equal bits.

const LOOKS = [["side", "side by side"], ["slider", "slider"], ["flicker", "flicker"], ["error", "error map"]];
const FLICKER_MS = 500;
/** What slider and flicker compare: two of the original (0), A (1) and B (2). */
const TWO = [[1, 2], [0, 1], [0, 2]];
const viewer = { two: 0, position: 50, second: false, timer: null };

/** The comparisons whose codecs and sequence are chosen. */
function shownFails() {
  const chosen = (one) => one.group === state.group && one.series.every((number) => state.series.includes(number));
  return DATA.fails.comparisons.filter((one) => chosen(one) && state.sequences.includes(one.sequence));
}

function failKey(one) {
  return `${one.sequence}: ${one.series.map((number) => SERIES[number].label).join(" / ")}`;
}

/** All views of a comparison: each crop of each frame. */
function viewsOf(one) {
  return one.shots.flatMap((shot) => shot.crops.map((crop) => ({ shot, crop, key: `${shot.frame}-${shot.crops.indexOf(crop) + 1}` })));
}

/** The comparison and the view that are chosen, or the first ones; null where there are none. */
function chosenFail() {
  const all = shownFails();
  if (all.length === 0) return null;
  const one = all.find((other) => failKey(other) === state.pair) ?? all[0];
  const views = viewsOf(one);
  return { all, one, views, view: views.find((other) => other.key === state.shot) ?? views[0] };
}

function drawFails() {
  stopFlicker();
  const focused = focusedBox();
  const { comparisons, notes } = DATA.fails;
  byId("fails").hidden = comparisons.length + notes.length === 0;
  const chosen = chosenFail();
  byId("fails-choices").hidden = byId("fails-view").hidden = chosen === null;
  const rate = chosen && chosen.one.note ? [chosen.one.note] : [];
  const none = comparisons.length && chosen === null ? ["No pair of the chosen codecs and sequences has frames here."] : [];
  byId("fails-notes").replaceChildren(...[...rate, ...none, ...notes].map((text) => el("p", {}, text)));
  if (chosen === null) return;
  const options = chosen.all.map((one) => el("option", { value: failKey(one), selected: one === chosen.one }, failKey(one)));
  byId("fails-pair").replaceChildren(...options);
  byId("fails-shots").replaceChildren(...chosen.views.map((view) => chipFor(shotName(view), view === chosen.view, () => update({ shot: view.key }))));
  byId("fails-looks").replaceChildren(...LOOKS.map(([name, text]) => chipFor(text, state.look === name, () => update({ look: name }))));
  const looks = { side: sideLook, slider: sliderLook, flicker: flickerLook, error: errorLook };
  const why = chosen.view.shot.why ? `${chosen.view.shot.why}; ` : "";
  byId("fails-view").replaceChildren(
    el("p", { class: "why" }, `Frame ${chosen.view.shot.frame} (${why}the crop is ${chosen.view.crop.what})`),
    el("div", { class: "views" }, wholeFrame(chosen), ...looks[state.look](chosen)));
  if (focused) (focused.querySelector("[aria-pressed=true]") ?? focused).focus({ preventScroll: true });
}

/** The box of this section that holds what is focused, so that the keyboard goes on there after a change. */
function focusedBox() {
  return ["fails-view", "fails-shots", "fails-looks"].map(byId).find((box) => box.contains(document.activeElement));
}

function shotName(view) {
  return `frame ${view.shot.frame}${view.shot.crops.length > 1 ? `, ${view.shot.crops.indexOf(view.crop) ? "worst part" : "difference"}` : ""}`;
}

function chipFor(text, pressed, click) {
  return el("button", { type: "button", class: "chip", "aria-pressed": String(pressed), click }, el("span", {}, text));
}

/** The small picture of the whole frame, with the place of the crop. */
function wholeFrame({ one, view }) {
  const [[width, height], [x, y, w, h]] = [view.shot.size, view.crop.place];
  const name = `The whole frame ${view.shot.frame} of ${one.sequence}, with the place of the crop`;
  const unit = Math.max(width, height) / 160;
  return el("figure", { class: "whole" }, svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name },
    svg("image", { href: view.shot.whole, width, height }),
    svg("rect", { class: "place under", x, y, width: w, height: h, "stroke-width": 2 * unit }),
    svg("rect", { class: "place", x, y, width: w, height: h, "stroke-width": unit })), el("figcaption", {}, "whole frame"));
}

/** The name of the original, of A or of B, and for a codec its rate and the quality of this frame. */
function sideName(one, side) {
  return side === 0 ? "Original" : `${SERIES[one.series[side - 1]].label} ${one.sides[side - 1].point}`;
}

function sideCaption({ one, view }, side) {
  if (side === 0) return el("figcaption", {}, el("strong", {}, "Original"));
  const values = `${one.sides[side - 1].bpp.toFixed(4)} bpp, ${view.shot.quality[side - 1].toFixed(2)} dB`;
  const open = el("button", { type: "button", class: "plain", title: "Its record", click: () => update({ record: one.ids[side - 1] }) },
    swatch(one.series[side - 1]), ` ${sideName(one, side)}`);
  return el("figcaption", {}, el("strong", {}, open), el("span", {}, values));
}

function picture({ one, view }, side) {
  const alt = `${sideName(one, side)}, frame ${view.shot.frame}, ${view.crop.what}`;
  return el("img", { src: view.crop.images[side], alt, width: view.crop.place[2], height: view.crop.place[3] });
}

function sideLook(chosen) {
  return [0, 1, 2].map((side) => el("figure", { class: "pixels" }, picture(chosen, side), sideCaption(chosen, side)));
}

/** A list of what slider and flicker compare. */
function twoSelect({ one }) {
  const options = TWO.map(([left, right], place) => el("option", { value: place, selected: place === viewer.two }, `${sideName(one, left)} | ${sideName(one, right)}`));
  return el("label", {}, "Compare ", el("select", { id: "fails-two", change: (event) => { viewer.two = Number(event.target.value); drawFails(); } }, ...options));
}

function sliderLook(chosen) {
  const [left, right] = TWO[viewer.two];
  const above = picture(chosen, right);
  above.classList.add("above");
  const range = el("input", { type: "range", id: "fails-range", min: 0, max: 100, step: 1, value: viewer.position, "aria-label": "Border between both" });
  const line = el("span", { class: "border" });
  const show = () => {
    viewer.position = Number(range.value);
    above.style.clipPath = `inset(0 0 0 ${viewer.position}%)`;
    line.style.left = `${viewer.position}%`;
  };
  range.addEventListener("input", show);
  show();
  const stack = el("div", { class: "stack", pointermove: (event) => {
    if (event.pointerType === "touch" || event.buttons) range.value = slide(event, stack);
    if (event.buttons) show();
  }, pointerdown: (event) => { range.value = slide(event, stack); show(); } }, picture(chosen, left), above, line);
  return [el("figure", { class: "pixels large" }, stack, range, twoCaptions(chosen, left, right)), el("div", {}, twoSelect(chosen))];
}

function slide(event, stack) {
  const box = stack.getBoundingClientRect();
  return Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width));
}

function twoCaptions(chosen, left, right) {
  return el("div", { class: "ends-of" }, sideCaption(chosen, left), sideCaption(chosen, right));
}

function flickerLook(chosen) {
  const side = TWO[viewer.two][viewer.second ? 1 : 0];
  const play = el("button", { type: "button", id: "fails-play", click: () => (viewer.timer === null ? playFlicker() : stopFlicker()) }, "Play");
  const image = picture(chosen, side);
  image.addEventListener("click", swapFlicker);
  return [el("figure", { class: "pixels large", id: "fails-flicker" }, image, sideCaption(chosen, side)),
    el("div", { class: "column" }, twoSelect(chosen), el("button", { type: "button", id: "fails-swap", click: swapFlicker }, "Swap"), play)];
}

/** Shows the other one of the two, and leaves the buttons as they are. */
function swapFlicker() {
  viewer.second = !viewer.second;
  const chosen = chosenFail();
  const side = TWO[viewer.two][viewer.second ? 1 : 0];
  byId("fails-flicker").replaceChildren(picture(chosen, side), sideCaption(chosen, side));
  byId("fails-flicker").firstChild.addEventListener("click", swapFlicker);
}

function playFlicker() {
  viewer.timer = setInterval(swapFlicker, FLICKER_MS);
  byId("fails-play").textContent = "Stop";
}

function stopFlicker() {
  if (viewer.timer === null) return;
  clearInterval(viewer.timer);
  viewer.timer = null;
  if (byId("fails-play")) byId("fails-play").textContent = "Play";
}

/** Two maps of the difference from the original, computed here, since the crops are without loss. */
function errorLook(chosen) {
  const [, , width, height] = chosen.view.crop.place;
  const canvases = [1, 2].map((side) => {
    const name = `Error map of ${sideName(chosen.one, side)}, frame ${chosen.view.shot.frame}`;
    return el("canvas", { width, height, role: "img", "aria-label": name });
  });
  const hint = el("p", { class: "hint" });
  paintErrors(canvases, hint, chosen.view.crop.images);
  const figures = canvases.map((canvas, place) => el("figure", { class: "pixels" }, canvas, sideCaption(chosen, place + 1)));
  return [el("figure", { class: "pixels" }, picture(chosen, 0), sideCaption(chosen, 0)), ...figures, hint];
}

/** Paints both maps with one gain: the largest power of two with which few pixels of the worse one are clipped. */
async function paintErrors(canvases, hint, images) {
  const { width, height } = canvases[0];
  const [original, ...decoded] = await Promise.all(images.map((source) => pixelsOf(source, width, height)));
  const errors = decoded.map((pixels) => errorsOf(original, pixels));
  const high = Math.max(...errors.map((values) => Float32Array.from(values).sort()[Math.floor(0.995 * (values.length - 1))]), 1);
  const gain = 2 ** Math.max(0, Math.floor(Math.log2(255 / high)));
  hint.textContent = `Absolute difference from the original, mean of R, G and B, times ${gain} in both maps: black is none, white is ${Math.floor(255 / gain)} of 255 or more.`;
  canvases.forEach((canvas, place) => paintMap(canvas, errors[place], gain));
}

/** The error of each pixel, from 0 to 255. */
function errorsOf(a, b) {
  const errors = new Float32Array(a.length / 4);
  for (let pixel = 0; pixel < errors.length; pixel += 1) {
    const at = 4 * pixel;
    errors[pixel] = (Math.abs(a[at] - b[at]) + Math.abs(a[at + 1] - b[at + 1]) + Math.abs(a[at + 2] - b[at + 2])) / 3;
  }
  return errors;
}

function paintMap(canvas, errors, gain) {
  const map = new ImageData(canvas.width, canvas.height);
  errors.forEach((error, pixel) => map.data.set([gain * error, gain * error, gain * error, 255], 4 * pixel));
  canvas.getContext("2d").putImageData(map, 0, 0);
}

/** The samples of an image: R, G, B and opacity of each pixel. */
async function pixelsOf(source, width, height) {
  const image = new Image(width, height);
  image.src = source;
  await image.decode();
  const context = el("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, width, height).data;
}

/** Keys of the view: 1 to 4 how it is shown, n and p the next or previous part, arrows and space within it. */
function failKeys(event) {
  if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const chosen = chosenFail();
  const look = LOOKS[Number(event.key) - 1];
  const step = { n: 1, p: -1 }[event.key];
  if (look) update({ look: look[0] });
  else if (step) {
    const place = (chosen.views.indexOf(chosen.view) + step + chosen.views.length) % chosen.views.length;
    update({ shot: chosen.views[place].key });
  } else if (state.look === "slider" && event.target.tagName !== "INPUT" && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    const range = byId("fails-range");
    range.value = Number(range.value) + (event.key === "ArrowLeft" ? -5 : 5);
    range.dispatchEvent(new Event("input"));
  } else if (state.look === "flicker" && (event.key === " " || event.key.startsWith("Arrow")) && event.target.tagName !== "BUTTON") swapFlicker();
  else return;
  event.preventDefault();
}

function wireFails() {
  byId("fails-pair").addEventListener("change", (event) => update({ pair: event.target.value, shot: "" }));
  byId("fails-view").addEventListener("keydown", failKeys);
}
