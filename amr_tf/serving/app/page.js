"use strict";
// The page asks the server for codes once an image, keeps them, and sends them back to be mixed.

const LETTERS = ["A", "B", "C"];
const WAIT = 25; // Milliseconds that a slider may move on before a mix is asked for.

const $ = (id) => document.getElementById(id);
let model; // What /api/model says.
let slots = []; // One an image: {element, canvas, code, number}; number of its latest image.
let target = 0; // The slot that the next example goes to.
let weights = [0.5, 0.5]; // Before they are made to sum to 1.
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
  const path = `/v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
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
  if (!response.ok) throw new Error(answer.error);
  const timing = /dur=([\d.]+)/.exec(response.headers.get("Server-Timing") || "");
  return {
    outputs: answer.outputs,
    milliseconds: performance.now() - started,
    model: timing ? Number(timing[1]) : 0,
  };
}

// Runs a function again after it has run, if it was called meanwhile: at most one at a time.
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

// Paints an image of nested lists, H x W x C in [-1, 1]; one channel is grey.
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

// Draws the middle of a picture, in the model's proportions and size, on black.
function drawMiddle(canvas, picture) {
  const [height, width, channels] = model.image_shape;
  const scale = Math.min(picture.width / width, picture.height / height);
  const cut = [width * scale, height * scale];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "black";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = scale !== 1;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (picture.width - cut[0]) / 2, (picture.height - cut[1]) / 2, ...cut,
    0, 0, width, height);
  canvas.classList.toggle("grey", channels === 1);
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
    return await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} cannot be read as an image.`);
  }
}

async function putPicture(slot, picture) {
  slot.number += 1;
  const number = slot.number;
  drawMiddle(slot.canvas, picture);
  slot.code = null;
  const png = slot.canvas.toDataURL("image/png").split(",")[1];
  const {outputs} = await predict("encode_png", {png_bytes: [{b64: png}]});
  if (slot.number !== number) return; // Another image came in meanwhile.
  slot.code = outputs[0];
  changed();
}

async function putFile(slot, file) {
  try {
    tell("");
    await putPicture(slot, await readPicture(file));
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
    file.value = ""; // The same file can be chosen again.
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
  weights = slots.length === 2 ? [0.5, 0.5] : [0.5, 0.5, 0.5];
  drawSliders();
  changed();
}

async function loadExamples() {
  const response = await fetch("/api/examples.png");
  const row = await createImageBitmap(await response.blob());
  const [height, width] = model.image_shape;
  const pictures = [];
  for (let left = 0; left < row.width; left += width) {
    pictures.push(await createImageBitmap(row, left, 0, width, height));
  }
  pictures.forEach((picture, index) => {
    const canvas = make("canvas");
    drawMiddle(canvas, picture);
    const button = make("button", {type: "button"}, canvas);
    button.setAttribute("aria-label", `Example ${index + 1}`);
    button.addEventListener("click", () => {
      const slot = slots[target];
      aim((target + 1) % slots.length);
      tell("");
      putPicture(slot, picture).catch((error) => tell(error.message));
    });
    $("examples").append(button);
  });
  $("examples-box").hidden = false;
  await Promise.all(slots.map((slot, i) => putPicture(slot, pictures[i % pictures.length])));
}

// --- Mixing ---

function shares() {
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => (sum ? weight / sum : 1 / weights.length));
}

function drawSliders() {
  $("sliders").replaceChildren();
  const percent = (share) => `${Math.round(100 * share)} %`;
  if (slots.length === 2) {
    const input = make("input", {type: "range", min: 0, max: 100, value: 100 * shares()[1]});
    const output = make("output", {}, percent(shares()[1]));
    input.setAttribute("aria-label", "Share of image B");
    input.addEventListener("input", () => {
      weights = [1 - input.value / 100, input.value / 100];
      output.textContent = percent(weights[1]);
      changed();
    });
    $("sliders").append(make("div", {className: "slider two"}, "A", input, "B"),
      make("p", {className: "hint"}, output, " of B"));
    return;
  }
  const outputs = slots.map(() => make("output"));
  const show = () => shares().forEach((share, i) => { outputs[i].textContent = percent(share); });
  slots.forEach((slot, i) => {
    const input = make("input", {type: "range", min: 0, max: 100, value: 100 * weights[i]});
    input.setAttribute("aria-label", `Weight of image ${LETTERS[i]}`);
    input.addEventListener("input", () => {
      weights[i] = input.value / 100;
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

// For each image and feature map 1 or 0: the images take their shares of the maps one after another.
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

function mixInputs(codes, parts) {
  return {
    codes: parts.map(() => codes),
    coefficients: mode() === "mix" ? parts : parts.map(masks),
  };
}

function ready() {
  return slots.every((slot) => slot.code !== null);
}

const mixNow = latestOnly(async () => {
  if (!ready()) return;
  const codes = slots.map((slot) => slot.code);
  const answer = await predict(mode(), mixInputs(codes, [shares()]));
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
  document.title = `Mix images: ${model.name}`;
}

async function start() {
  model = await (await fetch("/api/model")).json();
  describe();
  const missing = ["encode_png", "mix"].filter((name) => !model.signatures.includes(name));
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
  drawSliders();
  $("modes").hidden = !model.signatures.includes("mix_maps");
  $("modes").addEventListener("change", () => {
    $("redraw").hidden = mode() === "mix";
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
