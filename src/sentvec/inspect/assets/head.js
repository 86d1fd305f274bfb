// The head view: lines from every token to the tokens that it looks at, in the chosen layer, a colour for each head.
"use strict";

(() => {
  const weights = unpack(data.attention);
  const [layers, heads] = weights.shape;
  const ROW = 22; // pixels of a token; page.css says the same
  const chosen = { layer: 0, heads: new Set(Array.from({ length: heads }, (_, h) => h)), filter: "all" };
  let kept = null; // what was clicked: {side: 0 or 1, token}
  let held = null; // what is pointed at
  let columns = [[], []]; // the tokens on each side

  const dark = () => rgb("paper")[0] < 128;
  const hue = (head) => `hsl(${Math.round((360 * head) / heads)} ${dark() ? "75% 66%" : "72% 42%"}`;
  const { line, say } = readout("Point at a token to see its lines alone; click to keep it. Left looks at right.");

  // ---- controls
  const layer = menu("Layer", Array.from({ length: layers }, (_, i) => [i, `${i + 1} of ${layers}`]), 0, (value) => {
    chosen.layer = Number(value);
    draw();
  });
  const toggles = Array.from({ length: heads }, (_, head) => element("button", {
    type: "button", class: "head", "aria-pressed": "true", "aria-label": `head ${head + 1}`,
    title: `head ${head + 1}; double click for this one alone`,
    onclick: () => {
      if (!chosen.heads.delete(head)) chosen.heads.add(head);
      draw();
    },
    ondblclick: () => only([head]),
  }, String(head + 1)));
  function only(list) {
    chosen.heads = new Set(list);
    draw();
  }
  const group = element("div", { class: "group", role: "group", "aria-label": "heads" }, element("span", { class: "quiet" }, "Heads "),
    ...toggles, element("button", { type: "button", onclick: () => only(toggles.map((_, h) => h)) }, "all"),
    element("button", { type: "button", onclick: () => only([]) }, "none"));
  const controls = element("div", { class: "controls" }, layer.label, group);
  if (data.segments.includes(1)) {
    controls.append(menu("From → to", FILTERS, "all", (value) => {
      chosen.filter = value;
      kept = held = null;
      lay();
      draw();
    }).label);
  }

  // ---- the two columns of tokens, and the lines between them
  const canvas = element("canvas", { class: "lines" });
  const lists = ["from", "to"].map((name) => element("div", { class: `column ${name}`, role: "group", "aria-label": `${name} tokens` }));
  let buttons = [[], []];

  function lay() {
    columns = sides(chosen.filter, data.segments);
    buttons = columns.map((tokens, side) => tokens.map((token) => element("button", {
      type: "button", class: data.special[token] ? "token special" : "token", title: `${data.labels[token]} (${token + 1})`,
      onmouseenter: () => hold({ side, token }), onmouseleave: () => hold(null),
      onfocus: () => hold({ side, token }), onblur: () => hold(null),
      onclick: () => {
        kept = kept !== null && kept.side === side && kept.token === token ? null : { side, token };
        draw();
      },
    }, data.labels[token])));
    lists.forEach((list, side) => list.replaceChildren(...buttons[side]));
  }

  function hold(what) {
    held = what;
    draw();
  }

  const picked = () => [...chosen.heads].sort((a, b) => a - b);
  const weight = (head, from, to) => weights.at(chosen.layer, head, from, to);
  const mean = (from, to) => picked().reduce((sum, head) => sum + weight(head, from, to), 0) / Math.max(1, chosen.heads.size);

  function draw() {
    const focus = held || kept;
    // twice of what each token would get if all got the same; less is drawn only for a token that is pointed at
    const faint = focus ? 0.01 : Math.max(0.02, Math.min(0.3, 2 / data.labels.length));
    const colors = toggles.map((_, head) => hue(head));
    toggles.forEach((button, head) => {
      const on = chosen.heads.has(head);
      button.setAttribute("aria-pressed", String(on));
      button.style.background = on ? `${colors[head]})` : "";
    });
    const width = canvas.parentElement.clientWidth - lists[0].offsetWidth - lists[1].offsetWidth;
    const height = ROW * Math.max(columns[0].length, columns[1].length, 1);
    const context = sized(canvas, Math.max(60, width), height);
    const right = Math.max(60, width);
    for (const head of picked()) {
      const paths = Array.from({ length: 51 }, () => null); // by opacity, so that thousands of lines are few strokes
      columns[0].forEach((from, row) => {
        if (focus && focus.side === 0 && focus.token !== from) return;
        columns[1].forEach((to, column) => {
          if (focus && focus.side === 1 && focus.token !== to) return;
          const share = weight(head, from, to);
          if (share < faint) return;
          const step = Math.max(1, Math.round(share * 50));
          paths[step] = paths[step] || new Path2D();
          paths[step].moveTo(0, (row + 0.5) * ROW);
          paths[step].lineTo(right, (column + 0.5) * ROW);
        });
      });
      paths.forEach((path, step) => {
        if (path === null) return;
        context.strokeStyle = `${colors[head]} / ${(step / 50).toFixed(2)})`;
        context.lineWidth = focus ? 2 : 1.3;
        context.stroke(path);
      });
    }
    paint(focus, colors);
    tell(focus);
  }

  /** Behind each token opposite the one in focus: a stripe for each head, as strong as the head's share. */
  function paint(focus, colors) {
    buttons.forEach((list, side) => list.forEach((button, row) => {
      const token = columns[side][row];
      const self = focus !== null && focus.side === side && focus.token === token;
      button.classList.toggle("chosen", self);
      button.setAttribute("aria-pressed", String(kept !== null && kept.side === side && kept.token === token));
      if (focus === null || focus.side === side || chosen.heads.size === 0) {
        button.style.background = "";
        return;
      }
      const [from, to] = side === 1 ? [focus.token, token] : [token, focus.token];
      const width = 100 / chosen.heads.size;
      const stripes = picked().map((head, i) =>
        `${colors[head]} / ${weight(head, from, to).toFixed(3)}) ${(i * width).toFixed(2)}% ${((i + 1) * width).toFixed(2)}%`);
      button.style.background = `linear-gradient(to right, ${stripes.join(", ")})`;
    }));
  }

  function tell(focus) {
    if (focus === null) return say();
    const other = 1 - focus.side;
    const ranked = columns[other]
      .map((token) => [token, focus.side === 0 ? mean(focus.token, token) : mean(token, focus.token)])
      .sort((a, b) => b[1] - a[1]).slice(0, 5);
    const most = ranked.map(([token, share]) => `${data.labels[token]} (${token + 1}) ${share.toFixed(3)}`).join(", ");
    const count = chosen.heads.size;
    const who = count === 1 ? `head ${picked()[0] + 1}` : `mean of ${count} heads`;
    say("“", element("b", {}, data.labels[focus.token]), `” (${focus.token + 1}) `,
      focus.side === 0 ? "looks at " : "is looked at by ", element("span", { class: "number" }, most),
      element("span", { class: "quiet" }, ` · layer ${chosen.layer + 1}, ${who}`));
  }

  view.append(controls, line, element("div", { class: "heads-stage" }, lists[0], canvas, lists[1]));
  lay();
  redrawing(draw);
})();
