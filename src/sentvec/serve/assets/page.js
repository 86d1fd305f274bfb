// The server's page: texts in, heat maps, passages and numbers out. Everything from outside goes in as text, never as HTML.
"use strict";

const WORDS = {
  en: {
    other: "中文", similar: "Similarity", search: "Search", why: "Why similar?", attention: "Attention", status: "Status",
    texts: "Texts, one a line", compare: "Compare", query: "What do you want to know?", find: "Search",
    first: "First text", second: "Second text", explain: "Explain", text: "Text", layer: "Layer",
    head: "Head (0: mean of all)", show: "Show", key: "This server asks for a key:", open: "Open",
    working: "Working …", few: "Give at least two lines.", many: "Only the first 40 lines are compared.",
    nothing: "Nothing was found.", empty: "Type something first.", cosine: "cosine",
    strongest: "Pairs of words that add or take away most", looks: "looks at", adds: "adds",
    model: "Model", dim: "Numbers in a vector", longest: "Longest text (tokens)", precision: "Number format",
    processes: "Processes", requests: "Requests answered", texts_done: "Texts encoded", tokens: "Tokens encoded",
    refused: "Requests refused", queue: "Requests under way", passages: "Passages in the collection",
    health: "Engine", well: "works", ill: "does not answer", pooling: "Pooling",
  },
  zh: {
    other: "English", similar: "相似度", search: "搜索", why: "为何相似？", attention: "注意力", status: "状态",
    texts: "文本，每行一条", compare: "比较", query: "您想了解什么？", find: "搜索",
    first: "第一段文本", second: "第二段文本", explain: "解释", text: "文本", layer: "层",
    head: "头（0 为全部平均）", show: "显示", key: "此服务器需要密钥：", open: "打开",
    working: "处理中……", few: "请至少输入两行。", many: "只比较前 40 行。",
    nothing: "没有找到结果。", empty: "请先输入内容。", cosine: "余弦",
    strongest: "增减最多的词对", looks: "关注", adds: "贡献",
    model: "模型", dim: "向量维数", longest: "最长文本（词元）", precision: "数值格式",
    processes: "进程数", requests: "已答复请求", texts_done: "已编码文本", tokens: "已编码词元",
    refused: "被拒绝请求", queue: "正在处理的请求", passages: "集合中的段落",
    health: "引擎", well: "正常", ill: "无响应", pooling: "池化",
  },
};
const SAMPLES = {
  en: ["How do I reset my password?", "I forgot my login details", "The weather is lovely today", "It is sunny outside", "今天天气很好"],
  zh: ["如何重置密码？", "我忘记了登录信息", "今天天气很好", "外面阳光明媚", "The weather is lovely today"],
};

const $ = (css) => document.querySelector(css);
const make = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
let language = (localStorage.getItem("language") || navigator.language || "en").startsWith("zh") ? "zh" : "en";
const say = (word) => WORDS[language][word];

function speak() {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
  $("#language").textContent = say("other");
}

async function ask(path, body) {
  const key = sessionStorage.getItem("key");
  const headers = { ...(key ? { authorization: `Bearer ${key}` } : {}), ...(body ? { "content-type": "application/json" } : {}) };
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  if (answer.status === 401) { $("#lock").hidden = false; $("#key").focus(); }
  const told = (answer.headers.get("content-type") || "").startsWith("application/json") ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Error(told.error || `${answer.status}`);
  return told;
}

// a button's work: say that it is being done, then its result or what went wrong
async function into(section, work) {
  const out = section.querySelector(".out");
  const waiting = setTimeout(() => out.replaceChildren(make("p", say("working"), { class: "quiet" })), 150);
  try {
    const found = await work();
    clearTimeout(waiting);
    out.replaceChildren(...found);
  } catch (error) {
    clearTimeout(waiting);
    out.replaceChildren(make("p", error.message, { class: "bad" }));
  }
}

