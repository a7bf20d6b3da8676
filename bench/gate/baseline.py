"""The baseline file of the gate: summaries with their per-prompt values and where they come from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.analysis.comparable import largest_comparable, require_comparable
from bench.analysis.opened import open_runs, tell_outdated
from bench.analysis.stats import Interval
from bench.errors import NotComparableError, UsageError
from bench.gate.changes import Change, change_of, why_other
from bench.gate.summaries import Summary, read_summary, summary_data
from bench.gate.verdict import shown, without_interval
from bench.runtime import provenance
from bench.store.atomic import read_bytes, write_output
from bench.store.digests import SEAL, seal_holds, sealed
from bench.store.runs import Run
from bench.store.select import RunSources

BASELINE_VERSION = 2
VERSIONS = (1, 2)  # 1 holds only means of prompts: what it lacked is not known
_KEPT = ("created", "git", "python", "device", "packages")  # of a run's provenance


def read_baseline(path: Path | str) -> dict[str, Any]:
    """A baseline file: {"schema_version": 2, "suite": ..., "summaries": [summary.json, ...]}; else UsageError.

    Where the metrics of a summary also have `values`, `prompt_means` or `left_out`, drops are paired. Files of version
    1 are read as they are.
    """
    try:
        data = json.loads(read_bytes(Path(path)).decode("utf-8"), parse_constant=_no_constant)
    except FileNotFoundError:
        raise UsageError(
            f"the baseline file {path} does not exist: make it from runs that are good with `bench check "
            f"--update-baseline --baseline {path}`, or correct its name"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the baseline file {path}: {error}") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} is not a baseline file: line {error.lineno} is not valid JSON ({error.msg})"
        ) from None
    except RecursionError:
        raise UsageError(f"{path} is not a baseline file: its values are nested too deeply") from None
    except ValueError as error:  # NaN, or a number of thousands of digits
        raise UsageError(f"{path} is not a baseline file: {str(error).split(';')[0]}") from None
    if isinstance(data, dict) and seal_holds(data) is False:
        raise UsageError(
            f"{path} is damaged or was edited (its content does not have the sha256 in it): restore it from a copy, or "
            f'renew it with --update-baseline; without its "{SEAL}" it is read as it is'
        )
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > BASELINE_VERSION:
        raise UsageError(f"{path} has schema version {version}, newer than {BASELINE_VERSION}: upgrade imagerefl-bench")
    if version not in VERSIONS or not isinstance(data, dict) or not isinstance(data.get("summaries"), list):
        raise UsageError(f"{path} is not a baseline file: it needs schema_version {BASELINE_VERSION} and summaries")
    for index, summary in enumerate(data["summaries"]):
        wrong = _wrong_summary(summary)
        if wrong:
            raise UsageError(f"{path} is not a baseline file: summary {index + 1} {wrong}")
    return {key: value for key, value in data.items() if key != SEAL}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON: write null for a missing value")


def _wrong_summary(summary: object) -> str:
    """What is wrong with a summary, as a clause; "" for nothing."""
    if not isinstance(summary, dict):
        return "must be a table"
    for key in ("suite", "method"):
        if not isinstance(summary.get(key), str):
            return f"needs {key}, a string"
    if not isinstance(summary.get("conditions") or {}, dict):
        return "has conditions that are not a table"
    if not isinstance(summary.get("metrics"), dict):
        return "needs metrics, a table"
    wrong = ((name, _wrong_entry(entry)) for name, entry in summary["metrics"].items())
    return next((f"has a metric {name} {clause}" for name, clause in wrong if clause), "")


def _wrong_entry(entry: object) -> str:
    if not isinstance(entry, dict):
        return "that is not a table"
    for key in ("mean", "ci_low", "ci_high"):
        if entry.get(key) is not None and not _is_number(entry[key]):
            return f"whose {key} is neither a finite number nor null"
    for key in ("n", "n_unscored"):
        if not _is_number(entry.get(key, 0)):
            return f"whose {key} is not a number"
    means, blocks, card = (entry.get(key) for key in ("prompt_means", "left_out", "card"))
    values = entry.get("values")
    if values is not None and not (isinstance(values, dict) and all(map(_are_values, values.values()))):
        return "whose values are not a table of lists of finite numbers and null"
    if means is not None and not (isinstance(means, dict) and all(map(_is_number, means.values()))):
        return "whose prompt_means are not a table of finite numbers"
    if blocks is not None and not (isinstance(blocks, list) and all(map(_is_number, blocks))):
        return "whose left_out is not a list of finite numbers"
    if card is not None and not (isinstance(card, dict) and isinstance(card.get("settings") or {}, dict)):
        return "whose card is not a table"
    return ""


def _are_values(row: object) -> bool:
    return isinstance(row, list) and all(value is None or _is_number(value) for value in row)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def baseline_of(runs: RunSources, results: Path | str = Path("results"), suite: str | None = None) -> dict[str, Any]:
    """The content of a baseline file of these runs: comparable ones of one suite, one run a method.

    UsageError for several suites, for several runs of one method, or for a run that is not finished;
    NotComparableError for a run that is not comparable with the others: what is left out would be missed unsaid.
    """
    opened, unfinished, named = open_runs(runs, results, suite)
    tell_outdated(unfinished)
    suites = sorted({run.suite for run in opened})
    if len(suites) > 1:
        raise UsageError(
            f"a baseline covers one suite, but the runs belong to {', '.join(suites)}: pass the folder of one suite"
        )
    kept, others = (opened, []) if named else largest_comparable(opened)
    require_comparable(kept)
    if others:
        told = f"{others[0].run} is not comparable with the other runs: {others[0].why}"
        raise NotComparableError(f"{told}; pass only the runs that the baseline should contain")
    begun = [omitted for omitted in unfinished if not omitted.finished]  # outdated runs are nobody's baseline
    if begun:
        told = f"{begun[0].run} is not finished: finish it with the `bench run` command that began it"
        raise UsageError(f"{told}, or pass only the runs that the baseline should contain")
    methods = [run.method for run in kept]
    twice = sorted({method for method in methods if methods.count(method) > 1})
    if twice:
        names = ", ".join(run.name for run in kept if run.method == twice[0])
        raise UsageError(
            f"a baseline contains one run per method, but there are {names}: pass only the runs that it should contain"
        )
    return {
        "schema_version": BASELINE_VERSION,
        "suite": suites[0],
        "provenance": {key: value for key, value in provenance.collect().items() if key in _KEPT},
        "summaries": [_summary(run) for run in sorted(kept, key=lambda run: run.name)],
    }


def _summary(run: Run) -> dict[str, Any]:
    summary = summary_data(run)
    if run.given:
        summary["name"] = run.given
    if run.store is not None:
        made = run.store.manifest().provenance
        summary["provenance"] = {key: made[key] for key in _KEPT if key in made}
    return summary


def write_baseline(path: Path, baseline: Mapping[str, Any]) -> None:
    """Write a baseline whole or not at all: a method and metric a line, so that a difference can be read."""
    from bench.store.atomic import to_json

    baseline = sealed(json.loads(to_json(dict(baseline))))
    parts = [f'"{key}": {_line(value)}' for key, value in baseline.items() if key != "summaries"]
    summaries = []
    for summary in baseline["summaries"]:
        head = [f'"{key}": {_line(value)}' for key, value in summary.items() if key != "metrics"]
        metrics = ",\n".join(f"  {json.dumps(name)}: {_line(entry)}" for name, entry in summary["metrics"].items())
        summaries.append("{\n " + ",\n ".join(head) + ',\n "metrics": {\n' + metrics + "\n }\n}")
    text = "{\n" + ",\n".join(parts) + ',\n"summaries": [\n' + ",\n".join(summaries) + "\n]\n}\n"
    assert json.loads(text) == baseline
    write_output(path, text)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def merged(old: Mapping[str, Any] | None, new: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """The new baseline with the methods of the old one that it does not have, and what it removes, as sentences.

    UsageError for a baseline of another suite.
    """
    if old is None:
        return dict(new), []
    if old.get("suite") not in (None, new["suite"]):
        raise UsageError(f"{path} is a baseline of suite {old['suite']}, and these runs are of {new['suite']}")
    after = {one["method"]: one for one in new["summaries"]}
    removed = []
    for one in old["summaries"]:
        gone = one["metrics"].keys() - after[one["method"]]["metrics"].keys() if one["method"] in after else set()
        if gone:
            removed.append(f"removes {', '.join(sorted(gone))} of {one['method']}: the new run was not scored with it")
    kept = [one for one in old["summaries"] if one["method"] not in after]
    summaries = sorted([*kept, *new["summaries"]], key=lambda one: str(one.get("run") or one["method"]))
    return {**new, "summaries": summaries}, removed


def worse(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """The metrics of methods that are worse than in the old baseline: the 95 % interval of the drop is above zero."""
    found = []
    for then, now in _both(old, new):
        for metric in now.metrics.keys() & then.metrics.keys():
            change = _change_of(then, now, metric)
            drop = change and (change.flipped() if now.metrics[metric].higher else change)
            if drop is None or drop.open_:
                continue
            low = drop.interval.low if math.isfinite(drop.interval.low) else drop.interval.mean
            if low > 0:
                found.append(f"{metric} of {now.method} is worse than in the baseline: drop {shown(drop.interval)}")
    return sorted(found)


def _both(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[tuple[Summary, Summary]]:
    before = {one["method"]: read_summary(one) for one in (old or {}).get("summaries", [])}
    for now in map(read_summary, new["summaries"]):
        if now.method in before:
            yield before[now.method], now


def _change_of(then: Summary, now: Summary, metric: str) -> Change | None:
    """None where one side has no value or the two are not comparable."""
    values = (one.metrics[metric].mean for one in (then, now))
    if not all(map(math.isfinite, values)) or why_other(now, then, metric):
        return None
    return change_of(then, now, metric, 0.95)


def changes(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(method, metric, then, now, change with interval) of two baselines; "-" where one side has nothing."""
    before = {one["method"]: read_summary(one) for one in (old or {}).get("summaries", [])}
    after = {one["method"]: read_summary(one) for one in new["summaries"]}
    rows = []
    for method in dict.fromkeys((*before, *after)):
        then, now = before.get(method), after.get(method)
        names = [*(then.metrics if then else ()), *(now.metrics if now else ())]
        for metric in dict.fromkeys(names):
            told = [_mean(one, metric) for one in (then, now)]
            change = None
            if then and now and metric in then.metrics and metric in now.metrics:
                change = _change_of(then, now, metric)
            rows.append((method, metric, *told, _change_text(change.interval) if change else "-"))
    return rows


def _change_text(interval: Interval) -> str:
    why = without_interval(interval)
    return f"{shown(interval)}: {why}" if why else shown(interval)


def _mean(summary: Summary | None, metric: str) -> str:
    entry = summary.metrics.get(metric) if summary else None
    return "-" if entry is None or not math.isfinite(entry.mean) else f"{entry.mean:.4g}"


def changes_text(rows: Sequence[Sequence[str]]) -> str:
    """The changes for a terminal."""
    from bench.formatting import aligned

    return aligned(["method", "metric", "then", "now", "change"], [list(row) for row in rows], left=2)
