// The neuron view: how one token's query meets every key, number by number, and becomes attention.
"use strict";

(() => {
  const weights = unpack(data.attention);
  const queries = unpack(data.queries);
  const keys = unpack(data.keys);
  const [layers, heads, , width] = queries.shape;
  const ROW = 22; // pixels of a token; page.css says the same
  const chosen = { layer: 0, head: 0, token: Math.min(1, data.labels.length - 1), filter: "all" };
  let columns = [[], []];
  let colors = {};
  const { line, say } = readout("Click a token to make it the one that looks. Point at a cell to see its numbers.");

  const query = (i) => queries.at(chosen.layer, chosen.head, chosen.token, i);
  const key = (token, i) => keys.at(chosen.layer, chosen.head, token, i);
  const score = (token) => Array.from({ length: width }, (_, i) => query(i) * key(token, i)).reduce((a, b) => a + b, 0) / Math.sqrt(width);
  const share = (token) => weights.at(chosen.layer, chosen.head, chosen.token, token);
  const plain = (x) => (x < 0 ? "−" : "") + Math.abs(x).toFixed(3);

  // ---- controls
  const numbered = (count) => Array.from({ length: count }, (_, i) => [i, `${i + 1} of ${count}`]);
  const controls = element("div", { class: "controls" },
    menu("Layer", numbered(layers), 0, (value) => { chosen.layer = Number(value); draw(); }).label,
    menu("Head", numbered(heads), 0, (value) => { chosen.head = Number(value); draw(); }).label);
  if (data.segments.includes(1)) {
    controls.append(menu("From → to", FILTERS, "all", (value) => {
      chosen.filter = value;
      lay();
      draw();
    }).label);
  }

  // ---- the table: what is a picture is one canvas over all rows
  const stage = element("div", { class: "neurons" });
  const strip = element("canvas", { class: "query" });
  const pictures = { key: element("canvas", { class: "keys" }), product: element("canvas", { class: "products" }) };
  let rows = [];

  function lay() {
    columns = sides(chosen.filter, data.segments);
    if (!columns[0].includes(chosen.token)) chosen.token = columns[0].length ? columns[0][0] : chosen.token;
    rows = columns[1].map((token) => ({
      token,
      score: element("span", { class: "number dot" }),
      bar: element("span", { class: "bar" }),
      share: element("span", { class: "number share" }),
    }));
    const from = element("div", { class: "column from", role: "group", "aria-label": "the token that looks" },
      ...columns[0].map((token) => element("button", {
        type: "button", class: data.special[token] ? "token special" : "token", "data-token": token,
        title: `${data.labels[token]} (${token + 1})`,
        onclick: () => { chosen.token = token; draw(); },
        onkeydown: (event) => {
          const next = { ArrowDown: event.target.nextElementSibling, ArrowUp: event.target.previousElementSibling }[event.key];
          if (!next) return;
          event.preventDefault();
          next.focus();
          next.click();
        },
      }, data.labels[token])));
    const to = element("div", { class: "column to" }, ...columns[1].map((token) =>
      element("span", { class: data.special[token] ? "token special" : "token", title: `${data.labels[token]} (${token + 1})` }, data.labels[token])));
    const numbers = element("div", { class: "column scores" }, ...rows.map((row) => row.score));
    const shares_ = element("div", { class: "column shares" }, ...rows.map((row) => element("span", { class: "cell" }, row.bar, row.share)));
    const head = (text, hint, ...more) => element("div", { class: "heading", title: hint }, element("span", {}, text), ...more);
    stage.replaceChildren(
      head("looks", "the token whose query this is"), head("at", "tokens with their keys"),
      head("query, and keys below it", `${width} numbers each`, strip),
      head("query × key", "number by number"), head("sum / √d", `sum of the products, divided by the root of ${width}`),
      head("softmax", "shares of attention, which sum to one over all tokens"),
      from, to, pictures.key, pictures.product, numbers, shares_);
  }

  function draw() {
    colors = { plus: rgb("plus"), minus: rgb("minus") };
    const dims = Array.from({ length: width }, (_, i) => i);
    const room = Math.max(3, Math.min(7, Math.floor(((stage.clientWidth || 900) - 420) / (2 * width))));
    const top = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-9);
    const most = { query: top(dims.map(query)), key: 0, product: 0 };
    const all = data.labels.map((_, i) => i); // scales do not change with the filter
    most.key = top(all.flatMap((token) => dims.map((i) => key(token, i))));
    most.product = top(all.flatMap((token) => dims.map((i) => query(i) * key(token, i))));
    const tint = (x, scale) => faded(x < 0 ? colors.minus : colors.plus, Math.abs(x) / scale);
    const paint = (canvas, value, scale) => {
      const context = sized(canvas, room * width, ROW * rows.length);
      rows.forEach((row, y) => dims.forEach((i) => {
        context.fillStyle = tint(value(row.token, i), scale);
        context.fillRect(i * room, y * ROW + 1, room, ROW - 2);
      }));
      canvas.onmousemove = (event) => {
        const [i, y] = [Math.floor(event.offsetX / room), Math.floor(event.offsetY / ROW)];
        if (i >= 0 && i < width && y >= 0 && y < rows.length) tell(rows[y].token, i);
      };
      canvas.onmouseleave = () => tell(null);
    };
    paint(pictures.key, key, most.key);
    paint(pictures.product, (token, i) => query(i) * key(token, i), most.product);
    const context = sized(strip, room * width, 14);
    dims.forEach((i) => {
      context.fillStyle = tint(query(i), most.query);
      context.fillRect(i * room, 0, room, 14);
    });
    for (const row of rows) {
      row.score.textContent = plain(score(row.token));
      row.share.textContent = share(row.token).toFixed(3);
      row.bar.style.width = `${(100 * share(row.token)).toFixed(1)}%`;
    }
    stage.querySelectorAll("[data-token]").forEach((button) => {
      const on = Number(button.dataset.token) === chosen.token;
      button.setAttribute("aria-pressed", String(on));
      button.classList.toggle("chosen", on);
    });
    tell(null);
  }

  function tell(token, i) {
    if (token === null) {
      return say("“", element("b", {}, data.labels[chosen.token]), `” (${chosen.token + 1}) looks · layer ${chosen.layer + 1}, head ${chosen.head + 1} `,
        element("span", { class: "quiet" }, "· blue adds, orange takes away; point at a cell for its numbers"));
    }
    return say(`number ${i + 1} of ${width}: query ${plain(query(i))} × key of “`, element("b", {}, data.labels[token]),
      `” (${token + 1}) ${plain(key(token, i))} = `, element("span", { class: "number" }, plain(query(i) * key(token, i))),
      element("span", { class: "quiet" }, ` · sum / √d ${plain(score(token))}, softmax ${share(token).toFixed(3)}`));
  }

  view.append(controls, line);
  if (!data.plain) {
    view.append(element("p", { class: "note" },
      "This architecture adds something of its own to the sums before softmax, such as a term for the distance of two tokens, or a window: the last column is not the softmax of the column before it alone."));
  }
  view.append(element("div", { class: "neurons-stage" }, stage));
  lay();
  redrawing(draw);
})();
