// A map of texts: points on a plane, the text of the one pointed at, groups to switch off, words to look for.
"use strict";

(() => {
  const points = unpack(data.points);
  const count = data.texts.length;
  const places = Array.from({ length: count }, (_, i) => [points.at(i, 0), points.at(i, 1)]);
  const size = new Map();
  if (data.groups) for (const group of data.groups) size.set(group, (size.get(group) || 0) + 1);
  const groups = [...size.keys()].sort((a, b) => size.get(b) - size.get(a) || (a < b ? -1 : 1));
  const order = new Map(groups.map((group, i) => [group, i]));
  const hidden = new Set();
  const NEAR = 22; // pixels within which a point is pointed at
  let words = "";
  let kept = null;
  let held = null;
  let scale = 1; // how far the reader has zoomed in
  let middle = [0.5, 0.5]; // what of the whole picture is in the middle, as shares of its width and height
  let box = [800, 600];

  const range = (axis) => {
    const values = places.map((place) => place[axis]);
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    return [low, high - low || 1];
  };
  const ranges = [range(0), range(1)];
  const share = places.map(([x, y]) => [(x - ranges[0][0]) / ranges[0][1], 1 - (y - ranges[1][0]) / ranges[1][1]]);
  const screen = (i) => [0, 1].map((axis) => ((share[i][axis] - middle[axis]) * 0.92 * scale + 0.5) * box[axis]);

  const isHidden = (i) => data.groups !== null && hidden.has(data.groups[i]);
  const matches = (i) => words === "" || data.texts[i].toLowerCase().includes(words);
  // colours lie a golden angle apart, so that the largest groups look most different
  const hue = (group) => (group === null ? 217 : Math.round(217 + 137.5 * order.get(group)) % 360);

  const { line, say } = readout("Point at a dot to read its text; click to keep it. Wheel or + and − to zoom, drag to move, arrow keys to walk.");
  line.classList.add("map-readout");
  const canvas = element("canvas", {
    tabindex: 0, role: "application", class: "map",
    "aria-label": `Map of ${count} texts. Arrow keys walk from text to text, Enter keeps one, plus and minus zoom.`,
  });
  const found = element("span", { class: "quiet", role: "status" });
  const search = element("input", {
    type: "search", placeholder: "words to look for", "aria-label": "words to look for",
    oninput: () => { words = search.value.toLowerCase(); draw(); },
  });
  const zoomBy = (factor, at = [0.5, 0.5]) => {
    const next = Math.max(1, Math.min(200, scale * factor));
    [0, 1].forEach((axis) => { middle[axis] += ((at[axis] - 0.5) / 0.92) * (1 / scale - 1 / next); });
    scale = next;
    draw();
  };
  const whole = () => {
    [scale, middle] = [1, [0.5, 0.5]];
    draw();
  };
  const legend = element("div", { class: "group legend", role: "group", "aria-label": "groups" }, ...groups.map((group) =>
    element("button", {
      type: "button", "aria-pressed": "true", "data-group": group,
      onclick: (event) => {
        if (!hidden.delete(group)) hidden.add(group);
        event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(group)));
        draw();
      },
    }, element("span", { class: "dot", style: `background: hsl(${hue(group)} 70% 50%)` }), `${group || "(none)"} `,
    element("span", { class: "quiet number" }, String(size.get(group))))));

  function draw() {
    const width = canvas.parentElement.clientWidth;
    box = [width, Math.max(320, Math.min(window.innerHeight * 0.7, width * 0.75))];
    const context = sized(canvas, box[0], box[1]);
    const dark = rgb("paper")[0] < 128;
    const radius = count > 3000 ? 2 : count > 500 ? 3 : 4.5;
    const at = held === null ? kept : held;
    let matching = 0;
    for (const bright of [false, true]) {
      for (let i = 0; i < count; i++) {
        if (isHidden(i) || matches(i) !== bright) continue;
        matching += bright;
        const [x, y] = screen(i);
        if (x < -9 || y < -9 || x > box[0] + 9 || y > box[1] + 9) continue;
        context.fillStyle = bright
          ? `hsl(${hue(data.groups ? data.groups[i] : null)} 70% ${dark ? 64 : 45}% / 0.8)`
          : faded(quietColor, 0.18);
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
    if (at !== null && !isHidden(at)) {
      const [x, y] = screen(at);
      context.strokeStyle = faded(rgb("ink"), 1);
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x, y, radius + 4, 0, 2 * Math.PI);
      context.stroke();
    }
    found.textContent = words === "" ? "" : `${matching} of ${count}`;
    tell(at);
  }
  let quietColor = rgb("quiet");

  function tell(i) {
    if (i === null || isHidden(i)) return say();
    const text = data.texts[i].length > 600 ? `${data.texts[i].slice(0, 600)}…` : data.texts[i];
    say(element("b", {}, data.groups ? `${data.groups[i] || "(none)"} · ` : ""), text || "(an empty text)",
      element("span", { class: "quiet" }, `  (text ${i + 1})`));
  }

  /** The nearest point that can be seen and is worth its distance, by a measure of (dx, dy); null where none is. */
  function nearest(x, y, cost) {
    let [best, least] = [null, Infinity];
    for (let i = 0; i < count; i++) {
      if (isHidden(i) || !matches(i)) continue;
      const [px, py] = screen(i);
      const now = cost(px - x, py - y, i);
      if (now < least) [best, least] = [i, now];
    }
    return best;
  }
  const within = (dx, dy) => (Math.hypot(dx, dy) <= NEAR ? Math.hypot(dx, dy) : Infinity);

  // ---- the pointer
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.offsetX, y: event.offsetY, from: [...middle], moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    if (drag !== null) {
      drag.moved = drag.moved || Math.hypot(x - drag.x, y - drag.y) > 4;
      if (drag.moved) {
        middle = [drag.from[0] - (x - drag.x) / box[0] / scale / 0.92, drag.from[1] - (y - drag.y) / box[1] / scale / 0.92];
        draw();
      }
      return;
    }
    const now = nearest(x, y, within);
    if (now !== held) {
      held = now;
      draw();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = drag !== null && drag.moved;
    drag = null;
    if (moved) return;
    const now = nearest(event.offsetX, event.offsetY, within);
    kept = now === kept ? null : now;
    held = event.pointerType === "mouse" ? now : null;
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    held = null;
    drag = null;
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 400), [event.offsetX / box[0], event.offsetY / box[1]]);
  }, { passive: false });

  // ---- the keyboard
  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "+" || event.key === "=") return zoomBy(1.5);
    if (event.key === "-") return zoomBy(1 / 1.5);
    if (event.key === "Escape") {
      [kept, held] = [null, null];
      return draw();
    }
    if (!(event.key in WAYS)) return undefined;
    event.preventDefault();
    const from = kept;
    const [x, y] = from === null ? [box[0] / 2, box[1] / 2] : screen(from);
    const [right, down] = WAYS[event.key];
    const next = nearest(x, y, (dx, dy, i) => {
      const ahead = dx * right + dy * down;
      const aside = Math.abs(dx * down) + Math.abs(dy * right);
      return from === null ? Math.hypot(dx, dy) : i === from || ahead <= 0 ? Infinity : ahead + 2 * aside;
    });
    if (next !== null) kept = next;
    held = null;
    return draw();
  });

  view.append(
    element("div", { class: "controls" }, element("div", { class: "group" }, search, found), element("div", { class: "group" },
      element("button", { type: "button", onclick: () => zoomBy(1.5), "aria-label": "zoom in" }, "+"),
      element("button", { type: "button", onclick: () => zoomBy(1 / 1.5), "aria-label": "zoom out" }, "−"),
      element("button", { type: "button", onclick: whole }, "whole map"))),
    ...(groups.length ? [legend] : []),
    line,
    element("div", { class: "map-stage" }, canvas),
  );
  redrawing(() => {
    quietColor = rgb("quiet");
    draw();
  });
})();
