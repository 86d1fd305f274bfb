// What all pages share: their data, making elements, colours that follow light and dark, canvases on sharp screens.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const view = document.getElementById("view");

/** Make an element. Children that are strings become text, never markup. Attributes in "on…" are listeners. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Read an array that Python packed: {at(...place), shape, numbers}. */
function unpack(packed) {
  const text = atob(packed.numbers);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const numbers = packed.kind === "uint16" ? new Uint16Array(bytes.buffer) : new Float32Array(bytes.buffer);
  const at = (...place) => {
    let index = 0;
    for (let i = 0; i < place.length; i++) index = index * packed.shape[i] + place[i];
    return numbers[index] * packed.scale;
  };
  return { at, shape: packed.shape, numbers };
}

/** The red, green and blue of a colour named in page.css, as it is now. */
function rgb(name) {
  const probe = element("span", { style: `color: var(--${name}); position: absolute` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
}

/** A colour with an opacity from 0 to 1. */
const faded = (color, opacity) => `rgba(${color.join(",")},${Math.max(0, Math.min(1, opacity)).toFixed(3)})`;

/** Make a canvas so many CSS pixels large; its context draws in CSS pixels, sharply. */
function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const FONT = '12px system-ui, "Segoe UI", "Helvetica Neue", "Noto Sans", "Noto Sans CJK SC", sans-serif';

/** Shorten a text until it is at most so wide. */
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let letters = Array.from(text);
  while (letters.length > 1 && context.measureText(letters.join("") + "…").width > width) letters = letters.slice(0, -1);
  return letters.join("") + "…";
}

/** Draw again whenever the colours or the width of the page change. */
function redrawing(draw) {
  let waiting = 0;
  const soon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  };
  document.addEventListener("theme", soon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== width) soon();
    width = window.innerWidth;
  });
  draw();
}

/** The switch between the system's colours, light and dark. */
function themeSwitch() {
  const choices = ["light dark", "light", "dark"];
  const names = { "light dark": "auto", light: "light", dark: "dark" };
  let chosen = 0;
  const button = element("button", { id: "theme", type: "button", onclick: () => show(chosen + 1) });
  function show(number) {
    chosen = number % choices.length;
    document.documentElement.style.colorScheme = choices[chosen];
    document.documentElement.dataset.theme = choices[chosen];
    button.textContent = `Colours: ${names[choices[chosen]]}`;
    document.dispatchEvent(new Event("theme"));
  }
  show(0);
  document.querySelector("header").append(button);
}

/** A line that says what is pointed at; screen readers hear it. */
function readout(hint) {
  const line = element("p", { class: "readout", role: "status", "aria-live": "polite" });
  const say = (...parts) => line.replaceChildren(...(parts.length ? parts : [element("span", { class: "quiet" }, hint)]));
  say();
  return { line, say };
}

/** A menu: label, [value, text] pairs, and what to do with the chosen value. */
function menu(label, options, chosen, act) {
  const list = element("select", { onchange: () => act(list.value) });
  for (const [value, text] of options) list.append(element("option", { value, selected: String(value) === String(chosen) }, text));
  return { label: element("label", {}, `${label} `, list), list };
}

/** Which tokens stand on each side of a filter such as "AB": from the first text to the second. */
const FILTERS = [["all", "all"], ["AA", "A → A"], ["AB", "A → B"], ["BA", "B → A"], ["BB", "B → B"]];
function sides(filter, segments) {
  const places = segments.map((_, i) => i);
  const of = (letter) => places.filter((i) => segments[i] === (letter === "A" ? 0 : 1));
  return filter === "all" ? [places, places] : [of(filter[0]), of(filter[1])];
}

themeSwitch();