// A matrix as a table of colours. Values run from `low` to `high`; below zero is another colour.
function heat(rows, columns, values, { low, high, told, numbers }) {
  const readout = make("p", "", { class: "readout", "aria-live": "polite" });
  const table = make("table", null, { class: numbers ? "map numbers" : "map" });
  const top = make("tr");
  top.append(make("td"), ...columns.map((text) => make("th", text, { scope: "col", title: text })));
  const head = make("thead");
  head.append(top);
  const body = make("tbody");
  values.forEach((line, i) => {
    const row = make("tr");
    row.append(make("th", rows[i], { scope: "row", title: rows[i] }));
    line.forEach((value, j) => {
      const share = value < 0 ? Math.min(1, value / Math.min(low, -1e-9)) : Math.max(0, Math.min(1, value / Math.max(high, 1e-9)));
      const cell = make("td", numbers ? value.toFixed(2) : "", { tabindex: i || j ? "-1" : "0" });
      const colour = value < 0 ? "210 105 30" : "29 95 209";
      cell.style.background = `rgb(${colour} / ${(0.85 * share).toFixed(3)})`;
      if (numbers && share > 0.6) cell.style.color = "#fff";
      const tell = () => { readout.textContent = told(i, j, value); };
      cell.addEventListener("mouseenter", tell);
      cell.addEventListener("focus", tell);
      cell.addEventListener("click", tell);
      row.append(cell);
    });
    body.append(row);
  });
  table.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    const next = body.rows[cell.parentNode.sectionRowIndex + step[0]]?.cells[cell.cellIndex + step[1]];
    if (next && next.tagName === "TD") { next.tabIndex = 0; cell.tabIndex = -1; next.focus(); event.preventDefault(); }
  });
  table.append(head, body);
  return [readout, table];
}

const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);

