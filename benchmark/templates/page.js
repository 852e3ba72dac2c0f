// What the page adds with scripting on: choosing a board, sorting, filtering and copying. The module
// script that it is part of is deferred, so the page is there.
const root = document.documentElement;
root.classList.add("js");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const boards = all(".board");

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
const made = new Set();
function tables(board) {
  if (made.has(board)) return;
  made.add(board);
  for (const element of all(".board-rows", board)) new window.DataTable(element, {
    paging: false, info: false, order: [], autoWidth: false, layout: { topStart: "search", topEnd: null },
    language: { search: "Filter rows", zeroRecords: "no row fits" },
    columnDefs: [
      { targets: ".chart", orderable: false }, { targets: ".down", orderSequence: ["asc", "desc", ""] },
      { targets: ".number", type: "known-first", orderSequence: ["desc", "asc", ""] },
    ],
  });
}

// One board is shown at a time.
function show(board, move = false) {
  for (const other of boards) other.hidden = other !== board;
  tables(board);
  if (move) board.scrollIntoView({ behavior: "instant" }); // the parts above it are of another height now
}

async function copy(button, pre) {
  const said = await navigator.clipboard?.writeText(pre.textContent).then(() => "Copied", () => null) ?? null;
  if (said === null) getSelection().selectAllChildren(pre); // where the clipboard is closed, the text is selected to be copied by hand
  button.textContent = said ?? "Selected";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
for (const button of all(".copy")) button.addEventListener("click", () => copy(button, button.previousElementSibling));

// Addresses: #board, or a part of the page.
function follow() {
  const board = document.getElementById(location.hash.slice(1))?.closest(".board");
  if (board) show(board, true); else if (!boards.some((b) => b.hidden) && boards.length) show(boards[0]);
}
addEventListener("hashchange", follow);
follow();
