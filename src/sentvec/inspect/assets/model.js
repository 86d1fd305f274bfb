// The model view: every head of every layer as a small picture of its attention; a click enlarges one.
"use strict";

(() => {
  const weights = unpack(data.attention);
  const [layers, heads] = weights.shape;
  const last = data.labels.length - 1;
  let filter = "all";
  let columns = sides(filter, data.segments);
  let ink = [0, 0, 0];
  const { line, say } = readout("Rows are layers, columns are heads. Point at one to see what it mostly does; click to enlarge it.");

  // A token that gets twelve times its even share is as dark as can be; the square root keeps faint patterns in sight.
  const full = Math.min(1, 12 / data.labels.length);
  const shade = (share) => Math.min(1, Math.sqrt(share / full));

  // ---- what a head mostly does: the largest of a few averages
  const HABITS = [
    ["itself", (i) => i], ["the token before", (i) => i - 1], ["the token after", (i) => i + 1],
    [`the first token, ${data.labels[0]}`, () => 0], [`the last token, ${data.labels[last]}`, () => last],
  ];
  function habits(layer, head) {
    const places = data.labels.map((_, i) => i);
    return HABITS.map(([name, target]) => {
      const shares = places.filter((i) => target(i) >= 0 && target(i) <= last).map((i) => weights.at(layer, head, i, target(i)));
      return [name, shares.reduce((a, b) => a + b, 0) / Math.max(1, shares.length)];
    }).sort((a, b) => b[1] - a[1]);
  }
  function tell(layer, head) {
    const [first, second] = habits(layer, head);
    say(element("b", {}, `Layer ${layer + 1}, head ${head + 1}`), `: on average ${first[1].toFixed(3)} to ${first[0]}, `,
      `${second[1].toFixed(3)} to ${second[0]}`);
  }

  // ---- the grid
  const thumbs = [];
  const grid = element("div", { class: "thumbs", role: "group", "aria-label": "layers and heads", style: `--heads: ${heads}` });
  grid.append(element("span", {}), ...Array.from({ length: heads }, (_, h) => element("span", { class: "quiet label" }, String(h + 1))));
  for (let layer = 0; layer < layers; layer++) {
    grid.append(element("span", { class: "quiet label" }, String(layer + 1)));
    for (let head = 0; head < heads; head++) {
      const canvas = element("canvas", {});
      thumbs.push({ layer, head, canvas });
      grid.append(element("button", {
        type: "button", class: "thumb", "aria-label": `layer ${layer + 1}, head ${head + 1}`,
        onmouseenter: () => tell(layer, head), onfocus: () => tell(layer, head), onmouseleave: () => say(),
        onclick: () => enlarge(layer, head),
        onkeydown: (event) => step(event, layer, head),
      }, canvas));
    }
  }

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  function step(event, layer, head) {
    if (!(event.key in MOVES)) return;
    event.preventDefault();
    const [down, right] = MOVES[event.key];
    const [i, j] = [layer + down, head + right];
    if (i >= 0 && i < layers && j >= 0 && j < heads) grid.querySelectorAll(".thumb")[i * heads + j].focus();
  }

  function paint({ layer, head, canvas }) {
    const [from, to] = columns;
    canvas.width = Math.max(1, to.length);
    canvas.height = Math.max(1, from.length);
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    from.forEach((i, row) => to.forEach((j, column) => {
      const at = 4 * (row * to.length + column);
      image.data.set([...ink, Math.round(255 * shade(weights.at(layer, head, i, j)))], at);
    }));
    context.putImageData(image, 0, 0);
  }

  // ---- one head, large
  let shown = [0, 0];
  let large = null;
  const title = element("h2", {});
  const detail = readout("Point at a cell: its row looks at its column. Arrow keys work too.");
  const place = element("div", { class: "place" });
  const moves = [["‹ layer", -1, 0], ["layer ›", 1, 0], ["‹ head", 0, -1], ["head ›", 0, 1]].map(([text, down, right]) =>
    element("button", { type: "button", onclick: () => enlarge((shown[0] + down + layers) % layers, (shown[1] + right + heads) % heads) }, text));
  const dialog = element("dialog", { "aria-label": "one head", onclick: (event) => { if (event.target === dialog) dialog.close(); } },
    element("div", { class: "controls" }, title, element("div", { class: "group" }, ...moves,
      element("button", { type: "button", class: "close", onclick: () => dialog.close() }, "close (Esc)"))),
    detail.line, place);

  function enlarge(layer, head) {
    shown = [layer, head];
    title.textContent = `Layer ${layer + 1}, head ${head + 1}`;
    detail.say();
    const [from, to] = columns;
    large = matrix({
      rows: from.map((i) => data.labels[i]), columns: to.map((i) => data.labels[i]), least: 13, most: 30,
      name: `Attention of layer ${layer + 1}, head ${head + 1}`,
      fill: (i, j) => faded(ink, shade(weights.at(layer, head, from[i], to[j]))),
      point: (cell) => {
        if (cell === null) return detail.say();
        const [i, j] = [from[cell[0]], to[cell[1]]];
        detail.say("“", element("b", {}, data.labels[i]), `” (${i + 1}) looks at “`, element("b", {}, data.labels[j]),
          `” (${j + 1}): `, element("span", { class: "number" }, weights.at(layer, head, i, j).toFixed(4)));
      },
    });
    if (!dialog.open) dialog.showModal();
    place.replaceChildren(large.root);
    large.draw();
  }

  const controls = element("div", { class: "controls" });
  if (data.segments.includes(1)) {
    controls.append(menu("From → to", FILTERS, "all", (value) => {
      filter = value;
      columns = sides(filter, data.segments);
      thumbs.forEach(paint);
    }).label);
  }
  view.append(controls, line, element("div", { class: "thumbs-stage" }, grid), dialog);
  redrawing(() => {
    ink = rgb("plus");
    thumbs.forEach(paint);
    if (dialog.open) large.draw();
  });
})();
