"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector) => document.querySelector(selector);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const ORIGINAL = "original";
const viewer = find(".viewer"), stage = find(".stage"), divider = find(".divider");
const layers = [find(".layer.left"), find(".layer.right")];
const sides = [find(".side.left"), find(".side.right")];
const selects = sides.map((side) => side.querySelector("select"));
const names = data.rates[0].versions.map((version) => version.name);

// What is seen: the rate, a version on each side, where the divider is (a share of the width), the scale (CSS pixels a
// pixel of the picture), and which point of the picture is in the middle of the stage.
const view = { rate: data.rates.length >> 1, names: [names[0], names[1] ?? ORIGINAL], split: 0.5, scale: 1, x: 0, y: 0 };

// ---- versions

const pictures = new Map();
async function picture(src) {
  if (!pictures.has(src)) {
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    image.src = src;
    pictures.set(src, image.decode().then(() => image));
  }
  return pictures.get(src);
}

async function showVersion(side) {
  const name = view.names[side];
  const version = data.rates[view.rate].versions.find((each) => each.name === name);
  selects[side].value = name;
  sides[side].querySelector("span").textContent = version ? version.facts : "without loss";
  const image = await picture(version ? version.src : data.original);
  if (view.names[side] !== name) return;
  // One element cannot be on both sides.
  layers[side].replaceChildren(image.parentNode === layers[1 - side] ? image.cloneNode() : image);
  place();
}

function showRate() {
  for (const [index, button] of [...find(".rates").children].entries()) {
    button.setAttribute("aria-checked", index === view.rate);
    button.tabIndex = index === view.rate ? 0 : -1;
  }
  for (const point of document.querySelectorAll("[data-point]"))
    point.classList.toggle("chosen", Number(point.dataset.point) === view.rate);
  for (const [index, row] of [...document.querySelectorAll("tbody tr")].entries()) {
    row.classList.toggle("first", index > 0 && index % names.length === 0);
    row.classList.toggle("chosen", Math.floor(index / names.length) === view.rate);
  }
  showVersion(0);
  showVersion(1);
}

// ---- zoom

let fitted = true; // stays so when the window changes
const fit = () => Math.min(stage.clientWidth / data.width, stage.clientHeight / data.height);

function place() {
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  const halfWidth = width / 2 / view.scale, halfHeight = height / 2 / view.scale;
  view.x = 2 * halfWidth >= data.width ? data.width / 2 : clamp(view.x, halfWidth, data.width - halfWidth);
  view.y = 2 * halfHeight >= data.height ? data.height / 2 : clamp(view.y, halfHeight, data.height - halfHeight);
  const left = width / 2 - view.x * view.scale, top = height / 2 - view.y * view.scale;
  for (const image of stage.querySelectorAll("img"))
    image.style.transform = `translate(${left}px, ${top}px) scale(${view.scale})`;
  const share = 100 * view.split;
  layers[1].style.clipPath = `inset(0 0 0 ${share}%)`;
  layers[0].style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  divider.style.left = `${share}%`;
  divider.setAttribute("aria-valuenow", Math.round(share));
  stage.classList.toggle("zoomed", view.scale > 1.001 * fit());
  stage.classList.toggle("pixels", view.scale >= 2);
  find(".zoom output").textContent = `${Math.round(100 * view.scale)} %`;
}

// The point of the picture under (x, y), in pixels of the stage, stays where it is.
function zoom(scale, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const least = fit();
  const next = clamp(scale, least, Math.max(16, least));
  view.x += (x - stage.clientWidth / 2) * (1 / view.scale - 1 / next);
  view.y += (y - stage.clientHeight / 2) * (1 / view.scale - 1 / next);
  view.scale = next;
  fitted = next === least;
  place();
}

function split(share) {
  view.split = clamp(share, 0, 1);
  place();
}

const zooms = {
  in: () => zoom(view.scale * 1.5),
  out: () => zoom(view.scale / 1.5),
  fit: () => zoom(0),
  full: () => zoom(1),
};

