// The distributions over prompts, one box per method.
"use strict";

(() => {
  const { data, $, element, values, format, plotText, fill, metricOptions, FONT, CONFIG, narrow } = report;

  const perPrompt = metricOptions(["image", "group"]);
  const metricChoice = $("dist-metric"), modeChoice = $("dist-mode");
  const MOST_POINTS = 6000;

  /**
   * A box per method, of metric k; of differences where a method to compare with is given.
   * @param {number} k
   * @param {number | null} against
   */
  function boxes(k, against) {
    const table = values(k), digits = data.metrics[k].digits;
    if (table === null) return [];
    const rows = data.methods.map((method, m) => ({ method, m })).filter(({ m }) => m !== against);
    const all = rows.length * data.prompts.length <= MOST_POINTS;
    return rows.map(({ method, m }) => {
      const numbers = /** @type {number[]} */ ([]), ids = /** @type {number[]} */ ([]), texts = /** @type {string[]} */ ([]);
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

  /**
   * A name beside a box takes at most a third of a phone, or a fifth of a wide page; the hover has all of it.
   * @param {string} name
   */
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
    }, { ...CONFIG, toImageButtonOptions: { format: "svg", filename: "per-prompt" } }).then((plot) => {
      plot.removeAllListeners?.("plotly_click");
      plot.on?.("plotly_click", (event) => {
        const point = event.points[0];
        const p = point.data.customdata?.[point.pointIndex ?? point.pointNumber ?? -1];
        if (p !== undefined) document.dispatchEvent(new CustomEvent("show-prompt", { detail: p }));
      });
    });
    showWins(k);
  }

  /** @param {number} k */
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
    }).filter((part) => part !== null);
    target.replaceChildren(element("b", {}, `Prompts on which the method is better than ${data.methods[b].name}: `), parts.join(", ") + ". Ties count half.");
  }

  if (perPrompt.length) {
    fill(metricChoice, perPrompt, data.axes.y === null ? perPrompt[0][0] : String(data.axes.y));
    /** @type {Choice[]} */
    const modes = [["value", "values"]];
    if (data.reference !== null) modes.unshift(["difference", `differences to ${data.methods[data.reference].name}`]);
    fill(modeChoice, modes, data.methods.length > 1 ? modes[0][0] : "value");
    metricChoice.addEventListener("change", updateDistribution);
    modeChoice.addEventListener("change", updateDistribution);
    new IntersectionObserver((entries, observer) => {
      if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); updateDistribution(); }
    }, { rootMargin: "600px" }).observe($("distribution"));
    addEventListener("beforeprint", updateDistribution); // before the plots are fitted to the paper: see print.js
  } else {
    $("distributions").hidden = true;
  }
})();
