"""Runs, thresholds and a baseline -> verdicts. `check` is the front door; `update` renews the baseline by them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.analysis.common import over_common
from bench.analysis.comparable import largest_comparable, require_comparable
from bench.analysis.in_reward import training_notes, with_training
from bench.analysis.opened import open_runs
from bench.analysis.people import HUMAN_METRICS
from bench.analysis.run_notes import cluster_notes
from bench.errors import UsageError
from bench.formatting import one_line
from bench.gate.baseline import read_baseline
from bench.gate.bounds import verdicts
from bench.gate.ledger import key_of, read_ledger
from bench.gate.newest import newest_of
from bench.gate.people import is_human, with_people
from bench.gate.summaries import Summary, summary_from
from bench.gate.thresholds import Dominance, Thresholds, read_thresholds
from bench.gate.verdict import Verdict
from bench.store.runs import Run
from bench.store.select import LeftOut, RunSources, display_names
from bench.study.people import people_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts, the summaries they rest on, and what has to be said of the looks."""

    verdicts: tuple[Verdict, ...]
    limits: Thresholds
    summaries: tuple[Summary, ...]
    baseline: Mapping[str, Any] | None
    told: str = ""


def judged(
    runs: RunSources,
    thresholds: Path | str,
    baseline: Path | str | Mapping[str, Any] | None = None,
    results: Path | str = Path("results"),
    *,
    common: bool = False,
    looking: bool = True,
    study: Path | str | None = None,
    suite: str | None = None,
) -> Judged:
    """The verdicts on runs by a thresholds file, and a baseline (file) for drops.

    Without `baseline` it is the one that the thresholds file names, if any. Of a folder the newest run of each method
    is judged; those that are not finished, or not comparable with the others, are named, and get a verdict of their own
    by the rules of their method. `study`: the folder that bounds on human metrics are judged on. `looking`: count a
    look where the file says `looks = "nightly"`.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.
    """
    as_read, unfinished, named = open_runs(runs, results, suite, unfinished_too=True)
    opened = with_training(as_read)
    for sentence in training_notes(as_read, display_names(as_read)):
        logger.warning(one_line(sentence))
    limits = limits_of(opened, thresholds, unfinished)
    named_file = limits.baseline if baseline is None else baseline
    before = named_file if isinstance(named_file, Mapping) or named_file is None else read_baseline(named_file)
    _require_baseline(limits, before)
    chosen, left_out = _judged_runs(opened, unfinished, limits, named)
    for omitted in left_out:
        logger.warning(one_line(f"excluded from the gate: {omitted.run} ({omitted.why})"))
    if common:
        chosen, captions = over_common(chosen)
        for caption in captions:
            logger.warning(one_line(caption))
    for sentence in dict.fromkeys(sentence for run in chosen for sentence in cluster_notes(run)):
        logger.warning(one_line(sentence))
    wanted = _wanted(limits)
    names = [run.name for run in chosen]
    wanted_runs = [
        (run, run.name if names.count(run.name) == 1 else shown)
        for run, shown in zip(chosen, display_names(chosen), strict=True)
        if run.method in wanted
    ]
    called = _called(wanted, opened, chosen)
    summaries = [summary_from(run, name) for run, name in wanted_runs]
    summaries += [replace(summary_from(run), method=name) for name, run in called]
    if any(is_human(bound.metric) for bound in limits.bounds):
        people_runs = [*(run for run, _ in wanted_runs), *(run for _, run in called)]
        summaries = with_people(summaries, people_runs, limits.bounds, people_of(study))
    left_out += [
        replace(one, method=one.given) for one in unfinished if one.given in wanted and one.given != one.method
    ]
    before = with_names(before, wanted)
    _refuse_percent_of_frechet(limits, summaries)
    look, told = None, ""
    if limits.looks == "nightly" and looking and before is not None:
        look, told = _looked(named_file, summaries)
    found = verdicts(limits, summaries, before, left_out, look, common=common)
    return Judged(tuple(found), limits, tuple(summaries), before, told)


def _looked(baseline: Path | str | Mapping[str, Any] | None, summaries: Sequence[Summary]) -> tuple[int, str]:
    """The number of this look, which is written to the ledger, and what is said of it."""
    if baseline is None or isinstance(baseline, Mapping):
        raise UsageError('looks = "nightly" counts looks in a file beside the baseline: give the baseline as a file')
    ledger = read_ledger(Path(baseline))
    key = key_of(summaries, ledger.anchor)
    number = ledger.look(key)
    ledger.with_look(key).write()
    return number, ledger.told(number)


