// The gallery: prompts with their images side by side, a filter, an order, and one picture large with all its scores.
"use strict";

(() => {
  const { data, embedded, $, find, element, bytes, values, format, fill, metricOptions } = report;
  const images = data.images;
  if (find("gallery") === null || images.mode === "none") return;
  const PROMPTS = data.prompts.length, SAMPLES = data.samples;
  const PAGE = 12;

  // --- where images are -----------------------------------------------------------------------------------------

  const bits = bytes(images.present);
  const packed = new Set(images.mode === "files" ? images.prompts : []);

  /**
   * @param {number} m
   * @param {number} p
   * @param {number} s
   */
  function exists(m, p, s) {
    const i = (m * PROMPTS + p) * SAMPLES + s;
    return Boolean(bits[i >> 3] & (128 >> (i & 7)));
  }
  const place = (/** @type {number} */ p, /** @type {number} */ s, /** @type {string} */ ending) => `${data.prompts[p].id}/${s}.${ending}`;

  /**
   * The address of an image in its full size; null where it is not in this copy.
   * @param {number} m
   * @param {number} p
   * @param {number} s
   */
  function full(m, p, s) {
    if (images.mode === "none" || !exists(m, p, s)) return null;
    if (images.mode === "page") return embedded[`${m}/${p}/${s}`] || null;
    if (packed.has(p)) return images.folders[m] + place(p, s, "png");
    return images.origins[m] === null ? null : images.origins[m] + place(p, s, "png");
  }

  /**
   * @param {number} m
   * @param {number} p
   * @param {number} s
   */
  function thumbnail(m, p, s) {
    if (images.mode !== "files" || !packed.has(p) || !exists(m, p, s)) return full(m, p, s);
    return images.thumbs === "page" ? embedded[`${m}/${p}/${s}`] || null : images.folders[m] + place(p, s, "webp");
  }

  // --- what is shown --------------------------------------------------------------------------------------------

  const controls = { text: $("filter"), tag: $("tag"), metric: $("sort-metric"), a: $("sort-a"), b: $("sort-b"), order: $("sort-order") };
  const perPrompt = metricOptions(["image", "group"]);
  const shown = new Set(data.methods.map((_, m) => m).slice(0, 8));
  const haystack = data.prompts.map((prompt) => `${prompt.id} ${prompt.text}`.toLowerCase());
  let order = /** @type {number[]} */ ([]), drawn = 0;

  /**
   * The difference of the two compared methods on a prompt.
   * @param {number} p
   */
  function gap(p) {
    const table = controls.metric.value === "" ? null : values(Number(controls.metric.value));
    return table ? table.mean(Number(controls.a.value), p) - table.mean(Number(controls.b.value), p) : NaN;
  }

  function sorted() {
    const words = controls.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const tag = controls.tag.value;
    const kept = data.prompts.map((_, p) => p).filter((p) =>
      words.every((word) => haystack[p].includes(word)) && (!tag || data.prompts[p].tags.includes(tag)));
    const mode = controls.order.value;
    if (mode === "list" || controls.metric.value === "") return kept;
    const sign = data.metrics[Number(controls.metric.value)].higher ? 1 : -1;
    const key = (/** @type {number} */ value) => (mode === "largest" ? Math.abs(value) : mode === "gain" ? sign * value : -sign * value);
    const rank = data.prompts.map((_, p) => { const value = key(gap(p)); return Number.isFinite(value) ? value : -Infinity; });
    return kept.sort((x, y) => rank[y] - rank[x] || x - y);
  }

  /**
   * @param {number} m
   * @param {number} p
   * @param {number} s
   */
  function tile(m, p, s) {
    const source = thumbnail(m, p, s), name = data.methods[m].name;
    if (source === null) {
      const why = exists(m, p, s) ? "image not in this copy" : "no image";
      return element("span", { class: "tile none" }, why);
    }
    const picture = element("img", { loading: "lazy", decoding: "async", alt: `${name}, sample ${s}`, src: source });
    const button = element("button", { type: "button", class: "tile", "aria-label": `${name}, sample ${s}: open`, onclick: () => open(m, p, s) }, picture);
    picture.addEventListener("error", () => button.replaceWith(element("span", { class: "tile none" }, "image not beside this page")));
    return button;
  }

  /**
   * The images of a method, with the mean of the chosen metric.
   * @param {number} m
   * @param {number} p
   */
  function strip(m, p) {
    const k = controls.metric.value === "" ? null : Number(controls.metric.value);
    const score = k === null ? "" : format(values(k)?.mean(m, p), data.metrics[k].digits);
    const who = element("div", { class: "who" }, data.methods[m].name, element("span", { title: k === null ? null : data.metrics[k].title }, score));
    return element("div", { class: "strip" }, who, ...Array.from({ length: SAMPLES }, (_, s) => tile(m, p, s)));
  }

  /** @param {number} p */
  function card(p) {
    const prompt = data.prompts[p], difference = gap(p), meta = element("p", { class: "meta" }, prompt.id);
    if (Number.isFinite(difference) && controls.a.value !== controls.b.value) {
      const metric = data.metrics[Number(controls.metric.value)];
      const better = difference === 0 ? "" : (difference > 0) === metric.higher ? "better" : "worse";
      meta.append(` · ${data.methods[Number(controls.a.value)].name} minus ${data.methods[Number(controls.b.value)].name}: `,
        element("b", { class: better }, format(difference, metric.digits + 1, true)), ` ${metric.title}`);
    }
    if (prompt.tags.length) meta.append(` · ${prompt.tags.join(", ")}`);
    const strips = element("div", { class: "strips", tabindex: "0", role: "group", "aria-label": "Images of this prompt" });
    [...shown].sort((x, y) => x - y).forEach((m) => strips.append(strip(m, p)));
    return element("article", { class: "prompt", "data-prompt": p }, element("h3", {}, prompt.text), meta, strips);
  }

  function more() {
    const next = order.slice(drawn, drawn + PAGE);
    $("cards").append(...next.map(card));
    drawn += next.length;
    $("more").hidden = drawn >= order.length;
    const metric = controls.metric.value === "" || controls.order.value === "list" ? "" : `, by ${controls.order.selectedOptions[0].textContent} in ${data.metrics[Number(controls.metric.value)].title}`;
    $("found").textContent = order.length
      ? `${order.length.toLocaleString("en")} of ${PROMPTS.toLocaleString("en")} prompts${metric}; ${drawn.toLocaleString("en")} shown.`
      : "No prompt has all of these words.";
  }

  function update() {
    order = sorted();
    drawn = 0;
    $("cards").replaceChildren();
    more();
  }

  // --- one picture ----------------------------------------------------------------------------------------------

  const box = $("lightbox");
  /** @type {{ m: number, p: number, s: number } | null} */
  let current = null;
  /** @type {Element | null} */
  let opener = null;

  /**
   * Show one picture large.
   * @param {number} m
   * @param {number} p
   * @param {number} s
   */
  function open(m, p, s) {
    if (!box.open) { opener = document.activeElement; box.showModal(); }
    current = { m, p, s };
    const prompt = data.prompts[p], method = data.methods[m], picture = $("lb-image"), source = full(m, p, s), small = thumbnail(m, p, s);
    $("lb-title").textContent = prompt.text;
    picture.alt = `${method.name}, sample ${s}: ${prompt.text}`;
    picture.onload = () => {
      picture.classList.toggle("tiny", picture.naturalWidth <= 128);
      $("lb-caption").textContent = `${method.name} · ${prompt.id} · sample ${s} · ${picture.naturalWidth} × ${picture.naturalHeight} px`;
    };
    picture.onerror = () => {
      picture.onerror = null;
      if (small && picture.getAttribute("src") !== small) picture.src = small;
      $("lb-caption").textContent = `${method.name} · ${prompt.id} · sample ${s} · the full size is not beside this page`;
    };
    $("lb-caption").textContent = `${method.name} · ${prompt.id} · sample ${s}` + (source ? "" : " · no image");
    const address = source || small;
    if (address) picture.src = address; else picture.removeAttribute("src");
    $("lb-left").disabled = s === 0;
    $("lb-right").disabled = s === SAMPLES - 1;
    const list = listed();
    $("lb-up").disabled = list.indexOf(m) <= 0;
    $("lb-down").disabled = list.indexOf(m) === list.length - 1;
    scores(m, p, s);
    beside();
  }

  /** The same prompt and sample of another method over the picture, as far as the slider is to the right. */
  function beside() {
    const second = $("lb-second"), other = $("lb-other").value;
    const address = current && other !== "" && Number(other) !== current.m ? full(Number(other), current.p, current.s) || thumbnail(Number(other), current.p, current.s) : null;
    second.hidden = address === null;
    $("lb-slide-label").hidden = $("lb-sides").hidden = address === null;
    if (address === null || !current) {
      second.removeAttribute("src");
      $("lb-sides").hidden = !current || other === "";
      $("lb-sides").textContent = current && Number(other) === current.m ? "This is that method's picture itself." : "No image of that method here.";
      return;
    }
    second.alt = `${data.methods[Number(other)].name}, sample ${current.s}: ${data.prompts[current.p].text}`;
    second.onload = () => second.classList.toggle("tiny", second.naturalWidth <= 128);
    second.src = address;
    slide();
  }
  function slide() {
    const other = $("lb-other").value, at = Number($("lb-slide").value);
    $("lb-stage").style.setProperty("--cut", `${at}%`);
    if (current && other !== "") $("lb-sides").textContent = `Left: ${data.methods[current.m].name}. Right: ${data.methods[Number(other)].name}, the same prompt and sample.`;
  }
  $("lb-slide").addEventListener("input", slide);
  $("lb-other").addEventListener("change", beside);

  function listed() {
    const methods = new Set(shown);
    if (current) methods.add(current.m);
    return [...methods].sort((x, y) => x - y);
  }

  /**
   * All scores of the picture, beside those of the compared methods on the same prompt and noise.
   * @param {number} m
   * @param {number} p
   * @param {number} s
   */
  function scores(m, p, s) {
    const others = [...new Set([m, reference, Number(controls.a.value)])];
    const head = element("tr", {}, element("th", { class: "name", scope: "col" }, "Score"), ...others.map((one) => element("th", { scope: "col" }, data.methods[one].name)));
    const rows = perPrompt.map(([key, label]) => {
      const k = Number(key), metric = data.metrics[k], table = values(k);
      const cells = others.map((one) => {
        const trained = data.methods[one].trained.includes(k) ? "†" : "";
        return element("td", { class: one === m ? "here" : null }, format(table?.at(one, p, s), metric.digits + 1) + trained);
      });
      const kind = metric.kind === "group" ? element("span", { class: "interval" }, "over the prompt's images") : null;
      return element("tr", {}, element("th", { class: "name", scope: "row" }, label, kind), ...cells);
    });
    $("lb-scores").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  /**
   * @param {number} samples
   * @param {number} methods
   */
  function step(samples, methods) {
    if (!current) return;
    const list = listed();
    const s = Math.min(SAMPLES - 1, Math.max(0, current.s + samples));
    const m = list[Math.min(list.length - 1, Math.max(0, list.indexOf(current.m) + methods))];
    open(m, current.p, s);
  }

  $("lb-left").addEventListener("click", () => step(-1, 0));
  $("lb-right").addEventListener("click", () => step(1, 0));
  $("lb-up").addEventListener("click", () => step(0, -1));
  $("lb-down").addEventListener("click", () => step(0, 1));
  $("lb-close").addEventListener("click", () => box.close());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  box.addEventListener("close", () => { current = null; if (opener instanceof HTMLElement) opener.focus(); });
  /** @type {Map<string, [number, number]>} */
  const MOVES = new Map([["ArrowLeft", [-1, 0]], ["ArrowRight", [1, 0]], ["ArrowUp", [0, -1]], ["ArrowDown", [0, 1]]]);
  box.addEventListener("keydown", (event) => {
    if (event.target === $("lb-slide") || event.target === $("lb-other")) return; // their own keys
    const move = MOVES.get(event.key);
    if (move) { event.preventDefault(); step(...move); }
  });

  // --- begin ----------------------------------------------------------------------------------------------------

  /** @type {Choice[]} */
  const names = data.methods.map((method, m) => [String(m), method.name]);
  const reference = data.reference ?? 0;
  fill(controls.metric, perPrompt.length ? perPrompt : [["", "none"]], perPrompt.length ? data.axes.y ?? perPrompt[0][0] : "");
  fill(controls.a, names, String(data.methods.findIndex((_, m) => m !== reference && shown.has(m)) === -1 ? reference : data.methods.findIndex((_, m) => m !== reference)));
  fill(controls.b, names, String(reference));
  fill($("lb-other"), [["", "nothing"], ...names], "");
  const tags = [...new Set(data.prompts.flatMap((prompt) => prompt.tags))].sort();
  if (tags.length) {
    fill(controls.tag, [["", "all"], ...tags.map((tag) => /** @type {Choice} */ ([tag, tag]))], "");
    $("tag-label").hidden = false;
  }
  shown.add(reference);
  data.methods.forEach((method, m) => {
    const tick = element("input", { type: "checkbox", checked: shown.has(m), onchange: () => { tick.checked ? shown.add(m) : shown.delete(m); update(); } });
    $("shown").append(element("label", {}, tick, method.name));
  });
  let timer = 0;
  controls.text.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => { update(); pageState.changed(); }, 120); });
  for (const control of [controls.tag, controls.metric, controls.a, controls.b, controls.order]) control.addEventListener("change", update);
  $("gallery-controls").addEventListener("submit", (event) => event.preventDefault());
  $("more").addEventListener("click", more);
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && drawn && drawn < order.length) more();
  }, { rootMargin: "900px" }).observe($("more"));
  document.addEventListener("show-prompt", (event) => {
    controls.text.value = data.prompts[event.detail].id;
    controls.tag.value = "";
    update();
    $("gallery").scrollIntoView();
  });
  update();

  pageState.register("gallery.text", { read: () => [controls.text.value], write: ([text]) => { controls.text.value = text; update(); return []; } });
  const metricName = (/** @type {string} */ k) => (k === "" ? "" : data.metrics[Number(k)].name);
  const methodName = (/** @type {string} */ m) => data.methods[Number(m)].name;
  pageState.registerSelect("gallery.tag", controls.tag, (tag) => tag, update);
  pageState.registerSelect("gallery.metric", controls.metric, metricName, update);
  pageState.registerSelect("gallery.a", controls.a, methodName, update);
  pageState.registerSelect("gallery.b", controls.b, methodName, update);
  pageState.registerSelect("gallery.order", controls.order, (order_) => order_, update);
})();
