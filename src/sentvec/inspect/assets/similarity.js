// Why two texts are similar: what every pair of tokens adds to the cosine, as texts, a matrix and a list.
"use strict";

(() => {
  const parts = unpack(data.matrix);
  const [n, m] = parts.shape;
  const sum = (count, part) => Array.from({ length: count }, (_, i) => part(i)).reduce((a, b) => a + b, 0);
  const rowSums = data.rows.map((_, i) => sum(m, (j) => parts.at(i, j)));
  const columnSums = data.columns.map((_, j) => sum(n, (i) => parts.at(i, j)));
  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
  const most = largest(parts.numbers);
  const mostSum = largest([...rowSums, ...columnSums]);
  const value = (i, j) => (i < n && j < m ? parts.at(i, j) : i < n ? rowSums[i] : j < m ? columnSums[j] : data.score);

  const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(4);
  const share = (x) => (Math.abs(data.score) < 1e-9 ? "" : ` (${((100 * x) / data.score).toFixed(1)} % of the cosine)`);
  const { line, say } = readout("Point at a cell or a token to see what it adds; click to keep it. Arrow keys work too.");
  let kept = null;
  let colors = {};
  const tint = (x, scale) => faded(x < 0 ? colors.minus : colors.plus, Math.abs(x) / scale);

  const named = (texts, i) => ["“", element("b", {}, texts[i]), "” ", element("span", { class: "quiet" }, `(${i + 1})`)];

  function tell(place) {
    const [i, j] = place;
    const what =
      i < n && j < m ? [...named(data.rows, i), " × ", ...named(data.columns, j), ": "]
      : i < n ? [...named(data.rows, i), " with all of the second text: "]
      : j < m ? [...named(data.columns, j), " with all of the first text: "]
      : ["All pairs together: "];
    say(...what, element("span", { class: "number" }, signed(value(i, j))), share(value(i, j)));
  }

  /** Show one place: [row, column], where n and m stand for sums; null goes back to what was kept. */
  function show(place, from) {
    const now = place === null ? kept : place;
    if (from !== grid) grid.mark(now);
    if (now === null) say();
    else tell(now);
    paintTokens(now);
  }

  function keep(place) {
    const same = kept !== null && kept[0] === place[0] && kept[1] === place[1];
    kept = same ? null : place;
    show(place);
  }

  const spans = [data.rows, data.columns].map((tokens, side) =>
    tokens.map((text, i) => {
      const place = side === 0 ? [i, m] : [n, i];
      return element("button", {
        class: "token", type: "button", onmouseenter: () => show(place), onmouseleave: () => show(null),
        onfocus: () => show(place), onclick: () => keep(place),
      }, text);
    }));

  /** Tint each token by what it adds, with all of the other text or with the token that is pointed at. */
  function paintTokens(place) {
    const [row, column] = place === null ? [n, m] : place;
    spans[0].forEach((span, i) => {
      span.style.background = column < m ? tint(parts.at(i, column), most) : tint(rowSums[i], mostSum * 1.6);
      span.classList.toggle("chosen", i === row);
    });
    spans[1].forEach((span, j) => {
      span.style.background = row < n ? tint(parts.at(row, j), most) : tint(columnSums[j], mostSum * 1.6);
      span.classList.toggle("chosen", j === column);
    });
  }

  const grid = matrix({
    rows: [...data.rows, "Σ"], columns: [...data.columns, "Σ"], gap: 6, least: 15, most: 34,
    name: "What each pair of tokens adds to the cosine",
    fill: (i, j) => tint(value(i, j), i === n && j === m ? Math.abs(data.score) + 1e-12 : i === n || j === m ? mostSum : most),
    point: (place) => show(place, place === null ? undefined : grid),
    choose: keep,
  });

  const list = element("ol", { class: "pairs" });
  for (const [i, j] of data.strongest) {
    list.append(element("li", {}, element("button", {
      type: "button", onmouseenter: () => show([i, j]), onmouseleave: () => show(null), onfocus: () => show([i, j]),
      onclick: () => keep([i, j]),
    }, element("span", { class: "what" }, `${data.rows[i]} × ${data.columns[j]}`),
    element("span", { class: parts.at(i, j) < 0 ? "number minus" : "number plus" }, signed(parts.at(i, j))))));
  }

  const place = element("div", { class: "place" }, grid.root);
  view.append(
    element("p", { class: "score" }, "cosine ", element("span", { class: "big number" }, data.score.toFixed(4)),
      element("span", { class: "quiet" }, " = the sum of all cells below")),
    element("div", { class: "tokens", role: "group", "aria-label": "first text" }, ...spans[0]),
    element("div", { class: "tokens", role: "group", "aria-label": "second text" }, ...spans[1]),
    line,
    element("div", { class: "split" }, place, element("aside", {}, element("h2", {}, "Strongest pairs"), list)),
  );
  redrawing(() => {
    colors = { plus: rgb("plus"), minus: rgb("minus") };
    grid.draw();
    show(null);
  });
})();
