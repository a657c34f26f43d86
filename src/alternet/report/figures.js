// What answers in figures: tips for what is pointed at, models dimmed by a legend, panels enlarged, surfaces turned.
"use strict";
const REACH = { mouse: 14, touch: 28 }; // how far from a place, in pixels of the screen, it still answers
const off = new Set(); // models that are switched off, in all of the page
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const json = (panel, name) => JSON.parse(panel.querySelector(`script.${name}`)?.textContent ?? "null");

// What the page holds compressed.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

function make(name, className, parent) {
  const made = document.createElement(name);
  made.className = className;
  parent.append(made);
  return made;
}

// Every place in a picture: its box, what it says, whose it is, and the line in which the arrow keys find it.
function places(groups) {
  return groups.flatMap(({ model, name = "", texts, boxes, grid, rows, columns }, number) => {
    if (!grid) return texts.map((text, i) => ({ model, name, text, box: boxes[i], line: number * 1e4 }));
    const [x0, y0, x1, y1] = grid, wide = (x1 - x0) / columns.length, high = (y1 - y0) / rows.length;
    return texts.map((text, i) => {
      const row = Math.floor(i / columns.length), column = i % columns.length;
      const left = x0 + wide * (column + (wide < 0)), top = y0 + high * (row + (high < 0));
      const line = number * 1e4 + (high < 0 ? rows.length - 1 - row : row);
      return { model, name: rows[row], text: `${columns[column]}\n${text}`, box: [left, top, Math.abs(wide), Math.abs(high)], line };
    });
  });
}

function nearest(shown, x, y, reach) {
  let found = null;
  for (const place of shown) {
    const [left, top, wide = 0, high = 0] = place.box;
    const away = Math.hypot(Math.max(left - x, 0, x - left - wide), Math.max(top - y, 0, y - top - high));
    if (away < reach) [found, reach] = [place, away];
  }
  return found;
}

// Left and right go on in a line, up and down to the place beside in the next line.
function next(shown, from, key) {
  const back = key === "ArrowLeft" || key === "ArrowUp", at = shown.indexOf(from);
  if (at < 0) return shown[0];
  if (key === "ArrowLeft" || key === "ArrowRight") return shown[at + (back ? -1 : 1)] ?? from;
  const lines = [...new Set(shown.map((place) => place.line))].sort((a, b) => a - b);
  const line = lines[lines.indexOf(from.line) + (back ? -1 : 1)];
  const aside = (place) => Math.abs(place.box[0] - from.box[0]);
  const beside = shown.filter((place) => place.line === line).sort((a, b) => aside(a) - aside(b));
  return beside[0] ?? from;
}

