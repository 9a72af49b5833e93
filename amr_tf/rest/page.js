"use strict";
// The page requests the code of each image once, keeps it, and sends codes to the server to mix.

const LETTERS = ["A", "B", "C"];
const MOST_DRAWN = 2 ** 24; // Pixels; mobile browsers draw no larger canvas.
const AS_IT_IS = {fit: "stretch", crop: null, background: "black"}; // For prepared images.
const CUTS = {
  crop: "the middle square is cut out and made",
  pad: "a picture is padded to a square and made",
  stretch: "a picture is stretched to",
};
const CUT = {fit: "crop", crop: null, background: "black"}; // If the export has no preprocessing.
const WAIT = 25; // Milliseconds to wait for further changes before a mix is requested.

const $ = (id) => document.getElementById(id);
let model; // The response of /api/model.
let slots = []; // One per image: {element, canvas, code, number}; number counts its images.
let target = 0; // The slot for the next example.
// One weight per image, not normalised.
let weights = [0.5, 0.5];
let layouts = [1, 0]; // For models that mix layout and look separately.
let looks = [0, 1];
let mapOrder = []; // Feature maps in the order in which images take them.

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function tell(sentence) {
  $("error").textContent = sentence;
  $("error").hidden = !sentence;
}

// --- The server ---

