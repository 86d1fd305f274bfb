// A matrix of coloured cells with tokens along its edges, to point at, click and walk through with the arrow keys.
"use strict";

/**
 * Draw a matrix.
 *
 * options.rows, options.columns: texts along the edges.
 * options.fill(row, column): the cell's colour, or null for none.
 * options.point(place): called with [row, column] when a cell is pointed at, with null when none is.
 * options.choose(place): called when a cell is clicked, or Enter is pressed on it.
 * options.name: what the matrix is, for screen readers.
 * options.gap: pixels before the last row and column, where those are sums.
 * options.least, options.most: pixels of a cell.
 *
 * Returns {root, draw(), mark(place)}; draw() may be called again when colours or the page's width changed.
 */
function matrix(options) {
  const [top, left, body] = ["top", "left", "body"].map((name) => element("canvas", { class: name }));
  const corner = element("div", { class: "corner" });
  const bands = [element("div", { class: "band", hidden: true }), element("div", { class: "band", hidden: true })];
  const under = element("div", { class: "body" }, body, ...bands);
  const sheet = element("div", { class: "sheet" }, corner, top, left, under);
  const root = element("div", {
    class: "matrix", tabindex: 0, role: "application",
    "aria-label": `${options.name}. Arrow keys walk through the cells, Enter chooses one.`,
  }, sheet);
  body.className = "";
  const gap = options.gap || 0;
  let cell = 16;
  let at = null;

  const count = () => [options.rows.length, options.columns.length];
  const offset = (i, all) => i * cell + (gap && i === all - 1 ? gap : 0);

  function draw() {
    const [rows, columns] = count();
    const context = body.getContext("2d");
    context.font = FONT;
    const widest = (texts) => Math.ceil(Math.max(20, ...texts.map((text) => context.measureText(text).width)));
    const side = Math.min(110, widest(options.rows) + 10);
    const head = Math.min(96, widest(options.columns) + 10);
    const room = (root.parentElement ? root.parentElement.clientWidth : 800) - side - gap - 20;
    cell = Math.max(options.least || 13, Math.min(options.most || 28, Math.floor(room / columns)));
    const [width, height] = [columns * cell + gap, rows * cell + gap];
    const [ink, paint] = [rgb("ink"), sized(body, width, height)];
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const color = options.fill(i, j);
        if (color === null) continue;
        paint.fillStyle = color;
        paint.fillRect(offset(j, columns), offset(i, rows), cell - (cell > 8 ? 1 : 0), cell - (cell > 8 ? 1 : 0));
      }
    }
    corner.style.width = `${side}px`;
    labels(sized(left, side, height), options.rows, rows, side, ink, false);
    labels(sized(top, width, head), options.columns, columns, head, ink, true);
    mark(at);
  }

  function labels(context, texts, all, room, ink, upright) {
    context.font = FONT;
    context.fillStyle = faded(ink, 0.85);
    context.textBaseline = "middle";
    context.textAlign = upright ? "left" : "right";
    texts.forEach((text, i) => {
      const middle = offset(i, all) + cell / 2;
      context.save();
      if (upright) {
        context.translate(middle, room - 5);
        context.rotate(-Math.PI / 2);
      } else context.translate(room - 6, middle);
      context.fillText(fitted(context, text, room - 10), 0, 0);
      context.restore();
    });
  }

  /** Frame the row and the column of a cell; null takes the frame away. */
  function mark(place) {
    at = place;
    bands.forEach((band) => { band.hidden = place === null; });
    if (place === null) return;
    const [rows, columns] = count();
    const [y, x] = [offset(place[0], rows), offset(place[1], columns)];
    Object.assign(bands[0].style, { left: 0, top: `${y - 1}px`, width: "100%", height: `${cell + 1}px` });
    Object.assign(bands[1].style, { left: `${x - 1}px`, top: 0, width: `${cell + 1}px`, height: "100%" });
  }

  function underPointer(event) {
    const box = body.getBoundingClientRect();
    const find = (where, all) => {
      const last = all * cell - cell + gap;
      const i = gap && where >= last ? all - 1 : Math.floor(where / cell);
      return i >= 0 && i < all ? i : null;
    };
    const [rows, columns] = count();
    const place = [find(event.clientY - box.top, rows), find(event.clientX - box.left, columns)];
    return place.includes(null) ? null : place;
  }

  function point(place) {
    mark(place);
    options.point(place);
  }

  body.addEventListener("mousemove", (event) => point(underPointer(event)));
  body.addEventListener("mouseleave", () => point(null));
  body.addEventListener("click", (event) => {
    const place = underPointer(event);
    if (place === null) return;
    point(place);
    if (options.choose) options.choose(place);
  });
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && at !== null && options.choose) options.choose(at);
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    const [down, right] = STEPS[event.key];
    const [rows, columns] = count();
    const held = (i, all) => Math.max(0, Math.min(all - 1, i));
    point(at === null ? [0, 0] : [held(at[0] + down, rows), held(at[1] + right, columns)]);
    bands[1].scrollIntoView({ block: "nearest", inline: "nearest" });
    bands[0].scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  return { root, draw, mark, corner };
}
