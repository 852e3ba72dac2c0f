// What the page adds with scripting on: choosing a board, sorting and filtering, the drill-down into a run. The module script
// that it is part of is deferred, so the page is there.
const root = document.documentElement;
root.classList.add("js");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const boards = all(".board");
const selects = all(".facets select");
const runs = JSON.parse(document.getElementById("runs").textContent);

// Colours: as the system has them, or as chosen, which a visitor's own browser keeps where it may.
const store = (value) => { try { return value === undefined ? localStorage.getItem("theme") : localStorage.setItem("theme", value); } catch { return null; } };
function paint(theme) {
  if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
  for (const button of all(".themes button")) button.setAttribute("aria-pressed", String(button.dataset.theme === theme));
}
for (const button of all(".themes button")) button.addEventListener("click", () => { paint(button.dataset.theme); store(button.dataset.theme); });
paint(["light", "dark"].includes(store()) ? store() : "auto");

// Cells without a number come last, whichever way a column is sorted.
const known = (direction) => (a, b) => (a === "") - (b === "") || direction * (a - b);
Object.assign(window.DataTable.ext.type.order, { "known-first-asc": known(1), "known-first-desc": known(-1) });

// Tables are made when their board is first shown: a table in a hidden part has no widths.
const made = new Map();
function table(board) {
  if (made.has(board)) return;
  const element = board.querySelector(".board-rows");
  made.set(board, new window.DataTable(element, {
    paging: false, info: false, order: [], autoWidth: false, layout: { topStart: "search", topEnd: null },
    language: { search: "Filter rows", zeroRecords: "no row fits" },
    columnDefs: [
      { targets: ".chart", orderable: false }, { targets: ".down", orderSequence: ["asc", "desc", ""] },
      { targets: ".number", type: "known-first", orderSequence: ["desc", "asc", ""] },
    ],
  }));
}

// One board is shown at a time. The last choice holds; the others move to the nearest board that has it.
function show(board, move = false) {
  for (const other of boards) other.hidden = other !== board;
  for (const select of selects) {
    select.value = board.dataset[select.name];
    // What no board has together with the choices before it cannot be chosen.
    const before = selects.slice(0, selects.indexOf(select));
    for (const option of select.options) {
      option.disabled = !boards.some((b) => b.dataset[select.name] === option.value && before.every((s) => b.dataset[s.name] === board.dataset[s.name]));
    }
  }
  table(board);
  if (move) board.scrollIntoView({ behavior: "instant" }); // the parts above it are of another height now
}
function nearest(changed) {
  const fits = (b, s) => b.dataset[s.name] === s.value;
  const score = (b) => selects.reduce((sum, s, i) => sum + (fits(b, s) ? (s === changed ? 1e6 : 10 ** (selects.length - i)) : 0), 0);
  return boards.reduce((best, b) => (score(b) > score(best) ? b : best), boards[0]);
}
for (const select of selects) select.addEventListener("change", () => {
  const board = nearest(select);
  show(board);
  history.replaceState(null, "", `#${board.id}`);
});

// Small parts of a page.
function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
const text = (value) => value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value);
const short = (value) => String(Number(value.toPrecision(3)));
function pairs(title, values) {
  const rows = Object.entries(values).map(([key, value]) => node("tr", {}, node("th", { scope: "row" }, key), node("td", {}, text(value))));
  return node("section", {}, node("h3", {}, title), node("table", { class: "plain" }, node("tbody", {}, ...rows)));
}

