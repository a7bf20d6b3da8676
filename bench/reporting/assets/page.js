// What the other scripts share: the data, small helpers, the theme, CSV, the marks of the navigation.
// The types that all scripts name are in tests/js of the source; `make lint` checks them with tsc.
"use strict";

const report = (() => {
  /**
   * The element of that id, for those that only some pages have.
   * @template {keyof PageElements} K
   * @param {K} id
   */
  const find = (id) => /** @type {PageElements[K] | null} */ (document.getElementById(id));

  /**
   * The element of that id, which this page must have.
   * @template {keyof PageElements} K
   * @param {K} id
   */
  function $(id) {
    const found = find(id);
    if (found === null) throw new Error(`the page has no element '${id}'`);
    return found;
  }

  /** @type {Payload.Payload} */
  const data = JSON.parse($("data").textContent);
  /** @type {Record<string, string>} */
  const embedded = JSON.parse($("images").textContent);

  /**
   * An element with attributes and children; strings become text, never markup.
   * @template {keyof HTMLElementTagNameMap} T
   * @param {T} tag
   * @param {Record<string, string | number | boolean | null | undefined | (() => void)>} attributes
   * @param {(Node | string | null | undefined)[]} children
   */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  /** @param {string} base64 */
  function bytes(base64) {
    const text = atob(base64);
    const made = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) made[i] = text.charCodeAt(i);
    return made;
  }

  /** @type {Map<number, Values | null>} */
  const decoded = new Map();

  /**
   * The values of metric k, decoded on first use; null where it has none per prompt.
   * @param {number} k
   */
  function values(k) {
    const before = decoded.get(k);
    if (before !== undefined) return before;
    const packed = data.values[k];
    /** @type {Values | null} */
    let made = null;
    if (packed !== null) {
      const numbers = new Float32Array(bytes(packed).buffer);
      const prompts = data.prompts.length;
      const samples = prompts ? numbers.length / (prompts * data.methods.length) : 0;
      const at = (/** @type {number} */ m, /** @type {number} */ p, /** @type {number} */ s) => numbers[(m * prompts + p) * samples + (samples === 1 ? 0 : s)];
      const mean = (/** @type {number} */ m, /** @type {number} */ p) => {
        let sum = 0, count = 0;
        for (let s = 0; s < samples; s++) {
          const value = at(m, p, s);
          if (Number.isFinite(value)) { sum += value; count++; }
        }
        return count ? sum / count : NaN;
      };
      made = { at, mean, samples };
    }
    decoded.set(k, made);
    return made;
  }

  /**
   * A number as it is printed: a true minus sign, no negative zero, a dash for none.
   * @param {number | null | undefined} value
   * @param {number} digits
   */
  function format(value, digits, signed = false) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    let text = value.toFixed(digits);
    if (Number(text) === 0) text = (0).toFixed(digits);
    else if (signed && value > 0) text = "+" + text;
    return text.replace("-", "\u2212");
  }

  /**
   * Plotly reads a little markup in its texts: names are data, so they are escaped.
   * @param {string} text
   */
  const plotText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  /**
   * Put choices, by groups, into a list, and choose one.
   * @param {HTMLSelectElement} select
   * @param {Choice[]} options
   * @param {string | number | null} chosen
   */
  function fill(select, options, chosen) {
    /** @type {Map<string, HTMLOptGroupElement>} */
    const groups = new Map();
    for (const [value, label, group] of options) {
      const option = element("option", { value }, label);
      if (!group) { select.append(option); continue; }
      const list = groups.get(group) ?? element("optgroup", { label: group });
      if (!groups.has(group)) { groups.set(group, list); select.append(list); }
      list.append(option);
    }
    if (chosen !== null) select.value = String(chosen);
  }

  /** @type {Record<string, string>} */
  const KINDS = { image: "Quality", group: "Diversity", set: "Against a reference set" };

  /**
   * The metrics of these kinds as choices.
   * @param {string[]} kinds
   */
  const metricOptions = (kinds) => data.metrics
    .map((metric, k) => /** @type {const} */ ([String(k), `${metric.title} ${metric.arrow}`, KINDS[metric.kind], metric.kind]))
    .filter((option) => kinds.includes(option[3]))
    .map(([k, label, group]) => /** @type {[string, string, string]} */ ([k, label, group]));

  // --- CSV ------------------------------------------------------------------------------------------------------

  /**
   * A cell of CSV: quoted where needed, and no text that a spreadsheet would take for a formula.
   * @param {string | number | null | undefined} cell
   */
  function csvCell(cell) {
    if (cell === null || cell === undefined) return "";
    if (typeof cell === "number") return Number.isFinite(cell) ? String(Number(cell.toPrecision(9))) : "";
    const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
    return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  }

  /**
   * Hand the reader a table as a file; nothing leaves the page.
   * @param {string} name
   * @param {(string | number | null | undefined)[][]} rows
   */
  function download(name, rows) {
    const text = rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    element("a", { href: address, download: `${name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^-+|-+$/g, "")}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  // --- what plots share -----------------------------------------------------------------------------------------

  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
  const CONFIG = { displaylogo: false, showSendToCloud: false, responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: "pareto" } };
  const narrow = () => window.innerWidth < 720;

  return { data, embedded, $, find, element, bytes, values, format, plotText, fill, metricOptions, download, FONT, CONFIG, narrow };
})();

(() => {
  const { $ } = report;

  const words = new Map([["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]]);
  const themes = [...words.keys()];
  const button = $("theme");

  /** @param {string} theme */
  function show(theme) {
    document.documentElement.dataset.theme = theme;
    button.textContent = words.get(theme) ?? theme;
    button.setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system" : theme}`);
  }
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
    show(next);
    try { localStorage.setItem("bench-report-theme", next); } catch { /* some browsers keep nothing for files */ }
  });
  try {
    const kept = localStorage.getItem("bench-report-theme");
    if (kept !== null && words.has(kept)) show(kept);
  } catch { /* as above */ }

  // The section at the top of the window is marked in the navigation.
  /** @type {NodeListOf<HTMLAnchorElement>} */
  const anchors = document.querySelectorAll("nav.sections a");
  const links = new Map([...anchors].map((link) => [link.hash.slice(1), link]));
  const sections = [...links.keys()].map((id) => document.getElementById(id)).filter((section) => section !== null);
  let queued = false;
  function mark() {
    queued = false;
    const current = sections.filter((section) => section.getBoundingClientRect().top < 120).pop() || sections[0];
    for (const [id, link] of links) {
      if (current && id === current.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }
  addEventListener("scroll", () => { if (!queued) { queued = true; requestAnimationFrame(mark); } }, { passive: true });
  mark();
})();
