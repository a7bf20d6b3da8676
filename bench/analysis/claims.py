"""Claims of a ledger (`bench.analysis.claims_ledger`) judged on runs: holds, does not hold, undecided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from bench.analysis.claims_ledger import Claim, read_ledger
from bench.analysis.comparable import why_not_comparable
from bench.analysis.differences import set_estimate
from bench.analysis.estimand import pair, units_of
from bench.analysis.opened import open_runs, tell_outdated
from bench.analysis.people import HUMAN_METRICS, People
from bench.analysis.ratios import ratio_interval
from bench.analysis.stats import Interval
from bench.analysis.summary import metric_interval
from bench.formatting import aligned, one_line
from bench.store.runs import Run
from bench.store.select import RunSources, made_at

Answer = Literal["holds", "does not hold", "undecided", "not comparable"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, what became of it, and what was measured; `why` says what kept it from being judged."""

    claim: Claim
    answer: Answer
    measured: Interval
    why: str = ""


@dataclass(frozen=True, slots=True)
class Claims(Sequence[Judgement]):
    """The judgements in the order of the file, and the exit code of `bench claims`."""

    judgements: tuple[Judgement, ...]
    code: int

    @property
    def text(self) -> str:
        """What `bench claims` prints."""
        return claims_text(self.judgements)

    @overload
    def __getitem__(self, index: int) -> Judgement: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Judgement, ...]: ...
    def __getitem__(self, index: int | slice) -> Judgement | tuple[Judgement, ...]:
        """The judgement at a position."""
        return self.judgements[index]

    def __len__(self) -> int:
        """How many claims there are."""
        return len(self.judgements)


def judged_claims(
    file: Path | str,
    runs: RunSources | None = None,
    *,
    strict: bool = False,
    results: Path | str = Path("results"),
    people: People | None = None,
    suite: str | None = None,
) -> Claims:
    """Judge the claims of a ledger on runs (None: all of `results`), and on the votes of `people`.

    `bench.claims` is this with the folder of a study. A ledger of human metrics alone needs no runs. Of each method the
    newest finished run is taken; `suite` (None: the ledger's) keeps the runs of one suite.
    """
    ledger, of_ledger = read_ledger(file)
    suite = of_ledger if suite is None else suite
    needed = runs is not None or any(claim.metric not in HUMAN_METRICS for claim in ledger)
    opened, left_out, _ = open_runs(results if runs is None else runs, results) if needed else ([], [], False)
    tell_outdated(left_out)
    newest: dict[str, Run] = {}
    for run in sorted(opened, key=lambda run: made_at(run.store)):
        if suite is None or run.suite == suite:
            newest[run.method] = run
            newest[run.name] = run
    for run in opened:
        newest |= {name: run for name in (run.given, run.name) if name and (suite is None or run.suite == suite)}
    found = tuple(judge(claim, newest, people) for claim in ledger)
    answers = {one.answer for one in found}
    failed = answers & ({"does not hold", "undecided"} if strict else {"does not hold"})
    return Claims(found, 1 if failed else 3 if "not comparable" in answers else 0)


def judge(claim: Claim, runs: Mapping[str, Run], people: People | None = None) -> Judgement:
    """A claim on runs by method (or run name), or on the votes of a study."""
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    if claim.metric in HUMAN_METRICS:
        rate, why = _asked(claim, people)
        return Judgement(claim, "not comparable", nothing, why) if rate is None else _judged(claim, rate, rate, rate)
    why = _not_comparable(claim, runs)
    if why:
        return Judgement(claim, "not comparable", nothing, why)
    return _judged(claim, *_measured(claim, runs))


def _asked(claim: Claim, people: People | None) -> tuple[Interval | None, str]:
    """The win rate that a claim is about."""
    if people is None:
        return None, f"{claim.metric} is what people say: give the folder of a study with --study"
    if claim.of:
        return None, f"a share (of) is not defined for {claim.metric}"
    if claim.protocol != "corrected":
        return None, f"{claim.metric} has no official protocol"
    return people.win_rate(claim.metric, claim.method, claim.over)


def _judged(claim: Claim, shown: Interval, least: Interval, most: Interval) -> Judgement:
    if not math.isfinite(shown.mean):
        return Judgement(claim, "not comparable", shown, shown.reason or "no value could be scored")
    if claim.reported and abs(shown.mean - claim.reported[0]) > claim.tolerance:
        why = f"measured {shown.mean:.4g}, reported {claim.reported[0]:g}: further apart than {claim.tolerance:g}"
        return Judgement(claim, "does not hold", shown, why)
    if not math.isfinite(shown.low):
        return Judgement(claim, "undecided", shown, shown.reason or "there is no interval")
    return Judgement(claim, _answer(claim, shown, least, most), shown)