// ---- pointers: one moves the divider, or the picture where it is larger than the stage; two zoom

const pointers = new Map();
let dividing = false;

function at(event) {
  const box = stage.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pointers.set(event.pointerId, at(event));
  stage.setPointerCapture(event.pointerId);
  dividing = pointers.size === 1 && (divider.contains(event.target) || !stage.classList.contains("zoomed"));
  if (dividing) split(at(event).x / stage.clientWidth);
  (dividing ? divider : stage).focus({ preventScroll: true });
  event.preventDefault();
});

stage.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = at(event);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  pointers.set(event.pointerId, now);
  if (other) {
    const ratio = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    zoom(view.scale * ratio, (now.x + other.x) / 2, (now.y + other.y) / 2);
  } else if (dividing) {
    split(now.x / stage.clientWidth);
    return;
  }
  const share = other ? 2 : 1;
  view.x -= (now.x - before.x) / view.scale / share;
  view.y -= (now.y - before.y) / view.scale / share;
  place();
});

for (const name of ["pointerup", "pointercancel"])
  stage.addEventListener(name, (event) => pointers.delete(event.pointerId));

stage.addEventListener("wheel", (event) => {
  // A plain wheel scrolls the page; a pinch on a touchpad comes as a wheel with Ctrl.
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const { x, y } = at(event);
  zoom(view.scale * Math.exp(-event.deltaY / 200), x, y);
}, { passive: false });

stage.addEventListener("dblclick", (event) => {
  const { x, y } = at(event);
  zoom(stage.classList.contains("zoomed") ? 0 : Math.max(2, 2 * fit()), x, y);
});

// ---- keys

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

divider.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 0.1 : 0.01;
  const to = {
    ArrowLeft: view.split - step, ArrowRight: view.split + step, ArrowUp: view.split + step, ArrowDown: view.split - step,
    PageUp: view.split + 0.1, PageDown: view.split - 0.1, Home: 0, End: 1,
  }[event.key];
  if (to === undefined) return;
  split(to);
  event.preventDefault();
  event.stopPropagation();
});

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key];
  if (event.key === "+" || event.key === "=") zooms.in();
  else if (event.key === "-") zooms.out();
  else if (event.key === "0") zooms.fit();
  else if (event.key === "1") zooms.full();
  else if (arrow && stage.classList.contains("zoomed")) {
    view.x += 60 * arrow[0] / view.scale;
    view.y += 60 * arrow[1] / view.scale;
    place();
  } else return;
  event.preventDefault();
});

// ---- controls

function choose(rate) {
  view.rate = clamp(rate, 0, data.rates.length - 1);
  showRate();
}

for (const [index, rate] of data.rates.entries()) {
  const button = document.createElement("button");
  button.textContent = rate.label;
  button.setAttribute("role", "radio");
  button.addEventListener("click", () => choose(index));
  button.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    choose(view.rate + arrow[0] + arrow[1]);
    find(".rates").children[view.rate].focus();
    event.preventDefault();
  });
  find(".rates").append(button);
}
for (const [side, select] of selects.entries()) {
  select.append(...[ORIGINAL, ...names].map((name) => new Option(name, name)));
  select.addEventListener("change", () => {
    view.names[side] = select.value;
    showVersion(side);
  });
}
for (const button of document.querySelectorAll("[data-zoom]"))
  button.addEventListener("click", zooms[button.dataset.zoom]);

find(".plots").classList.add("pick");
for (const point of document.querySelectorAll("[data-point]"))
  point.addEventListener("click", () => {
    const name = names[point.dataset.line];
    view.names = name === names[0] ? [name, view.names[1]] : [view.names[0], name];
    choose(Number(point.dataset.point));
  });

viewer.hidden = false;
stage.style.aspectRatio = `${data.width} / ${data.height}`;
stage.style.width = find(".sides").style.width = `min(100%, 74vh * ${data.width / data.height})`;
new ResizeObserver(() => zoom(fitted ? 0 : view.scale)).observe(stage);
zoom(0);
showRate();
