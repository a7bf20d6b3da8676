"""The gate: summaries against thresholds and a baseline. Every rule of the thresholds file gets one verdict.

An interval that straddles a bound decides nothing: the verdict is `inconclusive`, which fails only when strict.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from bench.analysis.comparable import largest_comparable, require_comparable
from bench.analysis.summary import summary_of
from bench.errors import UsageError
from bench.formatting import one_line
from bench.gate.baseline import baseline_of, changes, changes_text, read_baseline, write_baseline
from bench.gate.bounds import verdicts
from bench.gate.github import append_step_summary, markdown_summary, workflow_commands
from bench.gate.junit import junit as junit_xml
from bench.gate.text import verdicts_text
from bench.gate.thresholds import Dominance, Thresholds, read_thresholds
from bench.gate.verdict import Verdict, exit_code
from bench.store.atomic import atomic_write
from bench.store.runs import Run
from bench.store.select import LeftOut, RunSources, display_names, open_runs

logger = logging.getLogger(__name__)


def judged(
    runs: RunSources,
    thresholds: Path | str,
    baseline: Path | str | dict[str, Any] | None = None,
    results: Path | str = Path("results"),
) -> list[Verdict]:
    """The verdicts on runs by a thresholds file, and a baseline (file) for drops.

    Without `baseline` it is the one that the thresholds file names, if any. Runs of a folder that are not finished, or
    not comparable with the others, are named, and get a verdict of their own by the rules of their method.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.
    """
    opened, unfinished, named = open_runs(runs, results)
    limits = limits_of(opened, thresholds)
    named_file = limits.baseline if baseline is None else baseline
    before = named_file if isinstance(named_file, dict) or named_file is None else read_baseline(named_file)
    drops = [bound for bound in limits.bounds if bound.rule.startswith("max_drop")]
    if drops and before is None:
        where = f"{limits.path}, line {drops[0].line}: [{drops[0].method}.{drops[0].metric}] {drops[0].rule}"
        raise UsageError(f"{where} needs a baseline: pass --baseline FILE, or set `baseline` in the thresholds file")
    chosen, left_out = _judged_runs(opened, limits, named)
    left_out += [omitted for omitted in unfinished if limits.suite in (None, omitted.suite)]
    for omitted in left_out:
        logger.warning(one_line(f"excluded from the gate: {omitted.run} ({omitted.why})"))
    wanted = {rule.method for rule in limits.rules}
    wanted |= {rule.over for rule in limits.rules if isinstance(rule, Dominance)}
    names = [run.name for run in chosen]
    summaries = []
    for run, shown in zip(chosen, display_names(chosen), strict=True):
        if run.method in wanted:
            one_name = {"run": run.name if names.count(run.name) == 1 else shown}
            summaries.append({**summary_of(run, per_prompt=True), **one_name})
    return verdicts(limits, summaries, before, left_out)


def limits_of(runs: RunSources, thresholds: Path | str) -> Thresholds:
    """Read a thresholds file whose names are those of the catalogues and of the runs."""
    opened = open_runs(runs)[0]
    return read_thresholds(thresholds, _known_methods(opened), _known_metrics(opened))


def _judged_runs(runs: Sequence[Run], limits: Thresholds, named: bool) -> tuple[list[Run], list[LeftOut]]:
    """The runs to judge, per suite: in a folder, the largest comparable group; and those left out."""
    suites = sorted({run.suite for run in runs})
    chosen = [limits.suite] if limits.suite else suites
    if limits.suite and limits.suite not in suites:
        raise UsageError(f"{limits.path} applies to suite {limits.suite}, but all runs belong to {', '.join(suites)}")
    kept: list[Run] = []
    left_out: list[LeftOut] = []
    for suite in chosen:
        members = [run for run in runs if run.suite == suite]
        if named:
            require_comparable(members)
            kept += members
            continue
        same, others = largest_comparable(members)
        kept += same
        left_out += others
    return kept, left_out


def _known_methods(runs: Sequence[Run]) -> list[str]:
    from bench.methods.catalogue import method_names

    return [*method_names(), *(run.method for run in runs)]


def _known_metrics(runs: Sequence[Run]) -> list[str]:
    from bench.registry.metrics import metric_names

    return [*metric_names(), *(name for run in runs for name in run.metrics)]


@dataclass(frozen=True, slots=True)
class Outcome(Sequence[Verdict]):
    """The verdicts in the order of the thresholds file, what `bench check` prints, its exit code, the files written."""

    verdicts: tuple[Verdict, ...]
    text: str
    code: int
    strict: bool = False
    written: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the gate lets these runs through."""
        return self.code == 0

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Verdict, ...]: ...
    def __getitem__(self, index: int | slice) -> Verdict | tuple[Verdict, ...]:
        """The verdict at a position."""
        return self.verdicts[index]

    def __len__(self) -> int:
        """How many verdicts there are."""
        return len(self.verdicts)