def _require_baseline(limits: Thresholds, before: Mapping[str, Any] | None) -> None:
    drops = [bound for bound in limits.bounds if bound.rule.startswith("max_drop")]
    if before is not None or (not drops and limits.looks == "once"):
        return
    if not drops:
        raise UsageError(f'{limits.path}: looks = "nightly" needs a baseline, beside which looks are counted')
    where = f"{limits.path}, line {drops[0].line}: [{drops[0].method}.{drops[0].metric}] {drops[0].rule}"
    raise UsageError(f"{where} needs a baseline: pass --baseline FILE, or set `baseline` in the thresholds file")


def _refuse_percent_of_frechet(limits: Thresholds, summaries: Sequence[Summary]) -> None:
    """Most of a Frechet distance on few images is its bias: a percentage of it is one of the bias."""
    for bound in (bound for bound in limits.bounds if bound.rule == "max_drop_percent"):
        for summary in (summary for summary in summaries if summary.method == bound.method):
            entry = summary.metrics.get(bound.metric)
            if entry is not None and entry.features is not None:
                where = f"{limits.path}, line {bound.line}: [{bound.method}.{bound.metric}] max_drop_percent"
                raise UsageError(
                    f"{where} cannot be judged: at N = {entry.interval.n:,} images most of a Frechet distance is bias, "
                    f"and a percentage of bias means nothing; write max_drop of KID, or max of {bound.metric} at this N"
                )


def _wanted(limits: Thresholds) -> set[str]:
    """The methods, or names of runs, that the rules are about."""
    over = {rule.over for rule in limits.rules if isinstance(rule, Dominance)}
    return {rule.method for rule in limits.rules} | over


def _called(wanted: set[str], opened: Sequence[Run], chosen: Sequence[Run]) -> list[tuple[str, Run]]:
    """The runs that rules call by their id or their given name, in place of a method."""
    methods = {run.method for run in chosen}
    found = []
    for name in sorted(wanted - methods):
        by_id = [run for run in opened if run.name == name]
        found += [(name, run) for run in by_id or [run for run in opened if run.given == name]]
    return found


def with_names(baseline: Mapping[str, Any] | None, wanted: set[str]) -> Mapping[str, Any] | None:
    """A baseline whose summaries are also found by the names that their runs were given."""
    if baseline is None:
        return None
    summaries = list(baseline.get("summaries", []))
    again = [{**one, "method": one["name"]} for one in summaries if one.get("name") in wanted - {one["method"]}]
    return {**baseline, "summaries": [*summaries, *again]}


def limits_of(runs: Sequence[Run], thresholds: Path | str, left_out: Sequence[LeftOut] = ()) -> Thresholds:
    """Read a thresholds file whose names are those of the catalogues and of the runs."""
    return read_thresholds(thresholds, _known_methods(runs, left_out), _known_metrics(runs))


def _judged_runs(
    runs: Sequence[Run], unfinished: Sequence[LeftOut], limits: Thresholds, named: bool
) -> tuple[list[Run], list[LeftOut]]:
    """The runs to judge, per suite: of a folder the newest of each method, as far as comparable; and those left out."""
    suites = sorted({run.suite for run in runs} | ({one.suite for one in unfinished} if named else set()))
    chosen = [limits.suite] if limits.suite else suites
    if limits.suite and limits.suite not in suites:
        raise UsageError(f"{limits.path} applies to suite {limits.suite}, but all runs belong to {', '.join(suites)}")
    kept: list[Run] = []
    left_out: list[LeftOut] = []
    for suite in chosen:
        members, absent = [run for run in runs if run.suite == suite], [one for one in unfinished if one.suite == suite]
        if named:
            require_comparable(members)
            kept += members
            left_out += absent
            continue
        members, begun = newest_of(members, absent)
        same, others = largest_comparable(members) if members else ([], [])
        kept += same
        left_out += [*others, *begun]
    return kept, left_out


def _known_methods(runs: Sequence[Run], left_out: Sequence[LeftOut]) -> list[str]:
    from bench.methods.catalogue import method_names

    of_runs = (name for run in runs for name in (run.method, run.given, run.name) if name)
    others = (name for one in left_out for name in (one.method, one.given) if name)
    return [*method_names(), *of_runs, *others]


def _known_metrics(runs: Sequence[Run]) -> list[str]:
    from bench.registry.metrics import metric_names

    return [*metric_names(), *HUMAN_METRICS, *(name for run in runs for name in run.metrics)]
