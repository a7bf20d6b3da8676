// Paper is narrower than most windows: plots, those that were drawn for it just before among them, are fitted to it, and
// to the window again afterwards. The last of the scripts, so that it comes last when printing begins.
"use strict";

(() => {
  const PAPER = 690;
  const drawn = (/** @type {string} */ kind) => [...document.querySelectorAll(`.${kind}.js-plotly-plot`)];
  // What is folded is printed as well, and folded again afterwards.
  /** @type {HTMLDetailsElement[]} */
  let opened = [];
  addEventListener("beforeprint", () => {
    /** @type {NodeListOf<HTMLDetailsElement>} */
    const folds = document.querySelectorAll("details.block:not([open]), #summary details:not([open])");
    opened = [...folds];
    for (const fold of opened) fold.open = true;
    drawn("plot").forEach((plot) => Plotly.relayout(plot, { width: PAPER }));
    drawn("small").forEach((plot) => Plotly.relayout(plot, { width: PAPER / 2 - 20 }));
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
    [...drawn("plot"), ...drawn("small")].forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true }));
  });
})();
