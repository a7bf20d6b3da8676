"""The shape of the data that the page's scripts work on, said once.

`bench.reporting.payload` builds it under mypy; `make lint` translates it into TypeScript (tests/js) and checks the
scripts with that. Methods, metrics and prompts are named by their index in the lists here.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Cell = tuple[float | None, float | None, float | None, int, int]
"""Mean, ends of its interval, number of values, number unscored. None: a number that there is not."""


class Method(TypedDict):
    """A row of the table. `symbol` is plotly's; `trained` has the metrics that it was trained on."""

    name: str
    short: str
    run: str
    colour: str
    symbol: str
    trained: list[int]


class Metric(TypedDict):
    """A metric. `role` is "training reward", "held out" or ""; `digits` those that its values are printed with."""

    name: str
    title: str
    arrow: str
    kind: str
    higher: bool
    unit: str
    role: str
    digits: int


class Cost(TypedDict):
    """A measure of cost, one value per method."""

    name: str
    title: str
    unit: str
    values: list[float | None]


class Curve(TypedDict):
    """Methods of one family along a parameter: (method, value as printed)."""

    family: str
    parameter: str
    members: list[tuple[int, str]]


class Band(TypedDict):
    """Where the front lies in 95 % of the resamples: its ends and middle at each x."""

    x: list[float | None]
    low: list[float | None]
    middle: list[float | None]
    high: list[float | None]


class Front(TypedDict):
    """Method -> "surely on the front", "surely dominated" or "undecided"; and the band of the front of the means."""

    verdict: dict[int, str]
    band: Band


class Axes(TypedDict):
    """The metrics that the plot begins with; None where there is none of that kind."""

    x: int | None
    y: int | None


class Prompt(TypedDict):
    """A prompt with its tags."""

    id: str
    text: str
    tags: list[str]


class NoImages(TypedDict):
    """There is no gallery."""

    mode: Literal["none"]


class ImagesInPage(TypedDict):
    """All images lie in the page. `present`: bits [methods, prompts, samples], the highest first, as base64."""

    mode: Literal["page"]
    present: str


class ImagesInFiles(TypedDict):
    """Those of `prompts` lie in `folders` beside the page, one per method; the others in `origins`, where reachable.

    `thumbs` says where the small ones of `prompts` are.
    """

    mode: Literal["files"]
    present: str
    thumbs: Literal["page", "files"]
    prompts: list[int]
    folders: list[str]
    origins: list[str | None]


Images = NoImages | ImagesInPage | ImagesInFiles


class Payload(TypedDict):
    """Everything but the images themselves. `cells` and `differences` are [method][metric].

    `fronts` is by "x/y" of two metrics; `values`, one per metric, is float32 little endian
    [methods, prompts, samples] as base64, with one sample for group metrics.
    """

    title: str
    suite: str
    reference: int | None
    samples: int
    methods: list[Method]
    metrics: list[Metric]
    costs: list[Cost]
    cells: list[list[Cell | None]]
    differences: list[list[Cell | None] | None]
    curves: list[Curve]
    fronts: dict[str, Front]
    axes: Axes
    prompts: list[Prompt]
    values: list[str | None]
    images: Images
