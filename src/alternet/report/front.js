// The first table: sorted by any of its numbers, narrowed by names, with its runs, and all models at once.
const table = document.querySelector(".front table");
const rows = table ? all("tbody tr", table) : [];
const main = rows.filter((row) => !row.dataset.of);
const runsOf = (row) => rows.filter((one) => one.dataset.of === row.dataset.name);
const filter = document.getElementById("filter"), everything = document.getElementById("everything"), runs = document.getElementById("runs");

// What was not measured stands last, whichever way the others go.
function sort(column, way) {
  const number = (row) => parseFloat(row.cells[column].dataset.sort ?? "NaN");
  const order = main.map((row) => [row, number(row)]).sort(([, a], [, b]) => {
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
    return way === "ascending" ? a - b : b - a;
  });
  order.forEach(([row]) => table.tBodies[0].append(row, ...runsOf(row)));
}

function narrow() {
  const wanted = filter.value.trim().toLowerCase(), single = runs?.getAttribute("aria-pressed") === "true";
  const has = (row) => row.dataset.name.toLowerCase().includes(wanted);
  main.forEach((row) => {
    const mine = runsOf(row);
    row.hidden = ![row, ...mine].some(has);
    mine.forEach((run) => (run.hidden = row.hidden || !single || !(has(row) || has(run))));
  });
  const count = main.filter((row) => !row.hidden).length;
  document.getElementById("shown").textContent = wanted ? `${count} of ${main.length} shown` : "";
}

if (filter) {
  for (const control of [filter, everything, runs]) if (control) control.disabled = false;
  filter.addEventListener("input", narrow);
  runs?.addEventListener("click", () => {
    runs.setAttribute("aria-pressed", runs.getAttribute("aria-pressed") === "false");
    narrow();
  });
  const models = [...new Set(all("button[data-models]").flatMap(whose))];
  everything.addEventListener("click", () => light(models, off.size > 0));
  document.addEventListener("switched", () => everything.setAttribute("aria-pressed", off.size === 0));
  all("button.sort", table).forEach((button) => {
    const head = button.closest("th");
    button.disabled = false;
    button.addEventListener("click", () => {
      const first = button.dataset.better === "lower" ? "ascending" : "descending"; // the best leads
      const other = first === "ascending" ? "descending" : "ascending";
      const way = head.getAttribute("aria-sort") === first ? other : first;
      all("th[aria-sort]", table).forEach((one) => one.setAttribute("aria-sort", one === head ? way : "none"));
      sort(head.cellIndex, way);
    });
  });
}

// What is folded away on the screen is a part of what is printed.
const folded = () => all("details.keep:not([open])");
let opened = [];
addEventListener("beforeprint", () => {
  opened = folded();
  opened.forEach((one) => (one.open = true));
});
addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));