async function similar() {
  const lines = $("#texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (lines.length < 2) throw new Error(say("few"));
  const texts = lines.slice(0, 40);
  const vectors = await ask("/embed", { inputs: texts, truncate: true });
  const values = vectors.map((a) => vectors.map((b) => dot(a, b)));
  const told = (i, j, value) => `${value.toFixed(4)} — ${texts[i]} / ${texts[j]}`;
  const note = lines.length > 40 ? [make("p", say("many"), { class: "quiet" })] : [];
  return [...note, ...heat(texts, texts, values, { low: -1, high: 1, told, numbers: texts.length <= 12 })];
}

function marked(text, query) {
  const spot = make("p");
  const words = query.match(/[\p{Script=Han}]|[\p{L}\p{N}]{2,}/gu) || [];
  if (!words.length) { spot.textContent = text; return spot; }
  // words are letters and numbers, so that none of them means anything in a pattern; Chinese has no ends of words
  const sign = new RegExp(`(${words.map((word) => /\p{Script=Han}/u.test(word) ? word : `(?<![\\p{L}\\p{N}])${word}(?![\\p{L}\\p{N}])`).join("|")})`, "giu");
  text.split(sign).forEach((part, i) => spot.append(i % 2 ? make("mark", part) : part));
  return spot;
}

async function find() {
  const query = $("#query").value.trim();
  if (!query) throw new Error(say("empty"));
  const { hits } = await ask("/search", { query, k: 10, snippets: true });
  if (!hits.length) return [make("p", say("nothing"))];
  const list = make("ol", null, { class: "hits" });
  for (const hit of hits) {
    const item = make("li");
    const place = hit.source ? `${hit.source}:${hit.line}` : hit.id;
    item.append(make("span", `${hit.score.toFixed(4)} · ${place}`, { class: "place" }), marked(hit.snippet || hit.text, query));
    list.append(item);
  }
  return [list];
}

async function why() {
  const [a, b] = [$("#why-a").value.trim(), $("#why-b").value.trim()];
  if (!a || !b) throw new Error(say("empty"));
  const found = await ask("/why", { a, b });
  const most = Math.max(...found.matrix.flat().map(Math.abs));
  const told = (i, j, value) => `${found.rows[i]} × ${found.columns[j]} ${say("adds")} ${value.toFixed(5)}`;
  const list = make("ol");
  for (const one of found.strongest.slice(0, 8)) list.append(make("li", `${one.first} × ${one.second}: ${one.contribution.toFixed(4)}`));
  return [
    make("p", `${say("cosine")} ${found.score.toFixed(4)}`, { class: "big" }),
    ...heat(found.rows, found.columns, found.matrix, { low: -most, high: most, told, numbers: false }),
    make("p", say("strongest"), { class: "quiet" }), list,
  ];
}

async function attend() {
  const text = $("#attended").value.trim();
  if (!text) throw new Error(say("empty"));
  const found = await ask("/attention", { text, layer: Number($("#layer").value) || 1, head: Number($("#head").value) || 0 });
  $("#layer").max = found.layers;
  $("#head").max = found.heads;
  const told = (i, j, value) => `${found.tokens[i]} ${say("looks")} ${found.tokens[j]}: ${(100 * value).toFixed(1)} %`;
  return heat(found.tokens, found.tokens, found.attention, { low: -1, high: Math.max(...found.attention.flat()), told, numbers: false });
}

async function status() {
  const list = make("dl");
  const put = (word, value) => list.append(make("dt", say(word)), make("dd", String(value)));
  const well = await ask("/health").then(() => true, () => false);
  const info = await ask("/info");
  const text = await ask("/metrics");
  const sum = (name) => [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce((all, one) => all + Number(one[1]), 0);
  put("health", well ? say("well") : say("ill"));
  put("model", info.served_model_name);
  put("dim", info.sentvec.dim);
  put("pooling", info.model_type.embedding.pooling);
  put("longest", info.max_input_length);
  put("precision", info.model_dtype);
  put("processes", info.sentvec.processes);
  put("requests", sum("te_request_success").toLocaleString());
  put("texts_done", sum("te_embed_success").toLocaleString());
  put("tokens", sum("te_request_tokens").toLocaleString());
  put("refused", sum("te_request_failure").toLocaleString());
  put("queue", sum("te_queue_size").toLocaleString());
  if (info.sentvec.settings.collection) put("passages", (await ask("/collection")).passages.toLocaleString());
  $("#about").textContent = `${info.served_model_name} · ${info.sentvec.dim} · ${info.model_dtype}`;
  return [list];
}

const WORK = { similar, search: find, why, attention: attend, status };
let ticking = 0;

function open(name, focus) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const own = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", own);
    tab.tabIndex = own ? 0 : -1;
    if (own && focus) tab.focus();
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !own;
  }
  history.replaceState(null, "", `#${name}`);
  clearInterval(ticking);
  if (name === "status") {
    into($("#status"), status);
    ticking = setInterval(() => { if (!document.hidden) into($("#status"), status); }, 3000);
  }
}

for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => open(tab.getAttribute("aria-controls")));
$("#tabs").addEventListener("keydown", (event) => {
  const names = Object.keys(WORK);
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const at = names.indexOf(event.target.getAttribute("aria-controls"));
  open(names[(at + step + names.length) % names.length], true);
});
for (const form of document.querySelectorAll("section form")) {
  const section = form.closest("section");
  form.addEventListener("submit", (event) => { event.preventDefault(); into(section, WORK[section.id]); });
  form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
}
$("#lock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("#key").value);
  $("#lock").hidden = true;
  into($("#status"), status);
});
$("#language").addEventListener("click", () => {
  const before = SAMPLES[language].join("\n");
  language = language === "en" ? "zh" : "en";
  localStorage.setItem("language", language);
  if ($("#texts").value === before) fill();
  speak();
  into($("#status"), status);
});

function fill() {
  const [a, b] = SAMPLES[language];
  $("#texts").value = SAMPLES[language].join("\n");
  $("#why-a").value = a;
  $("#why-b").value = b;
  $("#attended").value = a;
}

speak();
fill();
open(WORK[location.hash.slice(1)] ? location.hash.slice(1) : "similar");
if (location.hash !== "#status") into($("#status"), status); // for the line at the top
