"""What `bench compare` and `bench check` print: plain text, aligned, without colour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.analysis.stats import POWER
from bench.formatting import aligned, one_line, shorten
from bench.reporting.cells import MISSING, decimals, difference_cell, number

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison
    from bench.analysis.differences import Difference

_MANY_TAGS = 6
_FEW = "°"


def comparison_text(comparison: Comparison) -> str:
    """Differences b - a per metric, then per prompt tag, then the prompts that changed most, then notes."""
    parts = [f"{comparison.b} minus {comparison.a}\n{_metrics(comparison)}"]
    if comparison.tags:
        parts.append(_tags(comparison))
    if comparison.changed:
        parts.append(_changed(comparison))
    notes = "".join(f"note: {one_line(note)}\n" for note in comparison.notes)
    return "\n".join(parts) + notes


def _metrics(comparison: Comparison) -> str:
    head = ["metric", comparison.a, comparison.b, "difference", "95 % interval", "p", "p Holm", "wins", "n"]
    lines = []
    for difference in comparison.differences:
        digits = decimals([difference.interval])
        cell = difference_cell(difference, digits)
        share = f"{difference.win_rate:.0%}" if math.isfinite(difference.win_rate) else MISSING
        values = [number(difference.a, digits), number(difference.b, digits), cell.value, cell.interval or MISSING]
        tests = [
            _p(difference.paired.p),
            _p(difference.p_holm),
            share,
            str(difference.interval.n),
            number(difference.paired.mde, digits),
        ]
        winner = {"": "", "a": comparison.a, "b": comparison.b}[difference.better]
        lines.append([f"{difference.facts.display} {difference.facts.arrow}", *values, *tests, winner])
    how = (
        "p: sign flips over prompts; p Holm: corrected for the number of metrics;\n"
        f"wins: share of pairs in which {comparison.b} is better, ties half;\n"
        f"detects: smallest true difference found with {POWER:.0%} probability; better: the interval excludes zero\n"
    )
    return aligned([*head, "detects", "better"], lines) + how


def _p(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else MISSING


def _tags(comparison: Comparison) -> str:
    """Metrics as rows and tags as columns, or the other way round where there are many tags."""
    hopeless = {tag.tag for tag in comparison.tags} - {tag.tag for tag in comparison.tags if not tag.too_few}
    prompts = {
        tag.tag: f"{shorten(tag.tag)} ({tag.prompts}){_FEW if tag.tag in hopeless else ''}" for tag in comparison.tags
    }
    by_metric_and_tag = {(tag.difference.facts.name, tag.tag): tag.difference for tag in comparison.tags}
    metrics = list(dict.fromkeys(tag.difference.facts for tag in comparison.tags))
    columns = []
    for facts in metrics:
        row: list[Difference | None] = [by_metric_and_tag.get((facts.name, tag)) for tag in prompts]
        digits = decimals(one.interval for one in row if one is not None)
        columns.append([_tag_cell(one, digits) for one in row])
    if len(prompts) <= _MANY_TAGS:
        rows = [[f"{f.display} {f.arrow}", *cells] for f, cells in zip(metrics, columns, strict=True)]
        table = aligned(["difference by tag", *prompts.values()], rows)
    else:
        rows = [[name, *cells] for name, *cells in zip(prompts.values(), *columns, strict=True)]
        table = aligned(["difference by tag", *(f"{f.name} {f.arrow}" for f in metrics)], rows)
    how = "* p < 0.05 after Holm's correction over this table; in brackets the number of prompts\n"
    few = f"{_FEW} too few prompts: in this table no difference of theirs could have a star\n" if hopeless else ""
    return f"{table}{how}{few}"


def _tag_cell(difference: Difference | None, digits: int) -> str:
    if difference is None:
        return MISSING
    return number(difference.interval.mean, digits, signed=True) + ("*" if difference.p_holm < 0.05 else " ")


def _changed(comparison: Comparison) -> str:
    rows = []
    for one in comparison.changed:
        digits = decimals([next(d.interval for d in comparison.differences if d.facts.name == one.facts.name)])
        values = [number(one.a, digits), number(one.b, digits), number(one.b - one.a, digits, signed=True)]
        rows.append([f"{one.facts.display} {one.facts.arrow}", one.prompt_id, *values, shorten(one.text)])
    head = ["changed most", "prompt", comparison.a, comparison.b, "difference", ""]
    table = aligned(head, [[*row[:-1], ""] for row in rows], left=2).splitlines()
    texts = ["", *(row[-1] for row in rows)]
    return "\n".join(f"{line}  {text}".rstrip() for line, text in zip(table, texts, strict=True)) + "\n"
