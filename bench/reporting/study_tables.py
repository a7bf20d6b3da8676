"""What a study found as tables of text: the same rows for the terminal, for Markdown and for the page. Pure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.analysis.stats import Interval
from bench.formatting import aligned, counted, escape_markdown, markdown_table, one_line
from bench.study.findings import Findings, Judged, TaskFindings
from bench.study.winrates import WinRate

WIDTH, _NAME, _SHORTEST = 80, 24, 8


@dataclass(frozen=True, slots=True)
class Grid:
    """A titled table; the first `left` columns are to the left. `below` are sentences under it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One task: its heading, its tables and the sentences on its raters."""

    task: str
    title: str
    grids: tuple[Grid, ...]
    told: tuple[str, ...]


def share(value: Interval) -> str:
    """0.62 [0.55, 0.69]; the value alone where there is no interval; "-" where there is none."""
    if not math.isfinite(value.mean):
        return "-"
    return f"{value.mean:.2f}" + (f" [{value.low:.2f}, {value.high:.2f}]" if math.isfinite(value.low) else "")


def parts(findings: Findings) -> list[Part]:
    """All tasks in order."""
    return [_part(one, findings) for one in findings.tasks.values()]


def _part(one: TaskFindings, findings: Findings) -> Part:
    judged = one.judged
    size = (
        f"{counted(judged.votes, 'vote')} of {counted(judged.raters, 'rater')} on {counted(judged.prompts, 'prompt')}"
    )
    grids = [_pairs(one, judged, "Win rates"), _methods(judged)]
    if one.without_marked is not None:
        rest = one.without_marked
        title = f"Win rates without the {counted(len(findings.raters.marked), 'marked rater')} ({rest.votes:,} votes)"
        grids.append(_pairs(one, rest, title))
    grids += _metrics(one)
    return Part(one.task, f"{one.task}: {size}", tuple(grids), tuple(_told(one)))


def _pairs(one: TaskFindings, judged: Judged, title: str) -> Grid:
    rows, below = [], []
    for pair in judged.pairs:
        better, worse, rate = _ordered(pair)
        p = "-" if math.isnan(pair.p_holm) else f"{pair.p_holm:.3f}" if pair.p_holm >= 0.0005 else "<0.001"
        verdict = "better" if pair.winner else "undecided"
        rows.append((better, worse, f"{pair.votes:,}", str(pair.ties), share(rate), p, verdict))
        needed = one.needed.get((pair.a, pair.b))
        if judged is one.judged and needed is not None:
            below.append(f"{better} over {worse} is undecided: {needed.text}")
        if pair.rate.reason:
            below.append(f"{better} over {worse}: {pair.rate.reason}")
    head = ("method", "over", "votes", "ties", "win rate", "p", "")
    corrected = "Holm's correction over the pairs" + (" and for all looks" if one.looks else "")
    return Grid(f"{title}, ties as half; p with {corrected}", head, tuple(rows), 2, tuple(below))


def _ordered(pair: WinRate) -> tuple[str, str, Interval]:
    """The one with more votes first."""
    if pair.rate.mean >= 0.5:
        return pair.a, pair.b, pair.rate
    rate = pair.rate
    turned = Interval(1 - rate.mean, 1 - rate.high, 1 - rate.low, rate.n, 0, rate.clusters, rate.reason)
    return pair.b, pair.a, turned


def _methods(judged: Judged) -> Grid:
    found = judged.strengths
    rows = []
    for name, strength, (first, last) in sorted(
        zip(found.methods, found.strengths, found.ranks, strict=True), key=lambda row: -judged.methods[row[0]].mean
    ):
        rank = f"{first}" if first == last else f"{first}-{last}"
        rows.append((name, share(judged.methods[name]), share(strength), rank))
    below = [found.reason or f"tie parameter of the Davidson model: {found.tie:.2f}"]
    below += _without((f"win rate of {name}", value) for name, value in judged.methods.items())
    if not found.reason:
        named = zip(found.methods, found.strengths, strict=True)
        below += _without((f"strength of {name}", value) for name, value in named)
    title = "Methods: win rate against the others, Davidson strength (logits, mean 0), ranks"
    return Grid(title, ("method", "win rate", "strength", "rank"), tuple(rows), 1, tuple(below))


def _metrics(one: TaskFindings) -> Iterator[Grid]:
    if not one.metrics:
        return
    rows = [(row.metric, share(row.accuracy), share(row.tau), share(row.spearman)) for row in one.metrics]
    title = "Metrics against people: votes won by the metric's favourite, Kendall's tau, Spearman"
    below = [
        f"{row.metric}: {counted(row.unscored, 'vote')} without a score left out" for row in one.metrics if row.unscored
    ]
    below += [
        f"{row.metric}: {counted(row.equal, 'vote')} on what it holds for equal: half right, and not in its calibration"
        for row in one.metrics
        if row.equal
    ]
    below += _without(
        (f"{name} of {row.metric}", value)
        for row in one.metrics
        for name, value in (("accuracy", row.accuracy), ("tau", row.tau), ("Spearman", row.spearman))
    )
    below += sorted({row.why_not_powered for row in one.metrics if row.why_not_powered})
    if any(row.powered and not any(p.n_unlabelled for p in row.powered.values()) for row in one.metrics):
        below.append(
            "no prediction-powered intervals: everything that has a score has votes, so nothing is left to predict"
        )
    yield Grid(title, ("metric", "accuracy", "tau", "Spearman"), tuple(rows), 1, tuple(below))
    yield from _powered(one)
    rows = [
        (row.metric, f"{one_bin.predicted:.2f}", share(one_bin.observed), str(one_bin.observed.n))
        for row in one.metrics
        for one_bin in row.bins
    ]
    if rows:
        title = "Calibration: votes that a metric predicts for its favourite, and those it got (ties as half)"
        below = _without((f"{row.metric} at {b.predicted:.2f}", b.observed) for row in one.metrics for b in row.bins)
        yield Grid(title, ("metric", "predicted", "observed", "votes"), tuple(rows), 1, tuple(below))


def _powered(one: TaskFindings) -> Iterator[Grid]:
    """A table for each pair: its votes with the scores of each metric."""
    for a, b in dict.fromkeys(pair for row in one.metrics for pair in row.powered):
        found = [(row.metric, row.powered[a, b]) for row in one.metrics if (a, b) in row.powered]
        known = [(name, powered) for name, powered in found if powered.n_unlabelled]
        if known:
            title = f"Prediction-powered: {a} over {b}, from the votes and the scores of pictures without votes"
            head = ("metric", "win rate with scores", "of votes alone", "weight")
            rows = [(name, share(p.estimate), share(p.classical), f"{p.weight:.2f}") for name, p in known]
            yield Grid(title, head, tuple(rows), 1, tuple(_without((name, p.estimate) for name, p in known)))


def _without(values: Iterable[tuple[str, Interval]]) -> list[str]:
    """Why values have no interval, a sentence a reason."""
    names: dict[str, list[str]] = {}
    for name, value in values:
        if value.reason and not math.isfinite(value.low):
            names.setdefault(value.reason, []).append(name)
    return [f"{', '.join(those)}: {reason}" for reason, those in names.items()]


def _told(one: TaskFindings) -> Iterator[str]:
    """Sentences on agreement."""
    if math.isfinite(one.alpha.mean):
        why = f" ({one.alpha.reason})" if one.alpha.reason else ""
        yield f"Agreement of raters: Krippendorff's alpha {share(one.alpha)} over {counted(one.alpha.n, 'item')}{why}"
    else:
        yield f"Agreement of raters: {one.alpha.reason}"
    if one.retest.n:
        yield (
            f"Repeated items: {share(one.retest.same)} answered the same, {one.retest.contrary} of {one.retest.n} "
            "the contrary"
        )
    else:
        yield f"Repeated items: {one.retest.same.reason}"
    side = share(one.side) if math.isfinite(one.side.mean) else one.side.reason
    yield f"Left side: wins {side}; 0.50 is no bias" if math.isfinite(one.side.mean) else f"Left side: {side}"


def raters_grid(findings: Findings) -> Grid | None:
    """The marked raters; None where there are none."""
    rows = [
        (
            one.rater,
            f"{one.failed} of {one.checks}",
            f"{one.same} of {one.repeats}",
            f"{one.spam:.2f}",
            _seconds(one.seconds),
        )
        for one in findings.raters.raters
        if one.marked
    ]
    head = ("rater", "checks failed", "repeats kept", "probability", "s per vote")
    return Grid("Raters who more likely answered without looking", head, tuple(rows)) if rows else None


def _seconds(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


# --- text and Markdown ----------------------------------------------------------------------------------------------


def text(findings: Findings) -> str:
    """What `bench study report` prints: at most 80 columns, untrusted names on one line and cut."""
    lines: list[str] = []
    for part in parts(findings):
        lines += [_wrapped(part.title), ""]
        for grid in part.grids:
            lines += [_grid(grid), ""]
        lines += [*map(_wrapped, part.told), ""]
    marked = raters_grid(findings)
    lines += [_grid(marked), ""] if marked is not None else []
    lines += [_wrapped(f"note: {note}") for note in findings.notes]
    lines.append(_wrapped("Intervals are of 95 %, clustered by rater and prompt."))
    return "\n".join(lines).rstrip() + "\n"


def _grid(grid: Grid) -> str:
    for longest in range(_NAME, _SHORTEST - 1, -1):  # names give way until the table fits
        rows = [
            [_cut(cell, longest if column < grid.left else WIDTH) for column, cell in enumerate(row)]
            for row in grid.rows
        ]
        table = aligned(grid.head, rows, left=grid.left).rstrip("\n")
        if max(map(len, table.split("\n"))) + 2 <= WIDTH:
            break
    return "\n".join([_wrapped(grid.title), *(f"  {line}" for line in table.split("\n")), *map(_wrapped, grid.below)])


def _cut(cell: str, longest: int) -> str:
    """Cut in the middle, as names of one family differ at their ends."""
    cell = one_line(cell)
    if len(cell) <= longest:
        return cell
    tail = (longest - 2) // 2
    return f"{cell[: longest - 2 - tail]}..{cell[len(cell) - tail :]}"


def _wrapped(sentence: str) -> str:
    return "\n".join(textwrap.wrap(one_line(sentence), WIDTH, subsequent_indent="  ", break_long_words=True))


def markdown(findings: Findings) -> str:
    """report.md."""
    lines = ["# Human preference study", ""]
    for part in parts(findings):
        lines += [f"## {escape_markdown(part.title)}", ""]
        question = findings.tasks[part.task].question
        lines += [f"Question: {escape_markdown(question)}", ""] if question else []
        for grid in part.grids:
            lines += _markdown_grid(grid)
        lines += [*(f"- {escape_markdown(sentence)}" for sentence in part.told), ""]
        lines += _disagreements(findings.tasks[part.task])
    marked = raters_grid(findings)
    lines += _markdown_grid(marked) if marked is not None else []
    if findings.notes:
        lines += ["## Notes", "", *(f"- {escape_markdown(note)}" for note in findings.notes), ""]
    lines.append("Intervals are of 95 %, clustered by rater and prompt.")
    return "\n".join(lines) + "\n"


def _markdown_grid(grid: Grid) -> list[str]:
    rows = [[escape_markdown(cell) for cell in row] for row in grid.rows]
    table = markdown_table([*grid.head], rows, right=range(grid.left, len(grid.head)))
    below = [*(f"- {escape_markdown(sentence)}" for sentence in grid.below), ""] if grid.below else []
    return [f"**{escape_markdown(grid.title)}**", "", *table, "", *below]


def _disagreements(one: TaskFindings) -> list[str]:
    rows: list[Sequence[str]] = []
    for against in one.metrics:
        for found in against.disagreements:
            where = found.prompt or found.prompt_id
            sample = "" if found.sample is None else str(found.sample)
            votes = f"{found.won:g} of {found.votes}"
            row = (against.metric, where, sample, found.people, votes, found.metric, f"{found.difference:.1f}")
            rows.append([escape_markdown(cell) for cell in row])
    if not rows:
        return []
    head = ["metric", "prompt", "sample", "people", "votes", "the metric", "by (SD)"]
    return ["**Where people and metrics disagree most**", "", *markdown_table(head, rows, right=[6]), ""]
