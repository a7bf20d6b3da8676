// Written by `python tests/js/declare.py > tests/js/page.d.ts`; a test fails when it is out of date.
declare namespace Payload {
  interface Method {
    name: string;
    short: string;
    run: string;
    colour: string;
    symbol: string;
    trained: number[];
  }
  interface Metric {
    name: string;
    title: string;
    arrow: string;
    kind: string;
    higher: boolean;
    unit: string;
    role: string;
    digits: number;
  }
  interface Cost {
    name: string;
    title: string;
    unit: string;
    values: (number | null)[];
  }
  interface Curve {
    family: string;
    parameter: string;
    members: [number, string][];
  }
  interface Band {
    x: (number | null)[];
    low: (number | null)[];
    middle: (number | null)[];
    high: (number | null)[];
  }
  interface Front {
    verdict: Record<number, string>;
    band: Payload.Band;
  }
  interface Axes {
    x: number | null;
    y: number | null;
  }
  interface Prompt {
    id: string;
    text: string;
    tags: string[];
  }
  interface NoImages {
    mode: "none";
  }
  interface ImagesInPage {
    mode: "page";
    present: string;
  }
  interface ImagesInFiles {
    mode: "files";
    present: string;
    thumbs: "page" | "files";
    prompts: number[];
    folders: string[];
    origins: (string | null)[];
  }
  interface Payload {
    title: string;
    suite: string;
    reference: number | null;
    samples: number;
    methods: Payload.Method[];
    metrics: Payload.Metric[];
    costs: Payload.Cost[];
    cells: (([number | null, number | null, number | null, number, number] | null)[])[];
    differences: (([number | null, number | null, number | null, number, number] | null)[] | null)[];
    curves: Payload.Curve[];
    fronts: Record<string, Payload.Front>;
    axes: Payload.Axes;
    prompts: Payload.Prompt[];
    values: (string | null)[];
    images: Payload.NoImages | Payload.ImagesInPage | Payload.ImagesInFiles;
  }
}

interface PageElements {
  "axes": HTMLElementTagNameMap["form"];
  "axis-mode": HTMLElementTagNameMap["select"];
  "axis-size": HTMLElementTagNameMap["select"];
  "axis-x": HTMLElementTagNameMap["select"];
  "axis-y": HTMLElementTagNameMap["select"];
  "cards": HTMLElementTagNameMap["div"];
  "cost": HTMLElementTagNameMap["section"];
  "data": HTMLElementTagNameMap["script"];
  "differences": HTMLElementTagNameMap["section"];
  "dist-metric": HTMLElementTagNameMap["select"];
  "dist-mode": HTMLElementTagNameMap["select"];
  "distribution": HTMLElementTagNameMap["div"];
  "distributions": HTMLElementTagNameMap["section"];
  "filter": HTMLElementTagNameMap["input"];
  "found": HTMLElementTagNameMap["p"];
  "front": HTMLElementTagNameMap["p"];
  "gallery": HTMLElementTagNameMap["section"];
  "gallery-controls": HTMLElementTagNameMap["form"];
  "h-cost": HTMLElementTagNameMap["h2"];
  "h-differences": HTMLElementTagNameMap["h2"];
  "h-distributions": HTMLElementTagNameMap["h2"];
  "h-gallery": HTMLElementTagNameMap["h2"];
  "h-metrics": HTMLElementTagNameMap["h2"];
  "h-notes": HTMLElementTagNameMap["h2"];
  "h-protocol": HTMLElementTagNameMap["h2"];
  "h-table": HTMLElementTagNameMap["h2"];
  "h-trade": HTMLElementTagNameMap["h2"];
  "h-tradeoff": HTMLElementTagNameMap["h2"];
  "images": HTMLElementTagNameMap["script"];
  "lb-caption": HTMLElementTagNameMap["figcaption"];
  "lb-close": HTMLElementTagNameMap["button"];
  "lb-down": HTMLElementTagNameMap["button"];
  "lb-image": HTMLElementTagNameMap["img"];
  "lb-left": HTMLElementTagNameMap["button"];
  "lb-right": HTMLElementTagNameMap["button"];
  "lb-scores": HTMLElementTagNameMap["table"];
  "lb-title": HTMLElementTagNameMap["h2"];
  "lb-up": HTMLElementTagNameMap["button"];
  "lightbox": HTMLElementTagNameMap["dialog"];
  "metrics": HTMLElementTagNameMap["section"];
  "more": HTMLElementTagNameMap["button"];
  "multiples": HTMLElementTagNameMap["div"];
  "notes": HTMLElementTagNameMap["section"];
  "pareto": HTMLElementTagNameMap["div"];
  "protocol": HTMLElementTagNameMap["section"];
  "shown": HTMLElementTagNameMap["div"];
  "sort-a": HTMLElementTagNameMap["select"];
  "sort-b": HTMLElementTagNameMap["select"];
  "sort-metric": HTMLElementTagNameMap["select"];
  "sort-order": HTMLElementTagNameMap["select"];
  "table": HTMLElementTagNameMap["section"];
  "tag": HTMLElementTagNameMap["select"];
  "tag-label": HTMLElementTagNameMap["label"];
  "theme": HTMLElementTagNameMap["button"];
  "trade": HTMLElementTagNameMap["section"];
  "tradeoff": HTMLElementTagNameMap["section"];
  "wins": HTMLElementTagNameMap["div"];
}