def check(
    runs: RunSources | None = None,
    thresholds: Path | str | None = None,
    baseline: Path | str | dict[str, Any] | None = None,
    *,
    update_baseline: bool = False,
    strict: bool = False,
    junit: Path | str | None = None,
    summary: Path | str | None = None,
    results: Path | str = Path("results"),
) -> Outcome:
    """Judge runs by thresholds, or renew the baseline. Does what `bench check` does; the verdicts are its items.

    `runs` are run folders, stores, or names in `results` (None: all of `results`). `thresholds` is a TOML file,
    `baseline` what drops are measured against (None: the file that the thresholds name). `junit` and `summary` are
    files to write as JUnit XML and Markdown. `strict`: an inconclusive verdict fails, too.

    Raises UsageError for a malformed file, an unknown method, metric or key, drops without a baseline, or no runs;
    NotComparableError when runs named one by one may not stand side by side.

    >>> import bench
    >>> bench.check(results=RESULTS, thresholds=THRESHOLDS).passed
    True
    """
    chosen = results if runs is None else runs
    if update_baseline:
        if isinstance(baseline, dict):
            raise UsageError("update_baseline needs a file to write: pass its path as baseline")
        asked = bool(junit or summary)
        outcome = _updated(chosen, thresholds, None if baseline is None else Path(baseline), strict, asked, results)
    else:
        if thresholds is None:
            raise UsageError(
                "no thresholds are given: pass --thresholds FILE, for example results/thresholds/shapes.toml"
            )
        found = judged(chosen, thresholds, baseline, results)
        outcome = Outcome(tuple(found), verdicts_text(found), exit_code(found, strict), strict)
    return replace(outcome, written=tuple(_written(outcome, junit, summary)))


def _updated(
    runs: RunSources,
    thresholds: Path | str | None,
    baseline: Path | None,
    strict: bool,
    files: bool,
    results: Path | str,
) -> Outcome:
    """Write these runs as the new baseline and tell what changed against the old one.

    With thresholds they are judged first, against themselves for drops: what breaks an absolute bound or a required
    dominance is not written. Without `baseline` the file is the one that the thresholds file names. `files`: verdicts
    will be written, too, so there have to be some.
    """
    if files and thresholds is None:
        raise UsageError("--junit and --summary write verdicts, which need thresholds: pass --thresholds FILE")
    if baseline is None and thresholds is not None:
        baseline = limits_of(open_runs(runs, results)[0], thresholds).baseline
    if baseline is None:
        raise UsageError("--update-baseline needs a file to write: pass --baseline FILE")
    old = read_baseline(baseline) if baseline.exists() else None
    new = baseline_of(runs, results=results)
    found = judged(runs, thresholds, new, results=results) if thresholds is not None else []
    code = exit_code(found, strict)
    text = changes_text(changes(old, new))
    if found:
        text = f"{verdicts_text(found)}\n{text}"
    if code:
        return Outcome(tuple(found), f"{text}the baseline {baseline} was not changed: the gate fails\n", code, strict)
    write_baseline(baseline, new)
    return Outcome(tuple(found), f"{text}wrote the baseline {baseline} of {len(new['summaries'])} runs\n", 0, strict)


def _written(outcome: Outcome, junit: Path | str | None, summary: Path | str | None) -> list[Path]:
    """Write the JUnit and Markdown files that were asked for; returns them."""
    files = []
    if junit is not None:
        atomic_write(Path(junit), junit_xml(outcome.verdicts, outcome.strict))
        files.append(Path(junit))
    if summary is not None:
        atomic_write(Path(summary), markdown_summary(outcome.verdicts, outcome.code))
        files.append(Path(summary))
    return files


def tell_actions(outcome: Outcome, environment: Mapping[str, str]) -> str:
    """Under GitHub Actions: append to the job's summary, and return the annotations to print; else "" and nothing."""
    if environment.get("GITHUB_ACTIONS") != "true" or not outcome.verdicts:
        return ""
    append_step_summary(markdown_summary(outcome.verdicts, outcome.code), environment)
    return workflow_commands(outcome.verdicts, outcome.strict)
