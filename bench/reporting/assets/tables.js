// Tables: a click on a head sorts, words filter the rows, and what is shown can be taken along as CSV.
"use strict";

(() => {
  const { element, download } = report;
  const { register, changed } = pageState;
  const FEW = 8; // rows, below which there is nothing to search for

  const following = new Map([["none", "descending"], ["descending", "ascending"], ["ascending", "none"]]);

  /** @param {HTMLTableCellElement} cell */
  function numberIn(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = (cell.querySelector(".value") ?? cell).textContent ?? "";
    return parseFloat(text.trim().replace("\u2212", "-"));
  }
  const textIn = (/** @type {Element} */ cell) => (cell.textContent ?? "").trim().replace(/\s+/g, " ");

  /** @param {HTMLTableElement} table */
  function make(table) {
    const name = table.dataset.table ?? "table", body = table.tBodies[0], original = [...body.rows];
    const heads = [...(table.tHead?.rows[0].cells ?? [])];

    // --- sorting
    /** @type {{ column: number, order: string }} */
    let sorted = { column: 0, order: "none" };
    function sort(/** @type {number} */ column, /** @type {string} */ order) {
      sorted = { column, order };
      heads.forEach((head, i) => head.setAttribute("aria-sort", i === column ? order : "none"));
      const sign = order === "ascending" ? 1 : -1;
      const numeric = original.some((row) => Number.isFinite(numberIn(row.cells[column])));
      const rank = (/** @type {HTMLTableRowElement} */ row) => { const value = numberIn(row.cells[column]); return Number.isFinite(value) ? sign * value : Infinity; };
      const compare = (/** @type {HTMLTableRowElement} */ a, /** @type {HTMLTableRowElement} */ b) => numeric
        ? (rank(a) === rank(b) ? 0 : rank(a) - rank(b))
        : sign * textIn(a.cells[column]).localeCompare(textIn(b.cells[column]), "en", { numeric: true });
      body.append(...(order === "none" ? original : [...original].sort(compare)));
    }
    const titles = heads.map(textIn);
    heads.forEach((head, column) => {
      head.setAttribute("aria-sort", "none");
      const button = element("button", { type: "button", class: "sort", title: `Sort by ${titles[column]}`, onclick: () => {
        sort(column, following.get(head.getAttribute("aria-sort") ?? "none") ?? "none");
        changed();
      } });
      button.append(...head.childNodes);
      head.append(button);
    });

    // --- filtering
    const search = element("input", { type: "search", placeholder: "filter rows", "aria-label": `Filter the rows of: ${name}`, autocomplete: "off", spellcheck: "false" });
    const count = element("span", { class: "count-shown", "aria-live": "polite" });
    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const names = (/** @type {HTMLTableRowElement} */ row) => textIn(row.cells[0]).toLowerCase();
      for (const row of original) row.classList.toggle("unfound", !words.every((word) => names(row).includes(word)));
      tell();
    }
    function tell() {
      const visible = original.filter((row) => !row.matches(".unfound, .away")).length;
      count.textContent = visible < original.length ? `${visible} of ${original.length} rows` : "";
    }
    search.addEventListener("input", () => { filter(); changed(); });
    pageState.onMethods(tell);

    // --- downloading
    function csv() {
      const wide = heads.map((_, i) => original.some((row) => row.cells[i]?.dataset.low !== undefined));
      const head = titles.flatMap((title, i) => (wide[i] ? [title, `${title} low`, `${title} high`] : [title]));
      const lines = [...body.rows].filter((row) => !row.matches(".unfound, .away")).map((row) => [...row.cells].flatMap((cell, i) => {
        const value = cell.dataset.value === undefined ? textIn(cell) : Number(cell.dataset.value);
        return wide[i] ? [value, Number(cell.dataset.low), Number(cell.dataset.high)] : [value];
      }));
      download(name, [head, ...lines]);
    }
    const bar = element("div", { class: "table-bar" }, original.length >= FEW ? search : null, count,
      element("button", { type: "button", class: "quiet", title: "The rows that are shown, as a file", onclick: csv }, "CSV"));
    (table.closest(".scroll") ?? table).before(bar);

    const key = name.replace(/[^A-Za-z0-9]+/g, "-").toLowerCase();
    register(`find.${key}`, { read: () => [search.value], write: ([text]) => { search.value = text; filter(); return []; } });
    register(`sort.${key}`, {
      read: () => [sorted.order === "none" ? "" : `${titles[sorted.column]}:${sorted.order}`],
      write: ([text]) => {
        const at = text.lastIndexOf(":"), column = titles.indexOf(text.slice(0, at)), order = text.slice(at + 1);
        if (text === "") sort(0, "none");
        else if (column >= 0 && following.has(order)) sort(column, order);
        else return [text];
        return [];
      },
    });
    tell();
  }

  /** @type {NodeListOf<HTMLTableElement>} */
  const tables = document.querySelectorAll("table.sortable");
  tables.forEach(make);
})();
