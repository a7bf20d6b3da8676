// What the other scripts share: the data, small helpers, the theme, the marks of the navigation, sorting of the table.
"use strict";

const report = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const embedded = JSON.parse(document.getElementById("images").textContent);
  const $ = (id) => document.getElementById(id);

  // An element with attributes and children; strings become text, never markup.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  function bytes(base64) {
    const text = atob(base64);
    const made = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) made[i] = text.charCodeAt(i);
    return made;
  }

  // values(k): { at(method, prompt, sample), mean(method, prompt), samples } of metric k, decoded on first use.
  const decoded = new Map();
  function values(k) {
    if (decoded.has(k)) return decoded.get(k);
    const packed = data.values[k];
    let made = null;
    if (packed !== null) {
      const numbers = new Float32Array(bytes(packed).buffer);
      const prompts = data.prompts.length;
      const samples = prompts ? numbers.length / (prompts * data.methods.length) : 0;
      const at = (m, p, s) => numbers[(m * prompts + p) * samples + (samples === 1 ? 0 : s)];
      const mean = (m, p) => {
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

  function format(value, digits, signed = false) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    let text = value.toFixed(digits);
    if (Number(text) === 0) text = (0).toFixed(digits);
    else if (signed && value > 0) text = "+" + text;
    return text.replace("-", "\u2212");
  }

  // Plotly reads a little markup in its texts: names are data, so they are escaped.
  const plotText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function fill(select, options, chosen) {
    const groups = new Map();
    for (const [value, label, group] of options) {
      const option = element("option", { value }, label);
      if (!group) { select.append(option); continue; }
      if (!groups.has(group)) { groups.set(group, element("optgroup", { label: group })); select.append(groups.get(group)); }
      groups.get(group).append(option);
    }
    if (chosen !== null && chosen !== undefined) select.value = String(chosen);
  }

  const KINDS = { image: "Quality", group: "Diversity", set: "Against a reference set" };
  const metricOptions = (kinds) => data.metrics
    .map((metric, k) => [String(k), `${metric.title} ${metric.arrow}`, KINDS[metric.kind], metric.kind])
    .filter((option) => kinds.includes(option[3]));

  // --- what plots share -----------------------------------------------------------------------------------------

  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: "pareto" } };
  const narrow = () => window.innerWidth < 720;

  return { data, embedded, $, element, bytes, values, format, plotText, fill, metricOptions, FONT, CONFIG, narrow };
})();

(() => {
  const { $ } = report;

  const themes = ["auto", "light", "dark"];
  const words = { auto: "Auto", light: "Light", dark: "Dark" };
  const button = $("theme");
  function show(theme) {
    document.documentElement.dataset.theme = theme;
    button.textContent = words[theme];
    button.setAttribute("aria-label", `Colours: ${theme === "auto" ? "as the system" : theme}`);
  }
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
    show(next);
    try { localStorage.setItem("bench-report-theme", next); } catch { /* some browsers keep nothing for files */ }
  });
  try {
    const kept = localStorage.getItem("bench-report-theme");
    if (themes.includes(kept)) show(kept);
  } catch { /* as above */ }

  // The section at the top of the window is marked in the navigation.
  const links = new Map([...document.querySelectorAll("nav.sections a")].map((link) => [link.hash.slice(1), link]));
  const sections = [...links.keys()].map((id) => $(id)).filter(Boolean);
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

  // A click on a column's head sorts by it: best first or last, and again in the order of the report.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector(".sort")?.addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort")];
      heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const value = (row) => Number(row.cells[column].dataset.value);
      const rank = (row) => (Number.isFinite(value(row)) ? sign * value(row) : Infinity);
      body.append(...(next === "none" ? original : [...original].sort((a, b) => rank(a) - rank(b) || 0)));
    }));
  }
})();
