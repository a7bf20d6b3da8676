// The Pareto plots. Everything is drawn from the data of the page; plotly only draws.
"use strict";

(() => {
  const { data, $, find, element, format, plotText, fill, metricOptions, FONT, CONFIG, narrow } = report;
  const { low, high, nameLines, placeNames } = pointNames;
  const FAINT = "#8a8a8a";
  const LEGEND = 200; // pixels

  // Whether values are shown as they are, or as paired differences to the reference.
  const paired = () => find("axis-mode")?.value === "differences";

  // --- axes -----------------------------------------------------------------------------------------------------

  /**
   * An axis is a metric ("m3") or a measure of cost ("c0").
   * @param {string} key
   * @returns {Axis}
   */
  function axis(key) {
    const i = Number(key.slice(1));
    if (key[0] === "c") {
      const cost = data.costs[i];
      const value = (/** @type {number} */ m) => {
        const mean = cost.values[m];
        return mean === null ? null : { mean, low: null, high: null };
      };
      return { title: `${cost.title} (${cost.unit})`, arrow: "↓", higher: false, digits: 3, value, metric: null, role: "", signed: false };
    }
    const metric = data.metrics[i];
    const value = (/** @type {number} */ m) => {
      const cell = paired() ? data.differences[m]?.[i] : data.cells[m][i];
      return !cell || cell[0] === null ? null : { mean: cell[0], low: cell[1], high: cell[2], n: cell[3], lost: cell[4] };
    };
    const digits = metric.digits + (paired() ? 1 : 0);
    return { title: metric.title, arrow: metric.arrow, higher: metric.higher, digits, value, metric: i, role: metric.role, signed: paired() };
  }

  /** @type {Choice[]} */
  const costOptions = data.costs.map((cost, i) => [`c${i}`, `${cost.title} (${cost.unit}) ↓`, "Cost"]);

  /**
   * @param {string[]} kinds
   * @returns {Choice[]}
   */
  const measured = (kinds) => metricOptions(kinds).map(([k, label, group]) => [`m${k}`, label, group]);

  /**
   * The methods that have both values, of those that are shown.
   * @param {Axis} x
   * @param {Axis} y
   * @returns {Point[]}
   */
  function pointsOf(x, y) {
    return data.methods.flatMap((method, m) => {
      if (!pageState.shown.has(m)) return [];
      const xm = x.value(m), ym = y.value(m);
      return xm && ym ? [{ method, m, x: xm, y: ym }] : [];
    });
  }

  /**
   * The points that no other beats in one axis without losing in the other; equal points are on the front together.
   * The rule of bench/analysis/pareto.py once more: the reader chooses any two axes, as means or as differences, and the
   * page has no Python to ask.
   * @param {Point[]} points
   * @param {Axis} x
   * @param {Axis} y
   */
  function onFront(points, x, y) {
    const sx = x.higher ? 1 : -1, sy = y.higher ? 1 : -1;
    const beats = (/** @type {Point} */ a, /** @type {Point} */ b) => {
      const dx = sx * (a.x.mean - b.x.mean), dy = sy * (a.y.mean - b.y.mean);
      return dx >= 0 && dy >= 0 && (dx > 0 || dy > 0);
    };
    return points.filter((point) => !points.some((other) => beats(other, point)));
  }

  /**
   * Between two points of the front only the worse of each coordinate is attained: steps, not a straight line.
   * @param {Point[]} front
   * @param {Axis} x
   */
  function staircase(front, x) {
    const sorted = [...front].sort((a, b) => (x.higher ? 1 : -1) * (a.x.mean - b.x.mean));
    const path = { x: /** @type {number[]} */ ([]), y: /** @type {number[]} */ ([]) };
    sorted.forEach((point, i) => {
      if (i) { path.x.push(sorted[i - 1].x.mean); path.y.push(point.y.mean); }
      path.x.push(point.x.mean); path.y.push(point.y.mean);
    });
    return path;
  }

  /**
   * What the bootstrap says of this front; only for quality against diversity.
   * @param {Axis} x
   * @param {Axis} y
   * @returns {Payload.Front | undefined}
   */
  const known = (x, y) => (x.metric === null || y.metric === null ? undefined : data.fronts[`${x.metric}/${y.metric}`]);

  /**
   * The band in which the front lies in 95 % of the resamples. It is known for means, not for differences.
   * @param {Axis} x
   * @param {Axis} y
   */
  function bandTrace(x, y) {
    const band = paired() ? undefined : known(x, y)?.band;
    if (!band) return [];
    const places = band.x.map((at, i) => ({ at, low: band.low[i], high: band.high[i] })).filter(({ high }) => high !== null);
    const lows = places.map((place) => place.low).filter((value) => value !== null);
    const floor = Math[y.higher ? "min" : "max"](...lows);
    const path = [...places.map((place) => [place.at, place.high]), ...places.map((place) => [place.at, place.low ?? floor]).reverse()];
    return [{ x: path.map((one) => one[0]), y: path.map((one) => one[1]), mode: "lines", fill: "toself", fillcolor: "rgba(138,138,138,0.14)",
      line: { width: 0 }, hoverinfo: "skip", showlegend: false, name: "band of the front" }];
  }

  /**
   * From the least to the most, with room at both ends; backwards where lower is better.
   * @param {Point[]} points
   * @param {"x" | "y"} side
   * @param {boolean} higher
   * @param {number} room
   * @returns {[number, number]}
   */
  function range(points, side, higher, room) {
    const least = Math.min(...points.map((point) => low(point[side])));
    const most = Math.max(...points.map((point) => high(point[side])));
    const pad = (most - least) * room || Math.max(Math.abs(most), 1) * 0.05;
    return higher ? [least - pad, most + pad] : [most + pad, least - pad];
  }

  // --- traces ---------------------------------------------------------------------------------------------------

  /**
   * The error bar of a value that has an interval.
   * @param {Value} value
   * @param {string} colour
   * @param {number} width
   */
  function bars(value, colour, width) {
    if (value.low === null || value.high === null) return undefined;
    return { type: "data", symmetric: false, array: [value.high - value.mean], arrayminus: [value.mean - value.low],
      color: colour, thickness: width, width: 0 };
  }

  /**
   * @param {Point} point
   * @param {Axis} y
   */
  function symbolOf(point, y) {
    const trained = y.metric !== null && point.method.trained.includes(y.metric);
    return point.method.symbol + (trained ? "-open" : "");
  }

  /**
   * What is shown of a point under the pointer.
   * @param {Point} point
   * @param {Axis} x
   * @param {Axis} y
   * @param {Axis | null} size
   * @param {Point[]} front
   */
  function hover(point, x, y, size, front) {
    const line = (/** @type {Axis} */ one, /** @type {Value} */ value) => {
      const range = value.low === null ? "" : ` [${format(value.low, one.digits, one.signed)}, ${format(value.high, one.digits, one.signed)}]`;
      const lost = value.lost ? `, ${value.lost} unscored` : "";
      const trained = one.metric !== null && point.method.trained.includes(one.metric) ? " †" : "";
      return `${plotText(one.title)}${trained} ${one.arrow}<br>  ${format(value.mean, one.digits, one.signed)}${range}${lost}`;
    };
    const lines = [`<b>${plotText(point.method.name)}</b>`, line(y, point.y), line(x, point.x)];
    if (size) {
      const value = size.value(point.m);
      lines.push(value ? line(size, value) : `${plotText(size.title)}: not recorded`);
    }
    const verdict = known(x, y)?.verdict[point.m];
    lines.push((front.includes(point) ? "on the front of the means" : "not on the front of the means") + (verdict === undefined ? "" : `: ${verdict}`));
    return lines.join("<br>");
  }

  /**
   * Symbols between 7 and 30 pixels, their area in proportion to the value.
   * @param {Point[]} points
   * @param {Axis | null} size
   * @param {boolean} small
   */
  function diameters(points, size, small) {
    if (!size) return points.map(() => (small ? 8 : 11));
    const sizes = points.map((point) => Math.abs(size.value(point.m)?.mean ?? 0));
    const most = Math.max(...sizes, 1e-12);
    return points.map((point) => {
      const value = size.value(point.m);
      return value ? Math.max(7, 30 * Math.sqrt(Math.abs(value.mean) / most)) : 7;
    });
  }

  /**
   * A line through the settings of each sweep.
   * @param {Point[]} points
   * @param {number} width
   */
  function curveTraces(points, width) {
    const at = new Map(points.map((point) => [point.m, point]));
    return data.curves.map((curve) => {
      const members = curve.members.map(([m]) => at.get(m)).filter((point) => point !== undefined);
      return { x: members.map((one) => one.x.mean), y: members.map((one) => one.y.mean), mode: "lines", hoverinfo: "skip",
        showlegend: false, line: { color: members.length ? members[0].method.colour : FAINT, width }, opacity: 0.65 };
    });
  }

  /**
   * The names beside their points: the dagger where the method was trained on the vertical metric.
   * @param {Point[]} points
   * @param {Axis} y
   */
  const namesOf = (points, y) => points.map((point) => point.method.short + (y.metric !== null && point.method.trained.includes(y.metric) ? " †" : ""));

  /**
   * Names as annotations, off every error bar; a line leads from a far one to its point.
   * @param {Point[]} points
   * @param {string[]} names
   * @param {(Place | null)[]} places
   */
  function nameMarks(points, names, places) {
    return points.flatMap((point, i) => {
      const place = places[i];
      if (place === null) return [];
      const text = nameLines(names[i]).map(plotText).join("<br>");
      const common = { x: point.x.mean, y: point.y.mean, text, font: { size: 12.5 }, xanchor: "center", yanchor: "middle", captureevents: false };
      return [place.far
        ? { ...common, showarrow: true, arrowhead: 0, arrowwidth: 0.8, arrowcolor: point.method.colour, standoff: 5, ax: place.dx, ay: place.dy }
        : { ...common, showarrow: false, xshift: place.dx, yshift: -place.dy }];
    });
  }

  /**
   * @param {Point[]} points
   * @param {Axis} x
   * @param {Axis} y
   * @param {Axis | null} size
   * @param {Point[]} front
   * @param {{ small: boolean, legend: boolean }} layout
   */
  function pointTraces(points, x, y, size, front, layout) {
    const sizes = diameters(points, size, layout.small);
    return points.map((point, i) => ({
      x: [point.x.mean], y: [point.y.mean], name: plotText(point.method.name), cliponaxis: false, mode: "markers",
      hovertext: [hover(point, x, y, size, front)], hoverinfo: layout.small ? "skip" : "text", showlegend: layout.legend,
      marker: { color: point.method.colour, symbol: symbolOf(point, y), size: sizes[i], opacity: size ? 0.8 : 1,
        line: { width: symbolOf(point, y).endsWith("-open") ? 2 : front.includes(point) ? 1.5 : 0, color: point.method.colour } },
      error_x: bars(point.x, point.method.colour + "88", layout.small ? 1 : 1.4),
      error_y: bars(point.y, point.method.colour + "88", layout.small ? 1 : 1.4),
    }));
  }

  /**
   * @param {Axis} one
   * @param {[number, number]} ends
   * @param {boolean} small
   */
  function axisLayout(one, ends, small, upright = false) {
    const against = one.signed && data.reference !== null ? ` · difference to ${plotText(data.methods[data.reference].name)}` : "";
    const more = (one.role ? ` · ${one.role}` : "") + against;
    const role = upright ? more.replace(" · ", "<br>") : more; // beside a low plot there is no room for all of it in a line
    return { range: ends, title: small ? undefined : { text: `${plotText(one.title)} ${one.arrow}${role}`, font: { size: 13.5 }, standoff: 10 },
      automargin: !small, zeroline: one.signed, zerolinewidth: 1, tickfont: { size: small ? 10.5 : 12 }, nticks: small ? 5 : 8, ticks: "", fixedrange: small };
  }

  /**
   * Draw one plot.
   * @param {HTMLElement} target
   * @param {string} xKey
   * @param {string} yKey
   * @param {string} sizeKey
   * @param {boolean} small
   * @returns {Drawn}
   */
  function draw(target, xKey, yKey, sizeKey, small) {
    const x = axis(xKey), y = axis(yKey), size = sizeKey ? axis(sizeKey) : null;
    const points = pointsOf(x, y);
    const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: FONT, size: 12.5 }, hovermode: "closest",
      hoverlabel: { align: "left", font: { family: FONT, size: 12.5 }, namelength: -1 } };
    if (!points.length) {
      Plotly.react(target, [], { ...base, xaxis: { visible: false }, yaxis: { visible: false },
        annotations: [{ text: "No method that is shown was scored on both axes", showarrow: false, font: { size: 13 } }] }, { ...CONFIG, staticPlot: true });
      return { points, front: [], x, y, unnamed: 0 };
    }
    const front = onFront(points, x, y);
    const ranges = { x: range(points, "x", x.higher, 0.14), y: range(points, "y", y.higher, 0.14) };
    const margin = small ? { l: 42, r: 12, t: 10, b: 30 } : { l: 62, r: 14, t: 8, b: 48 };
    const names = namesOf(points, y);
    const placed = (/** @type {number} */ aside) => placeNames(points, names,
      { width: Math.max(120, target.clientWidth - margin.l - margin.r - aside), height: Math.max(120, target.clientHeight - margin.t - margin.b) },
      ranges, diameters(points, size, small));
    let places = small ? points.map(() => null) : placed(0);
    const legend = !small && !narrow() && places.includes(null); // names that find no room stand in a legend
    if (legend) places = placed(LEGEND);
    const path = staircase(front, x);
    const traces = [
      ...(small ? [] : bandTrace(x, y)),
      { ...path, mode: "lines", name: "Pareto front", hoverinfo: "skip", showlegend: false, line: { color: FAINT, width: small ? 1.2 : 1.6, dash: "dash" } },
      ...curveTraces(points, small ? 1.2 : 1.8),
      ...pointTraces(points, x, y, size, front, { small, legend }),
    ];
    Plotly.react(target, traces, { ...base, margin, xaxis: axisLayout(x, ranges.x, small), yaxis: axisLayout(y, ranges.y, small, true),
      showlegend: legend, legend: { font: { size: 12 }, itemsizing: "constant", tracegroupgap: 2 }, dragmode: "zoom",
      annotations: nameMarks(points, names, places) },
    small ? { ...CONFIG, staticPlot: true } : CONFIG);
    return { points, front, x, y, unnamed: small || legend ? 0 : places.filter((place) => place === null).length };
  }

  // --- the plot and its small companions ------------------------------------------------------------------------

  const chosen = { x: $("axis-x"), y: $("axis-y"), size: $("axis-size") };
  const everything = [...measured(["image", "group", "set"]), ...costOptions];
  const firstOf = (/** @type {string[]} */ kinds) => (measured(kinds)[0] || everything[0] || ["m0"])[0];
  const start = (/** @type {"x" | "y"} */ k, /** @type {string[]} */ kinds) => (data.axes[k] === null ? firstOf(kinds) : `m${data.axes[k]}`);

  /** @param {Drawn} drawn */
  function showFront({ points, front, x, y, unnamed }) {
    const text = $("front");
    const hidden = pageState.hiddenNames();
    const away = hidden.length ? ` Hidden here and in the tables of methods: ${hidden.join(", ")}; verdicts, bands and corrections are those of all methods.` : "";
    if (!points.length) { text.textContent = away.trim(); return; }
    const verdicts = known(x, y)?.verdict; // differences move all points alike, so they have the same front
    const named = (/** @type {Point[]} */ chosen) => chosen.map((point) => point.method.name).join(", ");
    const judged = (/** @type {string} */ verdict) => named(points.filter((point) => verdicts?.[point.m] === verdict)) || "none";
    const missing = pageState.shown.size - points.length;
    text.replaceChildren(
      element("b", {}, "On the front of the means: "), `${named(front)}.`,
      verdicts ? ` At 5 % over all methods of this plot: surely on the front: ${judged("surely on the front")}; surely dominated: ${judged("surely dominated")}; undecided: ${judged("undecided")}.` : "",
      missing ? ` ${missing} of ${pageState.shown.size} methods are not shown: not scored on both axes.` : "",
      away,
      unnamed ? ` ${unnamed} of the names find no room beside their points: touch or hover a point to read it.` : "",
      y.role === "training reward" ? " The vertical axis is a training reward: what methods gain on it was bought by optimising it, so read it next to a held-out one." : "");
  }

  /** @type {{ key: string, button: HTMLButtonElement, plot: HTMLElement }[]} */
  const panels = [];
  function makePanels() {
    for (const [key, label] of measured(["group", "set"])) {
      const plot = element("span", { class: "small", style: "display:block" });
      const button = element("button", { type: "button", "aria-pressed": "false", title: `Show ${label} above`,
        onclick: () => { chosen.x.value = key; update(); pageState.changed(); } }, element("span", { class: "cap" }, label), plot);
      panels.push({ key, button, plot });
      $("multiples").append(button);
    }
    if (panels.length < 2) { $("multiples").replaceChildren(); panels.length = 0; }
  }

  /** As high as lets the horizontal axis stand in the first window, within reason. */
  function fit() {
    const plot = $("pareto");
    const room = window.innerHeight - (plot.getBoundingClientRect().top + window.scrollY) - 8;
    plot.style.height = narrow() ? "" : `${Math.min(620, Math.max(340, room))}px`;
  }

  function update() {
    showFront(draw($("pareto"), chosen.x.value, chosen.y.value, chosen.size.value, false));
    for (const panel of panels) {
      draw(panel.plot, panel.key, chosen.y.value, "", true);
      panel.button.setAttribute("aria-pressed", String(panel.key === chosen.x.value));
    }
  }

  // --- begin ----------------------------------------------------------------------------------------------------

  fill(chosen.x, everything, start("x", ["group", "set"]));
  fill(chosen.y, everything, start("y", ["image"]));
  fill(chosen.size, [["", "equal"], ...costOptions, ...measured(["image", "group", "set"])], "");
  for (const select of [...Object.values(chosen), find("axis-mode")]) select?.addEventListener("change", update);
  makePanels();
  fit();
  if (everything.length) update();

  const nameOf = (/** @type {string} */ key) => (key === "" ? "" : key[0] === "c" ? data.costs[Number(key.slice(1))].name : data.metrics[Number(key.slice(1))].name);
  for (const [key, select] of Object.entries(chosen)) pageState.registerSelect(key, select, nameOf, update);
  const mode = find("axis-mode");
  if (mode) pageState.registerSelect("values", mode, (value) => (value === "differences" ? "paired" : "means"), update);
  pageState.onMethods(() => { if (everything.length) update(); });

  let wide = window.innerWidth, timer = 0;
  addEventListener("resize", () => {
    if (window.innerWidth === wide) return;
    wide = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => { fit(); if (everything.length) update(); }, 150);
  });
})();