def _answer(claim: Claim, shown: Interval, least: Interval, most: Interval) -> Answer:
    if claim.metric in HUMAN_METRICS:  # a win rate is held against one half, and `by` counts from there
        shown = Interval(shown.mean - 0.5, shown.low - 0.5, shown.high - 0.5, shown.n)
        least = most = shown
    low, high, by = min(shown.low, least.low), max(shown.high, most.high), claim.by
    if claim.direction == "below":
        low, high, by = -high, -low, by
        shown = Interval(-shown.mean, -shown.high, -shown.low, shown.n)
    if claim.direction == "open":
        return "holds" if shown.low <= by <= shown.high else "does not hold"
    if claim.direction == "within":
        if max(-low, high) <= by:
            return "holds"
        return "does not hold" if shown.low > by or shown.high < -by else "undecided"
    if low > by:
        return "holds"
    return "does not hold" if shown.high <= by else "undecided"


def _not_comparable(claim: Claim, runs: Mapping[str, Run]) -> str:
    names = [name for name in (claim.method, claim.over, claim.of) if name]
    for name in names:
        if name not in runs:
            return f"there is no finished run of {name}"
        if claim.stored_metric not in runs[name].metrics:
            return f"{name} was not scored with {claim.stored_metric}"
    for name in names[1:]:
        why = why_not_comparable(runs[names[0]], runs[name], metrics=[claim.stored_metric])
        if why:
            return f"{names[0]} and {name} are not comparable: {why}"
    return ""


def _measured(claim: Claim, runs: Mapping[str, Run]) -> tuple[Interval, Interval, Interval]:
    """What is claimed about, with its interval; and the least and the most that it may be where values are missing."""
    run, metric = runs[claim.method], claim.stored_metric
    if not claim.over:
        found = metric_interval(run, metric)
        return found, found, found
    over = runs[claim.over]
    if claim.of:
        found = _share(run, over, runs[claim.of], metric)
        return found, found, found
    if run.metrics[metric].kind == "set":
        found = set_estimate(over, run, run.metrics[metric]).interval()
        return found, found, found
    pairing = pair(units_of(over, metric), units_of(run, metric))
    shown = pairing.paired().interval
    return (shown, pairing.least(), pairing.most()) if pairing.gaps else (shown, shown, shown)


def _share(run: Run, over: Run, of: Run, metric: str) -> Interval:
    """100 (method - over) / (of - over) over the prompts that all three have, with Fieller's interval."""
    if run.metrics[metric].kind == "set":
        nan = math.nan
        return Interval(nan, nan, nan, 0, 0, 0, "a share of a set metric has no interval over prompts")
    units = [units_of(one, metric) for one in (run, over, of)]
    a, b, c = (unit.of(units[0].prompts).prompt_means for unit in units)
    clusters = units[0].clusters
    known = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    _, index = np.unique(clusters[known], return_inverse=True)
    top, bottom = (np.bincount(index, weights=side) for side in (100 * (a - b)[known], (c - b)[known]))
    return ratio_interval(top, bottom)


def claims_text(judgements: Sequence[Judgement]) -> str:
    """A line a claim: the answer, the measured value beside the reported one, the sentence."""
    rows = []
    for judgement in judgements:
        reported = _shown(*judgement.claim.reported) if judgement.claim.reported else "-"
        about = judgement.claim.method + (f" - {judgement.claim.over}" if judgement.claim.over else "")
        measured = _shown(judgement.measured.mean, judgement.measured.low, judgement.measured.high)
        said = one_line(judgement.claim.sentence) + (f" ({one_line(judgement.why)})" if judgement.why else "")
        rows.append(
            [judgement.answer, judgement.claim.id, about, judgement.claim.stored_metric, measured, reported, said]
        )
    counts = {answer: sum(judgement.answer == answer for judgement in judgements) for answer in Answer.__args__}  # type: ignore[attr-defined]
    told = ", ".join(f"{count} {answer}" for answer, count in counts.items() if count)
    head = ["", "claim", "methods", "metric", "measured", "reported", "sentence"]
    return aligned(head, rows, left=7) + f"each claim is judged by its own 95 % interval\n{told}\n"


def _shown(value: float, low: float = math.nan, high: float = math.nan) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.4g}" + (f" [{low:.4g}, {high:.4g}]" if math.isfinite(low) else "")


def claim_rows(outcome: Claims) -> dict[str, Any]:
    """The judgements as plain JSON data; NaN is null."""
    rows = []
    for one in outcome:
        values = {"measured": one.measured.mean, "ci_low": one.measured.low, "ci_high": one.measured.high}
        numbers = {key: value if math.isfinite(value) else None for key, value in values.items()}
        texts = {
            key: getattr(one.claim, key) for key in ("id", "sentence", "method", "over", "of", "direction", "source")
        }
        shared = {"metric": one.claim.stored_metric, "by": one.claim.by, "reported": list(one.claim.reported)}
        rows.append(
            {**texts, **shared, "protocol": one.claim.protocol, "answer": one.answer, **numbers, "why": one.why}
        )
    return {"code": outcome.code, "claims": rows}
