"""The gate: summaries against thresholds and a baseline. Every line of the thresholds file gets one verdict.

An interval that straddles a bound decides nothing: the verdict is `inconclusive`, which fails only when strict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench._callable import make_callable
from bench.cards import card_difference, card_in_summary
from bench.comparable import largest_comparable, require_comparable
from bench.errors import UsageError
from bench.junit import junit
from bench.runs import LeftOut, Run, open_runs
from bench.stats import Interval, independent_difference, paired_difference
from bench.summarise import ROUNDS, summary_of
from bench.thresholds import Bound, Thresholds, read_thresholds

__all__ = ["Verdict", "baseline_of", "check", "exit_code", "junit", "verdicts_text"]

Status = Literal["pass", "fail", "inconclusive", "missing", "not_comparable"]
BASELINE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged bound. `value` with its interval is what was held against `bound`: the mean, or the drop."""

    suite: str
    method: str
    run: str
    metric: str
    rule: str
    bound: float
    status: Status
    message: str
    value: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    baseline: float = math.nan
    line: int = 0


def judge(low: float, value: float, high: float, bound: float, at_least: bool) -> Status:
    """Pass or fail when the interval [low, high] lies on one side of the bound, else inconclusive.

    Without an interval the value alone decides; NaN is missing. On the bound is within it.
    """
    if not math.isfinite(value):
        return "missing"
    if not (math.isfinite(low) and math.isfinite(high)):
        low = high = value
    if not at_least:
        low, high, bound = -high, -low, -bound
    if low >= bound:
        return "pass"
    return "fail" if high < bound else "inconclusive"


def check(
    runs: Any, thresholds: Path | str, baseline: Path | str | None = None, rounds: int = ROUNDS, seed: int = 0
) -> list[Verdict]:
    """Judge runs (a results folder, run folders or stores) by a thresholds file, and a baseline file for drops.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.
    """
    opened, _, named = open_runs(runs)
    limits = read_thresholds(thresholds, _known_methods(opened), _known_metrics(opened))
    before = read_baseline(baseline) if baseline is not None else None
    drops = [bound for bound in limits.bounds if bound.rule.startswith("max_drop")]
    if drops and before is None:
        where = f"{limits.path}, line {drops[0].line}: [{drops[0].method}.{drops[0].metric}] {drops[0].rule}"
        raise UsageError(f"{where} needs a baseline: give one with --baseline FILE")
    judged, left_out = _judged_runs(opened, limits, named)
    wanted = {bound.method for bound in limits.bounds}
    summaries = [summary_of(run, rounds, seed, per_prompt=bool(drops)) for run in judged if run.method in wanted]
    return verdicts(limits, summaries, before, left_out)


def _judged_runs(runs: Sequence[Run], limits: Thresholds, named: bool) -> tuple[list[Run], dict[str, LeftOut]]:
    """The runs to judge, per suite: in a folder, the largest comparable group; and by method those left out."""
    suites = sorted({run.suite for run in runs})
    chosen = [limits.suite] if limits.suite else suites
    if limits.suite and limits.suite not in suites:
        raise UsageError(f"{limits.path} is for suite {limits.suite}, but there are only runs of {', '.join(suites)}")
    kept: list[Run] = []
    left_out: dict[str, LeftOut] = {}
    for suite in chosen:
        members = [run for run in runs if run.suite == suite]
        if named:
            require_comparable(members)
            kept += members
            continue
        same, others = largest_comparable(members)
        kept += same
        methods = {run.name: run.method for run in members}
        left_out |= {methods[one.run]: one for one in others}
    return kept, left_out


def verdicts(
    limits: Thresholds,
    summaries: Sequence[Mapping[str, Any]],
    baseline: Mapping[str, Any] | None = None,
    left_out: Mapping[str, LeftOut] | None = None,
) -> list[Verdict]:
    """Verdicts of all bounds, in the order of the file, on summaries in the shape of summary.json.

    `left_out`: by method, runs that are not comparable with those of the summaries.
    """
    found: list[Verdict] = []
    for bound in limits.bounds:
        mine = [summary for summary in summaries if summary["method"] == bound.method]
        found += [_verdict(bound, summary, baseline) for summary in mine]
        other = (left_out or {}).get(bound.method)
        if not mine and other is not None:
            message = f"{other.run} is not comparable with the other runs: {other.why}"
            found.append(_make(bound, {"suite": limits.suite or "", "run": other.run}, "not_comparable", message))
        elif not mine:
            message = f"there is no finished run of method {bound.method}"
            found.append(_make(bound, {"suite": limits.suite or ""}, "missing", message))
    return found