async function predict(signature, inputs) {
  const path = `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
  const started = performance.now();
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({signature_name: signature, inputs}),
    });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const answer = await response.json();
  if (response.status === 404) throw new Error(`${answer.error} Reload the page.`);
  if (!response.ok) throw new Error(answer.error);
  const timing = /dur=([\d.]+)/.exec(response.headers.get("Server-Timing") || "");
  return {
    outputs: answer.outputs,
    milliseconds: performance.now() - started,
    model: timing ? Number(timing[1]) : 0,
  };
}

// Returns a function that never runs twice at a time: calls during a run cause one more run.
function latestOnly(work) {
  let running = false;
  let again = false;
  let timer;
  async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await work();
    } catch (error) {
      tell(error.message);
    }
    running = false;
    if (again) {
      again = false;
      run();
    }
  }
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, WAIT);
  };
}

// --- Images ---

// Paints an image given as nested lists, H x W x C in [-1, 1]; one channel is grey.
function paint(canvas, image) {
  const [height, width, channels] = model.image_shape;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  image.flat().forEach((values, index) => {
    for (let channel = 0; channel < 3; channel += 1) {
      pixels.data[4 * index + channel] = (values[channels >= 3 ? channel : 0] + 1) * 127.5;
    }
    pixels.data[4 * index + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
}

// Returns the part of a picture that the model sees, [left, top, width, height], and the size to
// draw it at, [width, height], according to the model's preprocessing in training.
function placed(picture, {fit, crop}) {
  const [height, width] = model.image_shape;
  let part = [0, 0, picture.width, picture.height];
  const cut = (cutWidth, cutHeight) => {
    const left = part[0] + Math.floor((part[2] - cutWidth) / 2);
    part = [left, part[1] + Math.floor((part[3] - cutHeight) / 2), cutWidth, cutHeight];
  };
  if (crop) {
    if (crop > Math.min(picture.width, picture.height)) {
      throw new Error(`The picture has ${picture.width} × ${picture.height} pixels; the model `
        + `needs ${crop} × ${crop}.`);
    }
    cut(crop, crop);
  }
  if (fit === "pad") {
    const scale = Math.min(width / part[2], height / part[3]);
    const inner = [part[2], part[3]].map((side) => Math.max(1, Math.floor(side * scale + 0.5)));
    return {part, inner};
  }
  if (fit === "crop") {
    const scale = Math.min(part[2] / width, part[3] / height);
    cut(Math.max(1, Math.floor(width * scale)), Math.max(1, Math.floor(height * scale)));
  }
  return {part, inner: [width, height]};
}

// Returns the weights for resizing `size` pixels to `out`: each new pixel is a weighted mean of the
// old ones from `first` on, with the triangular weights that the library resizes with.
function triangles(size, out) {
  const scale = size / out;
  const support = Math.max(1, scale);
  return Array.from({length: out}, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - support + 0.5));
    const end = Math.min(size, Math.floor(center + support + 0.5));
    const shares = Array.from({length: end - first}, (__, i) => (
      Math.max(0, 1 - Math.abs((first + i + 0.5 - center) / support))));
    const sum = shares.reduce((total, share) => total + share, 0);
    return {first, shares: shares.map((share) => share / sum)};
  });
}

// Resizes RGBA pixels with antialiasing. A canvas' own smoothing differs between browsers.
function resized(pixels, [width, height], [outWidth, outHeight]) {
  const rows = new Float32Array(height * outWidth * 4);
  triangles(width, outWidth).forEach(({first, shares}, x) => {
    for (let y = 0; y < height; y += 1) {
      for (let channel = 0; channel < 4; channel += 1) {
        let sum = 0;
        for (let i = 0; i < shares.length; i += 1) { // Faster than forEach.
          sum += shares[i] * pixels[4 * (y * width + first + i) + channel];
        }
        rows[4 * (y * outWidth + x) + channel] = sum;
      }
    }
  });
  const result = new Uint8ClampedArray(outHeight * outWidth * 4);
  triangles(height, outHeight).forEach(({first, shares}, y) => {
    for (let value = 0; value < 4 * outWidth; value += 1) {
      let sum = 0;
      for (let i = 0; i < shares.length; i += 1) {
        sum += shares[i] * rows[4 * (first + i) * outWidth + value];
      }
      result[4 * y * outWidth + value] = sum; // The array rounds and clips.
    }
  });
  return result;
}

// Draws a picture as the model sees it; the browser has already turned it upright.
function drawPrepared(canvas, picture, preprocessing) {
  const [height, width, channels] = model.image_shape;
  const {part, inner} = placed(picture, preprocessing);
  const scale = Math.min(1, Math.sqrt(MOST_DRAWN / (part[2] * part[3])));
  const drawn = [part[2], part[3]].map((side) => Math.max(1, Math.floor(side * scale)));
  const whole = make("canvas", {width: drawn[0], height: drawn[1]});
  const source = whole.getContext("2d", {willReadFrequently: true});
  source.fillStyle = preprocessing.background;
  source.fillRect(0, 0, ...drawn);
  source.imageSmoothingEnabled = scale !== 1;
  source.imageSmoothingQuality = "high";
  source.drawImage(picture, ...part, 0, 0, ...drawn);
  const pixels = resized(source.getImageData(0, 0, ...drawn).data, drawn, inner);
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.fillStyle = preprocessing.background;
  context.fillRect(0, 0, width, height);
  context.putImageData(new ImageData(pixels, ...inner),
    Math.floor((width - inner[0]) / 2), Math.floor((height - inner[1]) / 2));
  canvas.classList.toggle("grey", channels === 1);
}

// Returns RGBA pixels as nested lists, H x W x C, with the model's channels; one is luminance.
function nested(pixels) {
  const [height, width, channels] = model.image_shape;
  return Array.from({length: height}, (_, y) => Array.from({length: width}, (__, x) => {
    const values = Array.from(pixels.slice(4 * (y * width + x), 4 * (y * width + x) + 4));
    if (channels !== 1) return values.slice(0, channels);
    return [Math.round(0.299 * values[0] + 0.587 * values[1] + 0.114 * values[2])];
  }));
}

async function readPicture(file) {
  if (!["image/png", "image/jpeg"].includes(file.type)) {
    throw new Error(`${file.name} is neither PNG nor JPEG.`);
  }
  if (file.size > model.limits.upload_bytes) {
    const most = Math.floor(model.limits.upload_bytes / 2 ** 20);
    throw new Error(`${file.name} is larger than ${most} MB.`);
  }
  try {
    return await createImageBitmap(file, {imageOrientation: "from-image"}); // EXIF orientation.
  } catch {
    throw new Error(`${file.name} cannot be read as an image.`);
  }
}

async function putPicture(slot, picture, preprocessing) {
  slot.number += 1;
  const number = slot.number;
  drawPrepared(slot.canvas, picture, preprocessing);
  slot.code = null;
  const [height, width] = model.image_shape;
  const {data} = slot.canvas.getContext("2d").getImageData(0, 0, width, height);
  const {outputs} = await predict("encode_uint8", {images: [nested(data)]});
  if (slot.number !== number) return; // Another image has replaced this one.
  slot.code = outputs[0];
  changed();
}

async function putFile(slot, file) {
  try {
    tell("");
    await putPicture(slot, await readPicture(file), model.preprocessing || CUT);
  } catch (error) {
    tell(error.message);
  }
}

// --- Slots ---

function addSlot() {
  const index = slots.length;
  const letter = LETTERS[index];
  const canvas = make("canvas", {width: 1, height: 1});
  const file = make("input", {type: "file", accept: "image/png,image/jpeg"});
  file.setAttribute("aria-label", `Upload image ${letter}`);
  const choose = make("button", {type: "button", className: "choose"}, canvas, letter);
  choose.setAttribute("aria-label", `Image ${letter}: choose for the next example`);
  const element = make("div", {className: "slot"}, choose,
    make("label", {className: "button"}, "Upload", file));
  const slot = {element, canvas, choose, code: null, number: 0};
  choose.addEventListener("click", () => aim(index));
  file.addEventListener("change", () => {
    if (file.files.length) putFile(slot, file.files[0]);
    file.value = ""; // Allows choosing the same file again.
  });
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("dropping");
  });
  element.addEventListener("dragleave", () => element.classList.remove("dropping"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("dropping");
    if (event.dataTransfer.files.length) putFile(slot, event.dataTransfer.files[0]);
  });
  slots.push(slot);
  $("slots").insertBefore(element, $("third"));
}

function aim(index) {
  target = index;
  slots.forEach((slot, i) => slot.choose.setAttribute("aria-pressed", String(i === index)));
  $("target").textContent = LETTERS[index];
}

function toggleThird() {
  if (slots.length === 2) {
    addSlot();
    aim(2);
  } else {
    slots.pop().element.remove();
    aim(0);
  }
  $("third").textContent = slots.length === 2 ? "Add image C" : "Remove image C";
  startWeights();
  drawSliders();
  changed();
}

function startWeights() {
  weights = slots.map(() => 0.5);
  // The layout of the first image with the look of the last.
  layouts = slots.map((slot, i) => (i ? 0 : 1));
  looks = slots.map((slot, i) => (i === slots.length - 1 ? 1 : 0));
}

async function loadExamples() {
  const response = await fetch("api/examples.png");
  const row = await createImageBitmap(await response.blob());
  const [height, width] = model.image_shape;
  const pictures = [];
  for (let left = 0; left < row.width; left += width) {
    pictures.push(await createImageBitmap(row, left, 0, width, height));
  }
  pictures.forEach((picture, index) => {
    const canvas = make("canvas");
    drawPrepared(canvas, picture, AS_IT_IS);
    const button = make("button", {type: "button"}, canvas);
    button.setAttribute("aria-label", `Example ${index + 1}`);
    button.addEventListener("click", () => {
      const slot = slots[target];
      aim((target + 1) % slots.length);
      tell("");
      putPicture(slot, picture, AS_IT_IS).catch((error) => tell(error.message));
    });
    $("examples").append(button);
  });
  $("examples-box").hidden = false;
  await Promise.all(slots.map((slot, i) => (
    putPicture(slot, pictures[i % pictures.length], AS_IT_IS))));
}

// --- Mixing ---

function shares(values) {
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => (sum ? value / sum : 1 / values.length));
}

function drawSliders() {
  $("sliders").replaceChildren();
  if (mode() === "mix_looks") {
    drawSliderGroup(layouts, "layout", "Layout: what lies where");
    drawSliderGroup(looks, "look", "Look: colours and contrast");
  } else {
    drawSliderGroup(weights, "image");
  }
}

// Draws sliders that change a set of weights in place; `of` names the set for screen readers.
function drawSliderGroup(values, of, title) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const named = (letter) => (of === "image" ? `image ${letter}` : `image ${letter}: ${of}`);
  if (title) $("sliders").append(make("p", {className: "group"}, title));
  if (slots.length === 2) {
    const input = make("input",
      {type: "range", min: 0, max: 100, value: 100 * shares(values)[1]});
    const output = make("output", {}, percent(shares(values)[1]));
    input.setAttribute("aria-label", `Share of ${named("B")}`);
    input.addEventListener("input", () => {
      values[0] = 1 - input.value / 100;
      values[1] = input.value / 100;
      output.textContent = percent(values[1]);
      changed();
    });
    $("sliders").append(make("div", {className: "slider two"}, "A", input, "B"),
      make("p", {className: "hint"}, output, " of B"));
    return;
  }
  const outputs = slots.map(() => make("output"));
  const show = () => {
    shares(values).forEach((share, i) => { outputs[i].textContent = percent(share); });
  };
  slots.forEach((slot, i) => {
    const input = make("input", {type: "range", min: 0, max: 100, value: 100 * values[i]});
    input.setAttribute("aria-label", `Weight of ${named(LETTERS[i])}`);
    input.addEventListener("input", () => {
      values[i] = input.value / 100;
      show();
      changed();
    });
    $("sliders").append(make("div", {className: "slider"}, LETTERS[i], input, outputs[i]));
  });
  show();
}

function mode() {
  return document.querySelector("input[name=mode]:checked").value;
}

function shuffleMaps() {
  mapOrder = Array.from({length: model.latent_shape.at(-1)}, (_, map) => map);
  for (let i = mapOrder.length - 1; i > 0; i -= 1) {
    const j = Math.floor(Math.random() * (i + 1));
    [mapOrder[i], mapOrder[j]] = [mapOrder[j], mapOrder[i]];
  }
}

// Returns 1 or 0 for each image and feature map: each image takes its share of the maps in turn.
function masks(parts) {
  const rows = parts.map(() => mapOrder.map(() => 0));
  mapOrder.forEach((map, place) => {
    let reached = 0;
    const position = (place + 0.5) / mapOrder.length;
    const owner = parts.findIndex((part) => {
      reached += part;
      return position <= reached;
    });
    rows[owner < 0 ? parts.length - 1 : owner][map] = 1;
  });
  return rows;
}

// Returns a signature's inputs, with one mix for each entry of `parts` (`lookParts` for looks).
function mixInputs(codes, parts, lookParts = parts) {
  const stacks = parts.map(() => codes);
  if (mode() === "mix_looks") return {codes: stacks, layouts: parts, looks: lookParts};
  return {codes: stacks, coefficients: mode() === "mix" ? parts : parts.map(masks)};
}

function ready() {
  return slots.every((slot) => slot.code !== null);
}

const mixNow = latestOnly(async () => {
  if (!ready()) return;
  const codes = slots.map((slot) => slot.code);
  const parts = mode() === "mix_looks" ? layouts : weights;
  const answer = await predict(mode(), mixInputs(codes, [shares(parts)], [shares(looks)]));
  paint($("mix"), answer.outputs[0]);
  $("latency").textContent =
    `${Math.round(answer.milliseconds)} ms, of which the model ${answer.model.toFixed(1)} ms`;
  tell("");
});

function changed() {
  $("draw").disabled = !ready();
  mixNow();
}

function strip(first, second, steps) {
  const parts = Array.from({length: steps}, (_, i) => [1 - i / (steps - 1), i / (steps - 1)]);
  return predict(mode(), mixInputs([slots[first].code, slots[second].code], parts));
}

const drawStrips = latestOnly(async () => {
  const pairs = slots.length === 2 ? [[0, 1]] : [[0, 1], [1, 2], [2, 0]];
  const steps = Number($("steps").value);
  const rows = [];
  for (const [first, second] of pairs) {
    const {outputs} = await strip(first, second, steps);
    const canvases = outputs.map((image) => {
      const canvas = make("canvas");
      paint(canvas, image);
      return canvas;
    });
    const row = make("div", {className: "strip"}, make("span", {}, LETTERS[first]), ...canvases,
      make("span", {}, LETTERS[second]));
    row.setAttribute("role", "img");
    row.setAttribute("aria-label",
      `${steps} images from ${LETTERS[first]} to ${LETTERS[second]}`);
    rows.push(row);
  }
  $("strips").replaceChildren(...rows);
  tell("");
});

// --- Start ---

function describe() {
  const [height, width] = model.image_shape;
  const codes = model.latent_shape.join(" × ");
  const parts = [
    `version ${model.version}`,
    model.method && `method ${model.method}`,
    model.mixer && `mixer ${model.mixer}${model.k ? `, k = ${model.k}` : ""}`,
    model.dataset && `trained on ${model.dataset}`,
    `images ${model.image_shape.join(" × ")}`,
    `codes ${codes}`,
  ];
  $("name").textContent = model.name;
  $("about").textContent = parts.filter(Boolean).join(" · ");
  $("size").textContent = `${width} × ${height}`;
  $("cut").textContent = CUTS[(model.preprocessing || CUT).fit];
  document.title = `Mix images: ${model.name}`;
}

async function start() {
  model = await (await fetch("api/model")).json();
  describe();
  const missing = ["encode_uint8", "mix"].filter((name) => !model.signatures.includes(name));
  if (missing.length || model.image_shape.length !== 3) {
    document.querySelectorAll("section").forEach((section) => { section.hidden = true; });
    throw new Error("This model cannot mix pictures here (it was exported without the signatures "
      + `${missing.join(" and ")}); the JSON API answers all that it has.`);
  }
  $("slots").append(make("button", {type: "button", id: "third"}, "Add image C"));
  $("third").addEventListener("click", toggleThird);
  addSlot();
  addSlot();
  aim(0);
  shuffleMaps();
  const hasLooks = model.signatures.includes("mix_looks");
  $("looks-mode").hidden = !hasLooks;
  document.querySelector("input[value=mix_looks]").checked = hasLooks;
  startWeights();
  drawSliders();
  $("modes").hidden = !hasLooks && !model.signatures.includes("mix_maps");
  $("modes").addEventListener("change", () => {
    $("redraw").hidden = mode() !== "mix_maps";
    drawSliders();
    changed();
  });
  $("redraw").addEventListener("click", () => {
    shuffleMaps();
    changed();
  });
  $("draw").addEventListener("click", drawStrips);
  if (model.examples) await loadExamples();
}

start().catch((error) => tell(error.message));
