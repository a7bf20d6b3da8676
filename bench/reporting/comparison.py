"""What `bench compare` and `bench check` print: plain text, aligned, without colour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.analysis.differences import LEAST_PROMPTS, SURE, UNSURE
from bench.analysis.in_reward import dagger_line
from bench.analysis.stats import POWER
from bench.formatting import aligned, counted, one_line, shorten
from bench.reporting.cells import DAGGER, MISSING, better_sign, decimals, difference_cell, number

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
        values = [
            number(difference.a, digits),
            number(difference.b, digits),
            cell.value,
            cell.interval or cell.suffix or MISSING,
        ]
        tests = [
            _p(difference.paired.p),
            _p(difference.p_holm),
            _wins(difference),
            str(difference.interval.n),
            number(difference.detects, digits),
        ]
        winner = {"": "", "a": comparison.a, "b": comparison.b}[difference.better]
        dagger = DAGGER if difference.facts.name in comparison.trained else ""
        lines.append(
            [
                f"{difference.facts.display}{dagger} {difference.facts.arrow}",
                *values,
                *tests,
                better_sign(difference),
                winner,
            ]
        )
    tests_made = sum(math.isfinite(difference.paired.p) for difference in comparison.differences)
    family = f"{counted(tests_made, 'difference')} of this table; compare --metrics A,B sets the family"
    how = (
        "p: the larger of Student's t and Hall's correction for skewness, over prompts; below 0.05 exactly where the\n"
        f"95 % interval excludes zero; p Holm: corrected for the {family}\n"
        f"▲ {comparison.b} better, ▼ worse: {SURE}; △ ▽: {UNSURE}\n"
        f"wins: share of pairs in which {comparison.b} is better, ties half, with its 95 % interval over prompts\n"
        f"detects: smallest true difference that would be marked ▲ or ▼ here with {POWER:.0%} probability\n"
    )
    if tests_made and not any(math.isfinite(difference.detects) for difference in comparison.differences):
        how += f"no full mark is possible in this table: it needs {LEAST_PROMPTS} prompts with values on both sides\n"
    if comparison.trained:
        titles = {difference.facts.name: difference.facts.display for difference in comparison.differences}
        how += f"{dagger_line({titles[metric]: names for metric, names in comparison.trained.items()})}\n"
    return aligned([*head, "detects", "", "better"], lines) + how


def _wins(difference: Difference) -> str:
    """ "72% [61, 81]": the share with its interval."""
    win = difference.win_interval
    if win is None or not math.isfinite(win.mean):
        return MISSING
    limits = f" [{100 * win.low:.0f}, {100 * win.high:.0f}]" if math.isfinite(win.low) else ""
    return f"{win.mean:.0%}{limits}"


def _p(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else MISSING


def _tags(comparison: Comparison) -> str:
    """Metrics as rows and tags as columns, or the other way round where there are many tags."""
    too_few = {tag.tag for tag in comparison.tags} - {tag.tag for tag in comparison.tags if not tag.too_few}
    prompts = {
        tag.tag: f"{shorten(tag.tag)} ({tag.prompts}){_FEW if tag.tag in too_few else ''}" for tag in comparison.tags
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
    how = f"▲ ▼: {SURE}; △ ▽: {UNSURE}; in brackets the number of prompts\n"
    few = f"{_FEW} fewer than {LEAST_PROMPTS} prompts: no full mark is possible\n" if too_few else ""
    return f"{table}{how}{few}"


def _tag_cell(difference: Difference | None, digits: int) -> str:
    if difference is None:
        return MISSING
    return number(difference.interval.mean, digits, signed=True) + (better_sign(difference) or " ")


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
