// The Pareto plots and the distributions. Everything is drawn from the data of the page; plotly only draws.
"use strict";

(() => {
  const { data, $, element, values, format, plotText, fill, metricOptions } = report;
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
  const FAINT = "#8a8a8a";
  const narrow = () => window.innerWidth < 720;

  // Whether values are shown as they are, or as paired differences to the reference.
  const paired = () => $("axis-mode")?.value === "gaps";

  // --- axes -----------------------------------------------------------------------------------------------------

  // An axis is a metric ("m3") or a measure of cost ("c0").
  function axis(key) {
    const i = Number(key.slice(1));
    if (key[0] === "c") {
      const cost = data.costs[i];
      const value = (m) => (cost.values[m] === null ? null : { mean: cost.values[m], low: null, high: null });
      return { title: `${cost.title} (${cost.unit})`, arrow: "↓", higher: false, digits: 3, value, metric: null, role: "" };
    }
    const metric = data.metrics[i];
    const value = (m) => {
      const cell = paired() ? data.gaps[m]?.[i] : data.cells[m][i];
      return !cell || cell[0] === null ? null : { mean: cell[0], low: cell[1], high: cell[2], n: cell[3], lost: cell[4] };
    };
    const digits = metric.digits + (paired() ? 1 : 0);
    return { title: metric.title, arrow: metric.arrow, higher: metric.higher, digits, value, metric: i, role: metric.role, signed: paired() };
  }

  const costOptions = data.costs.map((cost, i) => [`c${i}`, `${cost.title} (${cost.unit}) ↓`, "Cost"]);
  const measured = (kinds) => metricOptions(kinds).map(([k, label, group]) => [`m${k}`, label, group]);

  function pointsOf(x, y) {
    return data.methods.map((method, m) => ({ method, m, x: x.value(m), y: y.value(m) })).filter((point) => point.x && point.y);
  }

  // The points that no other beats in one axis without losing in the other; equal points are on the front together.
  function onFront(points, x, y) {
    const sx = x.higher ? 1 : -1, sy = y.higher ? 1 : -1;
    const beats = (a, b) => {
      const dx = sx * (a.x.mean - b.x.mean), dy = sy * (a.y.mean - b.y.mean);
      return dx >= 0 && dy >= 0 && (dx > 0 || dy > 0);
    };
    return points.filter((point) => !points.some((other) => beats(other, point)));
  }

  // Between two points of the front only the worse of each coordinate is attained: steps, not a straight line.
  function staircase(front, x) {
    const sorted = [...front].sort((a, b) => (x.higher ? 1 : -1) * (a.x.mean - b.x.mean));
    const path = { x: [], y: [] };
    sorted.forEach((point, i) => {
      if (i) { path.x.push(sorted[i - 1].x.mean); path.y.push(point.y.mean); }
      path.x.push(point.x.mean); path.y.push(point.y.mean);
    });
    return path;
  }

  // What the bootstrap says of this front; only for quality against diversity.
  const known = (x, y) => (x.metric === null || y.metric === null ? undefined : data.fronts[`${x.metric}/${y.metric}`]);
  const percent = (share) => (share > 0.995 && share < 1 ? "over 99 %" : share > 0 && share < 0.005 ? "under 1 %" : `${Math.round(100 * share)} %`);

  // The band in which the front lies in 95 % of the resamples. It is known for means, not for differences.
  function bandTrace(x, y) {
    const band = paired() ? undefined : known(x, y)?.band;
    if (!band) return [];
    const upper = [], lower = [];
    band.x.forEach((at, i) => {
      if (band.high[i] === null) return;
      upper.push([at, band.high[i]]);
      lower.push([at, band.low[i] === null ? null : band.low[i]]);
    });
    const floor = Math[y.higher ? "min" : "max"](...lower.map((one) => one[1]).filter((one) => one !== null));
    const path = [...upper, ...lower.map(([at, value]) => [at, value === null ? floor : value]).reverse()];
    return [{ x: path.map((one) => one[0]), y: path.map((one) => one[1]), mode: "lines", fill: "toself", fillcolor: "rgba(138,138,138,0.14)",
      line: { width: 0 }, hoverinfo: "skip", showlegend: false, name: "band of the front" }];
  }

  const low = (value) => (value.low === null ? value.mean : value.low);
  const high = (value) => (value.high === null ? value.mean : value.high);

  function range(points, side, higher, room) {
    const least = Math.min(...points.map((point) => low(point[side])));
    const most = Math.max(...points.map((point) => high(point[side])));
    const pad = (most - least) * room || Math.max(Math.abs(most), 1) * 0.05;
    return higher ? [least - pad, most + pad] : [most + pad, least - pad];
  }

  // --- traces ---------------------------------------------------------------------------------------------------

  function bars(value, colour, width) {
    if (value.low === null || value.high === null) return undefined;
    return { type: "data", symmetric: false, array: [value.high - value.mean], arrayminus: [value.mean - value.low],
      color: colour, thickness: width, width: 0 };
  }

  function symbolOf(point, y) {
    const trained = y.metric !== null && point.method.trained.includes(y.metric);
    return point.method.symbol + (trained ? "-open" : "");
  }

  function hover(point, x, y, size, front) {
    const line = (one, value) => {
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
    const share = known(x, y)?.share[point.m];
    lines.push((front.includes(point) ? "on the front" : "not on the front") + (share === undefined ? "" : `, in ${percent(share)} of the resamples`));
    return lines.join("<br>");
  }

  // Symbols between 9 and 30 pixels, their area in proportion to the value.
  function diameters(points, size, small) {
    if (!size) return points.map(() => (small ? 8 : 11));
    const known = points.map((point) => size.value(point.m)).filter(Boolean).map((value) => Math.abs(value.mean));
    const most = Math.max(...known, 1e-12);
    return points.map((point) => {
      const value = size.value(point.m);
      return value ? Math.max(7, 30 * Math.sqrt(Math.abs(value.mean) / most)) : 7;
    });
  }

  function curveTraces(points, width) {
    const at = new Map(points.map((point) => [point.m, point]));
    return data.curves.map((curve) => {
      const members = curve.members.map(([m]) => at.get(m)).filter(Boolean);
      return { x: members.map((one) => one.x.mean), y: members.map((one) => one.y.mean), mode: "lines", hoverinfo: "skip",
        showlegend: false, line: { color: members.length ? members[0].method.colour : FAINT, width }, opacity: 0.65 };
    });
  }

  const POSITIONS = [
    ["top right", 1, -1], ["bottom right", 1, 1], ["top left", -1, -1], ["bottom left", -1, 1],
    ["middle right", 1, 0], ["middle left", -1, 0], ["top center", 0, -1], ["bottom center", 0, 1],
  ];

  const pen = document.createElement("canvas").getContext("2d");

  function textWidth(text) {
    pen.font = `12.5px ${FONT}`;
    return pen.measureText(text).width;
  }

  // A name as the lines it is printed in: on a phone the setting stands below the method.
  function nameLines(name) {
    const space = name.indexOf(" ");
    return narrow() && space > 0 && name.length > 14 ? [name.slice(0, space), name.slice(space + 1)] : [name];
  }

  // For each point where its name covers least: other names count most, then symbols, then error bars.
  // Names that would still cover another name or a symbol are left to the hover.
  function placeNames(points, names, box, ranges, sizes) {
    const px = (value) => ((value - ranges.x[0]) / (ranges.x[1] - ranges.x[0])) * box.width;
    const py = (value) => ((ranges.y[1] - value) / (ranges.y[1] - ranges.y[0])) * box.height;
    const marks = points.map((point, i) => {
      const x = px(point.x.mean), y = py(point.y.mean), r = sizes[i] / 2;
      return [x - r, y - r, x + r, y + r];
    });
    const arms = points.flatMap((point) => {
      const x = px(point.x.mean), y = py(point.y.mean);
      const xs = [px(low(point.x)), px(high(point.x))], ys = [py(low(point.y)), py(high(point.y))];
      return [[Math.min(...xs), y - 1, Math.max(...xs), y + 1], [x - 1, Math.min(...ys), x + 1, Math.max(...ys)]];
    });
    const shared = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    const taken = [];
    const places = [];
    points.forEach((point, i) => {
      const lines_ = nameLines(names[i]), width = Math.max(...lines_.map(textWidth)) + 6, height = 15 * lines_.length, x = px(point.x.mean), y = py(point.y.mean), r = sizes[i] / 2 + 2;
      let best = null;
      POSITIONS.forEach(([name, dx, dy], order) => {
        const cx = x + dx * (r + width / 2), cy = y + dy * (r + height / 2);
        const area = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2];
        const outside = Math.max(0, -area[0]) + Math.max(0, area[2] - box.width) + Math.max(0, -area[1]) + Math.max(0, area[3] - box.height);
        const names_ = taken.reduce((sum, other) => sum + shared(area, other), 0);
        const symbols = marks.reduce((sum, other, j) => sum + (j === i ? 0 : shared(area, other)), 0);
        const lines = arms.reduce((sum, other) => sum + shared(area, other), 0);
        const cost = 20 * names_ + 10 * symbols + lines + 60 * outside + order;
        if (best === null || cost < best.cost) best = { cost, name, area, hidden: names_ > 12 || symbols > 20 || outside > 8 };
      });
      if (!best.hidden) taken.push(best.area);
      places.push(best.hidden ? null : best.name);
    });
    return places;
  }

  function pointTraces(points, x, y, size, front, layout) {
    const sizes = diameters(points, size, layout.small);
    const names = points.map((point) => point.method.short + (y.metric !== null && point.method.trained.includes(y.metric) ? " †" : ""));
    const places = layout.small ? points.map(() => null) : placeNames(points, names, layout.box, layout.ranges, sizes);
    return points.map((point, i) => ({
      x: [point.x.mean], y: [point.y.mean], name: plotText(point.method.name), cliponaxis: false,
      mode: places[i] ? "markers+text" : "markers",
      text: [nameLines(names[i]).map(plotText).join("<br>")], textposition: places[i] || "top center", textfont: { size: 12.5 },
      hovertext: [hover(point, x, y, size, front)], hoverinfo: layout.small ? "skip" : "text", showlegend: layout.legend,
      marker: { color: point.method.colour, symbol: symbolOf(point, y), size: sizes[i], opacity: size ? 0.8 : 1,
        line: { width: symbolOf(point, y).endsWith("-open") ? 2 : front.includes(point) ? 1.5 : 0, color: point.method.colour } },
      error_x: bars(point.x, point.method.colour + "88", layout.small ? 1 : 1.4),
      error_y: bars(point.y, point.method.colour + "88", layout.small ? 1 : 1.4),
    }));
  }

  function axisLayout(one, ranges, small) {
    const role = (one.role ? ` · ${one.role}` : "") + (one.signed ? ` · difference to ${plotText(data.methods[data.reference].name)}` : "");
    return { range: ranges, title: small ? undefined : { text: `${plotText(one.title)} ${one.arrow}${role}`, font: { size: 13.5 }, standoff: 10 },
      automargin: !small, zeroline: Boolean(one.signed), zerolinewidth: 1, tickfont: { size: small ? 10.5 : 12 }, nticks: small ? 5 : 8, ticks: "", fixedrange: small };
  }

  const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: "pareto" } };

  function draw(target, xKey, yKey, sizeKey, small) {
    const x = axis(xKey), y = axis(yKey), size = sizeKey ? axis(sizeKey) : null;
    const points = pointsOf(x, y);
    const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: FONT, size: 12.5 }, hovermode: "closest",
      hoverlabel: { align: "left", font: { family: FONT, size: 12.5 }, namelength: -1 } };
    if (!points.length) {
      Plotly.react(target, [], { ...base, xaxis: { visible: false }, yaxis: { visible: false },
        annotations: [{ text: "No method was scored on both axes", showarrow: false, font: { size: 13 } }] }, { ...CONFIG, staticPlot: true });
      return { points, front: [], x, y };
    }
    const front = onFront(points, x, y);
    const ranges = { x: range(points, "x", x.higher, 0.14), y: range(points, "y", y.higher, 0.14) };
    const legend = !small && !narrow() && points.length > 8;
    const margin = small ? { l: 42, r: 12, t: 10, b: 30 } : { l: 62, r: 14, t: 12, b: 56 };
    const box = { width: Math.max(120, target.clientWidth - margin.l - margin.r - (legend ? 190 : 0)), height: Math.max(120, target.clientHeight - margin.t - margin.b) };
    const path = staircase(front, x);
    const traces = [
      ...(small ? [] : bandTrace(x, y)),
      { ...path, mode: "lines", name: "Pareto front", hoverinfo: "skip", showlegend: false, line: { color: FAINT, width: small ? 1.2 : 1.6, dash: "dash" } },
      ...curveTraces(points, small ? 1.2 : 1.8),
      ...pointTraces(points, x, y, size, front, { small, legend, box, ranges }),
    ];
    Plotly.react(target, traces, { ...base, margin, xaxis: axisLayout(x, ranges.x, small), yaxis: axisLayout(y, ranges.y, small),
      showlegend: legend, legend: { font: { size: 12 }, itemsizing: "constant", tracegroupgap: 2 }, dragmode: "zoom" },
    small ? { ...CONFIG, staticPlot: true } : CONFIG);
    return { points, front, x, y };
  }

  // --- the plot and its small companions ------------------------------------------------------------------------

  const chosen = { x: $("axis-x"), y: $("axis-y"), size: $("axis-size") };
  const everything = [...measured(["image", "group", "set"]), ...costOptions];
  const firstOf = (kinds) => (measured(kinds)[0] || everything[0] || ["m0"])[0];
  const start = (k, kinds) => (data.axes[k] === null ? firstOf(kinds) : `m${data.axes[k]}`);

  function showFront({ points, front, x, y }) {
    const text = $("front");
    if (!points.length) { text.textContent = ""; return; }
    const shares = known(x, y)?.share; // differences move all points alike, so they have the same front
    const named = (point) => point.method.name + (shares ? ` (${percent(shares[point.m])})` : "");
    const names = front.map(named).join(", ");
    const near = shares ? points.filter((point) => !front.includes(point) && shares[point.m] >= 0.05) : [];
    const missing = data.methods.length - points.length;
    text.replaceChildren(
      element("b", {}, "On the front: "), `${names}.`,
      near.length ? ` Not on it, but in at least 5 % of the resamples: ${near.map(named).join(", ")}.` : "",
      shares ? " In brackets: the share of resampled prompt sets in which the method is on the front." : "",
      missing ? ` ${missing} of ${data.methods.length} methods are not shown: not scored on both axes.` : "",
      y.role === "training reward" ? " The vertical axis is a training reward: what methods gain on it was bought by optimising it, so read it next to a held-out one." : "");
  }

  const panels = [];
  function makePanels() {
    for (const [key, label] of measured(["group", "set"])) {
      const plot = element("span", { class: "small", style: "display:block" });
      const button = element("button", { type: "button", "aria-pressed": "false", title: `Show ${label} above`,
        onclick: () => { chosen.x.value = key; update(); } }, element("span", { class: "cap" }, label), plot);
      panels.push({ key, button, plot });
      $("multiples").append(button);
    }
    if (panels.length < 2) { $("multiples").replaceChildren(); panels.length = 0; }
  }

  function update() {
    showFront(draw($("pareto"), chosen.x.value, chosen.y.value, chosen.size.value, false));
    for (const panel of panels) {
      draw(panel.plot, panel.key, chosen.y.value, "", true);
      panel.button.setAttribute("aria-pressed", String(panel.key === chosen.x.value));
    }
  }

  // --- distributions --------------------------------------------------------------------------------------------

  const perPrompt = metricOptions(["image", "group"]).map(([k, label, group]) => [k, label, group]);
  const metricChoice = $("dist-metric"), modeChoice = $("dist-mode");
  const MOST_POINTS = 6000;

  function boxes(k, against) {
    const table = values(k), digits = data.metrics[k].digits;
    const rows = data.methods.map((method, m) => ({ method, m })).filter(({ m }) => m !== against);
    const all = rows.length * data.prompts.length <= MOST_POINTS;
    return rows.map(({ method, m }) => {
      const numbers = [], texts = [], ids = [];
      data.prompts.forEach((prompt, p) => {
        const value = table.mean(m, p) - (against === null ? 0 : table.mean(against, p));
        if (!Number.isFinite(value)) return;
        numbers.push(value); ids.push(p);
        const text = prompt.text.length > 90 ? prompt.text.slice(0, 89) + "…" : prompt.text;
        texts.push(`${plotText(text)}<br><b>${plotText(method.name)}</b> ${format(value, digits + 1, against !== null)}`);
      });
      return { type: "box", orientation: "h", x: numbers, y0: plotText(method.name), name: plotText(method.name), text: texts, customdata: ids, hoverinfo: "text",
        hoveron: "points", boxpoints: all ? "all" : "outliers", jitter: 0.55, pointpos: 0, boxmean: true, showlegend: false, fillcolor: method.colour + "22",
        meta: method.name, line: { color: method.colour, width: 1.3 }, marker: { color: method.colour, size: all ? 4 : 3.5, opacity: 0.45 } };
    }).reverse();
  }

  // A name beside a box takes at most a third of a phone, or a fifth of a wide page; the hover has all of it.
  function tickName(name) {
    const most = narrow() ? 16 : 36, bracket = narrow() && name.length > most ? name.indexOf("[") : -1;
    const lines = bracket > 0 ? [name.slice(0, bracket), name.slice(bracket)] : [name];
    return lines.map((line) => plotText(line.length > most ? line.slice(0, most - 1) + "…" : line)).join("<br>");
  }

  function updateDistribution() {
    const target = $("distribution"), k = Number(metricChoice.value), metric = data.metrics[k];
    const against = modeChoice.value === "difference" ? data.reference : null;
    const traces = boxes(k, against);
    target.style.height = `${90 + Math.max(2, traces.length) * (traces.length > 8 ? 34 : 54)}px`;
    const reference = against === null ? "" : ` minus ${plotText(data.methods[against].name)}`;
    Plotly.react(target, traces, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: FONT, size: 12.5 }, margin: { l: 20, r: 14, t: 8, b: narrow() ? 66 : 52 }, hovermode: "closest",
      hoverlabel: { align: "left", font: { family: FONT, size: 12.5 } },
      xaxis: { title: { text: `${plotText(metric.title)} ${metric.arrow}${narrow() && reference ? "<br>" : ""}${reference}, per prompt`, font: { size: 13.5 }, standoff: 10 }, zeroline: against !== null, automargin: true },
      yaxis: { automargin: true, fixedrange: true, tickfont: { size: 12.5 }, tickvals: traces.map((trace) => trace.name), ticktext: traces.map((trace) => tickName(trace.meta)) },
    }, { ...CONFIG, toImageButtonOptions: { format: "svg", filename: "per-prompt" } }).then(() => {
      target.removeAllListeners?.("plotly_click");
      target.on?.("plotly_click", (event) => {
        const point = event.points[0];
        const p = point.data.customdata?.[point.pointIndex ?? point.pointNumber];
        if (p !== undefined) document.dispatchEvent(new CustomEvent("show-prompt", { detail: p }));
      });
    });
    showWins(k);
  }

  function showWins(k) {
    const target = $("wins"), table = values(k), b = data.reference;
    if (b === null || !table) { target.textContent = ""; return; }
    const parts = data.methods.map((method, m) => {
      if (m === b) return null;
      let wins = 0, count = 0;
      data.prompts.forEach((_, p) => {
        const gap = (table.mean(m, p) - table.mean(b, p)) * (data.metrics[k].higher ? 1 : -1);
        if (!Number.isFinite(gap)) return;
        count++; wins += gap > 0 ? 1 : gap === 0 ? 0.5 : 0;
      });
      return count ? `${method.name} ${Math.round((100 * wins) / count)} %` : null;
    }).filter(Boolean);
    target.replaceChildren(element("b", {}, `Prompts on which the method is better than ${data.methods[b].name}: `), parts.join(", ") + ". Ties count half.");
  }

  // --- begin ----------------------------------------------------------------------------------------------------

  fill(chosen.x, everything, start("x", ["group", "set"]));
  fill(chosen.y, everything, start("y", ["image"]));
  fill(chosen.size, [["", "equal"], ...costOptions, ...measured(["image", "group", "set"])], "");
  for (const select of [...Object.values(chosen), $("axis-mode")].filter(Boolean)) select.addEventListener("change", update);
  makePanels();
  if (everything.length) update();

  if (perPrompt.length) {
    fill(metricChoice, perPrompt, data.axes.y === null ? perPrompt[0][0] : String(data.axes.y));
    const modes = [["value", "values"]];
    if (data.reference !== null) modes.unshift(["difference", `differences to ${data.methods[data.reference].name}`]);
    fill(modeChoice, modes, data.methods.length > 1 ? modes[0][0] : "value");
    metricChoice.addEventListener("change", updateDistribution);
    modeChoice.addEventListener("change", updateDistribution);
    new IntersectionObserver((entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); updateDistribution(); }
    }, { rootMargin: "600px" }).observe($("distribution"));
  } else {
    $("distributions").hidden = true;
  }

  let wide = window.innerWidth, timer = 0;
  addEventListener("resize", () => {
    if (window.innerWidth === wide) return;
    wide = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => everything.length && update(), 150);
  });
  // Paper is narrower than most windows: plots are drawn anew for it, and again for the window afterwards.
  const PAPER = 690;
  const drawnPlots = () => [...document.querySelectorAll(".plot.js-plotly-plot")];
  addEventListener("beforeprint", () => {
    if (perPrompt.length) updateDistribution();
    drawnPlots().forEach((plot) => Plotly.relayout(plot, { width: PAPER }));
    panels.forEach((panel) => Plotly.relayout(panel.plot, { width: PAPER / 2 - 20 }));
  });
  addEventListener("afterprint", () => {
    [...drawnPlots(), ...panels.map((panel) => panel.plot)].forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true }));
  });
})();
