// The view in the address: `#section?key=value&key=value`. What differs from the report's own choice is written there, so
// that a link shows what its sender saw; names rather than numbers, so that it holds for the next report as well.
"use strict";

const pageState = (() => {
  const { data, $, element } = report;

  /** @type {Map<string, View & { initial: string[] }>} */
  const views = new Map();

  function address() {
    const text = location.hash.slice(1), at = text.indexOf("?");
    return { section: decodeURIComponent(at < 0 ? text : text.slice(0, at)), given: new URLSearchParams(at < 0 ? "" : text.slice(at + 1)), stated: at >= 0 };
  }
  const same = (/** @type {string[]} */ a, /** @type {string[]} */ b) => a.length === b.length && a.every((one, i) => one === b[i]);

  /** Keys of an address that nothing here answers to, or values that this report does not have. */
  const unknown = /** @type {Map<string, string[]>} */ (new Map());
  function tell() {
    const { given } = address();
    const strange = [...new Set(given.keys())].filter((key) => !views.has(key)).map((key) => `${key}=${given.getAll(key).join(", ")}`);
    const missing = [...unknown].filter(([, names]) => names.length).map(([key, names]) => `${key}=${names.join(", ")}`);
    const all = [...missing, ...(document.readyState === "loading" ? [] : strange)];
    $("state-told").hidden = !all.length;
    $("state-told").textContent = all.length ? `This page's address asks for what the report does not have: ${all.join("; ")}.` : "";
  }

  /**
   * A part of the view: how it is read, and how it is set; setting returns the values that this report does not have.
   * @param {string} key
   * @param {View} view
   */
  function register(key, view) {
    views.set(key, { ...view, initial: view.read() });
    const { given } = address();
    if (given.has(key)) unknown.set(key, view.write(given.getAll(key)));
    tell();
  }

  /** Write what differs from the beginning into the address. */
  function changed() {
    const { section } = address(), found = new URLSearchParams();
    for (const [key, view] of views) {
      const now = view.read();
      if (!same(now, view.initial)) (now.length ? now : [""]).forEach((value) => found.append(key, value));
    }
    const text = found.toString(), next = `#${section || "tradeoff"}${text ? `?${text}` : ""}`;
    if (next !== location.hash && (text || location.hash)) history.replaceState(null, "", next);
    unknown.clear();
    tell();
  }

  addEventListener("hashchange", () => {
    const { section, given, stated } = address();
    if (stated) { // an address that was typed or followed
      for (const [key, view] of views) unknown.set(key, view.write(given.has(key) ? given.getAll(key) : view.initial));
      tell();
      document.getElementById(section)?.scrollIntoView();
    } else changed(); // a link of the navigation: the view stays
  });
  addEventListener("load", () => {
    tell();
    const { section, stated } = address();
    if (stated && section) document.getElementById(section)?.scrollIntoView({ behavior: "instant" });
  });

  /**
   * A list of choices as a part of the view, by the words that `name` gives its values.
   * @param {string} key
   * @param {HTMLSelectElement} select
   * @param {(value: string) => string} name
   * @param {() => void} update
   */
  function registerSelect(key, select, name, update) {
    const values = () => [...select.options].map((option) => option.value);
    register(key, {
      read: () => [name(select.value)],
      write: ([given]) => {
        const value = values().find((one) => name(one) === given);
        if (value !== undefined) { select.value = value; update(); }
        return value === undefined ? [given] : [];
      },
    });
    select.addEventListener("change", changed);
  }

  // --- which methods are shown ------------------------------------------------------------------------------------

  const shown = new Set(data.methods.map((_, m) => m));
  /** @type {(() => void)[]} */
  const listeners = [];
  const hiddenNames = () => data.methods.filter((_, m) => !shown.has(m)).map((method) => method.name);

  function showMethods() {
    const hidden = hiddenNames();
    $("chosen-count").textContent = hidden.length ? `${shown.size} of ${data.methods.length}` : `all ${data.methods.length}`;
    document.querySelectorAll("#chosen input").forEach((tick, m) => { /** @type {HTMLInputElement} */ (tick).checked = shown.has(m); });
    /** @type {NodeListOf<HTMLTableRowElement>} */
    const rows = document.querySelectorAll("tr[data-method]");
    for (const row of rows) row.classList.toggle("away", hidden.includes(row.dataset.method ?? ""));
    for (const listener of listeners) listener();
  }
  data.methods.forEach((method, m) => {
    const tick = element("input", { type: "checkbox", checked: true, onchange: () => {
      tick.checked ? shown.add(m) : shown.delete(m);
      showMethods();
      changed();
    } });
    $("chosen").append(element("label", {}, tick, method.name));
  });
  const all = (/** @type {boolean} */ every) => () => {
    data.methods.forEach((_, m) => (every ? shown.add(m) : shown.delete(m)));
    showMethods();
    changed();
  };
  $("chosen").prepend(element("button", { type: "button", class: "quiet", onclick: all(true) }, "all"), element("button", { type: "button", class: "quiet", onclick: all(false) }, "none"));
  register("method", {
    read: () => data.methods.filter((_, m) => shown.has(m)).map((method) => method.name),
    write: (names) => {
      const known = names.filter((name) => data.methods.some((method) => method.name === name));
      shown.clear();
      data.methods.forEach((method, m) => { if (known.includes(method.name) || (!known.length && names.some(Boolean))) shown.add(m); });
      showMethods();
      return names.filter((name) => name && !known.includes(name));
    },
  });
  showMethods();

  const onMethods = (/** @type {() => void} */ listener) => { listeners.push(listener); };
  return { register, registerSelect, changed, shown, hiddenNames, onMethods };
})();