def _make(bound: Bound, summary: Mapping[str, Any], status: Status, message: str, **numbers: Any) -> Verdict:
    suite, run = str(summary.get("suite", "")), str(summary.get("run", ""))
    verdict = Verdict(suite, bound.method, run, bound.metric, bound.rule, bound.value, status, message, line=bound.line)
    return replace(verdict, **numbers)


def interval_of(metric: Mapping[str, Any]) -> Interval:
    """The interval in a metric's entry of summary.json; null is NaN."""
    mean, low, high = (math.nan if metric.get(key) is None else float(metric[key]) for key in _NUMBERS)
    return Interval(mean, low, high, int(metric.get("n") or 0), int(metric.get("n_unscored") or 0))


_NUMBERS = ("mean", "ci_low", "ci_high")


def _verdict(bound: Bound, summary: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> Verdict:
    metric = summary["metrics"].get(bound.metric)
    if metric is None:
        message = f"{summary['run']} was not scored with {bound.metric}: run `bench score`"
        return _make(bound, summary, "missing", message)
    now = interval_of(metric)
    if not math.isfinite(now.mean):
        why = metric.get("reason") or "no value could be scored"
        return _make(bound, summary, "missing", f"{bound.metric} of {summary['run']} has no value: {why}")
    if bound.rule.startswith("max_drop"):
        return _drop_verdict(bound, summary, metric, now, baseline or {})
    status = judge(now.low, now.mean, now.high, bound.value, at_least=bound.rule == "min")
    message = f"{_shown(now)} against {bound.rule} {bound.value:g}"
    return _make(bound, summary, status, message, value=now.mean, ci_low=now.low, ci_high=now.high)


def _drop_verdict(
    bound: Bound, summary: Mapping[str, Any], metric: Mapping[str, Any], now: Interval, baseline: Mapping[str, Any]
) -> Verdict:
    """A drop is a loss in the metric's own direction: for FID, where lower is better, a rise."""
    before = next((one for one in baseline.get("summaries", []) if _same_method(one, summary)), None)
    old = before["metrics"].get(bound.metric) if before else None
    if before is None or old is None or old.get("mean") is None:
        message = f"the baseline has no {bound.metric} of {bound.method} on suite {summary['suite']}"
        return _make(bound, summary, "missing", message)
    why = _why_other(summary, before, metric, old)
    if why:
        return _make(bound, summary, "not_comparable", f"not comparable with the baseline: {why}")
    then = interval_of(old)
    gap = _paired(old, metric) or independent_difference(then, now)
    drop = gap if metric.get("direction") == "lower" else Interval(-gap.mean, -gap.high, -gap.low, gap.n)
    scale, unit = (100 / abs(then.mean), " %") if bound.rule == "max_drop_percent" and then.mean else (1.0, "")
    drop = Interval(drop.mean * scale, drop.low * scale, drop.high * scale, drop.n)
    status = judge(drop.low, drop.mean, drop.high, bound.value, at_least=False)
    message = (
        f"{then.mean:.4g} before, {now.mean:.4g} now: drop {_shown(drop)}{unit} against {bound.rule} {bound.value:g}"
    )
    numbers = {"value": drop.mean, "ci_low": drop.low, "ci_high": drop.high, "baseline": then.mean}
    return _make(bound, summary, status, message, **numbers)


def _paired(then: Mapping[str, Any], now: Mapping[str, Any]) -> Interval | None:
    """now - then over the prompts' means, far narrower than between two means; None without common prompts."""
    before, after = then.get("prompt_means") or {}, now.get("prompt_means") or {}
    common = sorted(before.keys() & after.keys())
    if not common:
        return None
    old, new = ([float(side[prompt]) for prompt in common] for side in (before, after))
    return paired_difference(old, new, np.arange(len(common))).interval


def _same_method(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["suite"], one["method"]) == (other["suite"], other["method"])


def _why_other(
    now: Mapping[str, Any], then: Mapping[str, Any], metric: Mapping[str, Any], old: Mapping[str, Any]
) -> str:
    """The field in which a summary and its baseline differ, as a clause; "" when the drop means something."""
    how = card_difference(card_in_summary(old), card_in_summary(metric))
    if how:
        return f"the metric was computed differently: {how} (then against now)"
    for what, a, b in (
        ("prompts", now.get("prompts_digest"), then.get("prompts_digest")),
        ("samples", now.get("samples"), then.get("samples")),
    ):
        if a is not None and b is not None and a != b:
            return f"{what} differs ({str(b)[:12]} then, {str(a)[:12]} now)"
    return ""


def _shown(interval: Interval) -> str:
    mean, low, high = (f"{value + 0.0:.4g}" for value in (interval.mean, interval.low, interval.high))  # no minus zero
    return f"{mean} [{low}, {high}]" if math.isfinite(interval.low) else f"{mean} (no interval)"


def read_baseline(path: Path | str) -> dict[str, Any]:
    """A baseline file: {"schema_version": 1, "suite": ..., "summaries": [summary.json, ...]}; else UsageError.

    Where the metrics of a summary also have `prompt_means`, drops are paired by prompt.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the baseline file {path}: {error}") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} is not a baseline file: line {error.lineno} is not valid JSON ({error.msg})"
        ) from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > BASELINE_VERSION:
        raise UsageError(f"{path} has schema version {version}, newer than {BASELINE_VERSION}: upgrade imagerefl-bench")
    if version != BASELINE_VERSION or not _are_summaries(data.get("summaries")):
        raise UsageError(f"{path} is not a baseline file: it needs schema_version {BASELINE_VERSION} and summaries")
    return dict(data)


def _are_summaries(found: object) -> bool:
    keys = {"suite", "method", "metrics"}
    return isinstance(found, list) and all(isinstance(one, dict) and keys <= one.keys() for one in found)


def baseline_of(runs: Any, rounds: int = ROUNDS, seed: int = 0) -> dict[str, Any]:
    """The content of a baseline file of these runs: comparable ones of one suite. UsageError for several suites."""
    opened, _, named = open_runs(runs)
    suites = sorted({run.suite for run in opened})
    if len(suites) > 1:
        raise UsageError(f"a baseline is of one suite, but there are runs of {', '.join(suites)}: name one folder")
    kept = opened if named else largest_comparable(opened)[0]
    require_comparable(kept)
    summaries = [summary_of(run, rounds, seed, per_prompt=True) for run in sorted(kept, key=lambda run: run.name)]
    return {"schema_version": BASELINE_VERSION, "suite": suites[0], "summaries": summaries}


def exit_code(verdicts: Iterable[Verdict], strict: bool = False) -> int:
    """0 when the gate holds; 1 when a bound failed or could not be judged for want of a run or a value.

    3 when nothing failed but something was not comparable. `strict` makes an inconclusive verdict fail.
    """
    found = {verdict.status for verdict in verdicts}
    if found & ({"fail", "missing", "inconclusive"} if strict else {"fail", "missing"}):
        return 1
    return 3 if "not_comparable" in found else 0


def verdicts_text(verdicts: Sequence[Verdict]) -> str:
    """One line per verdict and a count, for a terminal."""
    from bench.report.tables import aligned

    head = ["verdict", "method", "metric", ""]
    rows = [[one.status.replace("_", " "), one.method, one.metric, one.message] for one in verdicts]
    counts = {
        status: sum(one.status == status for one in verdicts) for status in dict.fromkeys(v.status for v in verdicts)
    }
    summary = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())
    return aligned(head, rows, left=4) + f"{summary}\n"


def _known_methods(runs: Sequence[Run]) -> list[str]:
    from bench.methods.catalogue import method_names

    return [*method_names(), *(run.method for run in runs)]


def _known_metrics(runs: Sequence[Run]) -> list[str]:
    from bench.registry import metric_names

    return [*metric_names(), *(name for run in runs for name in run.metrics)]


make_callable(__name__, check)
