"""Renewing the baseline: judged first, merged by method, and never a way to make a drop go away unseen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.analysis.opened import open_runs
from bench.errors import UsageError
from bench.formatting import counted
from bench.gate.baseline import baseline_of, changes, changes_text, merged, read_baseline, worse, write_baseline
from bench.gate.judging import Judged, judged, limits_of
from bench.gate.ledger import anchored, for_new_anchor
from bench.gate.text import verdicts_text
from bench.gate.verdict import Verdict, exit_code
from bench.store.select import RunSources

_DROPS = ("max_drop", "max_drop_percent")


def updated(
    runs: RunSources,
    thresholds: Path | str | None,
    baseline: Path | None,
    results: Path | str,
    *,
    strict: bool,
    accept: bool,
    study: Path | str | None = None,
    suite: str | None = None,
) -> tuple[tuple[Verdict, ...], str, int]:
    """Write these runs as the new baseline: the verdicts, what is printed, and the exit code.

    With thresholds they are judged first, for drops against the old baseline. What breaks an absolute bound or a
    required dominance is never written; a drop that fails or is undecided only with `accept`. Without thresholds a
    metric that is worse than in the old baseline needs `accept`. Methods that these runs do not have stay.
    """
    if baseline is None and thresholds is not None:
        baseline = limits_of(open_runs(runs, results, suite)[0], thresholds).baseline
    if baseline is None:
        raise UsageError("--update-baseline needs a file to write: pass --baseline FILE")
    old = read_baseline(baseline) if baseline.exists() else None
    made = baseline_of(runs, results, suite)
    new, removed = merged(old, made, baseline)
    found = _judged(runs, thresholds, old or made, (results, study), made, suite)
    nightly = found is not None and found.limits.looks == "nightly"
    verdicts = found.verdicts if found else ()
    methods = {one["method"] for one in made["summaries"]}  # the others stay
    text = changes_text([row for row in changes(old, made) if row[0] in methods]) + "".join(
        f"{line}\n" for line in removed
    )
    if verdicts:
        text = f"{verdicts_text(verdicts, exit_code(verdicts, strict))}\n{text}"
    refused = _refused(verdicts, strict) or ("" if accept else _needs_accept(verdicts, old, made, removed, nightly))
    if refused:
        return verdicts, f"{text}the baseline {baseline} was not changed: {refused}\n", 1
    ledger = for_new_anchor(baseline) if nightly else None
    write_baseline(baseline, new)
    if ledger is not None:
        looks = len(anchored(ledger, baseline).looks)
        text += f"looks of the nightly gate go on being counted after {counted(looks, 'look')}, this choice included\n"
    kept = len(new["summaries"]) - len(made["summaries"])
    stay = f", and {kept} of other methods as they were" if kept else ""
    return verdicts, f"{text}wrote the baseline {baseline} of {len(made['summaries'])} runs{stay}\n", 0


def _judged(
    runs: RunSources,
    thresholds: Path | str | None,
    before: Mapping[str, Any],
    where: tuple[Path | str, Path | str | None],
    made: Mapping[str, Any],
    suite: str | None,
) -> Judged | None:
    """The rules of the methods that are renewed; the others stay as they are, and a new one has no drop yet."""
    if thresholds is None:
        return None
    from dataclasses import replace

    methods = {one["method"] for one in made["summaries"]}
    known = {(one["method"], metric) for one in before["summaries"] for metric in one["metrics"]}
    found = judged(runs, thresholds, before, where[0], looking=False, study=where[1], suite=suite)
    kept = [
        verdict
        for verdict in found.verdicts
        if verdict.method in methods and (verdict.rule not in _DROPS or (verdict.method, verdict.metric) in known)
    ]
    return replace(found, verdicts=tuple(kept))


def _refused(verdicts: tuple[Verdict, ...], strict: bool) -> str:
    """Why nothing makes these runs a baseline, as a clause; "" for no reason."""
    others = [verdict for verdict in verdicts if verdict.rule not in _DROPS]
    return "the gate fails" if exit_code(others, strict) else ""


def _needs_accept(
    verdicts: tuple[Verdict, ...],
    old: Mapping[str, Any] | None,
    made: Mapping[str, Any],
    removed: list[str],
    nightly: bool,
) -> str:
    """Why these runs are only written with --accept, as a clause; "" for no reason."""
    ask = "write it all the same with --accept"
    drops = [verdict for verdict in verdicts if verdict.rule in _DROPS and verdict.status != "passed"]
    if drops:
        named = "; ".join(f"{drop.name} of {drop.method} {drop.status.replace('_', ' ')}" for drop in drops[:3])
        return f"{named}{f' and {len(drops) - 3} more' if len(drops) > 3 else ''}: {ask}"
    if old is not None and not verdicts and (found := worse(old, made)):
        return f"{'; '.join(found[:3])}: {ask}"
    if removed:
        return f"it {removed[0]}: {ask}"
    if old is not None and nightly:
        return f'with looks = "nightly" the baseline is an anchor that no night moves: {ask}; looks go on being counted'
    return ""
