// Every image with its scores: filters, an order, a page at a time, and what is found as CSV.
"use strict";

(() => {
  const { data, $, element, values, format, fill, metricOptions, download } = report;
  const { registerSelect, register, changed } = pageState;
  const PAGE = 20, SAMPLES = data.samples;

  const columns = metricOptions(["image", "group"]).map(([k]) => Number(k));
  const controls = { text: $("scores-text"), tag: $("scores-tag"), method: $("scores-method"), metric: $("scores-metric"), least: $("scores-least"), most: $("scores-most") };
  const haystack = data.prompts.map((prompt) => `${prompt.id} ${prompt.text}`.toLowerCase());

  /** An image: method, prompt, sample. @typedef {[m: number, p: number, s: number]} Image */
  let order = /** @type {Image[]} */ ([]), drawn = 0;
  let sorted = { column: -1, descending: true };

  const value = (/** @type {number} */ k, /** @type {Image} */ [m, p, s]) => values(k)?.at(m, p, s) ?? NaN;
  const limit = (/** @type {HTMLInputElement} */ input) => (input.value.trim() === "" ? NaN : Number(input.value));

  function found() {
    const words = controls.text.value.toLowerCase().split(/\s+/).filter(Boolean), tag = controls.tag.value;
    const prompts = data.prompts.map((_, p) => p).filter((p) => words.every((word) => haystack[p].includes(word)) && (!tag || data.prompts[p].tags.includes(tag)));
    const chosen = controls.method.value;
    const methods = data.methods.map((_, m) => m).filter((m) => (chosen === "" ? pageState.shown.has(m) : m === Number(chosen)));
    const k = controls.metric.value === "" ? -1 : Number(controls.metric.value), least = limit(controls.least), most = limit(controls.most);
    const bounded = k >= 0 && (Number.isFinite(least) || Number.isFinite(most));
    const rows = /** @type {Image[]} */ ([]);
    for (const p of prompts) for (const m of methods) for (let s = 0; s < SAMPLES; s++) {
      const image = /** @type {Image} */ ([m, p, s]);
      if (bounded) {
        const one = value(k, image);
        if (!Number.isFinite(one) || one < least || one > most) continue;
      }
      rows.push(image);
    }
    if (sorted.column >= 0) {
      const sign = sorted.descending ? -1 : 1, keys = new Map(rows.map((row) => [row, value(columns[sorted.column], row)]));
      const rank = (/** @type {Image} */ row) => { const one = keys.get(row) ?? NaN; return Number.isFinite(one) ? sign * one : Infinity; };
      rows.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
    }
    return rows;
  }

  /** @param {Image} image */
  function line([m, p, s]) {
    const prompt = data.prompts[p];
    const show = report.find("gallery") === null ? prompt.id
      : element("button", { type: "button", class: "link", onclick: () => document.dispatchEvent(new CustomEvent("show-prompt", { detail: p })) }, prompt.id);
    const text = element("span", { class: "interval", title: prompt.text }, prompt.text.length > 60 ? `${prompt.text.slice(0, 59)}…` : prompt.text);
    return element("tr", {}, element("th", { scope: "row", class: "name" }, show, text), element("td", { class: "text" }, data.methods[m].name), element("td", {}, String(s)),
      ...columns.map((k) => element("td", {}, format(value(k, [m, p, s]), data.metrics[k].digits + 1) + (data.methods[m].trained.includes(k) ? " †" : ""))));
  }

  const body = element("tbody");
  const heads = columns.map((k, column) => element("th", { scope: "col", "aria-sort": "none" },
    element("button", { type: "button", class: "sort", onclick: () => {
      sorted = sorted.column !== column ? { column, descending: true } : sorted.descending ? { column, descending: false } : { column: -1, descending: true };
      update();
      changed();
    } }, `${data.metrics[k].title} ${data.metrics[k].arrow}`)));
  $("scores-table").append(element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "name" }, "Prompt"), element("th", { scope: "col", class: "text" }, "Method"),
    element("th", { scope: "col", class: "short" }, "Sample"), ...heads)), body);

  function more() {
    const next = order.slice(drawn, drawn + PAGE);
    body.append(...next.map(line));
    drawn += next.length;
    $("scores-more").hidden = drawn >= order.length;
    const all = data.methods.length * data.prompts.length * SAMPLES;
    $("scores-found").textContent = `${order.length.toLocaleString("en")} of ${all.toLocaleString("en")} images; ${drawn.toLocaleString("en")} shown.`;
  }

  function update() {
    heads.forEach((head, i) => head.setAttribute("aria-sort", i === sorted.column ? (sorted.descending ? "descending" : "ascending") : "none"));
    order = found();
    drawn = 0;
    body.replaceChildren();
    more();
  }

  $("scores-csv").addEventListener("click", () => download("scores", [
    ["prompt_id", "prompt", "method", "sample", ...columns.map((k) => data.metrics[k].name)],
    ...order.map(([m, p, s]) => [data.prompts[p].id, data.prompts[p].text, data.methods[m].name, s, ...columns.map((k) => value(k, [m, p, s]))]),
  ]));
  $("scores-more").addEventListener("click", more);
  $("scores-controls").addEventListener("submit", (event) => event.preventDefault());

  // --- begin ----------------------------------------------------------------------------------------------------

  fill(controls.method, [["", "all shown"], ...data.methods.map((method, m) => /** @type {Choice} */ ([String(m), method.name]))], "");
  fill(controls.metric, columns.length ? columns.map((k) => /** @type {Choice} */ ([String(k), data.metrics[k].title])) : [["", "none"]], null);
  const tags = [...new Set(data.prompts.flatMap((prompt) => prompt.tags))].sort();
  fill(controls.tag, [["", "all"], ...tags.map((tag) => /** @type {Choice} */ ([tag, tag]))], "");
  $("scores-tag-label").hidden = !tags.length;
  let timer = 0;
  const later = () => { clearTimeout(timer); timer = setTimeout(() => { update(); changed(); }, 120); };
  for (const [key, input] of /** @type {[string, HTMLInputElement][]} */ ([["text", controls.text], ["least", controls.least], ["most", controls.most]])) {
    input.addEventListener("input", later);
    register(`scores.${key}`, { read: () => [input.value], write: ([text]) => { input.value = text; update(); return input.value === text ? [] : [text]; } });
  }
  for (const select of [controls.tag, controls.method, controls.metric]) select.addEventListener("change", update);
  registerSelect("scores.tag", controls.tag, (tag) => tag, update);
  registerSelect("scores.method", controls.method, (m) => (m === "" ? "" : data.methods[Number(m)].name), update);
  registerSelect("scores.metric", controls.metric, (k) => (k === "" ? "" : data.metrics[Number(k)].name), update);
  register("scores.sort", {
    read: () => [sorted.column < 0 ? "" : `${data.metrics[columns[sorted.column]].name}:${sorted.descending ? "descending" : "ascending"}`],
    write: ([text]) => {
      const [name, direction] = text.split(":"), column = columns.findIndex((k) => data.metrics[k].name === name);
      if (text !== "" && column < 0) return [text];
      sorted = { column, descending: direction !== "ascending" };
      update();
      return [];
    },
  });
  pageState.onMethods(update);
  update();
})();
