// Where the names of points stand in a plot: beside them, off each other, inside of the plot, on two lines on a phone.
// Not bench/reporting/label_placement.py: that one searches once for a still picture of known size; here every change of the
// window asks again, so each name in turn takes the cheapest of eight positions.
"use strict";

const pointNames = (() => {
  const { FONT, narrow } = report;

  const low = (/** @type {Value} */ value) => (value.low === null ? value.mean : value.low);
  const high = (/** @type {Value} */ value) => (value.high === null ? value.mean : value.high);

  /** @type {[string, number, number][]} */
  const POSITIONS = [
    ["top right", 1, -1], ["bottom right", 1, 1], ["top left", -1, -1], ["bottom left", -1, 1],
    ["middle right", 1, 0], ["middle left", -1, 0], ["top center", 0, -1], ["bottom center", 0, 1],
  ];

  const pen = document.createElement("canvas").getContext("2d");

  /** @param {string} text */
  function textWidth(text) {
    if (pen === null) return 7 * text.length; // no canvas: about what a letter takes
    pen.font = `12.5px ${FONT}`;
    return pen.measureText(text).width;
  }

  /**
   * A name as the lines it is printed in: on a phone the setting stands below the method.
   * @param {string} name
   */
  function nameLines(name) {
    const space = name.indexOf(" ");
    return narrow() && space > 0 && name.length > 14 ? [name.slice(0, space), name.slice(space + 1)] : [name];
  }

  /**
   * For each point where its name covers least: other names count most, then symbols, then error bars.
   * Names that would still cover another name or a symbol are left to the hover.
   * @param {Point[]} points
   * @param {string[]} names
   * @param {Size} box
   * @param {Ranges} ranges
   * @param {number[]} sizes
   */
  function placeNames(points, names, box, ranges, sizes) {
    const px = (/** @type {number} */ value) => ((value - ranges.x[0]) / (ranges.x[1] - ranges.x[0])) * box.width;
    const py = (/** @type {number} */ value) => ((ranges.y[1] - value) / (ranges.y[1] - ranges.y[0])) * box.height;
    const marks = points.map((point, i) => {
      const x = px(point.x.mean), y = py(point.y.mean), r = sizes[i] / 2;
      return [x - r, y - r, x + r, y + r];
    });
    const arms = points.flatMap((point) => {
      const x = px(point.x.mean), y = py(point.y.mean);
      const xs = [px(low(point.x)), px(high(point.x))], ys = [py(low(point.y)), py(high(point.y))];
      return [[Math.min(...xs), y - 1, Math.max(...xs), y + 1], [x - 1, Math.min(...ys), x + 1, Math.max(...ys)]];
    });
    const shared = (/** @type {number[]} */ a, /** @type {number[]} */ b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
    /** @type {number[][]} */
    const taken = [];
    /** @type {(string | null)[]} */
    const places = [];
    points.forEach((point, i) => {
      const lines_ = nameLines(names[i]), width = Math.max(...lines_.map(textWidth)) + 6, height = 15 * lines_.length, x = px(point.x.mean), y = py(point.y.mean), r = sizes[i] / 2 + 2;
      const tried = POSITIONS.map(([name, dx, dy], order) => {
        const cx = x + dx * (r + width / 2), cy = y + dy * (r + height / 2);
        const area = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2];
        const outside = Math.max(0, -area[0]) + Math.max(0, area[2] - box.width) + Math.max(0, -area[1]) + Math.max(0, area[3] - box.height);
        const names_ = taken.reduce((sum, other) => sum + shared(area, other), 0);
        const symbols = marks.reduce((sum, other, j) => sum + (j === i ? 0 : shared(area, other)), 0);
        const lines = arms.reduce((sum, other) => sum + shared(area, other), 0);
        const cost = 20 * names_ + 10 * symbols + lines + 60 * outside + order;
        return { cost, name, area, hidden: names_ > 12 || symbols > 20 || outside > 8 };
      });
      const best = tried.reduce((a, b) => (b.cost < a.cost ? b : a));
      if (!best.hidden) taken.push(best.area);
      places.push(best.hidden ? null : best.name);
    });
    return places;
  }

  return { low, high, nameLines, placeNames };
})();
