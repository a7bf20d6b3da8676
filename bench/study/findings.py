"""What a study found: all statistics of its votes, by task, with all raters and without the marked ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.stats import Interval
from bench.errors import BenchError, UsageError
from bench.formatting import counted, one_line
from bench.store.atomic import read_json
from bench.store.run_store import RunStore
from bench.store.runs import Run, read_run
from bench.study.adaptive import Looks, Verdicts, at_looks, weighted
from bench.study.against_metrics import against_metrics
from bench.study.agreement import Retest, alpha, retest, side_bias
from bench.study.ballots import Ballots, ballots, dominant
from bench.study.lines import MANIFEST
from bench.study.metric_agreement import Against
from bench.study.needed import Needed, votes_to_decide
from bench.study.raters import Raters, judge_raters
from bench.study.strengths import Strengths, strengths
from bench.study.votes import Item, Vote, read_items, read_votes
from bench.study.winrates import WinRate, method_rates, win_rates

logger = logging.getLogger(__name__)

SIMULATED = "simulated"  # as `bench.study.store` calls what `bench study simulate` stores
TASKS = ("preference", "diversity", "alignment")


@dataclass(frozen=True)
class Judged:
    """The judgement of one set of votes of one task."""

    votes: int
    raters: int
    prompts: int
    pairs: tuple[WinRate, ...]
    methods: Mapping[str, Interval]  # the win rate of each method against the others
    strengths: Strengths

    def rate(self, a: str, b: str) -> Interval | None:
        """The win rate of a over b, whichever way round it was compared; None: never."""
        for one in self.pairs:
            if (one.a, one.b) == (a, b):
                return one.rate
            if (one.a, one.b) == (b, a):
                rate = one.rate
                return Interval(1 - rate.mean, 1 - rate.high, 1 - rate.low, rate.n, 0, rate.clusters, rate.reason)
        return None


@dataclass(frozen=True)
class TaskFindings:
    """One task: all raters, all but the marked ones (None: nobody is marked, or nobody is left), and how they agree."""

    task: str
    question: str
    judged: Judged
    without_marked: Judged | None
    needed: Mapping[tuple[str, str], Needed]  # of undecided pairs
    alpha: Interval
    retest: Retest
    side: Interval
    adaptive: bool
    metrics: tuple[Against, ...] = ()
    looks: tuple[int, ...] = ()  # of an adaptive study, the numbers of votes at which pairs are judged; all of them
    taken: int = 0  # and how many of them the votes have reached


@dataclass(frozen=True)
class Findings:
    """A whole study. `notes` are sentences about what was left out or not compared; `simulated`: no person voted."""

    folder: Path
    manifest: Mapping[str, Any]
    tasks: Mapping[str, TaskFindings]
    raters: Raters
    notes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    runs: Mapping[str, str] = field(default_factory=dict)  # method -> id of its run
    simulated: bool = False

    @property
    def suite(self) -> str:
        """The suite of its runs; "" where it is not on record."""
        return str(self.manifest.get("suite") or "")


def read_findings(
    folder: Path | str, results: Path | str | None = None, *, metrics: bool = True, database: str | None = None
) -> Findings:
    """Read a study's folder and judge its votes. `results` is where its runs are looked for if they have moved.

    `database` is where the votes are, if not in the folder (PostgreSQL). `metrics`: also hold the metrics of the runs
    against the votes. MissingError: no study, or no votes. UsageError: rows that are no votes, or only practice and
    checks.
    """
    folder = Path(folder)
    votes, items, manifest = read_votes(folder, database), read_items(folder), read_json(folder / MANIFEST) or {}
    runs, notes = _runs(manifest, results) if metrics else ({}, [])
    found = findings(votes, items, manifest, runs, folder)
    return replace(found, notes=(*notes, *found.notes))


def findings(
    votes: Sequence[Vote],
    items: Mapping[str, Item],
    manifest: Mapping[str, Any] | None = None,
    runs: Mapping[str, Run] | None = None,
    folder: Path | str = "",
) -> Findings:
    """Judge votes. Pure: reads nothing. UsageError: no vote of kind real."""
    manifest, runs = manifest or {}, runs or {}
    raters = judge_raters(votes, items)
    order = tuple(_method_rows(manifest))
    present = {vote.task for vote in votes if vote.kind == "real"}
    if not present:
        raise UsageError(f"{folder or 'the study'} has no votes to judge: practice, checks and repeats are not counted")
    tasks, notes = {}, []
    for task in sorted(present, key=lambda one: (TASKS.index(one) if one in TASKS else len(TASKS), one)):
        tasks[task], told = _task(task, votes, items, manifest, runs, raters, order)
        notes += told
    if raters.marked:
        notes.append(_marked(raters))
    simulated = sum(vote.source == SIMULATED for vote in votes)
    if simulated:
        notes.insert(0, f"{simulated:,} of {len(votes):,} answers are simulated: no person gave them")
    named = {name: str(row.get("run") or "") for name, row in _method_rows(manifest).items()}
    methods = tuple(dict.fromkeys(name for one in tasks.values() for name in one.judged.methods))
    return Findings(Path(folder), manifest, tasks, raters, tuple(notes), methods, named, simulated > 0)


def _marked(raters: Raters) -> str:
    share = raters.share
    return (
        f"{counted(len(raters.marked), 'rater')} of {len(raters.raters)} more likely answered without looking: "
        f"{', '.join(map(one_line, raters.marked))}; share of such raters {100 * share.mean:.0f} % "
        f"[{100 * share.low:.0f}, {100 * share.high:.0f}]. They are kept, and {_rest(raters)}"
    )


def _rest(raters: Raters) -> str:
    if len(raters.marked) == len(raters.raters):
        return "nobody is left to give results without them"
    return "each result is given without them, too"


def _task(
    task: str,
    votes: Sequence[Vote],
    items: Mapping[str, Item],
    manifest: Mapping[str, Any],
    runs: Mapping[str, Run],
    raters: Raters,
    order: Sequence[str],
) -> tuple[TaskFindings, list[str]]:
    plain = ballots(votes, task, order)
    own = weighted(plain)
    adaptive = own is not plain
    plan = _looks(manifest, task) if adaptive else None
    rest = plain.without(raters.marked)
    others = judge(rest, plan) if raters.marked and len(rest) else None
    found = judge(plain, plan)
    metrics = against_metrics(own, task, items, runs, adaptive=adaptive)
    questions = manifest.get("questions")
    question = str(questions.get(task, "")) if isinstance(questions, Mapping) else ""
    level = 1 - plan.alpha if plan else 0.95
    needed = {(one.a, one.b): votes_to_decide(one, level) for one in found.pairs if not one.winner}
    own_votes = [vote for vote in votes if vote.task == task]
    agree = (alpha(plain), retest(own_votes, dict(items)), side_bias(own))
    notes = _notes(task, plain, found, metrics)
    looks = () if plan is None else plan.votes
    taken = sum(count <= len(plain) for count in looks)
    if adaptive:
        notes.append(_how_adaptive(task, len(plain), looks, taken))
    return TaskFindings(task, question, found, others, needed, *agree, adaptive, tuple(metrics), looks, taken), notes


def _looks(manifest: Mapping[str, Any], task: str) -> Looks | None:
    """The looks that an adaptive study was made with; None where they are not on record."""
    adaptive = manifest.get("adaptive")
    found = (adaptive.get("looks") or {}).get(task) if isinstance(adaptive, Mapping) else None
    return Looks(tuple(found)) if found else None


def _how_adaptive(task: str, votes: int, looks: Sequence[int], taken: int) -> str:
    weights = f"{task}: an adaptive study; rates weigh votes by the chances that their pairs were drawn with"
    if not looks:
        return f"{weights}. It has no plan of looks on record, so what is decided holds if it was looked at once"
    last = f"the last at {looks[taken - 1]:,} of {votes:,} votes" if taken else f"the first is at {looks[0]:,} votes"
    return (
        f"{weights}. Pairs are decided at looks planned beforehand, all looks together at 5 %: {taken} of {len(looks)} "
        f"taken, {last}. The intervals are of 95 % each, so that one may leave out one half where nothing is decided"
    )


def judge(votes: Ballots, plan: Looks | None = None) -> Judged:
    """Rates and strengths of votes of one task; of an adaptive study, pairs and ranks are decided at its looks."""
    own = weighted(votes)
    people = (len(set(own.raters.tolist())), len(set(own.prompts.tolist())))
    found = Judged(len(own), *people, tuple(win_rates(own)), method_rates(_seen(own)), strengths(_seen(own)))
    return found if plan is None else _at_looks(found, at_looks(votes, plan))


def _at_looks(found: Judged, verdicts: Verdicts) -> Judged:
    """Decisions as at the looks. One that all votes speak against by now counts as undecided."""
    pairs = []
    for one in found.pairs:
        winner = verdicts.winners.get((one.a, one.b), "")
        now = one.a if one.rate.mean > 0.5 else one.b
        p = verdicts.p.get((one.a, one.b), 1.0) if winner in ("", now) else 1.0
        pairs.append(replace(one, p=math.nan, p_holm=p))
    losers = [(one.winner, one.b if one.winner == one.a else one.a) for one in pairs if one.winner]
    names = found.strengths.methods
    better = tuple(tuple((i, j) in losers for j in names) for i in names)
    ranks = tuple((1 + sum(row[i] for row in better), len(names) - sum(better[i])) for i in range(len(names)))
    return replace(found, pairs=tuple(pairs), strengths=replace(found.strengths, better=better, ranks=ranks))


def _seen(votes: Ballots) -> Ballots:
    """Without methods that have no vote, as when a rater was the only one to see them."""
    used = sorted({*votes.a.tolist(), *votes.b.tolist()})
    if len(used) == len(votes.methods):
        return votes
    index = np.full(len(votes.methods), -1)
    index[used] = np.arange(len(used))
    return replace(votes, methods=tuple(votes.methods[i] for i in used), a=index[votes.a], b=index[votes.b])


def _notes(task: str, votes: Ballots, found: Judged, metrics: Sequence[Against]) -> list[str]:
    notes = []
    if votes.duplicates:
        notes.append(f"{task}: {counted(votes.duplicates, 'second answer')} to one item left out; the first counts")
    if found.strengths.reason:
        notes.append(f"{task}: {found.strengths.reason}")
    notes += [f"{task}: {told}" for told in dominant(votes)]
    compared = {(one.a, one.b) for one in found.pairs}
    names = votes.methods
    never = [f"{a} and {b}" for i, a in enumerate(names) for b in names[i + 1 :] if (a, b) not in compared]
    if never:
        notes.append(f"{task}: never compared: {', '.join(map(one_line, never))}")
    lost = max((one.unscored for one in metrics), default=0)
    if lost:
        notes.append(f"{task}: up to {counted(lost, 'vote')} without scores left out of the comparison with metrics")
    return notes


def _method_rows(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name -> what the manifest says of a method; names alone are fine, too."""
    rows = manifest.get("methods")
    if isinstance(rows, Mapping):
        return {str(name): row if isinstance(row, Mapping) else {} for name, row in rows.items()}
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and row.get("name"):
            found[str(row["name"])] = row
        elif isinstance(row, str):
            found[row] = {}
    return found


def _runs(manifest: Mapping[str, Any], results: Path | str | None) -> tuple[dict[str, Run], list[str]]:
    """The runs of a study by method, and which could not be opened."""
    found: dict[str, Run] = {}
    notes = []
    for name, row in _method_rows(manifest).items():
        if not row.get("run"):
            continue
        places = [Path(str(row["path"]))] if row.get("path") else []
        if results is not None:
            places += [Path(results) / "runs" / str(row.get("suite") or manifest.get("suite") or "") / str(row["run"])]
        folder = next((place for place in places if (place / "manifest.json").is_file()), None)
        if folder is None:
            notes.append(f"{name}: its run {row['run']} was not found, so that metrics are not compared with people")
            continue
        try:
            found[name] = read_run(RunStore(folder))
        except BenchError as error:
            notes.append(f"{name}: its run {row['run']} cannot be read, so that metrics are not compared: {error}")
    return found, notes
