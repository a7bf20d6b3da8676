// What the browser brings beyond TypeScript's own libraries: plotly, of which the page uses this much.

interface PlotPoint {
  data: { customdata?: number[] };
  pointIndex?: number;
  pointNumber?: number;
}

interface PlotElement extends HTMLElement {
  on?(event: "plotly_click", then: (event: { points: PlotPoint[] }) => void): void;
  removeAllListeners?(event: string): void;
}

declare namespace Plotly {
  function react(target: HTMLElement, traces: object[], layout: object, config?: object): Promise<PlotElement>;
  function relayout(target: Element, update: { width: number | null; autosize?: boolean }): Promise<PlotElement>;
}

interface DocumentEventMap {
  "show-prompt": CustomEvent<number>;
}

// What several scripts hand to one another.

/** A metric's values, decoded: of one image (of the prompt, for group metrics), and the mean over a prompt's images. */
interface Values {
  at(method: number, prompt: number, sample: number): number;
  mean(method: number, prompt: number): number;
  samples: number;
}

/** A choice of a list: its value, what is shown, and the group that it stands in. */
type Choice = [value: string, label: string, group?: string];

interface Value {
  mean: number;
  low: number | null;
  high: number | null;
  n?: number;
  lost?: number;
}

/** An axis of a plot, or the size of its symbols: a metric (then `metric` is its index), or a measure of cost. */
interface Axis {
  title: string;
  arrow: string;
  higher: boolean;
  digits: number;
  role: string;
  metric: number | null;
  signed: boolean;
  value(method: number): Value | null;
}

interface Point {
  method: Payload.Method;
  m: number;
  x: Value;
  y: Value;
}

/** A part of the view that an address can hold: `write` returns the values that this report does not have. */
interface View {
  read(): string[];
  write(values: string[]): string[];
}

interface Size {
  width: number;
  height: number;
}

interface Ranges {
  x: [number, number];
  y: [number, number];
}

/** What a plot shows, for the sentence below it. */
interface Drawn {
  points: Point[];
  front: Point[];
  x: Axis;
  y: Axis;
  unnamed: number;
}

/** Where the middle of a point's name stands, in pixels from the point; `far`: a line leads to it. */
interface Place {
  dx: number;
  dy: number;
  far: boolean;
}
