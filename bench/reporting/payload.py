"""The data that the page's script works on, as plain JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.analysis.stats import Interval
from bench.analysis.table.arrays import Array, prompts_of
from bench.analysis.table.costs import cost_columns
from bench.reporting import payload_types as types
from bench.reporting.cells import decimals
from bench.reporting.plots import diversity_axes, quality_axes
from bench.reporting.point_labels import point_names
from bench.reporting.style import looks
from bench.reporting.tradeoff import band_of

if TYPE_CHECKING:
    from bench.analysis.table.rows import Row, Table
    from bench.analysis.tradeoff import Front
    from bench.store.runs import MetricFacts

# matplotlib's marker -> plotly's symbol
_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "p": "pentagon", "h": "hexagon", "H": "hexagon2", "<": "triangle-left", ">": "triangle-right", "d": "diamond-tall",
    "8": "octagon", "*": "star",
}  # fmt: skip
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def embedded_json(data: Any) -> str:
    """JSON that is safe inside a `<script>` element whatever strings it holds. NaN must have become None before."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def payload(
    table: Table,
    fronts: Mapping[tuple[str, str], tuple[Front, Mapping[str, str]]],
    values: dict[str, Array],
    images: types.Images,
) -> types.Payload:
    """Everything the script needs but the images themselves."""
    index = {row.name: i for i, row in enumerate(table.rows)}
    style, names = looks([row.name for row in table.rows]), point_names(table)
    tags = table.rows[0].run.tags
    quality, diversity = quality_axes(table), diversity_axes(table)
    metrics = [facts.name for facts in table.metrics]
    return {
        "title": table.title,
        "suite": table.suite,
        "reference": index.get(table.reference or ""),
        "samples": table.rows[0].run.samples,
        "methods": [_method(row, style[row.name], names[row.name], metrics) for row in table.rows],
        "metrics": [_metric(table, facts) for facts in table.metrics],
        "costs": [{"name": c.name, "title": c.title, "unit": c.unit, "values": c.values} for c in cost_columns(table)],
        "cells": [[_cell(row.cells.get(name)) for name in metrics] for row in table.rows],
        "differences": [_differences(table, row.name, metrics) for row in table.rows],
        "curves": [
            {"family": c.family, "parameter": c.parameter, "members": [(index[n], v) for n, v in c.members]}
            for c in table.curves
        ],
        "fronts": {f"{metrics.index(x)}/{metrics.index(y)}": _front(*one, index) for (x, y), one in fronts.items()},
        "axes": {
            "x": metrics.index(diversity[0].name) if diversity else None,
            "y": metrics.index(quality[0][0].name) if quality else None,
        },
        "prompts": [{"id": one, "text": text, "tags": list(tags.get(one, ()))} for one, text in prompts_of(table)],
        "values": [_packed(values.get(name)) for name in metrics],
        "images": images,
    }


def _method(row: Row, look: tuple[str, str], short: str, metrics: Sequence[str]) -> types.Method:
    return {
        "name": row.name,
        "short": short,
        "run": row.run.name,
        "colour": look[0],
        "symbol": _SYMBOLS.get(look[1], "circle"),
        "trained": [i for i, name in enumerate(metrics) if row.in_reward(name)],
    }


def _metric(table: Table, facts: MetricFacts) -> types.Metric:
    trained = facts.name in table.trained_metrics
    role = "" if facts.kind != "image" or not table.trained_metrics else "training reward" if trained else "held out"
    return {
        "name": facts.name,
        "title": facts.display,
        "arrow": facts.arrow,
        "kind": facts.kind,
        "higher": facts.higher,
        "unit": facts.unit,
        "role": role,
        "digits": decimals(row.cells[facts.name] for row in table.rows if facts.name in row.cells),
    }


def _cell(interval: Interval | None) -> types.Cell | None:
    if interval is None:
        return None
    mean, low, high = (_finite(number) for number in (interval.mean, interval.low, interval.high))
    return mean, low, high, interval.n, interval.n_unscored


def _differences(table: Table, name: str, metrics: Sequence[str]) -> list[types.Cell | None] | None:
    """Paired differences of a method from the reference; the reference itself stands at zero. None: there are none."""
    if name == table.reference:
        return [(0, 0, 0, 0, 0) for _ in metrics]
    found = {one.facts.name: _cell(one.interval) for one in table.differences.get(name, ())}
    return [found.get(metric) for metric in metrics] if found else None


def _front(front: Front, verdicts: Mapping[str, str], index: Mapping[str, int]) -> types.Front:
    """Whether each method is surely on the front, and the band of the front under resampling."""
    return {"verdict": {index[name]: verdict for name, verdict in verdicts.items()}, "band": band_of(front)}


def _finite(value: float) -> float | None:
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _packed(values: Array | None) -> str | None:
    """float32 little endian as base64, [methods, prompts, samples]."""
    return None if values is None else base64.b64encode(values.astype("<f4").tobytes()).decode()
