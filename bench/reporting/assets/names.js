// Where the names of points stand in a plot: beside them, off each other, inside of the plot, on two lines on a phone.
// Not bench/reporting/label_placement.py: that one searches once for a still picture of known size; here every change of the
// window asks again, so each name in turn takes the first free place on rings around its point.
"use strict";

const pointNames = (() => {
  const { FONT, narrow } = report;

  const low = (/** @type {Value} */ value) => (value.low === null ? value.mean : value.low);
  const high = (/** @type {Value} */ value) => (value.high === null ? value.mean : value.high);

  // Rings around a point, in pixels from its symbol, and directions on each. Beyond the second ring a line leads to the point.
  const RINGS = [2, 9, 20, 34, 52, 76];
  const NEAR = 9;
  /** @type {[number, number][]} */
  const DIRECTIONS = [[1, -1], [1, 1], [-1, -1], [-1, 1], [1, 0], [-1, 0], [0, -1], [0, 1],
    [1, -0.5], [1, 0.5], [-1, -0.5], [-1, 0.5], [0.5, -1], [0.5, 1], [-0.5, -1], [-0.5, 1]];

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
   * The line from a point to its name, as small boxes.
   * @param {number} x
   * @param {number} y
   * @param {number[]} area
   */
  function leaderOf(x, y, area) {
    const cx = (area[0] + area[2]) / 2, cy = (area[1] + area[3]) / 2;
    return Array.from({ length: 24 }, (_, i) => (i + 1) / 24)
      .map((share) => [x + share * (cx - x), y + share * (cy - y)])
      .filter(([px, py]) => px < area[0] || px > area[2] || py < area[1] || py > area[3])
      .map(([px, py]) => [px - 1.5, py - 1.5, px + 1.5, py + 1.5]);
  }

  /**
   * For each point where the middle of its name stands, in pixels from the point; null where it would cross an error bar,
   * a symbol, another name or the edge wherever it stood: such names are left to the legend and the hover.
   * @param {Point[]} points
   * @param {string[]} names
   * @param {Size} box
   * @param {Ranges} ranges
   * @param {number[]} sizes
   * @returns {(Place | null)[]}
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
    return points.map((point, i) => {
      const lines = nameLines(names[i]), width = Math.max(...lines.map(textWidth)) + 6, height = 15 * lines.length;
      const x = px(point.x.mean), y = py(point.y.mean);
      for (const ring of RINGS) {
        for (const [dx, dy] of DIRECTIONS) {
          const r = sizes[i] / 2 + ring, place = { dx: dx * (r + width / 2), dy: dy * (r + height / 2), far: ring > NEAR };
          const cx = x + place.dx, cy = y + place.dy;
          const area = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2];
          const outside = area[0] < 0 || area[1] < 0 || area[2] > box.width || area[3] > box.height;
          if (outside || [...taken, ...marks, ...arms].some((other) => shared(area, other) > 0)) continue;
          const leader = place.far ? leaderOf(x, y, area) : [];
          if (leader.some((dot) => taken.some((other) => shared(dot, other) > 0))) continue;
          taken.push(area, ...leader);
          return place;
        }
      }
      return null;
    });
  }

  return { low, high, nameLines, placeNames };
})();
