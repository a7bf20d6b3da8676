"""What `bench compare` and `bench check` print: plain text, aligned, without colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.differences import LEAST_PROMPTS, SURE, UNSURE
from bench.analysis.in_reward import dagger_line
from bench.analysis.stats import POWER
from bench.formatting import aligned, counted, escape_markdown, markdown_table, one_line, shorten
from bench.reporting.cells import DAGGER, MISSING, better_sign, decimals, difference_cell, number

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison, MethodComparison
    from bench.analysis.differences import Difference

_MANY_TAGS = 6
_FEW = "°"


@dataclass(frozen=True)
class _Part:
    """A table and the lines under it; `left` columns are aligned to the left, and `texts` stand behind the rows."""

    head: list[str]
    rows: list[list[str]]
    below: str = ""
    left: int = 1
    title: str = ""
    texts: tuple[str, ...] = ()

    def text(self) -> str:
        lines = aligned(self.head, self.rows, left=self.left).splitlines()
        texts = ["", *self.texts] if self.texts else [""] * len(lines)
        table = "\n".join(f"{line}  {text}".rstrip() for line, text in zip(lines, texts, strict=True)) + "\n"
        return (f"{self.title}\n" if self.title else "") + table + self.below

    def markdown(self) -> str:
        head, rows = self.head, self.rows
        if self.texts:
            head, rows = [*head, ""], [[*row, text] for row, text in zip(rows, self.texts, strict=True)]
        cells = [[escape_markdown(cell) for cell in row] for row in rows]
        table = markdown_table([*map(escape_markdown, head)], cells, right=range(self.left, len(self.head)))
        title = [f"## {escape_markdown(self.title)}", ""] if self.title else []
        below = ["", *(f"- {escape_markdown(line)}" for line in _sentences(self.below))] if self.below else []
        return "\n".join([*title, *table, *below]) + "\n"


def _sentences(text: str) -> list[str]:
    """Lines, those that go on in the next one joined."""
    return text.replace("exactly where the\n", "exactly where the ").splitlines()


def comparison_text(comparison: Comparison) -> str:
    """Differences b - a per metric, then per prompt tag, then the prompts that changed most, then notes."""
    notes = "".join(f"note: {one_line(note)}\n" for note in comparison.notes)
    return "\n".join(part.text() for part in _parts(comparison)) + notes


def comparison_markdown(comparison: Comparison) -> str:
    """The same as Markdown."""
    notes = [f"- {escape_markdown(note)}" for note in comparison.notes]
    told = ["## Notes", "", *notes, ""] if notes else []
    return "\n".join([*(part.markdown() for part in _parts(comparison)), *told])


def _parts(comparison: Comparison) -> list[_Part]:
    found = [_metrics(comparison)]
    if comparison.methods is not None:
        found.append(_over_checkpoints(comparison, comparison.methods))
    if comparison.tags:
        found.append(_tags(comparison))
    if comparison.changed:
        found.append(_changed(comparison))
    return found


def _metrics(comparison: Comparison) -> _Part:
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
        lines.append([_title(comparison, difference), *values, *tests, better_sign(difference), winner])
    tests_made = sum(math.isfinite(difference.p_holm) for difference in comparison.differences)
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
    return _Part([*head, "detects", "", "better"], lines, how, title=f"{comparison.b} minus {comparison.a}")


def _title(comparison: Comparison, difference: Difference) -> str:
    dagger = DAGGER if difference.facts.name in comparison.trained else ""
    return f"{difference.facts.display}{dagger} {difference.facts.arrow}"


def _over_checkpoints(comparison: Comparison, methods: MethodComparison) -> _Part:
    """The methods over all checkpoints, beside the interval of the pair of checkpoints above."""
    alone = {one.facts.name: one for one in comparison.differences}
    lines = []
    for difference in methods.differences:
        digits = decimals([difference.interval])
        cell = difference_cell(difference, digits)
        other = difference_cell(alone.get(difference.facts.name), digits)
        values = [number(difference.a, digits), number(difference.b, digits), cell.value]
        limits = [cell.interval or cell.suffix or MISSING, other.interval or other.suffix or MISSING]
        tests = [_p(difference.paired.p), _p(difference.p_holm), str(difference.interval.n)]
        lines.append([_title(comparison, difference), *values, *limits, *tests, better_sign(difference)])
    tests_made = sum(math.isfinite(one.p_mark) for one in methods.differences)
    a, b = (f"{one.name} ({counted(len(one.runs), 'checkpoint')})" for one in (methods.a, methods.b))
    how = (
        "interval and p: of the METHOD, over checkpoints (training seeds) and prompts\n"
        "one checkpoint: of the two runs above, over prompts only\n"
        f"p Holm: corrected for the {counted(tests_made, 'difference')} of this table\n"
    )
    for one in (methods.a, methods.b):
        if one.trained and not one.several:
            how += f"one checkpoint of {one.name}: nothing is said of training it again with another seed\n"
        how += "".join(f"{note}\n" for note in one.notes)
    without = [one for one in methods.differences if math.isnan(one.interval.low) and one.interval.reason]
    how += "".join(f"{one.facts.display}: {one.interval.reason}\n" for one in without)
    head = ["metric", methods.a.name, methods.b.name, "difference", "95 % interval", "one checkpoint"]
    return _Part([*head, "p", "p Holm", "n", ""], lines, how, title=f"{b} minus {a}, over training seeds")


def _wins(difference: Difference) -> str:
    """ "72% [61, 81]": the share with its interval."""
    win = difference.win_interval
    if win is None or not math.isfinite(win.mean):
        return MISSING
    limits = f" [{100 * win.low:.0f}, {100 * win.high:.0f}]" if math.isfinite(win.low) else ""
    return f"{win.mean:.0%}{limits}"


def _p(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else MISSING


def _tags(comparison: Comparison) -> _Part:
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
        head = ["difference by tag", *prompts.values()]
    else:
        rows = [[name, *cells] for name, *cells in zip(prompts.values(), *columns, strict=True)]
        head = ["difference by tag", *(f"{f.name} {f.arrow}" for f in metrics)]
    how = f"▲ ▼: {SURE}; △ ▽: {UNSURE}; in brackets the number of prompts\n"
    few = f"{_FEW} fewer than {LEAST_PROMPTS} prompts: no full mark is possible\n" if too_few else ""
    return _Part(head, rows, f"{how}{few}")


def _tag_cell(difference: Difference | None, digits: int) -> str:
    if difference is None:
        return MISSING
    return number(difference.interval.mean, digits, signed=True) + (better_sign(difference) or " ")


def _changed(comparison: Comparison) -> _Part:
    rows, texts = [], []
    for one in comparison.changed:
        digits = decimals([next(d.interval for d in comparison.differences if d.facts.name == one.facts.name)])
        values = [number(one.a, digits), number(one.b, digits), number(one.b - one.a, digits, signed=True)]
        rows.append([f"{one.facts.display} {one.facts.arrow}", one.prompt_id, *values])
        texts.append(shorten(one.text))
    head = ["changed most", "prompt", comparison.a, comparison.b, "difference"]
    return _Part(head, rows, left=2, texts=tuple(texts))