// A layer over a picture that names what is pointed at, by mouse, finger or arrow keys.
function answer(panel) {
  const plot = panel.querySelector(".plot"), picture = plot.querySelector("svg");
  let known = [];
  unpack(panel.querySelector("script.targets").textContent).then((targets) => (known = places(targets)));
  const shown = () => known.filter((place) => !off.has(place.model));
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const tip = make("div", "tip", plot);
  let current = null, pointer = "mouse";
  mark.setAttribute("class", "mark");
  picture.append(mark);
  tip.setAttribute("role", "status"); // read out where a screen reader is
  plot.tabIndex = 0;

  function show(place) {
    current = place;
    mark.classList.toggle("seen", Boolean(place));
    tip.classList.toggle("seen", Boolean(place));
    tip.replaceChildren();
    if (!place) return;
    const [left, top, wide = 0, high = 0] = place.box, w = Math.max(wide, 8), h = Math.max(high, 8);
    const sides = { x: left + (wide - w) / 2, y: top + (high - h) / 2, width: w, height: h };
    Object.entries(sides).forEach(([side, size]) => mark.setAttribute(side, size));
    if (place.name) make("strong", "", tip).textContent = place.name;
    make("span", "", tip).textContent = place.text;
    const at = mark.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const x = Math.min(at.right + 8, document.documentElement.clientWidth - size.width - 4);
    const above = at.top - size.height - 6;
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${above > 4 ? above : at.bottom + 6}px`;
  }
  function point(event) {
    const scale = picture.getScreenCTM(), at = new DOMPoint(event.clientX, event.clientY).matrixTransform(scale.inverse());
    show(nearest(shown(), at.x, at.y, REACH[event.pointerType === "touch" ? "touch" : "mouse"] / scale.a));
  }
  plot.addEventListener("pointermove", (event) => event.pointerType === "touch" || point(event));
  plot.addEventListener("pointerdown", (event) => {
    pointer = event.pointerType;
    point(event);
  });
  plot.addEventListener("pointerleave", (event) => event.pointerType === "touch" || show(null));
  plot.addEventListener("blur", () => show(null));
  plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(shown()[0] ?? null));
  plot.addEventListener("click", () => pointer === "touch" || enlarge(panel)); // a finger asks what it touches
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Enter") enlarge(panel);
    else if (event.key === "Escape") show(null);
    else if (event.key.startsWith("Arrow") && known.length) show(next(shown(), current, event.key) ?? null);
    else return;
    if (event.key !== "Escape") event.preventDefault(); // Escape closes what is enlarged as well
  });
  addEventListener("scroll", () => current && show(current), { passive: true, capture: true }); // stay with the place
}

// Put a panel into a window of its own, a hole of its size into the page, and both back.
const dialog = make("dialog", "", document.body);
let hole = null;
function enlarge(panel) {
  if (dialog.open) return dialog.close();
  hole = document.createElement("div");
  hole.className = panel.className;
  hole.style.height = `${panel.offsetHeight}px`;
  panel.replaceWith(hole);
  dialog.append(panel);
  dialog.setAttribute("aria-label", panel.querySelector("h3").textContent);
  dialog.showModal();
  settle(panel);
}
function settle(panel) {
  // In print a surface is not displayed, and plotly refuses to fit it into nothing
  all(".turning", panel).forEach((surface) => surface.offsetParent && Plotly.Plots.resize(surface));
  panel.querySelector(".larger").textContent = dialog.open ? "Close" : "Enlarge";
  panel.querySelector(dialog.open ? ".plot" : ".larger").focus({ preventScroll: true });
}
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => {
  const panel = dialog.firstElementChild;
  hole.replaceWith(panel);
  settle(panel);
});

// A surface that turns takes the place of its picture, which stays where there is no WebGL and returns in print.
async function turn(panel) {
  const surface = json(panel, "surface"), plot = panel.querySelector(".plot");
  if (!surface || !document.createElement("canvas").getContext("webgl")) return;
  const turning = make("div", "turning", plot);
  turning.classList.add(...(plot.querySelector("svg [class^=m]")?.classList ?? []));
  panel.classList.add("turns");
  try {
    await Plotly.newPlot(turning, surface.data, surface.layout, { responsive: true, displaylogo: false, scrollZoom: false });
  } catch (error) {
    panel.classList.remove("turns");
    turning.remove();
    console.warn("A surface could not be drawn; its picture is shown.", error);
  }
}

const whose = (button) => button.dataset.models.split(" ").map(Number);

// A model that is off is dim wherever others stand beside it; a picture of it alone goes.
function light(models, on) {
  models.forEach((model) => (on ? off.delete(model) : off.add(model)));
  models.forEach((model) => all(`.plot .m${model}`).forEach((artist) => artist.classList.toggle("off", !on)));
  all("button[data-models]").forEach((button) => {
    button.setAttribute("aria-pressed", whose(button).some((model) => !off.has(model)));
  });
  all(".panel[data-alone]").forEach((panel) => (panel.hidden = off.has(Number(panel.dataset.alone))));
  document.dispatchEvent(new Event("switched"));
}

all("button[data-models]").forEach((button) => {
  button.disabled = false; // without this script a legend is but a legend
  button.addEventListener("click", () => light(whose(button), button.getAttribute("aria-pressed") === "false"));
});
all(".panel").forEach((panel) => {
  const own = new Set(all("svg [class^=m]", panel).map((artist) => artist.getAttribute("class").slice(1)));
  if (own.size === 1 && document.querySelector("button[data-models]")) [panel.dataset.alone] = own;
  const larger = make("button", "larger", panel.querySelector(".heading"));
  larger.textContent = "Enlarge";
  larger.addEventListener("click", () => enlarge(panel));
  if (json(panel, "surface")) turn(panel);
  else answer(panel);
});