// A curve: points [epoch, value], with the ends of both axes as numbers.
function plot(title, points) {
  const [w, h, left, low] = [300, 130, 56, 22];
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const x = (v) => left + (w - left - 8) * (x1 > x0 ? (v - x0) / (x1 - x0) : 0.5);
  const y = (v) => h - low - (h - low - 8) * (y1 > y0 ? (v - y0) / (y1 - y0) : 0.5);
  const line = points.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ");
  const dots = points.length < 12 ? points.map((p) => `<circle cx="${x(p[0]).toFixed(1)}" cy="${y(p[1]).toFixed(1)}" r="2.5"/>`).join("") : "";
  const picture = node("div");
  picture.innerHTML = `<svg class="plot" viewBox="0 0 ${w} ${h}" role="img"><line class="axis" x1="${left}" x2="${left}" y1="4" y2="${h - low}"/><line class="axis" x1="${left}" x2="${w - 8}" y1="${h - low}" y2="${h - low}"/><polyline points="${line}"/>${dots}<text x="${left - 4}" y="12" text-anchor="end">${short(y1)}</text><text x="${left - 4}" y="${h - low}" text-anchor="end">${short(y0)}</text><text x="${left}" y="${h - 6}">${short(x0)}</text><text x="${w - 8}" y="${h - 6}" text-anchor="end">epoch ${short(x1)}</text></svg>`;
  picture.firstChild.setAttribute("aria-label", `${title}: from ${text(ys[0])} to ${text(ys.at(-1))}`);
  return node("figure", { class: "curve" }, node("figcaption", {}, title), picture);
}
function curves(run) {
  const found = [];
  const losses = [...new Set(run.curve.flatMap((p) => Object.keys(p.loss)))].sort();
  const series = (pick) => run.curve.map((p) => [p.epoch, pick(p)]).filter((p) => typeof p[1] === "number");
  for (const [name, task] of Object.entries(run.tasks)) {
    const points = series((p) => p.test?.[name]);
    const last = run.curve.at(-1)?.epoch;
    if (points.length && points.at(-1)[0] < last) points.push([last, task.metrics[task.primary]]);
    if (points.length > 1) found.push(plot(`${name}: test ${task.primary}${task.unit ? ` (${task.unit})` : ""} ${task.up ? "↑" : "↓"}`, points));
  }
  for (const name of losses) {
    const points = series((p) => p.loss[name]);
    if (points.length > 1) found.push(plot(`${name}: training loss`, points));
  }
  return found;
}
// The scores of a run: the primary metric of each task first, and those of single classes in a part of their own.
function scores(run) {
  const line = (name, task, metric) => {
    const main = metric === task.primary;
    return node("tr", {}, node("th", { scope: "row" }, node(main ? "strong" : "span", {}, `${name} ${metric}${main && task.unit ? ` (${task.unit})` : ""}`)),
      ...[task.metrics[metric], task.constant[metric], main ? task.oracle : null, main ? task.labels : null].map((value) => node("td", { class: "number" }, text(value))));
  };
  const grid = (rows) => {
    const head = ["score", "last checkpoint", "constant prediction", "oracle", "labelled images"].map((t, i) => node("th", { scope: "col", class: i ? "number" : "" }, t));
    return node("div", { class: "scroll", tabindex: "0" }, node("table", { class: "plain" }, node("thead", {}, node("tr", {}, ...head)), node("tbody", {}, ...rows)));
  };
  const every = Object.entries(run.tasks).flatMap(([name, task]) => Object.keys(task.metrics).sort((a, b) => (b === task.primary) - (a === task.primary)).map((metric) => [name, task, metric]));
  const rows = (single) => every.filter(([, , metric]) => metric.includes("/") === single).map((parts) => line(...parts));
  const found = node("section", {}, node("h3", {}, "Scores"), grid(rows(false)));
  if (rows(true).length) found.append(node("details", {}, node("summary", {}, "By class"), grid(rows(true))));
  return found;
}

const dialog = document.getElementById("run");
function open(id) {
  const run = runs[id];
  if (!run) return;
  const content = document.getElementById("run-content");
  const command = node("pre", {}, node("code", {}, run.command));
  content.replaceChildren(
    node("h2", { id: "run-title" }, `${run.label}, seed ${run.seed}`), node("p", { class: "under" }, `run ${run.id}; ${run.method}`),
    command, copying(command), scores(run), node("h3", {}, "Training"), node("div", { class: "parts" }, ...curves(run)),
    node("div", { class: "parts" },
      pairs("What was run", run.setting), pairs("Cost", run.cost), pairs("Keywords of the method", Object.fromEntries(Object.entries(run.hyperparameters).map(([k, v]) => [run.changed.includes(k) ? `${k} (changed)` : k, v]))),
      pairs("Protocol", Object.fromEntries(Object.entries(run.protocol).filter(([k]) => k !== "summary"))), pairs("Environment", run.environment), pairs("Hashes", run.hashes)),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}
dialog.addEventListener("close", () => { if (location.hash.startsWith("#run-")) history.replaceState(null, "", `#${shown().id}`); });
const shown = () => boards.find((board) => !board.hidden) ?? boards[0];

function copying(pre) {
  const button = node("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", () => copy(button, pre));
  return button;
}
async function copy(button, pre) {
  const said = await navigator.clipboard?.writeText(pre.textContent).then(() => "Copied", () => null) ?? null;
  if (said === null) getSelection().selectAllChildren(pre); // where the clipboard is closed, the text is selected to be copied by hand
  button.textContent = said ?? "Selected";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
for (const button of all(".copy")) button.addEventListener("click", () => copy(button, button.previousElementSibling));

const larger = document.getElementById("larger");
for (const link of all(".zoom")) link.addEventListener("click", (event) => {
  event.preventDefault();
  larger.querySelector(".picture").replaceChildren(link.querySelector("img").cloneNode());
  larger.showModal();
});
for (const box of [dialog, larger]) box.addEventListener("click", (event) => { if (event.target === box) box.close(); });

// Addresses: #board, #run-ID, or a part of the page.
function follow() {
  const name = location.hash.slice(1);
  const run = name.startsWith("run-") ? runs[name.slice(4)] : null;
  const target = document.getElementById(run ? run.board : name);
  const board = target?.closest(".board");
  if (board) show(board, !run); else if (!boards.some((b) => b.hidden) && boards.length) show(boards[0]);
  if (run) open(run.id);
}
addEventListener("hashchange", follow);
follow();
