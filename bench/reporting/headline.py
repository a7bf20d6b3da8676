"""What was found, as sentences with their certainty: the first thing on the page and in table.md.

One sentence a method, against the reference: what it surely gains and pays, what only its own interval says, what
cannot be told, what is not compared. The numbers and the marks are those of the table of differences, or, where
methods have several checkpoints, of the differences of methods over training seeds. Plain text, not yet escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.allpairs import AllPairs
from bench.analysis.differences import LEAST_PROMPTS, Difference
from bench.analysis.in_reward import in_reward
from bench.analysis.table.rows import Table
from bench.formatting import counted, escape_markdown
from bench.reporting.cells import DAGGER, CellText, bare_title, common_label, decimals, difference_cell
from bench.reporting.findings import Findings
from bench.reporting.plots import diversity_axes, quality_axes
from bench.store.runs import MetricFacts

SHOWN = 4  # methods whose sentence stands on the first screen

_WORDS = {
    ("better", True): "surely gains",
    ("worse", True): "surely pays",
    ("better", False): "perhaps gains",
    ("worse", False): "perhaps pays",
}
_OPEN, _ABSENT = "cannot be told", "not compared"
_ORDER = (*_WORDS.values(), _OPEN, _ABSENT)


@dataclass(frozen=True, slots=True)
class Part:
    """The metrics of one certainty: its words, its tone ("better", "worse", "better unsure", ..., "") and its metrics.

    `items` are (title with †, difference, interval or the reason why there is none).
    """

    words: str
    tone: str
    items: tuple[tuple[str, str, str], ...]

    @property
    def text(self) -> str:
        """As a clause."""
        listed = ", ".join(" ".join(filter(None, item)) for item in self.items)
        return f"{self.words}: {listed}" if self.words in (_OPEN, _ABSENT) else f"{self.words} {listed}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """What was found of one method against the reference."""

    name: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """As one sentence."""
        return f"{self.name} " + "; ".join(part.text for part in self.parts) + "."


@dataclass(frozen=True, slots=True)
class Headline:
    """The first screen in words: who may be the best, a sentence per method, how certain it is."""

    lead: str
    sentences: tuple[Sentence, ...]
    certainty: str


def headline(table: Table, findings: Findings | None = None) -> Headline:
    """The sentences of a table; without anything to compare the lead says so."""
    compared = _compared(table)
    if not compared:
        why = "one method: there is nothing to compare it with" if len(table.rows) < 2 else "no method is compared"
        return Headline(f"{why[0].upper()}{why[1:]}.", (), "")
    digits = _digits([one for _, _, differences in compared for one in differences])
    sentences = [_sentence(table, name, trained, own, digits) for name, trained, own in compared]
    label = common_label(table)
    lead = " ".join(filter(None, [f"All metrics are those of ({label})." if label else "", _lead(table, findings)]))
    return Headline(lead, tuple(sentences), _certainty(table, compared))


def _title(table: Table, facts: MetricFacts) -> str:
    return bare_title(facts) if common_label(table) else facts.display


_Compared = tuple[str, Sequence[str], Sequence[Difference]]
"""A method, what it was trained on, and its differences against the reference."""


def _compared(table: Table) -> list[_Compared]:
    if any(row.differences for row in table.methods):
        return [(row.name, row.group.runs[0].trained_on, row.differences) for row in table.methods if row.differences]
    runs = {row.name: row.run for row in table.rows}
    return [(name, runs[name].trained_on, differences) for name, differences in table.differences.items()]


def _digits(differences: Sequence[Difference]) -> dict[str, int]:
    names = dict.fromkeys(one.facts.name for one in differences)
    return {name: decimals(one.interval for one in differences if one.facts.name == name) for name in names}


def _sentence(
    table: Table, name: str, trained: Sequence[str], differences: Sequence[Difference], digits: Mapping[str, int]
) -> Sentence:
    found: dict[str, list[tuple[str, str, str]]] = {words: [] for words in _ORDER}
    tones = {words: f"{tone}{'' if sure else ' unsure'}" for (tone, sure), words in _WORDS.items()}
    by_metric = {one.facts.name: one for one in differences}
    for facts in table.metrics:
        mark = f" {DAGGER}" if in_reward(trained, facts.name) else ""
        one, title = by_metric.get(facts.name), _title(table, facts)
        if one is None or math.isnan(one.interval.mean):
            reason = "not scored for both" if one is None else _brief(one)
            found[_ABSENT].append((f"{title}{mark}", "", f"({reason})"))
            continue
        cell = difference_cell(one, digits[facts.name])
        limits = (
            cell.interval or f"({(one.interval.reason or 'no interval').split(':')[0]})"
        )  # all of it is in the notes
        found[_words(one, cell) if cell.interval else _ABSENT].append((f"{title}{mark}", cell.value, limits))
    parts = [Part(words, tones.get(words, ""), tuple(items)) for words, items in found.items() if items]
    return Sentence(name, tuple(parts))


def _brief(one: Difference) -> str:
    """Why there is no interval, as far as a first screen has room; the notes have all of it."""
    return (one.interval.reason or "no interval").split(":")[0]


def _words(one: Difference, cell: CellText) -> str:
    if not one.better:
        return _OPEN
    return _WORDS["better" if one.better == "b" else "worse", cell.strong]


def _lead(table: Table, findings: Findings | None) -> str:
    """Who may be the best in the metrics of the plot: of three methods and more, together with 95 %."""
    if findings is None or findings.several is None:
        return ""
    asked = [facts.name for facts, _ in quality_axes(table)] + [facts.name for facts in diversity_axes(table)[:1]]
    by_metric = {one.facts.name: one for one in findings.several.metrics if len(one.methods) > 1}
    found = [_best(by_metric[name], _title(table, by_metric[name].facts)) for name in asked if name in by_metric]
    return f"The best {'; '.join(found)}." if found else ""


def _best(one: AllPairs, title: str) -> str:
    many, scored = len(one.maybe_best), " (of those scored)" if one.absent else ""
    if many == 1:
        return f"in {title} is surely {one.maybe_best[0]}{scored}"
    if many == len(one.methods):
        return f"in {title} cannot be told: it may be any of the {many}{scored}"
    names = f"{', '.join(one.maybe_best[:-1])} or {one.maybe_best[-1]}" if many <= SHOWN else f"any of {many}"
    return f"in {title} may be {names}{scored}"


def _certainty(table: Table, compared: Sequence[_Compared]) -> str:
    tests = [one for _, _, differences in compared for one in differences]
    count = sum(math.isfinite(one.p_holm) for one in tests)
    lines = [
        f"Paired differences to {table.reference}, with 95 % intervals. Surely: at 5 % after Holm's correction over "
        f"all {counted(count, 'difference')}. Perhaps: only its own interval excludes zero; of 100 such without any "
        "true difference, five look like that. Cannot be told: neither sign is excluded."
    ]
    if not any(one.interval.clusters >= LEAST_PROMPTS for one in tests):
        lines.append(f"Nothing is sure here: that needs {LEAST_PROMPTS} prompts with values on both sides.")
    if any(row.run.trained_on or row.run.tuned for row in table.rows):
        over = "over prompts and the training seeds of each method" if table.methods else "over prompts only"
        alone = "" if table.methods else ", and say nothing of training once more"
        lines.append(f"Intervals are {over}{alone}.")
    if table.trained_metrics:
        lines.append(f"{DAGGER} gained on a reward that the method was trained on: read it beside a held-out one.")
    return " ".join(lines)


def headline_section(table: Table, findings: Findings | None) -> Mapping[str, Any]:
    """What the page's section is filled with: the first sentences, and those behind a fold."""
    found = headline(table, findings)
    families = [name.partition("[")[0] for name in (one.name for one in found.sentences)]
    # one setting of each sweep first
    order = sorted(range(len(families)), key=lambda i: (families.index(families[i]) != i, i))
    kept = set(order if len(order) <= SHOWN else order[: SHOWN - 1])
    shown, folded = ([one for i, one in enumerate(found.sentences) if (i in kept) is here] for here in (True, False))
    return {"found": found, "shown": shown, "folded": folded}


def headline_markdown(table: Table, findings: Findings | None) -> list[str]:
    """Lines of table.md."""
    found = headline(table, findings)
    lines = [escape_markdown(found.lead), ""] if found.lead else []
    lines += [f"- {escape_markdown(one.text)}" for one in found.sentences]
    return [*lines, "", escape_markdown(found.certainty)] if found.certainty else lines
